//! What an operation was, told from its own bytes.

use super::attribute::{self, Attribute};
use super::batch::{SUBSYSTEM, message};
use super::element::KeyText;
use super::expression::{INLINE_MAP, INLINE_SET};

/// An operation in words.
pub(crate) fn operation(kind: u16, attributes: &[u8]) -> String {
    let text = |kind| attribute::text(attributes, kind);
    if kind & SUBSYSTEM == 0 {
        return "the transaction as a whole".into();
    }
    match kind & 0xff {
        message::NEW_TABLE => format!("create table {}", text(1)),
        message::DELETE_TABLE => format!("delete table {}", text(1)),
        message::NEW_CHAIN => format!("create chain {}", text(3)),
        message::DELETE_CHAIN => format!("delete chain {}", text(3)),
        message::NEW_RULE => format!("add a rule to chain {}", text(2)),
        message::DELETE_RULE => match text(2) {
            "" => format!("flush the rules of table {}", text(1)),
            chain => format!("flush chain {chain}"),
        },
        message::NEW_SET => format!("create set {}", text(2)),
        message::DELETE_SET => format!("delete set {}", text(2)),
        message::NEW_ELEMENT => format!("add elements to set {}", text(2)),
        message::DELETE_ELEMENT if attribute::find(attributes, 3).is_none() => format!("flush set {}", text(2)),
        message::DELETE_ELEMENT => format!("delete elements of set {}", text(2)),
        other => format!("message {other}"),
    }
}

/// Whether it makes or fills a set that the kernel is to name.
pub(crate) fn is_about_anonymous_set(kind: u16, attributes: &[u8]) -> bool {
    kind & SUBSYSTEM != 0
        && matches!(kind & 0xff, message::NEW_SET | message::NEW_ELEMENT)
        && [INLINE_SET, INLINE_MAP].contains(&attribute::text(attributes, 2))
}

/// The element or instruction that holds the byte at `offset`; none where the operation's own name is at fault.
pub(crate) fn part(kind: u16, attributes: &[u8], offset: usize) -> Option<String> {
    let list = match kind & 0xff {
        message::NEW_ELEMENT | message::DELETE_ELEMENT => attribute::find(attributes, 3)?,
        message::NEW_RULE => attribute::find(attributes, 4)?,
        _ => return None,
    };
    let offset = offset.checked_sub(list.inside())?;
    let (index, found) = attribute::read(list.value).enumerate().find(|(_, item)| item.holds(offset))?;
    match kind & 0xff {
        message::NEW_RULE => Some(format!("instruction {} ({})", index + 1, instruction(found.value))),
        _ => Some(element(found)),
    }
}

fn element(element: Attribute<'_>) -> String {
    let key = KeyText(attribute::value(attribute::value(element.value, 1), 1)).to_string();
    match attribute::find(element.value, 3) {
        Some(_) => format!("the range that ends before {key}"),
        None => key,
    }
}

fn instruction(expression: &[u8]) -> String {
    let data = attribute::value(expression, 2);
    match attribute::text(expression, 1) {
        "lookup" => format!("lookup in set {}", attribute::text(data, 1)),
        "immediate" => match attribute::text(attribute::value(attribute::value(data, 2), 2), 2) {
            "" => "verdict".into(),
            chain => format!("jump or goto {chain}"),
        },
        name => name.into(),
    }
}
