//! Reading files of expectations, strictly.

use std::fmt;
use std::sync::Arc;

use policy_compiler::model::{Labels, Origin};
use policy_compiler::verdict::Traffic;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::Expectation;
use crate::party::{Pattern, parse_traffic};

/// Why a file holds no expectations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectationError {
    /// It is not what was expected, or no YAML at all.
    #[error("{origin}: {message}")]
    Malformed {
        /// Where.
        origin: Origin,
        /// What is wrong, in one line.
        message: String,
    },
    /// Nothing is expected: such a file would pass whatever the policies say.
    #[error("{0}: no expectations: must be a list of {{from, to, port, verdict, note}}")]
    Empty(Arc<str>),
}

/// Reads a file.
///
/// # Errors
/// For whatever is not an expectation: unknown fields, names that cannot be anybody's, ports that are none.
pub fn read(file: &Arc<str>, text: &str) -> Result<Vec<Expectation>, ExpectationError> {
    let origin = |line: u64, column: u64| {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Origin { file: file.clone(), line: number(line), column: number(column) }
    };
    let written: Option<Vec<Spanned<Written>>> = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        let message = error.without_snippet().to_string();
        ExpectationError::Malformed { origin: origin(line, column), message: tidy(&message) }
    })?;
    let expectations: Vec<Expectation> = written
        .unwrap_or_default()
        .into_iter()
        .map(|Spanned { value, referenced, .. }| Expectation {
            from: value.from.0,
            to: value.to.0,
            traffic: value.port.and_then(|port| port.0),
            allowed: value.verdict == Verdict::Allow,
            note: value.note,
            origin: origin(referenced.line(), referenced.column()),
        })
        .collect();
    if expectations.is_empty() {
        return Err(ExpectationError::Empty(file.clone()));
    }
    Ok(expectations)
}

/// In one line, without the place, which stands in front, and without advice to programmers.
fn tidy(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.rsplit_once(" at line ").map_or(&*line, |(line, _)| line);
    line.split_once(", set DuplicateKeyPolicy").map_or(line, |(line, _)| line).to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: Who,
    to: Who,
    port: Option<Port>,
    verdict: Verdict,
    note: Option<String>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
}

/// A pattern as a text, or `{namespace, labels}`.
struct Who(Pattern);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pods {
    namespace: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WhoVisitor;
        impl<'de> Visitor<'de> for WhoVisitor {
            type Value = Who;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, an address, or {namespace, labels}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Who, E> {
                text.parse().map(Who).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Who, A::Error> {
                let Pods { namespace, labels } = Pods::deserialize(de::value::MapAccessDeserializer::new(map))?;
                if namespace.is_none() && labels.is_empty() {
                    return Err(de::Error::custom("must have a namespace or labels; everybody is \"*/*\""));
                }
                let labels: Labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                Ok(Who(Pattern::labels(namespace.as_deref(), &labels)))
            }
        }
        deserializer.deserialize_any(WhoVisitor)
    }
}

/// A port; `*` is all traffic.
struct Port(Option<Traffic>);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl Visitor<'_> for PortVisitor {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 80 or 53/UDP, icmp, or *")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                match text {
                    "*" => Ok(Port(None)),
                    text => parse_traffic(text).map(|traffic| Port(Some(traffic))).map_err(E::custom),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Port, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}
