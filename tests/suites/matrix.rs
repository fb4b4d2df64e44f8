//! Black-box tests of `podwall matrix`.

use std::collections::{BTreeMap, BTreeSet};

use podwall_tests::{assert_same_lines, golden, root, run};
use serde_json::Value;

/// A second cluster beside the shop: host network, both families, addresses outside.
const ENDS: [&str; 6] = ["-f", "fixtures/matrix", "--external", "198.51.100.0/24", "--external", "2001:db8:f::/48"];
const SHOP: [&str; 2] = ["-f", "fixtures/shop"];

/// `(from, to, "TCP 80")` to a symbol of a text matrix; a pod to itself is allowed like any other flow.
type Cells = BTreeMap<(String, String, String), char>;

fn matrix(input: &[&str], rest: &[&str]) -> String {
    run(&[&["matrix"], input, rest].concat(), "").expect(0).stdout
}

#[test]
fn text_csv_json_and_html_of_one_input_agree() {
    for (input, least) in [(&SHOP[..], 1000), (&ENDS[..], 336)] {
        let json = from_json(&matrix(input, &["-o", "json"]));
        assert!(json.len() >= least, "{input:?}: only {} flows", json.len());
        same(&json, &from_csv(&matrix(input, &["-o", "csv"])), "JSON and CSV", input);
        same(&json, &from_text(&matrix(input, &["--pods"])), "JSON and text", input);
        same(&json, &from_page(&data(&matrix(input, &["--pods", "-o", "html"]))), "JSON and the page", input);
    }
    // The second one has every outcome.
    let outcomes: BTreeSet<char> = from_json(&matrix(&ENDS, &["-o", "json"])).into_values().collect();
    assert_eq!(outcomes, BTreeSet::from(['.', 'X', '4', '6', ' ']));
}

#[track_caller]
fn same(one: &Cells, other: &Cells, what: &str, input: &[&str]) {
    let lines = |cells: &Cells| -> String { cells.iter().map(|(flow, cell)| format!("{flow:?} {cell:?}\n")).collect() };
    assert_same_lines(&lines(one), &lines(other), &format!("{what} of {input:?}"));
}

#[test]
fn folded_text_and_page_agree() {
    let text = from_folded(&matrix(&SHOP, &[]));
    let page = from_page(&data(&matrix(&SHOP, &["-o", "html"])));
    same(&text, &page, "text and page, folded,", &SHOP);
}

#[test]
fn the_matrix_of_the_shop_is_the_one_beside_it() {
    golden(&root().join("fixtures/shop/expected.matrix"), &matrix(&SHOP, &[]));
}

#[test]
fn every_cell_of_the_page_has_reasons_that_lead_to_it() {
    for input in [&SHOP[..], &ENDS[..], &["-f", "fixtures/market"]] {
        for rest in [&["-o", "html"][..], &["-o", "html", "--pods"]] {
            let data = data(&matrix(input, rest));
            each_cell(&data, |from, to, port, symbol, cases| {
                let allowed: Vec<bool> = cases.iter().map(|case| case["allowed"].as_bool().unwrap()).collect();
                let expected: &[bool] = match symbol {
                    '.' | '-' => &[true],
                    'X' => &[false],
                    '~' | '4' | '6' => &[true, false],
                    _ => &[],
                };
                assert_eq!(allowed, expected, "{from} -> {to} {port} {symbol:?}");
                for case in cases {
                    let texts = case["texts"].as_array().unwrap().len();
                    assert!(texts == 1 || texts == 2, "{from} -> {to} {port}: {case}");
                }
            });
        }
    }
}

#[test]
fn a_cell_in_part_has_a_pair_that_passes_and_one_that_does_not() {
    // The node's own pod reaches the closed pod beside it (rule 108), and not the one on the other node.
    let template = |name: &str, more: &str| {
        format!(
            "selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{{more}containers: []}}}}"
        )
    };
    let input = [
        "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: n2}}\n---\n".to_owned(),
        format!("{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: agent}}, spec: {{{}}}}}\n---\n", template("agent", "hostNetwork: true, ")),
        format!("{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: 2, {}}}}}\n---\n", template("web", "")),
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, spec: {podSelector: {}}}\n".to_owned(),
    ]
    .concat();
    let page = data(&run(&["matrix", "-f", "-", "-o", "html"], &input).expect(0).stdout);
    let mut found = Vec::new();
    each_cell(&page, |from, to, _, symbol, cases| {
        if from.ends_with("agent") && to.ends_with("web") {
            found.push((symbol, cases.iter().map(|case| case["pods"].clone()).collect::<Vec<_>>()));
        }
    });
    assert_eq!(found, [('~', vec![serde_json::json!([0, 0]), serde_json::json!([0, 1])])]);
}

#[test]
fn a_reason_names_direction_policy_rule_and_place() {
    let page = data(&matrix(&SHOP, &["-o", "html"]));
    let mut found = Vec::new();
    each_cell(&page, |from, to, port, _, cases| {
        if (from, to, port) == ("shop/deploy/frontend", "shop/deploy/backend", "TCP 3000") {
            let texts = cases[0]["texts"].as_array().unwrap();
            found = texts.iter().map(|text| page["texts"][text.as_u64().unwrap() as usize].clone()).collect();
        }
    });
    let [egress, ingress] = &found[..] else { panic!("{found:?}") };
    let policies = std::fs::read_to_string(root().join("fixtures/shop/policies/shop.yaml")).unwrap();
    for (text, policy, direction) in [(egress, "frontend", "egress"), (ingress, "backend", "ingress")] {
        let start = policies.find(&format!("name: {policy}\n")).unwrap();
        let section = start + policies[start..].find(&format!("\n  {direction}:")).unwrap() + 1;
        let line = policies[..section].lines().count() + 2;
        let text = text.as_str().unwrap();
        for part in [format!("shop/{policy}"), format!("{direction}[0]"), format!("shop.yaml:{line}")] {
            assert!(text.contains(&part), "{part} is missing in {text:?}");
        }
    }
}

#[test]
fn nothing_that_the_input_says_ends_the_script_element() {
    let policy =
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}}}\n";
    let pods = "---\n{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeName: n1}}\n---\n\
                {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {nodeName: n1}}\n";
    // Standard input is called `<stdin>` in places.
    let page = run(&["matrix", "-f", "-", "-o", "html"], &format!("{policy}{pods}")).expect(0).stdout;
    assert!(data(&page).to_string().contains("<stdin>"), "no place was told");
    assert!(!page.contains("<stdin>"), "it stands in the page as it is");
}

#[test]
fn the_page_asks_for_nothing_but_itself() {
    let page = matrix(&SHOP, &["-o", "html"]);
    assert!(page.contains("default-src 'none'"), "no policy of its own");
    for outside in ["src=", "@import", "url(http", "fetch(", "XMLHttpRequest", "<link"] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    let addresses = page.matches("://").count();
    assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count(), "an address beside that of SVG");
}

#[test]
fn a_pod_reaches_itself_and_a_workload_does_so_only_if_its_pods_reach_each_other() {
    let pods = from_json(&matrix(&SHOP, &["-o", "json"]));
    let symbol = |cells: &Cells, from: &str, to: &str, port: &str| cells[&(from.into(), to.into(), port.into())];
    assert_eq!(symbol(&pods, "shop/backend-1", "shop/backend-1", "TCP 5432"), '.');
    assert_eq!(symbol(&pods, "shop/backend-1", "shop/backend-2", "TCP 5432"), 'X');
    let text = matrix(&SHOP, &["--port", "5432"]);
    let folded = from_folded(&text);
    assert_eq!(symbol(&folded, "shop/deploy/backend", "shop/deploy/backend", "TCP 5432"), 'X');
    // Monitoring has one pod only.
    assert_eq!(symbol(&folded, "platform/deploy/monitoring", "platform/deploy/monitoring", "TCP 5432"), '-');
    assert!(text.contains("- the pod itself"), "{text}");
}

#[test]
fn filters_leave_the_senders_and_receivers_that_they_name() {
    let all = from_json(&matrix(&SHOP, &["-o", "json"]));
    let some =
        from_json(&matrix(&SHOP, &["-o", "json", "--from", "platform/*", "--to", "app=database", "--port", "5432"]));
    let named = |(from, to, port): &(String, String, String)| {
        from.starts_with("platform/") && to.starts_with("shop/database-") && port == "TCP 5432"
    };
    let expected: Cells = all.into_iter().filter(|(flow, _)| named(flow)).collect();
    assert_eq!(expected.len(), 3 * 2);
    same(&some, &expected, "a filtered and a whole matrix", &SHOP);
    // Rows and columns are not the same then, in text and page too.
    let rest = ["--pods", "--from", "platform/*", "--to", "app=database", "--port", "5432"];
    same(&some, &from_text(&matrix(&SHOP, &rest)), "JSON and text, filtered,", &SHOP);
    let page = data(&matrix(&SHOP, &[&rest[..], &["-o", "html"]].concat()));
    same(&some, &from_page(&page), "JSON and the page, filtered,", &SHOP);
}

#[test]
fn wrong_questions_are_errors() {
    for (rest, said) in [
        (["--port", "http"], "http"),
        (["--port", "80/icmp"], "icmp"),
        (["--port", "70000"], "70000"),
        (["--from", "shop/nobody*"], "shop/nobody* matches no pod"),
        (["--to", "app=nobody"], "app=nobody matches no pod"),
        (["--external", "10.0.0.0/33"], "10.0.0.0/33"),
    ] {
        let run = run(&[&["matrix"], &SHOP[..], &rest].concat(), "").expect(2);
        assert!(run.stderr.contains(said), "{rest:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{rest:?}");
    }
}

/// 10,000 pods in 50 workloads, each of which takes only what the one before it sends.
fn crowd() -> String {
    let workload = |place: usize| {
        let before = (place + 49) % 50;
        format!(
            "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: w{place}, namespace: crowd}}, spec: {{replicas: 200, \
             selector: {{matchLabels: {{app: w{place}}}}}, template: {{metadata: {{labels: {{app: w{place}}}}}, spec: {{containers: \
             [{{name: c, ports: [{{containerPort: 80}}]}}]}}}}}}}}\n---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
             metadata: {{name: w{place}, namespace: crowd}}, spec: {{podSelector: {{matchLabels: {{app: w{place}}}}}, ingress: \
             [{{from: [{{podSelector: {{matchLabels: {{app: w{before}}}}}}}]}}]}}}}\n"
        )
    };
    (0..50).map(workload).collect()
}

#[test]
fn ten_thousand_pods_fold_and_are_refused_one_by_one() {
    let crowd = crowd();
    let folded = run(&["matrix", "-f", "-"], &crowd).expect(0).stdout;
    assert!(
        folded.ends_with("50 rows x 50 columns x 1 port: 50 allowed, 2450 denied\n"),
        "{}",
        &folded[folded.len() - 80..]
    );
    run(&["matrix", "-f", "-", "-o", "html"], &crowd).expect(0);
    for rest in [&["-o", "json"][..], &["-o", "csv"], &["--pods"], &["--pods", "-o", "html"]] {
        let run = run(&[&["matrix", "-f", "-"], rest].concat(), &crowd).expect(2);
        assert!(run.stderr.contains("10000 rows x 10000 columns x 1 port"), "{rest:?}: {}", run.stderr);
        assert!(run.stderr.contains("--from, --to or --port"), "{rest:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{rest:?}");
    }
    // A page holds fewer cells than other formats.
    let some = ["matrix", "-f", "-", "--from", "crowd/w1-*", "--pods"];
    run(&[&some[..], &["-o", "csv"]].concat(), &crowd).expect(0);
    let refused = run(&[&some[..], &["-o", "html"]].concat(), &crowd).expect(2);
    assert!(refused.stderr.contains("make 2000000 cells, a page has at most 200000"), "{}", refused.stderr);
}

fn from_json(text: &str) -> Cells {
    let document: Value = serde_json::from_str(text).expect("it is JSON");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cell = |flow: &Value| {
        let families = flow.get("families").map(|list| list.as_array().unwrap().iter().map(text).collect());
        let port = format!("{} {}", text(&flow["protocol"]), flow["port"]);
        ((text(&flow["from"]), text(&flow["to"]), port), outcome(&text(&flow["verdict"]), families))
    };
    unique(document["flows"].as_array().unwrap().iter().map(cell))
}

fn from_csv(text: &str) -> Cells {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("from,to,port,protocol,verdict,families"));
    let cell = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [from, to, port, protocol, verdict, families] = fields[..] else { panic!("{line}") };
        let families = match families {
            "" => None,
            "none" => Some(Vec::new()),
            some => Some(some.split(' ').map(str::to_owned).collect()),
        };
        let symbol = outcome(verdict, families);
        ((from.to_owned(), to.to_owned(), format!("{protocol} {port}")), symbol)
    };
    unique(lines.map(cell))
}

fn outcome(verdict: &str, families: Option<Vec<String>>) -> char {
    match (verdict, families.as_deref()) {
        ("allow", None) => '.',
        ("deny", None) => 'X',
        ("deny", Some([])) => ' ',
        ("allow", Some([family])) if family == "IPv4" => '4',
        ("allow", Some([family])) if family == "IPv6" => '6',
        other => panic!("{other:?}"),
    }
}

fn unique(cells: impl Iterator<Item = ((String, String, String), char)>) -> Cells {
    let mut found = Cells::new();
    for (flow, cell) in cells {
        assert!(found.insert(flow.clone(), cell).is_none(), "{flow:?} is told twice");
    }
    found
}

/// A matrix of pods as text; `-` is a flow that is allowed.
fn from_text(text: &str) -> Cells {
    let allowed = |cell| if cell == '-' { '.' } else { cell };
    let cells = from_folded(text).into_iter().map(|(flow, cell)| (flow, allowed(cell)));
    cells.filter(|((from, to, _), _)| !(is_outside(from) && is_outside(to))).collect()
}

fn is_outside(name: &str) -> bool {
    name.split('/').next().unwrap().contains(['.', ':'])
}

/// A matrix as a person reads it: rows are numbered and named, columns are numbered alike or have a list of their own.
fn from_folded(text: &str) -> Cells {
    let mut cells = Cells::new();
    let mut columns: Vec<String> = Vec::new();
    let (mut title, mut namespace, mut places): (&str, &str, Vec<usize>) = ("", "", Vec::new());
    let mut rows: Vec<(String, String, String)> = Vec::new();
    let is_numbers = |line: &str| line.chars().all(|c| c == ' ' || c.is_ascii_digit()) && !line.trim().is_empty();
    for line in text.lines().skip(1) {
        let numbered = line.trim_start().split_once(' ').filter(|(number, _)| number.parse::<usize>().is_ok());
        if ["TCP ", "UDP ", "SCTP "].iter().any(|protocol| line.starts_with(protocol)) {
            title = line;
        } else if is_numbers(line) && line.starts_with("     ") {
            places = line.char_indices().filter(|(_, c)| *c != ' ').map(|(place, _)| place).collect();
        } else if let Some((_, name)) = numbered.filter(|_| title.is_empty() && line.starts_with(' ')) {
            columns.push(name.to_owned());
        } else if let Some((_, rest)) = numbered.filter(|_| line.starts_with(' ')) {
            let short = rest.split([' ']).next().unwrap();
            let name =
                if namespace == "outside the cluster" { short.to_owned() } else { format!("{namespace}/{short}") };
            let symbols =
                places.iter().map(|place| char::from(*line.as_bytes().get(*place).unwrap_or(&b' '))).collect();
            rows.push((title.to_owned(), name, symbols));
        } else {
            namespace = line;
        }
    }
    if columns.is_empty() {
        let first = &rows[0].0;
        columns = rows.iter().filter(|row| row.0 == *first).map(|row| row.1.clone()).collect();
    }
    for (title, from, symbols) in rows {
        assert_eq!(symbols.chars().count(), columns.len(), "{title}: {from}");
        for list in title.split("  ") {
            let (protocol, numbers) = list.split_once(' ').unwrap();
            for number in numbers.split(',') {
                for (to, symbol) in columns.iter().zip(symbols.chars()) {
                    cells.insert((from.clone(), to.clone(), format!("{protocol} {number}")), symbol);
                }
            }
        }
    }
    cells
}

/// The data that a page carries.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").expect("the page has data");
    let (data, _) = rest.split_once("</script>").expect("the element ends");
    serde_json::from_str(data).expect("it is JSON")
}

/// Calls with `from`, `to`, port, symbol and cases of each cell of a page.
fn each_cell(data: &Value, mut visit: impl FnMut(&str, &str, &str, char, &[Value])) {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let rows = list(&data["rows"]);
    let columns = if data["columns"].is_null() { rows.clone() } else { list(&data["columns"]) };
    for (from, places) in rows.iter().zip(list(&data["grid"])) {
        let places = list(&places);
        assert_eq!(places.len(), columns.len());
        for (to, place) in columns.iter().zip(places) {
            let pattern = &data["patterns"][place.as_u64().unwrap() as usize];
            let symbols = pattern[0].as_str().unwrap().chars();
            for ((port, symbol), reason) in list(&data["ports"]).iter().zip(symbols).zip(list(&pattern[1])) {
                let port = format!("{} {}", port[0].as_str().unwrap(), port[1]);
                let cases = list(&data["reasons"][reason.as_u64().unwrap() as usize]);
                visit(from["name"].as_str().unwrap(), to["name"].as_str().unwrap(), &port, symbol, &cases);
            }
        }
    }
}

fn from_page(data: &Value) -> Cells {
    let mut cells = Cells::new();
    let is_by_pod = data["rows"].as_array().unwrap().iter().all(|row| row["kind"].is_null());
    each_cell(data, |from, to, port, symbol, _| {
        let symbol = if is_by_pod && symbol == '-' { '.' } else { symbol };
        if !(is_outside(from) && is_outside(to)) {
            cells.insert((from.to_owned(), to.to_owned(), port.to_owned()), symbol);
        }
    });
    cells
}

#[test]
fn every_key_of_the_json_is_documented() {
    podwall_tests::assert_documented("matrix", &[serde_json::from_str(&matrix(&ENDS, &["-o", "json"])).unwrap()]);
}
