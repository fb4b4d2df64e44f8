//! Reading a tree field by field, strictly: what is wrong is reported with its place, and reading goes on.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use super::names::{self, Syntax};
use super::problem::{Problem, ProblemKind, Severity};
use super::tree::{Entry, Mark, Node, Value};
use crate::model::Origin;

/// Where the problems of one object gather.
pub(super) struct Report<'f> {
    file: &'f Arc<str>,
    problems: RefCell<Vec<Problem>>,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f Arc<str>) -> Self {
        Self { file, problems: RefCell::default() }
    }

    pub(super) fn errors(&self) -> usize {
        self.problems.borrow().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// All problems, now that the object's name is known.
    pub(super) fn into_problems(self, object: Option<&str>) -> impl Iterator<Item = Problem> {
        let object = object.map(str::to_owned);
        self.problems.into_inner().into_iter().map(move |problem| Problem { object: object.clone(), ..problem })
    }

    pub(super) fn origin(&self, mark: Mark) -> Origin {
        Origin { file: self.file.clone(), line: mark.line, column: mark.column }
    }

    fn push(&self, severity: Severity, kind: ProblemKind, mark: Mark, path: &str, message: impl Display) {
        self.problems.borrow_mut().push(Problem {
            severity,
            kind,
            origin: self.origin(mark),
            object: None,
            path: (!path.is_empty()).then(|| path.to_owned()),
            message: message.to_string(),
        });
    }
}

/// Whether fields that nobody asked for are wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// As `kubectl --validate=strict` (rule 170).
    Refused,
    /// They are somebody else's; only what would be wrong anywhere is reported.
    Passed,
}

/// A value that is there and not null.
pub(super) struct Field<'t> {
    node: &'t Node,
    path: String,
    report: &'t Report<'t>,
}

impl<'t> Field<'t> {
    /// The value that a whole object is.
    pub(super) fn root(node: &'t Node, report: &'t Report<'t>) -> Self {
        Self { node, path: String::new(), report }
    }

    pub(super) fn origin(&self) -> Origin {
        self.report.origin(self.node.mark)
    }

    pub(super) fn error(&self, message: impl Display) {
        self.error_of(ProblemKind::Invalid, message);
    }

    pub(super) fn error_of(&self, kind: ProblemKind, message: impl Display) {
        self.report.push(Severity::Error, kind, self.node.mark, &self.path, message);
    }

    /// Reports a field that this map lacks.
    pub(super) fn error_at(&self, name: &str, message: impl Display) {
        self.report.push(Severity::Error, ProblemKind::Invalid, self.node.mark, &join(&self.path, name), message);
    }

    pub(super) fn warn(&self, kind: ProblemKind, message: impl Display) {
        self.report.push(Severity::Warning, kind, self.node.mark, &self.path, message);
    }

    /// What `read` makes of the value, unless it found something wrong.
    pub(super) fn sound<T>(&self, read: impl FnOnce(&Self) -> T) -> Option<T> {
        let before = self.report.errors();
        let value = read(self);
        (self.report.errors() == before).then_some(value)
    }

    pub(super) fn string(&self) -> Option<Arc<str>> {
        match &self.node.value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(..) | Value::Number(..) => self.wrong_type("must be a string", "; quote it"),
            _ => self.wrong_type("must be a string", ""),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value, _) => Some(*value),
            _ => self.wrong_type("must be true or false", ""),
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        match &self.node.value {
            Value::Number(..) => self.whole_number().or_else(|| self.wrong_type("must be a whole number", "")),
            Value::String(text) if text.parse::<i128>().is_ok() => {
                self.wrong_type("must be a whole number", &format!("; unquote it: {text}"))
            }
            _ => self.wrong_type("must be a whole number", ""),
        }
    }

    /// The number, if it is a whole one; nothing is reported.
    pub(super) fn whole_number(&self) -> Option<i128> {
        match &self.node.value {
            Value::Number(number, _) => number.as_i128(),
            _ => None,
        }
    }

    /// A string that says something.
    pub(super) fn not_empty(&self) -> Option<Arc<str>> {
        let text = self.string()?;
        if text.is_empty() {
            self.error("must not be empty");
            return None;
        }
        Some(text)
    }

    /// A string of a syntax; one that is wrong comes back too, for there is more to say about it.
    pub(super) fn name(&self, syntax: &Syntax) -> Option<Arc<str>> {
        let text = self.string()?;
        if !(syntax.accepts)(&text) {
            self.error(format_args!("{}, is {}", syntax.allowed, quoted(&text)));
        }
        Some(text)
    }

    /// The integer, if it is the number of a port (rule 156).
    pub(super) fn port_number(&self) -> Option<u16> {
        let number = self.integer()?;
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        if port.is_none() {
            self.error(format_args!("must be between 1 and 65535, is {number}"));
        }
        port
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.node.value, Value::String(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.node.value, Value::Number(..))
    }

    pub(super) fn is_empty_string(&self) -> bool {
        matches!(&self.node.value, Value::String(text) if text.is_empty())
    }

    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// The entries of a list; null is none (it would be a peer, a rule, a port that says nothing).
    pub(super) fn items(&self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else {
            self.wrong_type::<()>("must be a list", "");
            return Vec::new();
        };
        let fields = items.iter().enumerate().map(|(index, node)| self.at(node, format!("{}[{index}]", self.path)));
        fields.filter(|field| !field.is_null_entry()).collect()
    }

    /// The entries of a map of strings; their paths are `labels[key]`.
    pub(super) fn strings(&self) -> Vec<(Arc<str>, Arc<str>, Self)> {
        let Some(entries) = self.entries() else { return Vec::new() };
        let path = |key: &str| format!("{}[{}]", self.path, shown(key));
        let duplicates = report_duplicates(entries, self.report, &path);
        let unique = entries.iter().filter(|entry| !duplicates.contains(&&*entry.key));
        unique
            .map(|entry| (&entry.key, self.at(&entry.value, path(&entry.key))))
            .filter(|(_, field)| !field.is_null_entry())
            .filter_map(|(key, field)| Some((key.clone(), field.string()?, field)))
            .collect()
    }

    /// The fields of a map.
    pub(super) fn open(&self) -> Option<Fields<'t>> {
        let entries = self.entries()?;
        let duplicates = report_duplicates(entries, self.report, &|key| join(&self.path, key));
        let (mark, path) = (self.node.mark, self.path.clone());
        Some(Fields { entries, duplicates, taken: Vec::new(), mark, path, report: self.report })
    }

    fn entries(&self) -> Option<&'t [Entry]> {
        match &self.node.value {
            Value::Map(entries) => Some(entries),
            _ => self.wrong_type("must be a map", ""),
        }
    }

    /// Reports what is wrong in any object: duplicate keys, and what JSON cannot hold.
    pub(super) fn scan(&self) {
        scan(self.node, self.report, &|| self.path.clone());
    }

    fn at(&self, node: &'t Node, path: String) -> Self {
        Self { node, path, report: self.report }
    }

    fn is_null_entry(&self) -> bool {
        let null = self.node.value == Value::Null;
        if null {
            self.error("must not be null");
        }
        null
    }

    pub(super) fn wrong_type<T>(&self, expected: &str, advice: &str) -> Option<T> {
        match &self.node.value {
            Value::Unreadable(why) => self.error(why),
            value => self.error(format_args!("{expected}, is {}{advice}", described(value))),
        }
        None
    }
}

/// The fields of a map, taken one by one. A key that stands twice has no value.
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    duplicates: HashSet<&'t str>,
    taken: Vec<&'static str>,
    mark: Mark,
    path: String,
    report: &'t Report<'t>,
}

impl<'t> Fields<'t> {
    /// A field, if it is there and not null: to the API these are the same.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'t>> {
        self.taken.push(name);
        let entry = self.entries.iter().find(|entry| *entry.key == *name && self.is_unique(name))?;
        (entry.value.value != Value::Null).then(|| self.field(entry))
    }

    /// A field that must be there.
    pub(super) fn require(&mut self, name: &'static str) -> Option<Field<'t>> {
        let field = self.take(name);
        if field.is_none() && self.is_unique(name) {
            self.missing(name, "is required");
        }
        field
    }

    /// Whether the key is there, also twice or with null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| *entry.key == *name)
    }

    /// Reports a field whose value is wrong beside another's.
    pub(super) fn wrong(&self, name: &str, message: impl Display) {
        match self.entries.iter().find(|entry| *entry.key == *name) {
            Some(entry) => self.field(entry).error(message),
            None => self.missing(name, message),
        }
    }

    /// Reports a field that is not there, at the map that lacks it.
    pub(super) fn missing(&self, name: &str, message: impl Display) {
        self.report.push(Severity::Error, ProblemKind::Invalid, self.mark, &join(&self.path, name), message);
    }

    /// Ends the reading. Whether a field that was not found is truly not there, rather than misspelt or ambiguous.
    pub(super) fn finish(self, unknown: Unknown) -> bool {
        let mut complete = self.duplicates.is_empty();
        for entry in self.entries.iter().filter(|entry| !self.taken.contains(&&*entry.key)) {
            if unknown == Unknown::Passed || matches!(entry.value.value, Value::Unreadable(_)) {
                self.field(entry).scan();
            } else if self.is_unique(&entry.key) {
                let meant = names::nearest(&entry.key, self.taken.iter().copied());
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                self.report.push(
                    Severity::Error,
                    ProblemKind::Invalid,
                    entry.mark,
                    &join(&self.path, &entry.key),
                    format!("unknown field{meant}"),
                );
            }
            complete &= unknown == Unknown::Passed;
        }
        complete
    }

    /// The key stands at most once.
    pub(super) fn is_unique(&self, key: &str) -> bool {
        !self.duplicates.contains(key)
    }

    fn field(&self, entry: &'t Entry) -> Field<'t> {
        Field { node: &entry.value, path: join(&self.path, &entry.key), report: self.report }
    }
}

/// Reports each repetition of a key, and returns the keys.
fn report_duplicates<'t>(entries: &'t [Entry], report: &Report<'_>, path: &dyn Fn(&str) -> String) -> HashSet<&'t str> {
    let mut first: HashMap<&str, Mark> = HashMap::with_capacity(entries.len());
    let mut duplicates = HashSet::new();
    for entry in entries {
        if let Some(first) = first.get(&*entry.key) {
            let message = format!("the key stands twice; first in line {}, column {}", first.line, first.column);
            report.push(Severity::Error, ProblemKind::Invalid, entry.mark, &path(&entry.key), message);
            duplicates.insert(&*entry.key);
        } else {
            first.insert(&entry.key, entry.mark);
        }
    }
    duplicates
}

/// Paths are built only where something is reported: most of an object is never talked about.
fn scan(node: &Node, report: &Report<'_>, path: &dyn Fn() -> String) {
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                scan(item, report, &|| format!("{}[{index}]", path()));
            }
        }
        Value::Map(entries) => {
            report_duplicates(entries, report, &|key| join(&path(), key));
            for entry in entries {
                scan(&entry.value, report, &|| join(&path(), &entry.key));
            }
        }
        Value::Unreadable(why) => report.push(Severity::Error, ProblemKind::Invalid, node.mark, &path(), why),
        Value::Null | Value::Bool(..) | Value::Number(..) | Value::String(_) => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key) } else { format!("{path}.{}", shown(key)) }
}

/// A value, as messages quote it.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_, text) => format!("the boolean {text}"),
        Value::Number(_, text) => format!("the number {}", shown(text)),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Unreadable(_) => "unreadable".to_owned(),
    }
}

/// A text in quotes, without what a terminal would obey, and not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// The same without quotes.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", printable(text.get(..end).unwrap_or_default())),
        None => printable(text),
    }
}

/// A text of any length without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' => printable.push(char),
            _ => printable.extend(char.escape_debug()),
        }
    }
    printable
}
