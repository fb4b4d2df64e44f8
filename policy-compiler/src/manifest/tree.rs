//! YAML or JSON text as trees in which every node knows its line and column.
//!
//! JSON is read as the YAML that it is. Built on the events of serde-saphyr's parser rather than on its deserializer,
//! which knows neither where a key stands nor whether a scalar was quoted, and stops at the first duplicate key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Number;
use serde_saphyr::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::scalar;

/// How deeply lists and maps may lie in each other; everything that walks a tree may recurse.
pub(super) const MAX_DEPTH: usize = 128;

/// What aliases of one file may copy, in nodes: more is a bomb. Text without aliases pays for its own nodes.
const MAX_COPIED: usize = 250_000;

/// After so many broken documents the rest of a file is not worth a guess.
const MAX_BROKEN: usize = 100;

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl From<Marker> for Mark {
    fn from(marker: Marker) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(marker.line().max(1)), column: number(marker.col().saturating_add(1)) }
    }
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// What JSON can hold, with the text of what was not quoted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool, Arc<str>),
    Number(Number, Arc<str>),
    String(Arc<str>),
    List(Vec<Node>),
    /// In the order of the text, duplicates included.
    Map(Vec<Entry>),
    /// Correct YAML that JSON cannot hold, and why.
    Unreadable(Arc<str>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    pub(super) mark: Mark,
    pub(super) value: Node,
}

/// Why a document is no YAML.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SyntaxError {
    pub(super) mark: Mark,
    pub(super) message: String,
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        Self { mark: (*error.marker()).into(), message: error.info() }
    }
}

impl Node {
    /// The same as JSON; of equal keys the last counts.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Unreadable(_) => serde_json::Value::Null,
            Value::Bool(value, _) => (*value).into(),
            Value::Number(value, _) => value.clone().into(),
            Value::String(value) => (**value).into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_json())).collect(),
        }
    }

    /// Where the field with this path stands: its key, or the entry itself in a list.
    pub(super) fn place(&self, path: &str) -> Option<Mark> {
        let (mut node, mut mark) = (self, self.mark);
        let mut rest = path;
        while !rest.is_empty() {
            let (step, behind) = match rest.strip_prefix('[') {
                Some(inside) => inside.split_once(']')?,
                None => {
                    let key = rest.strip_prefix('.').unwrap_or(rest);
                    key.split_at(key.find(['.', '[']).unwrap_or(key.len()))
                }
            };
            (node, mark) = match &node.value {
                Value::Map(entries) => {
                    let entry = entries.iter().find(|entry| &*entry.key == step)?;
                    (&entry.value, entry.mark)
                }
                Value::List(items) => {
                    let item = items.get(step.parse::<usize>().ok()?)?;
                    (item, item.mark)
                }
                _ => return None,
            };
            rest = behind;
        }
        Some(mark)
    }

    fn is_null(&self) -> bool {
        self.value == Value::Null
    }
}

/// Every document that is not empty. A broken one does not take those behind it along: a file with one mistake still
/// isolates what its other policies select (invariant 1).
pub(super) fn parse(text: &str) -> Vec<Result<Node, SyntaxError>> {
    let mut loader = Loader::new(text);
    let mut documents = Vec::new();
    let mut broken = 0;
    loop {
        match loader.document() {
            Ok(Some(document)) if document.is_null() => {}
            Ok(Some(document)) => documents.push(Ok(document)),
            Ok(None) => return documents,
            Err(error) => {
                documents.push(Err(error));
                broken += 1;
                if broken == MAX_BROKEN || !matches!(loader.parser.proceed_next_document(), Ok(true)) {
                    return documents;
                }
            }
        }
    }
}

struct Loader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    copies_left: usize,
}

/// A node that aliases may copy.
struct Anchored {
    node: Node,
    size: Size,
}

/// What copying a node costs, and how many levels it has.
#[derive(Clone, Copy)]
struct Size {
    weight: usize,
    height: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let around = |children: &mut dyn Iterator<Item = &Node>| {
            children.map(Self::of).fold(Self { weight: 1, height: 1 }, |all, child| Self {
                weight: all.weight.saturating_add(child.weight),
                height: all.height.max(child.height + 1),
            })
        };
        match &node.value {
            Value::List(items) => around(&mut items.iter()),
            Value::Map(entries) => around(&mut entries.iter().map(|entry| &entry.value)),
            // Long texts weigh more: they are shared here, but not in what is written out.
            Value::String(text) => Self { weight: 1 + text.len() / 64, height: 1 },
            _ => Self { weight: 1, height: 1 },
        }
    }
}

impl<'t> Loader<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        let parser = Parser::new_from_str_with_options(text, options);
        Self { parser, anchors: HashMap::new(), copies_left: MAX_COPIED }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        match self.parser.next() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The root of the next document, unless there is none.
    fn document(&mut self) -> Result<Option<Node>, SyntaxError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) => self.anchors.clear(),
                Event::StreamEnd => return Ok(None),
                root => return self.node(root, span, 1).map(Some),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        let mark = span.start.into();
        if depth > MAX_DEPTH {
            return Err(too_deep(mark));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref()), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => (tagged(self.list(depth)?, tag.as_deref(), "seq"), anchor),
            Event::MappingStart(_, anchor, tag) => (tagged(self.map(depth)?, tag.as_deref(), "map"), anchor),
            Event::Alias(anchor) => return self.alias(anchor, mark, depth),
            _ => return Err(SyntaxError { mark, message: "a value is missing here".to_owned() }),
        };
        let node = Node { mark, value };
        if anchor != 0 {
            let size = Size::of(&node);
            self.charge(size.weight, mark)?; // the copy that aliases are copied from
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut entries = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if merge { merged.extend(merge_entries(key.mark, value)) } else { entries.push(entry(key, value)) }
        }
        if !merged.is_empty() {
            // What the map says itself wins, then what was merged first.
            let mut known: HashSet<Arc<str>> = entries.iter().map(|entry| entry.key.clone()).collect();
            entries.extend(merged.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
        Ok(Value::Map(entries))
    }

    fn alias(&mut self, anchor: usize, mark: Mark, depth: usize) -> Result<Node, SyntaxError> {
        let Some(Anchored { node, size }) = self.anchors.get(&anchor) else {
            return Err(SyntaxError { mark, message: "an alias stands inside of what it stands for".to_owned() });
        };
        if depth.saturating_add(size.height) > MAX_DEPTH + 1 {
            return Err(too_deep(mark));
        }
        let weight = size.weight;
        let node = (weight <= self.copies_left).then(|| node.clone());
        self.charge(weight, mark)?;
        node.ok_or_else(|| too_deep(mark))
    }

    fn charge(&mut self, weight: usize, mark: Mark) -> Result<(), SyntaxError> {
        let message = || format!("the aliases of this file stand for more than {MAX_COPIED} values");
        self.copies_left =
            self.copies_left.checked_sub(weight).ok_or_else(|| SyntaxError { mark, message: message() })?;
        Ok(())
    }
}

fn too_deep(mark: Mark) -> SyntaxError {
    SyntaxError { mark, message: format!("lists and maps lie in each other more than {MAX_DEPTH} deep") }
}

fn entry(key: Node, value: Node) -> Entry {
    let mark = key.mark;
    let unreadable = |key: &str| Entry {
        key: key.into(),
        mark,
        value: Node { mark, value: Value::Unreadable("a key must be a text".into()) },
    };
    match key.value {
        Value::String(key) => Entry { key, mark, value },
        // JSON has no other keys than texts; kubectl writes these as they are understood.
        Value::Bool(key, _) => Entry { key: key.to_string().into(), mark, value },
        Value::Number(key, _) => Entry { key: key.to_string().into(), mark, value },
        Value::Null => unreadable("null"),
        Value::List(_) => unreadable("[]"),
        Value::Map(_) => unreadable("{}"),
        Value::Unreadable(_) => unreadable("?"),
    }
}

/// The entries that `<<` brings into a map.
fn merge_entries(mark: Mark, value: Node) -> Vec<Entry> {
    match value.value {
        Value::Map(entries) => entries,
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            items.into_iter().flat_map(|item| merge_entries(mark, item)).collect()
        }
        _ => {
            let value = Value::Unreadable("a merge takes a map or a list of maps".into());
            vec![Entry { key: "<<".into(), mark, value: Node { mark, value } }]
        }
    }
}

fn tagged(value: Value, tag: Option<&Tag>, natural: &str) -> Value {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(natural) => scalar::foreign(tag),
        _ => value,
    }
}
