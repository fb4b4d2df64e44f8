//! `podwall compile`: what it prints loads, and the text, the JSON and the agent's netlink come to one table.

use lab::Namespace;
use podwall_tests::{
    Manifests, agent, assert_same_lines, fixture, golden, json_listing, listing, namespace, nft, root, run, run_in,
    without_comments,
};
use serde_json::Value;

const ADDRESSES: &str = "10.244.0.0/24,fd00:10:244::/64";

/// Every fixture that is a cluster, and its nodes.
const CLUSTERS: [(&str, &[&str]); 3] = [
    ("shop", &["worker-1", "worker-2"]),
    ("seeds/web-allow-frontend", &["node"]),
    ("seeds/restrict-access", &["node"]),
];

fn compile(cluster: &str, node: &str, format: &str) -> String {
    let path = fixture(cluster);
    let path = path.to_str().unwrap();
    run(&["compile", "-f", path, "--node", node, "--addresses", ADDRESSES, "-o", format], "").expect(0).stdout
}

fn loaded(name: &str, arguments: &[&str], rules: &str) -> Namespace {
    let namespace = namespace(name);
    nft(&namespace, arguments, rules);
    namespace
}

#[test]
fn text_and_json_load_to_the_same_table() {
    for (cluster, nodes) in CLUSTERS {
        for node in nodes {
            let text = loaded("text", &["-f", "-"], &compile(cluster, node, "nft"));
            let json = compile(cluster, node, "json");
            assert!(json.trim_end().ends_with('}'), "nft 1.0.6 takes a cut-off document for an empty one");
            let json = loaded("json", &["-j", "-f", "-"], &json);
            let [text, json] = [text, json].map(|loaded| without_comments(&listing(&loaded)));
            assert_same_lines(&text, &json, &format!("{cluster} {node}"));
        }
    }
}

#[test]
fn what_the_agent_writes_and_what_nft_loads_from_the_text_list_alike() {
    for (cluster, nodes) in CLUSTERS {
        for node in nodes {
            let manifests = agent::with_addresses(&fixture(cluster), ADDRESSES);
            let path = manifests.argument();
            let text = run(&["compile", "-f", path, "--node", node], "").expect(0);
            assert!(!text.stderr.contains("no address"), "{}", text.stderr);
            let kernel = namespace("agent");
            let mut agent = agent::start(&kernel, path, node, &[]);
            let text = loaded("text", &["-f", "-"], &of_the_same_generation(&text.stdout, &mut agent));
            assert_same_lines(&listing(&kernel), &listing(&text), &format!("{cluster} {node}"));
            assert!(json_listing(&kernel) == json_listing(&text), "{cluster} {node}: the JSON listings differ");
        }
    }
}

/// Compiled text is of the first generation; an agent that makes a table from nothing begins anywhere.
fn of_the_same_generation(text: &str, agent: &mut lab::Process) -> String {
    let said = agent.stderr().join("\n");
    let number = said.split("generation=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let number: u32 = number.expect("an agent says what it commits").parse().expect("a number");
    assert!(text.contains("0x00100000"), "{text}");
    text.replace("0x00100000", &format!("0x{:08x}", number << 20))
}

#[test]
fn the_text_can_be_loaded_in_place_of_the_table_that_is_there() {
    let text = compile("shop", "worker-1", "nft");
    let once = loaded("once", &["-f", "-"], &text);
    let replaced = format!("delete table inet podwall\n{text}");
    let before = listing(&once);
    nft(&once, &["-f", "-"], &replaced);
    assert_same_lines(&listing(&once), &before, "loaded again");
}

#[test]
fn the_rules_of_every_fixture_are_the_ones_beside_it() {
    for (cluster, _) in CLUSTERS {
        let path = format!("fixtures/{cluster}");
        let text = run(&["compile", "-f", &path, "--addresses", ADDRESSES], "").expect(0).stdout;
        golden(&root().join(path).join("expected.nft"), &text);
    }
}

#[test]
fn equal_input_gives_equal_output() {
    let once = compile("shop", "worker-1", "json");
    assert_eq!(once, compile("shop", "worker-1", "json"));
}

#[test]
fn without_a_node_every_node_has_its_plan() {
    let text = run(&["compile", "-f", "fixtures/shop"], "").expect(0).stdout;
    assert_eq!(text.matches("table inet podwall {").count(), 2);
    assert!(text.contains("# node worker-1:") && text.contains("# node worker-2:"), "{text}");
    let json = run(&["compile", "-f", "fixtures/shop", "-o", "json"], "").expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let nodes: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(nodes, ["worker-1", "worker-2"]);
}

#[test]
fn pods_without_an_address_are_counted_and_named() {
    let run = run(&["compile", "-f", "fixtures/shop", "--node", "worker-1"], "").expect(0);
    assert!(run.stderr.contains("5 pods have no address yet"), "{}", run.stderr);
    let left_out = run.stdout.lines().find(|line| line.contains("left out")).unwrap();
    assert!(left_out.contains("platform/dns-worker-1") && left_out.contains("shop/frontend-"), "{left_out}");
}

#[test]
fn an_unknown_node_is_an_error_that_names_the_known_ones() {
    let run = run(&["compile", "-f", "fixtures/shop", "--node", "worker-3"], "").expect(2);
    assert!(run.stderr.contains("no node worker-3") && run.stderr.contains("worker-1, worker-2"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[test]
fn addresses_that_do_not_suffice_are_an_error() {
    let run = run(&["compile", "-f", "fixtures/shop", "--addresses", "10.0.0.0/30"], "").expect(2);
    assert!(run.stderr.contains("10.0.0.0/30 has no address left for pod"), "{}", run.stderr);
}

#[test]
fn settings_of_the_data_plane_reach_the_rules() {
    let arguments = "compile -f fixtures/shop --node worker-1 --addresses 10.0.0.0/24 --deny-with reject --mark-mask 0xff \
         --drop-log-group 7 --pod-interface cni0 --pod-interface veth* --unknown-pods drop --table other";
    let text = run(&arguments.split_whitespace().collect::<Vec<_>>(), "").expect(0).stdout;
    for phrase in [
        "table inet other {",
        "reject with tcp reset",
        "reject with icmpx admin-prohibited",
        "ct mark & 0x000000ff == 0x00000001",
        "group 7",
        "iifname \"cni0\" goto unknown_pod",
        "oifname \"veth*\" goto unknown_pod",
    ] {
        assert!(text.contains(phrase), "{phrase} is missing in\n{text}");
    }
    let namespace = namespace("settings");
    nft(&namespace, &["-f", "-"], &text);
    let refused = run_in(&namespace, &["compile", "-f", "fixtures/shop", "--unknown-pods", "drop"]).expect(2);
    assert!(refused.stderr.contains("--pod-interface"), "{}", refused.stderr);
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    // More than a pipe holds, so that writing the rest must fail.
    let command = format!(
        "{} compile -f fixtures/shop --addresses {ADDRESSES} -o json | head -1",
        podwall_tests::podwall().display()
    );
    let output = std::process::Command::new("bash")
        .args(["-o", "pipefail", "-c", &command])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_directory_without_manifests_is_an_error() {
    let empty = Manifests::new(&[]);
    let run = run(&["compile", "-f", empty.argument()], "").expect(2);
    assert!(run.stderr.contains("no manifests"), "{}", run.stderr);
}

#[test]
fn stats_count_what_the_listing_holds() {
    let shop = |more: &[&str]| {
        run(&[&["compile", "-f", "fixtures/shop", "--addresses", "10.244.0.0/24"], more].concat(), "").stdout
    };
    let stats: Value = serde_json::from_str(&shop(&["--stats", "-o", "json"])).unwrap();
    podwall_tests::assert_documented("compile --stats", std::slice::from_ref(&stats));
    let nodes = stats["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    for node in nodes {
        let name = node["node"].as_str().unwrap();
        let listing = shop(&["--node", name]);
        let starting = |words: &[&str]| {
            let starts =
                |line: &&str| words.iter().any(|word| line.strip_prefix('\t').is_some_and(|l| l.starts_with(word)));
            listing.lines().filter(starts).count() as u64
        };
        assert_eq!(node["chains"], starting(&["chain "]), "{name}");
        assert_eq!(node["sets"], starting(&["set ", "map "]), "{name}");
        let heading =
            format!("# node {name}: {} pods with an address, {} of them isolated", node["pods"], node["isolated"]);
        assert!(listing.starts_with(&heading), "{heading}");
        assert!(node["elements"].as_u64() > node["pods"].as_u64() && node["rules"].as_u64() > node["chains"].as_u64());
    }
    let text = shop(&["--stats"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    let total: u64 = nodes.iter().map(|node| node["elements"].as_u64().unwrap()).sum();
    assert!(text.lines().last().unwrap().ends_with(&format!(" {total}")), "{text}");
}
