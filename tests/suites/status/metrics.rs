//! `/metrics`: that it is OpenMetrics text, and that docs/metrics.md tells of exactly what is there.

use std::collections::{BTreeMap, BTreeSet};

use lab::{Expectation, Lab, LabSpec, Observed, PodNetwork, PodSpec, Probe, Protocol, Traffic};
use podwall_tests::{Manifests, agent, root};

use super::{BROKEN, NODE, PATIENCE, PODS, POLICY, get, manifests, node, probe, start, until};

/// What is there of one metric.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

type Metrics = BTreeMap<String, Metric>;

/// Reads OpenMetrics text as strictly as a scraper does; metrics by the names that a query uses.
fn parse(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut described: BTreeMap<String, String> = BTreeMap::new();
    let (body, rest) = text.split_once("# EOF\n").expect("it ends");
    assert_eq!(rest, "", "nothing stands behind the end");
    let mut current = String::new();
    for line in body.lines() {
        if let Some(description) = line.strip_prefix("# ") {
            let [what, name, value] = description.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            match what {
                "HELP" => assert!(!value.is_empty(), "{line}"),
                "TYPE" => assert_eq!(described.insert(name.into(), value.into()), None, "{name} is described twice"),
                _ => panic!("{line}"),
            }
            current = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect(line);
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect(line);
        let kind = described.get(&current).expect(line).clone();
        let suffixes: &[&str] = match &*kind {
            "counter" => &["_total"],
            "info" => &["_info"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => panic!("{line}"),
        };
        assert!(suffixes.iter().any(|suffix| name == format!("{current}{suffix}")), "{line} is no {kind} {current}");
        let query_name = if kind == "histogram" { &current } else { name };
        let metric = metrics.entry(query_name.to_owned()).or_insert_with(|| Metric { kind, ..Metric::default() });
        let names = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once("=\"").expect(line);
            assert!(!value.trim_end_matches('"').contains(['"', '\n']), "{line}");
            name.to_owned()
        });
        metric.labels.extend(names.filter(|name| name != "le"));
    }
    metrics
}

fn documented() -> Metrics {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(|line| line.contains("` | "));
    let words = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let metric = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, ..] = cells[..] else { return None };
        assert!(!meaning.is_empty(), "{line}");
        Some((name.trim_end_matches('`').to_owned(), Metric { kind: kind.to_owned(), labels: words(labels) }))
    };
    rows.filter_map(metric).collect()
}

/// There only where there is an API server.
const OF_AN_API_SERVER: [&str; 2] = ["podwall_api_state_age_seconds", "podwall_api_up"];

#[test]
fn what_is_there_is_documented_and_what_is_documented_is_there() {
    let (node, manifests) = (node(), manifests());
    manifests.write("broken.yaml", BROKEN);
    let _first = start(&node, &manifests, &[]);
    // What is refused is counted: the first one owns the table.
    let mut second = agent::launch(&node, manifests.argument(), NODE, &["--http", "127.0.0.1:9470"]);
    second.wait_for_line("owned", PATIENCE).unwrap();
    let refused = until("the second one answers", || get(&node, "127.0.0.1:9470", "/metrics")).1;
    let refused = parse(&refused);
    assert!(refused.contains_key("podwall_refused_operations_total"), "{refused:#?}");
    let mut found = parse(&probe(&node, "/metrics").1);
    found.extend(refused);

    let mut documented = documented();
    for name in OF_AN_API_SERVER {
        documented.remove(name).unwrap_or_else(|| panic!("docs/metrics.md does not tell of {name}"));
    }
    let names = |metrics: &Metrics| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&documented));
    assert_eq!(found, documented);
    assert!(found.keys().all(|name| name.starts_with("podwall_") || name.starts_with("process_")));
}

#[test]
fn of_more_pods_than_wanted_the_rest_is_only_counted() {
    let (node, manifests) = (node(), manifests());
    let told = |more: &[&str]| {
        let _agent = start(&node, &manifests, more);
        let text = probe(&node, "/metrics").1;
        let lines =
            |name: &str| text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect::<Vec<_>>();
        (lines("podwall_denied_packets_total"), lines("podwall_denied_packets_omitted_pods"))
    };
    let series = "podwall_denied_packets_total{namespace=\"shop\",pod=\"web\",direction=\"ingress\"} 0";
    assert_eq!(told(&[]), (vec![series.into()], vec!["podwall_denied_packets_omitted_pods 0".into()]));
    manifests.write(
        "more.yaml",
        "---\n{apiVersion: v1, kind: Pod, metadata: {name: more, namespace: shop, labels: {app: web}}, \
         spec: {nodeName: n1, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.244.1.9}]}}\n",
    );
    let (told_of, omitted) = told(&["--pod-metrics", "1"]);
    assert_eq!((told_of.len(), &*omitted), (1, &["podwall_denied_packets_omitted_pods 1".to_owned()][..]));
    assert_eq!(told(&["--pod-metrics", "0"]), (Vec::new(), Vec::new()));
}

#[test]
fn packets_that_are_denied_are_counted_for_their_pod() {
    let spec = |name: &str| PodSpec { id: format!("shop/{name}"), node: NODE.into(), ports: vec![(Protocol::Tcp, 80)] };
    let lab = Lab::build(&LabSpec {
        nodes: vec![NODE.into()],
        network: PodNetwork::default(),
        pods: vec![spec("client"), spec("web")],
        ..LabSpec::default()
    })
    .unwrap();
    let web = lab.addresses("shop/web").unwrap();
    let ips: Vec<String> = web.iter().map(|address| format!("{{ip: '{address}'}}")).collect();
    let pods = PODS.replace("{ip: 10.244.1.3}, {ip: 'fd00::3'}", &ips.join(", "));
    let manifests = Manifests::new(&[("pods.yaml", &pods), ("policy.yaml", POLICY)]);
    let node = lab.namespace(NODE).unwrap();
    let _agent = start(node, &manifests, &[]);
    let denied = || {
        let name = "podwall_denied_packets_total{namespace=\"shop\",pod=\"web\",direction=\"ingress\"} ";
        let text = probe(node, "/metrics").1;
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).expect("web is isolated")
    };
    assert_eq!(denied(), 0);
    let probe = |to| Probe::new("shop/client", to, Traffic::Port(Protocol::Tcp, 80), Expectation::Denied);
    let probes: Vec<Probe> = web.iter().map(|address| probe(*address)).collect();
    assert_eq!(lab.probe_all(&probes, |_, _| {}).unwrap(), vec![Observed::Denied; probes.len()]);
    assert!(denied() >= probes.len() as u64, "{} of {} families", denied(), probes.len());
}
