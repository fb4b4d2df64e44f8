//! Findings as SARIF 2.1.0, which code hosts show beside the lines.

use analysis::lint::{Code, Finding, Report, Severity};
use serde_json::{Value, json};

/// A log of one run.
pub(crate) fn log(report: &Report) -> Value {
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "podwall",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": Code::ALL.map(rule),
                },
            },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.name(),
        "shortDescription": {"text": code.summary()},
        "help": {"text": format!("docs/lint.md#{code}")},
        "defaultConfiguration": {"level": level(code.severity())},
    })
}

fn result(finding: &Finding) -> Value {
    let help = finding.help.as_ref().map_or_else(String::new, |help| format!("\nInstead: {help}"));
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(&finding.origin.file)},
            "region": {"startLine": finding.origin.line, "startColumn": finding.origin.column},
        },
    });
    if let Some(object) = &finding.object {
        location["logicalLocations"] = json!([{"fullyQualifiedName": object}]);
    }
    json!({
        "ruleId": finding.code.name(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == finding.code),
        "level": level(finding.severity),
        "message": {"text": format!("{}. {}{help}", finding.message, finding.why)},
        "locations": [location],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A path as a URI reference: relative as it was given, or a `file` URI.
fn uri(path: &str) -> String {
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let mut uri = scheme.to_owned();
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(byte.into()),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_are_uris() {
        for (path, expected) in [
            ("policies/web.yaml", "policies/web.yaml"),
            ("./a b.yaml", "a%20b.yaml"),
            ("/etc/x.yaml", "file:///etc/x.yaml"),
            ("<stdin>", "%3Cstdin%3E"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
