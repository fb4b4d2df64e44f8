//! Why a flow is allowed or denied: the way that it takes, and what policy says on it.

mod json;

pub(crate) use json::json;

use std::fmt::{Result, Write};

use analysis::explain::{Answer, Backend, Entry, Explanation, Finding, Group, Hop, Note, Route, words};
use policy_compiler::model::{Direction, TargetPort};
use policy_compiler::verdict::{Endpoint, Host, Judgement};

use super::{BOLD, DIM, GREEN, RED};

/// As many entries of one list are shown, of backends as well; of more the number.
const SHOWN: usize = 10;

/// What is missing goes on lines of its own where an entry would be wider.
const WIDE: usize = 80;

/// The answer in words.
pub(crate) fn text(explanation: &Explanation<'_>) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write_text(&mut out, explanation);
    out
}

fn write_text(out: &mut String, explanation: &Explanation<'_>) -> Result {
    let Explanation { from, to, traffic, .. } = explanation;
    write!(out, "{BOLD}{from} -> {to} {}{BOLD:#}: ", words::traffic(*traffic))?;
    write_summary(out, explanation)?;
    if let Some(route) = &explanation.route {
        write_route(out, route)?;
    }
    if let [only] = &*explanation.groups {
        if only.pairs > 1 {
            let Answer { flow, .. } = &only.answer;
            let sent = words::traffic(flow.traffic);
            writeln!(out, "\n  the same for all {}, such as {} -> {} {sent}", pairs(explanation), flow.from, flow.to)?;
        }
        return write_answer(out, &only.answer);
    }
    for group in &explanation.groups {
        writeln!(out)?;
        write_group(out, group)?;
    }
    Ok(())
}

fn write_summary(out: &mut String, explanation: &Explanation<'_>) -> Result {
    let Explanation { groups, denied, pairs: all, .. } = explanation;
    match &**groups {
        [only] => {
            write_verdict(out, &only.answer)?;
            writeln!(out)
        }
        [first, rest @ ..] if *all == 1 => {
            let allowed = |group: &Group<'_>| group.answer.verdict.is_allowed();
            let (style, word) = verdict_word(allowed(first));
            if rest.iter().all(|group| allowed(group) == allowed(first)) {
                return writeln!(out, "{style}{word}{style:#} over both families, for different reasons");
            }
            write!(out, "{style}{word}{style:#}{}", over(first))?;
            for group in rest {
                let (style, word) = verdict_word(allowed(group));
                write!(out, ", {style}{word}{style:#}{}", over(group))?;
            }
            writeln!(out)
        }
        _ if *denied == 0 => writeln!(out, "{GREEN}ALLOWED{GREEN:#} for all {}", pairs(explanation)),
        _ if denied == all => writeln!(out, "{RED}DENIED{RED:#} for all {}", pairs(explanation)),
        _ => writeln!(out, "{RED}DENIED{RED:#} for {denied} of {}", pairs(explanation)),
    }
}

/// `6 pairs of pods`; to a Service from one pod `2 backends`.
fn pairs(explanation: &Explanation<'_>) -> String {
    let all = explanation.pairs;
    let listening =
        explanation.route.as_ref().map(|route| route.backends.iter().filter(|backend| backend.port.is_some()).count());
    if listening == Some(all) { format!("{all} backends") } else { format!("{all} pairs of pods") }
}

fn over(group: &Group<'_>) -> String {
    group.family.map_or_else(String::new, |family| format!(" over {}", words::family(family)))
}

fn write_group(out: &mut String, group: &Group<'_>) -> Result {
    let Answer { flow, .. } = &group.answer;
    let sent = words::traffic(flow.traffic);
    write!(out, "{BOLD}{} -> {} {sent}{}{BOLD:#}", flow.from, flow.to, over(group))?;
    match group.pairs {
        1 => (),
        2 => write!(out, ", and 1 pair like it")?,
        many => write!(out, ", and {} pairs like it", many - 1)?,
    }
    out.write_str(": ")?;
    write_verdict(out, &group.answer)?;
    writeln!(out)?;
    write_answer(out, &group.answer)
}

fn verdict_word(allowed: bool) -> (anstyle::Style, &'static str) {
    if allowed { (GREEN, "ALLOWED") } else { (RED, "DENIED") }
}

fn write_verdict(out: &mut String, answer: &Answer<'_>) -> Result {
    let (style, word) = verdict_word(answer.verdict.is_allowed());
    write!(out, "{style}{word}")?;
    for (index, direction) in answer.denied_at().into_iter().enumerate() {
        write!(out, " {} {direction}", if index == 0 { "at" } else { "and" })?;
    }
    write!(out, "{style:#}")
}

fn write_route(out: &mut String, route: &Route<'_>) -> Result {
    let service = route.service;
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    write!(out, "\n  {DIM}service{DIM:#}    {}", service.name)?;
    match &*addresses {
        [] if service.headless => {
            writeln!(out, ", headless: clients connect to the pods themselves, at their own ports")?
        }
        [] => writeln!(out, " (no ClusterIP yet)")?,
        _ => writeln!(out, " ({})", addresses.join(", "))?,
    }
    let name = route.port.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    writeln!(out, "             {} {}{name} leads to", route.port.protocol, route.port.port)?;
    for backend in route.backends.iter().take(SHOWN) {
        writeln!(out, "             {}", backend_words(route, backend))?;
    }
    write_rest(out, "             ", route.backends.len())
}

fn backend_words(route: &Route<'_>, backend: &Backend<'_>) -> String {
    let protocol = route.port.protocol;
    match (&route.port.target, backend.port) {
        (_, Some(port)) => format!("{} {protocol} {port}", backend.pod.name),
        (TargetPort::Name(name), None) => {
            format!("{} (no {protocol} port named {name}, so it gets nothing)", backend.pod.name)
        }
        (TargetPort::Number(_), None) => format!("{} (gets nothing)", backend.pod.name),
    }
}

fn write_rest(out: &mut String, indent: &str, all: usize) -> Result {
    match all.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(rest) => writeln!(out, "{indent}{DIM}and {rest} more{DIM:#}"),
    }
}

fn write_answer(out: &mut String, answer: &Answer<'_>) -> Result {
    writeln!(out)?;
    write_path(out, answer)?;
    writeln!(out)?;
    if let Some(exemption) = answer.verdict.exempt {
        writeln!(out, "  {DIM}exempt{DIM:#}     {exemption}, whatever policy says")?;
    } else {
        write_direction(out, answer, Direction::Egress)?;
        write_direction(out, answer, Direction::Ingress)?;
    }
    for note in &answer.notes {
        if let Some(note) = note_words(note) {
            writeln!(out, "  {DIM}note{DIM:#}       {note}")?;
        }
    }
    Ok(())
}

fn write_path(out: &mut String, answer: &Answer<'_>) -> Result {
    let rows: Vec<(&str, String, &[Direction])> = answer.path.iter().map(|hop| row(hop)).collect();
    let width = rows.iter().filter(|(.., judges)| !judges.is_empty()).map(|(_, text, _)| text.len()).max().unwrap_or(0);
    for (kind, text, judges) in rows {
        write!(out, "  {DIM}{kind:<9}{DIM:#}  ")?;
        match judges {
            [] => writeln!(out, "{text}")?,
            [one] => writeln!(out, "{text:<width$}  {DIM}{one} judged here{DIM:#}")?,
            _ => writeln!(out, "{text:<width$}  {DIM}egress and ingress judged here{DIM:#}")?,
        }
    }
    Ok(())
}

fn row<'a>(hop: &'a Hop<'_>) -> (&'static str, String, &'a [Direction]) {
    let address =
        |address: &Option<std::net::IpAddr>| address.map_or_else(String::new, |address| format!(" ({address})"));
    match hop {
        Hop::Container { pod, port_name } => {
            let mut text = format!("of {}", pod.name);
            if let Some(name) = port_name {
                text.push_str(&format!(", port {name}"));
            }
            if pod.host_network {
                text.push_str(", on the network of its node");
            }
            ("container", text, &[])
        }
        Hop::Pod { pod, address: None } if pod.addresses.is_empty() => {
            ("pod", format!("{} (no address yet)", pod.name), &[])
        }
        Hop::Pod { pod, address: used } => ("pod", format!("{}{}", pod.name, address(used)), &[]),
        Hop::Node { name, address: used, judges } => {
            ("node", format!("{}{}", name.unwrap_or("not known yet"), address(used)), judges)
        }
        Hop::Outside { address } => {
            let text = address.map_or_else(|| "anywhere".to_owned(), |address| address.to_string());
            ("outside", text, &[])
        }
    }
}

fn write_direction(out: &mut String, answer: &Answer<'_>, direction: Direction) -> Result {
    write!(out, "  {DIM}{:<9}{DIM:#}  ", direction.section())?;
    let subject = answer.flow.subject(direction);
    match answer.judgement(direction) {
        Judgement::NoSubject => writeln!(out, "not judged: {}", no_subject(subject))?,
        Judgement::NotIsolated => {
            writeln!(out, "{GREEN}allowed{GREEN:#}: no policy isolates {subject} for {direction}")?;
        }
        Judgement::Allowed { .. } => write!(out, "{GREEN}allowed{GREEN:#} by ")?,
        Judgement::Denied { misses } => match &**misses {
            [one] => writeln!(
                out,
                "{RED}denied{RED:#}: policy {} isolates {subject} and does not allow this",
                one.policy.name
            )?,
            many => {
                writeln!(out, "{RED}denied{RED:#}: {} policies isolate {subject} and none allows this", many.len())?
            }
        },
    }
    for finding in answer.findings(direction) {
        if !finding.allows() {
            out.write_str("    ")?;
        }
        write_finding(out, finding, direction)?;
    }
    Ok(())
}

fn no_subject(subject: Endpoint<'_>) -> String {
    match subject.host {
        Host::Pod(pod) if pod.host_network => {
            format!("{subject} has no network of its own, so that no policy selects it")
        }
        Host::Pod(_) => format!("{subject} has finished, so that no policy selects it"),
        Host::Node(_) => format!("{subject} is no pod"),
        Host::Outside => format!("{subject} is outside the cluster"),
    }
}

fn write_finding(out: &mut String, finding: &Finding<'_>, direction: Direction) -> Result {
    let origin = finding.origin.map_or_else(String::new, |origin| format!(" {DIM}({}){DIM:#}", words::place(origin)));
    let policy = &finding.policy.name;
    let Some(rule) = finding.rule else {
        return match finding.policy.closed {
            true => writeln!(out, "{policy}{origin} cannot be compiled and allows nothing"),
            false => writeln!(out, "{policy}{origin} has no {direction} rule"),
        };
    };
    let nearest = match finding.policy.rules(direction).map_or(0, <[_]>::len) {
        several if several > 1 && !finding.allows() => format!(", the nearest of {several} rules"),
        _ => String::new(),
    };
    writeln!(out, "{policy} {direction}[{rule}]{origin}{nearest}")?;
    let width = finding.entries.iter().map(|entry| entry.place.len()).max().unwrap_or(0);
    // Peers and ports each in their turn, so that many of one do not push out the other.
    let (ports, peers): (Vec<&Entry>, Vec<&Entry>) =
        finding.entries.iter().partition(|entry| entry.place.starts_with("ports"));
    for list in [peers, ports] {
        for entry in list.iter().take(SHOWN) {
            write_entry(out, entry, width)?;
        }
        write_rest(out, "      ", list.len())?;
    }
    Ok(())
}

fn write_entry(out: &mut String, entry: &Entry, width: usize) -> Result {
    let Entry { place, means, .. } = entry;
    match &*entry.lacks {
        [] => writeln!(out, "      {place:<width$}  {GREEN}yes{GREEN:#}  {means}"),
        [one] if means.len() + one.len() < WIDE => {
            writeln!(out, "      {place:<width$}  {RED}no{RED:#}   {means}: {one}")
        }
        several => {
            writeln!(out, "      {place:<width$}  {RED}no{RED:#}   {means}:")?;
            several.iter().try_for_each(|one| writeln!(out, "      {:width$}         {one}", ""))
        }
    }
}

/// What the path does not show by itself.
fn note_words(note: &Note<'_>) -> Option<String> {
    Some(match note {
        Note::NoAddress(_) => return None,
        Note::Finished(pod) => format!("{} has finished: nothing listens or speaks there", pod.name),
        Note::Terminating(pod) => format!("{} is being deleted; policy holds until it has finished", pod.name),
        Note::NoCommonFamily => "the two have no address of one family that this could use".to_owned(),
    })
}
