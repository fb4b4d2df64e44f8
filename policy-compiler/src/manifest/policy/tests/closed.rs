//! What stands in for policies with mistakes.

use super::*;

#[test]
fn invariant_1_a_policy_with_mistakes_closes_what_it_selects() {
    let text = with_spec("podSelector: {matchLabels: {app: web}}\ningress: [{from: [{}]}]");
    let manifest = manifest(&text);
    let Content::Invalid { id, closed: Some(policy) } = &manifest.documents[0].content else { panic!() };
    assert_eq!(*id, Some(ObjectId::Policy(ObjectName::new("shop", "web"))));
    assert_eq!(
        *policy,
        Policy {
            name: ObjectName::new("shop", "web"),
            subject: Selector::label("app", "web"),
            ingress: Some(vec![]),
            egress: None,
            closed: true,
            origin: Some(Origin { file: "m.yaml".into(), line: 1, column: 1 }),
        }
    );
}

#[test]
fn invariant_1_directions_are_those_that_the_policy_names() {
    let wrong = "ingress: [{from: [{}]}]\n";
    for (spec, expected) in [
        ("", INGRESS),
        ("policyTypes: [Egress]", EGRESS),
        ("policyTypes: [Ingress, Egress]", &Direction::BOTH),
        ("egress: [{}]", &Direction::BOTH),
        ("egress: []", INGRESS),
        ("egress: [{to: [{}]}]", &Direction::BOTH),
        ("egress: x", &Direction::BOTH),
        ("policyTypes: [egress]", &Direction::BOTH),
        ("policyTypes: [Ingress, Ingress, Ingress]", &Direction::BOTH),
        ("policyTypes: [Ingress]\npolicyTypes: [Ingress]", &Direction::BOTH),
    ] {
        assert_eq!(
            isolates(&closed(&with_spec(&format!("{wrong}podSelector: {{}}\n{spec}"))).unwrap()),
            expected,
            "{spec}"
        );
    }
    // Any of these may be a misspelt policyTypes.
    assert_eq!(isolates(&closed(&with_spec("podSelector: {}\npolicytypes: [Egress]")).unwrap()), Direction::BOTH);
}

#[test]
fn invariant_1_nothing_is_closed_that_cannot_be_trusted() {
    let wrong = "ingress: [{from: [{}]}]\n";
    for spec in [
        "podSelector: {matchLabels: {a: 1}}",
        "podSelector: {matchLabel: {a: b}}",
        "podSelector: {matchLabels: {a: b, a: c}}",
        "podSelector: {}\npodSelector: {}",
        "podSelector: x",
        "podSelectr: {}",
        "podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}",
        "podSelector: {matchExpressions: [~]}",
    ] {
        assert_eq!(closed(&with_spec(&format!("{wrong}{spec}"))), None, "{spec}");
    }
    assert!(closed(&with_spec(wrong)).is_some(), "no podSelector is every pod");
    for text in [
        format!("{HEAD}spec: []\n"),
        format!("{HEAD}spec: {{}}\nspec: {{}}\n"),
        format!("{HEAD}sepc: {{}}\n"),
        with_spec(wrong).replace("name: web", "name: Web"),
        with_spec(wrong).replace("namespace: shop", "namespace: Shop"),
        with_spec(wrong).replace("namespace: shop", "namspace: shop"),
        with_spec(wrong).replace("namespace: shop", "namespace: shop, namespace: shop"),
        with_spec(wrong).replace("name: web, ", ""),
    ] {
        assert_eq!(closed(&text), None, "{text}");
    }
}
