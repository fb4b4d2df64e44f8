//! Loading manifests: every form that is taken, and every error with its place.

use podwall_tests::{Manifests, Run, run};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: a}}\nspec: {nodeName: n1, containers: []}\n\
     status: {phase: Running, podIP: 10.0.0.1}\n";
const POLICY: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector: {}\n";

fn compile(stdin: &str) -> Run {
    run(&["compile", "-f", "-"], stdin)
}

#[test]
fn files_directories_and_standard_input_add_up() {
    let directory = Manifests::new(&[("pod.yaml", POD), ("notes.txt", "no manifest: ["), (".hidden.yaml", "[")]);
    std::fs::create_dir(directory.path().join("deeper")).unwrap();
    std::fs::write(directory.path().join("deeper/b.yml"), POD.replace("name: a", "name: b").replace("0.1", "0.2"))
        .unwrap();
    let single = Manifests::new(&[(
        "c.json",
        "{\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\", \"metadata\": {\"name\": \"c\"}, \
         \"spec\": {\"nodeName\": \"n1\"}, \"status\": {\"podIPs\": [{\"ip\": \"10.0.0.3\"}]}}",
    )]);
    let file = single.path().join("c.json");
    let run = run(&["compile", "-f", directory.argument(), "-f", file.to_str().unwrap(), "-f", "-"], POLICY).expect(0);
    assert!(run.stdout.contains("# node n1: 3 pods with an address, 3 of them isolated"), "{}", run.stdout);
}

#[test]
fn lists_are_read_as_kubectl_prints_them() {
    for kind in ["List", "PodList"] {
        let list = format!(
            "{{apiVersion: v1, kind: {kind}, metadata: {{resourceVersion: ''}}, items: [{{apiVersion: v1, kind: Pod, \
             metadata: {{name: a}}, spec: {{nodeName: n1}}, status: {{podIP: 10.0.0.1}}}}]}}"
        );
        let run = compile(&list).expect(0);
        assert!(run.stdout.contains("# node n1: 1 pods"), "{kind}: {}", run.stdout);
    }
}

#[test]
fn workloads_stand_for_their_pods() {
    let template = "template: {metadata: {labels: {app: x}}, spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 80}]}]}}";
    let workload = |kind: &str, api: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: {api}, kind: {kind}, metadata: {{name: {}}}, spec: {{{spec}}}}}\n",
            kind.to_lowercase()
        )
    };
    let input = [
        workload("Deployment", "apps/v1", &format!("replicas: 2, {template}")),
        workload("StatefulSet", "apps/v1", &format!("replicas: 2, {template}")),
        workload("DaemonSet", "apps/v1", template),
        workload("ReplicaSet", "apps/v1", template),
        workload("Job", "batch/v1", template),
        workload("CronJob", "batch/v1", &format!("jobTemplate: {{spec: {{{template}}}}}")),
    ]
    .concat();
    let run = run(&["compile", "-f", "-", "--addresses", "10.0.0.0/24"], &input).expect(0);
    for pod in ["deployment-1", "deployment-2", "statefulset-0", "statefulset-1", "replicaset-1", "job-1", "cronjob-1"]
    {
        assert!(run.stdout.contains(&format!("#   default/{pod}: ")), "{pod} is missing in {}", run.stdout);
    }
    assert!(run.stdout.contains("default/daemonset"), "{}", run.stdout);
}

#[test]
fn other_kinds_are_passed_over_and_counted() {
    let others = "---\n{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: b}}\n".repeat(2)
        + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}\n---\n";
    let run = compile(&(others + POD)).expect(0);
    assert!(run.stderr.contains("passed over: 1 ConfigMap, 2 Secret"), "{}", run.stderr);
}

#[test]
fn a_policy_is_read_strictly_and_every_error_is_told_with_its_place() {
    let input = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n  namespace: shop\nspec:\n  podSelectr: {}\n  \
         ingress:\n    - from:\n        - podSelector: {}\n      from: []\n      ports:\n        - port: \"80\"\n        - prot: 80\n";
    let run = compile(input).expect(2);
    assert_eq!(run.stdout, "");
    for (place, path) in [
        ("<stdin>:7:", "spec.podSelectr"),
        ("<stdin>:11:", "spec.ingress[0].from"),
        ("<stdin>:13:", "spec.ingress[0].ports[0].port"),
        ("<stdin>:14:", "spec.ingress[0].ports[1].prot"),
    ] {
        let found =
            run.stderr.lines().any(|line| line.starts_with(place) && line.contains(path) && line.contains("shop/p"));
        assert!(found, "{place} {path} is missing in\n{}", run.stderr);
    }
    assert!(run.stderr.contains("4 errors in the input"), "{}", run.stderr);
}

#[test]
fn of_other_kinds_the_fields_that_count_are_read_as_strictly() {
    for (wrong, place) in [
        (POD.replace("app: a", "app: 1"), "<stdin>:3:"),
        (POD.replace("nodeName: n1", "nodeName: n1, nodeName: n2"), "<stdin>:4:"),
        (POD.replace("10.0.0.1", "10.0.0.256"), "<stdin>:5:"),
    ] {
        let run = compile(&wrong).expect(2);
        assert!(run.stderr.contains(place), "{wrong}\n{}", run.stderr);
    }
    // What nothing reads passes, also fields that nobody here has seen.
    compile(&POD.replace("nodeName: n1", "nodeName: n1, someday: {a: 1}")).expect(0);
}

#[test]
fn errors_of_all_files_are_told_and_nothing_is_printed() {
    let directory =
        Manifests::new(&[("a.yaml", "{"), ("b.yaml", &POLICY.replace("podSelector", "subject")), ("c.yaml", POD)]);
    let run = run(&["compile", "-f", directory.argument()], "").expect(2);
    assert!(run.stderr.contains("a.yaml:1:") && run.stderr.contains("b.yaml:5:"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[test]
fn an_object_that_is_defined_twice_is_an_error_with_both_places() {
    let run = compile(&format!("{POLICY}---\n{POLICY}")).expect(2);
    assert!(run.stderr.contains("NetworkPolicy default/p is defined twice: <stdin>:7:"), "{}", run.stderr);
    assert!(run.stderr.contains("<stdin>:1:"), "{}", run.stderr);
}

#[test]
fn odd_cidrs_are_warned_of_and_refused_where_that_is_asked_for() {
    let policy = format!("{POLICY}  ingress: [{{from: [{{ipBlock: {{cidr: 10.1.2.3/8}}}}]}}]\n---\n{POD}");
    let run_legacy = compile(&policy).expect(0);
    assert!(run_legacy.stderr.contains("warning") && run_legacy.stderr.contains("10.0.0.0/8"), "{}", run_legacy.stderr);
    run(&["compile", "-f", "-", "--strict-cidrs"], &policy).expect(2);
}

#[test]
fn a_path_that_does_not_exist_is_an_error() {
    let run = run(&["compile", "-f", "no/such/file.yaml"], "").expect(2);
    assert!(run.stderr.contains("no/such/file.yaml"), "{}", run.stderr);
}

#[test]
fn wrong_flags_exit_with_2() {
    run(&["compile"], "").expect(2);
    run(&["compile", "-f", "-", "--mark-mask", "5"], POD).expect(2);
    run(&["no-such-verb"], "").expect(2);
}
