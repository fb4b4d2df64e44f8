//! Findings of `podwall lint`, each with the line that it is about; and as JSON.

use std::collections::HashMap;
use std::fmt::Write as _;

use analysis::lint::{Finding, Report, Severity, Source};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::{BOLD, RED, YELLOW};

const BLUE: Style = AnsiColor::Blue.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// Every finding with its source line, and a last line that counts them.
pub(crate) fn text(report: &Report, sources: &[Source<'_>]) -> String {
    let mut lines: HashMap<&str, Vec<&str>> = HashMap::new();
    for source in sources {
        let document = source.manifest.documents.first().map(|document| &document.origin);
        let origin = document.or(source.manifest.problems.first().map(|problem| &problem.origin));
        if let Some(origin) = origin {
            lines.entry(&origin.file).or_insert_with(|| source.text.lines().collect());
        }
    }
    let mut out = String::new();
    for finding in &report.findings {
        let line = (finding.origin.line as usize).checked_sub(1);
        let line = line.and_then(|line| lines.get(&*finding.origin.file)?.get(line).copied());
        // A String takes every write.
        _ = write_finding(&mut out, finding, line);
    }
    _ = write_summary(&mut out, report, sources.len());
    out
}

fn write_finding(out: &mut String, finding: &Finding, line: Option<&str>) -> std::fmt::Result {
    let style = style(finding.severity);
    let Finding { severity, code, origin, .. } = finding;
    writeln!(out, "{style}{severity}[{code}]{style:#}{BOLD}: {}{BOLD:#}", finding.message)?;
    let number = origin.line.to_string();
    let gap = " ".repeat(number.len());
    writeln!(out, "{gap}{BLUE}-->{BLUE:#} {origin}")?;
    if let Some(line) = line {
        let Excerpt { text, before, width } = excerpt(line, origin.column as usize);
        writeln!(out, "{gap} {BLUE}|{BLUE:#}")?;
        writeln!(out, "{BLUE}{number} |{BLUE:#} {text}")?;
        let (before, carets) = (" ".repeat(before), "^".repeat(width));
        writeln!(out, "{gap} {BLUE}|{BLUE:#} {before}{style}{carets}{style:#}")?;
    }
    let subject: Vec<&str> = finding.object.iter().chain(&finding.path).map(String::as_str).collect();
    if !subject.is_empty() {
        writeln!(out, "{gap} {BLUE}={BLUE:#} {BOLD}in{BOLD:#}: {}", subject.join(": "))?;
    }
    writeln!(out, "{gap} {BLUE}={BLUE:#} {BOLD}why{BOLD:#}: {}", finding.why)?;
    if let Some(help) = &finding.help {
        let mut lines = help.lines();
        writeln!(out, "{gap} {BLUE}={BLUE:#} {BOLD}help{BOLD:#}: {}", lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "{gap}           {line}")?;
        }
    }
    writeln!(out)
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
        Severity::Info => CYAN,
    }
}

/// A line as it is shown, and what of it is underlined, in characters of what is shown.
struct Excerpt {
    text: String,
    before: usize,
    width: usize,
}

/// What is around a column, counted from 1: a JSON document may be one line of any length.
fn excerpt(line: &str, column: usize) -> Excerpt {
    const BEFORE: usize = 60;
    const LONGEST: usize = 120;
    let chars: Vec<char> = line.trim_end().chars().collect();
    let place = column.saturating_sub(1).min(chars.len());
    let length = token(chars.get(place..).unwrap_or_default());
    let start = if chars.len() <= LONGEST { 0 } else { place.saturating_sub(BEFORE) };
    let end = chars.len().min(start + LONGEST);

    let shown = |range: &[char]| range.iter().map(|c| visible(*c)).collect::<String>();
    let part = |from: usize, to: usize| shown(chars.get(from..to.min(chars.len())).unwrap_or_default());
    let left_out = if start > 0 { "..." } else { "" };
    let before = left_out.to_owned() + &part(start, place);
    let underlined = part(place, (place + length).min(end));
    let rest = part((place + length).min(end), end);
    let more = if end < chars.len() { "..." } else { "" };
    let width = underlined.chars().count().max(1);
    Excerpt { before: before.chars().count(), width, text: before + &underlined + &rest + more }
}

/// A tab has no width of its own, and what a terminal would obey is not shown.
fn visible(c: char) -> String {
    match c {
        '\t' => "    ".to_owned(),
        c if c.is_control() => "\u{fffd}".to_owned(),
        c => c.to_string(),
    }
}

/// How many characters the first word has: a quoted text, or what stands before white space, a colon, or a bracket.
fn token(text: &[char]) -> usize {
    let word = |stops: fn(&[char]) -> bool| {
        (0..text.len()).find(|at| stops(text.get(*at..).unwrap_or_default())).unwrap_or(text.len())
    };
    match text.first() {
        Some(quote @ ('"' | '\'')) => {
            text.iter().skip(1).position(|c| c == quote).map_or(text.len(), |position| position + 2)
        }
        Some('#') => text.len(),
        Some('{' | '[' | '-') | None => 1,
        Some(_) => word(|rest| match rest {
            [':', next, ..] => next.is_whitespace(),
            [':'] => true,
            [first, ..] => first.is_whitespace() || matches!(first, ',' | ']' | '}'),
            [] => true,
        }),
    }
}

fn write_summary(out: &mut String, report: &Report, files: usize) -> std::fmt::Result {
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    if report.findings.is_empty() {
        return writeln!(out, "no findings in {files}");
    }
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Info]
        .into_iter()
        .map(|severity| (severity, count(report, severity)))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| {
            let (style, plural) = (style(severity), if count == 1 || severity == Severity::Info { "" } else { "s" });
            format!("{style}{count} {severity}{plural}{style:#}")
        })
        .collect();
    writeln!(out, "{} in {files}", counts.join(", "))
}

fn count(report: &Report, severity: Severity) -> usize {
    report.findings.iter().filter(|finding| finding.severity == severity).count()
}

/// As `docs/json.md` has it.
pub(crate) fn json(report: &Report) -> Value {
    let findings: Vec<Value> = report.findings.iter().map(json_finding).collect();
    let skipped: Vec<&str> = report.skipped.iter().map(|code| code.name()).collect();
    json!({
        "findings": findings,
        "errors": count(report, Severity::Error),
        "warnings": count(report, Severity::Warning),
        "infos": count(report, Severity::Info),
        "skipped": skipped,
    })
}

fn json_finding(finding: &Finding) -> Value {
    json!({
        "code": finding.code.name(),
        "severity": finding.severity.name(),
        "object": finding.object,
        "path": finding.path,
        "file": &*finding.origin.file,
        "line": finding.origin.line,
        "column": finding.origin.column,
        "message": finding.message,
        "why": finding.why,
        "help": finding.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn underlined(line: &str, column: usize) -> String {
        let Excerpt { text, before, width } = excerpt(line, column);
        text.chars().skip(before).take(width).collect()
    }

    #[test]
    fn carets_stand_under_the_word() {
        for (line, column, word) in [
            ("  podSelector:", 3, "podSelector"),
            ("- {port: \"80\"}", 10, "\"80\""),
            ("cidr: 2001:db8::1/32", 7, "2001:db8::1/32"),
            ("cidr: 10.1.2.3/8, x", 7, "10.1.2.3/8"),
            ("\tpodSelector: {}", 2, "podSelector"),
            ("- # podwall:ignore a", 3, "# podwall:ignore a"),
            ("größe: {ß: app}", 9, "ß"),
            ("a: {}", 4, "{"),
            ("short", 90, ""),
        ] {
            assert_eq!(underlined(line, column), word, "{line}");
        }
    }

    #[test]
    fn of_a_long_line_what_is_around_the_place_is_shown() {
        let line = format!("{}\"port\": \"80\"{}", "x".repeat(500), "y".repeat(500));
        assert_eq!(underlined(&line, 509), "\"80\"");
        assert!(excerpt(&line, 509).text.chars().count() <= 126);
        assert_eq!(excerpt("a\u{1b}[31m", 1).text, "a\u{fffd}[31m");
    }
}
