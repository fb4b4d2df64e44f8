//! One thing that is probably not meant.

use policy_compiler::model::Origin;

use super::{Code, Severity};

/// One thing that is probably not meant, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What sort of thing it is.
    pub code: Code,
    /// Mostly the code's.
    pub severity: Severity,
    /// Kind and name, where it is about an object: `NetworkPolicy shop/web`.
    pub object: Option<String>,
    /// The field, where it is about one: `spec.ingress[0].from[1]`.
    pub path: Option<String>,
    /// Where that is written.
    pub origin: Origin,
    /// What is so.
    pub message: String,
    /// Why it matters.
    pub why: String,
    /// What to write instead; of several lines where it is YAML.
    pub help: Option<String>,
}

impl Finding {
    /// A finding with the severity of its code.
    pub(super) fn new(code: Code, origin: Origin, message: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            object: None,
            path: None,
            origin,
            message: message.into(),
            why: why.into(),
            help: None,
        }
    }

    /// The same with advice.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// `1 pod`, `2 pods`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Some of the texts, and how many there are besides.
pub(super) fn some<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let texts: Vec<T> = texts.into_iter().collect();
    let mut list: Vec<String> = texts.iter().take(SHOWN).map(|text| text.as_ref().to_owned()).collect();
    if texts.len() > SHOWN {
        list.push(format!("{} more", texts.len() - SHOWN));
    }
    list.join(", ")
}
