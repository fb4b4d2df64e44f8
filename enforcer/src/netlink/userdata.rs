//! Userdata: bytes the kernel keeps without reading. nft has put its own small attributes there (type and length in
//! one byte each, no padding, numbers in the machine's order), and shows what it understands.

use policy_compiler::ruleset::Comment;

/// An interval that reaches the top of its space has no end element; nft marks its start so.
pub(crate) fn open_range() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(6);
    put(&mut bytes, 1, &1u32.to_ne_bytes());
    bytes
}

/// The comment of a chain or rule.
pub(crate) fn comment(comment: &Comment) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(comment.as_str().len() + 3);
    put_comment(&mut bytes, 0, comment);
    bytes
}

/// In which order the bytes of a set's key stand: tells nft how to print them.
#[derive(Clone, Copy)]
pub(crate) enum KeyOrder {
    /// Concatenations.
    None = 0,
    /// Numbers in the machine's own order (ct state).
    Host = 1,
    /// Whatever comes out of a packet.
    Network = 2,
}

/// What nft wants to know of a set. Its `typeof` entries are left out: a set is listed with `type` just as well.
pub(crate) fn set(order: KeyOrder, is_map: bool, comment: Option<&Comment>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    put(&mut bytes, 0, &(order as u32).to_ne_bytes());
    if is_map {
        put(&mut bytes, 1, &(KeyOrder::None as u32).to_ne_bytes());
    }
    if let Some(comment) = comment {
        put_comment(&mut bytes, 7, comment);
    }
    bytes
}

fn put_comment(bytes: &mut Vec<u8>, kind: u8, comment: &Comment) {
    let text = comment.as_str().as_bytes();
    bytes.extend_from_slice(&[kind, text.len() as u8 + 1]); // comments are far below 255 bytes
    bytes.extend_from_slice(text);
    bytes.push(0);
}

fn put(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.extend_from_slice(&[kind, value.len() as u8]);
    bytes.extend_from_slice(value);
}
