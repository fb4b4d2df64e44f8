//! Rules in the form in which they are compared: what was sent and what is dumped are alike byte for byte, but for the
//! values of counters and the names that the kernel gives to anonymous sets.

use std::collections::BTreeMap;

use policy_compiler::ruleset::Rule;

use crate::netlink::attribute::{self, Writer};
use crate::netlink::element::DumpedElement;
use crate::netlink::rule::{self, Program};

const EXPRESSIONS: u16 = 4;
const USERDATA: u16 = 7;

/// What an anonymous set holds: its flags, and its elements in order.
pub(crate) type Inline = (u32, Vec<DumpedElement>);

/// One instruction of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Instruction {
    /// Name and data in wire form; no data for counters.
    Plain(Vec<u8>),
    /// A lookup in an anonymous set: everything but the set's name and number, and what the set holds.
    Inline(Vec<u8>, Option<Inline>),
}

/// A rule, comparable whether it was encoded here or dumped by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComparableRule {
    instructions: Vec<Instruction>,
    comment: Vec<u8>,
}

impl ComparableRule {
    /// A rule as it would be sent.
    pub(crate) fn encoded(rule: &Rule) -> Self {
        let program = Program::of(rule);
        let mut bytes = Vec::new();
        rule::write(&mut Writer::new(&mut bytes), "", "", rule, &program, 0);
        let mut inline = program.inline.iter().map(|inline| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            inline.elements.iter().for_each(|element| element.write(&mut writer));
            let elements = attribute::read(&bytes).map(|element| DumpedElement::read(element.value));
            inline_of(inline.declaration.flags(), elements)
        });
        Self::read(&bytes, |_| inline.next())
    }

    /// A rule as it was dumped, with the anonymous sets of its table.
    pub(crate) fn dumped(attributes: &[u8], anonymous: &BTreeMap<String, Inline>) -> Self {
        Self::read(attributes, |name| anonymous.get(name).cloned())
    }

    /// The number that some `ct mark and MASK == NUMBER` of the rule compares with.
    pub(crate) fn mark(&self, mask: u32) -> Option<u32> {
        let [load, and, _] = rule::mark_is(mask, 0).map(|expression| {
            let mut bytes = Vec::new();
            expression.write(&mut Writer::new(&mut bytes), 0);
            attribute::value(&bytes, 1).to_vec()
        });
        self.instructions.windows(3).find_map(|window| match window {
            [Instruction::Plain(first), Instruction::Plain(second), Instruction::Plain(compare)]
                if *first == load && *second == and && attribute::text(compare, 1) == "cmp" =>
            {
                let constant = attribute::value(attribute::value(attribute::value(compare, 2), 3), 1);
                Some(u32::from_ne_bytes(constant.try_into().ok()?))
            }
            _ => None,
        })
    }

    fn read(attributes: &[u8], mut inline: impl FnMut(&str) -> Option<Inline>) -> Self {
        let instruction = |bytes: &[u8]| {
            let data = attribute::value(bytes, 2);
            match (attribute::text(bytes, 1), attribute::text(data, 1)) {
                ("counter", _) => Instruction::Plain(Vec::new()),
                ("lookup", set) if set.starts_with("__") => {
                    let mut rest = Vec::new();
                    let mut writer = Writer::new(&mut rest);
                    let kept = attribute::read(data).filter(|a| ![1, 4].contains(&a.kind));
                    kept.for_each(|a| writer.raw(a.kind, a.value));
                    Instruction::Inline(rest, inline(set))
                }
                _ => Instruction::Plain(bytes.to_vec()),
            }
        };
        Self {
            instructions: attribute::read(attribute::value(attributes, EXPRESSIONS))
                .map(|a| a.value)
                .map(instruction)
                .collect(),
            comment: attribute::value(attributes, USERDATA).to_vec(),
        }
    }
}

/// The elements in an order of their own: hashes have none.
pub(crate) fn inline_of(flags: u32, elements: impl Iterator<Item = DumpedElement>) -> Inline {
    let mut elements: Vec<_> = elements.filter(|element| !element.is_void()).collect();
    elements.sort_unstable();
    (flags, elements)
}
