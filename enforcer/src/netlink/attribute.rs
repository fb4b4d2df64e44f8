//! The one wire format below everything: netlink attributes (length, type, value, padding to 4 bytes).
//!
//! nf_tables numbers are big-endian; the headers and nothing else are in the machine's own order.

const HEADER: usize = 4;

/// Appends attributes to a message under construction.
///
/// A length field holds 16 bits, so a nest that grows past 65535 bytes cannot be written. That is remembered instead
/// of reported at every call: whoever closes the message asks [`Writer::overflowed`] once.
pub(crate) struct Writer<'b> {
    bytes: &'b mut Vec<u8>,
    overflow: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(bytes: &'b mut Vec<u8>) -> Self {
        Self { bytes, overflow: false }
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.overflow
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// A string as the kernel wants it: with its terminating zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.raw(kind, &[value]);
    }

    pub(crate) fn be16(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A list of attributes. The flag for nests (0x8000) is left out: nf_tables neither asks for it nor writes it, so
    /// what it dumps can be compared with what was sent.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind);
        fill(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One attribute found in received bytes. `offset` counts from the start of the slice that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) offset: usize,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Whether a byte at `offset` lies in it, header included.
    pub(crate) fn holds(&self, offset: usize) -> bool {
        (self.offset..self.offset + HEADER + self.value.len()).contains(&offset)
    }

    /// Where its value starts.
    pub(crate) fn inside(&self) -> usize {
        self.offset + HEADER
    }

    pub(crate) fn as_str(&self) -> &'a str {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).unwrap_or("?")
    }

    pub(crate) fn as_be32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    pub(crate) fn as_be64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }
}

/// Walks a list of attributes; stops at the first malformed one, as the kernel's own walk does.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + HEADER)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = bytes.get(at + HEADER..at + length)?;
        let offset = at;
        at += length.next_multiple_of(4);
        Some(Attribute { kind, offset, value })
    })
}

/// The first attribute of a kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<Attribute<'_>> {
    read(bytes).find(|attribute| attribute.kind == kind)
}

/// The value of the first attribute of a kind; empty if there is none.
pub(crate) fn value(bytes: &[u8], kind: u16) -> &[u8] {
    find(bytes, kind).map_or(&[], |attribute| attribute.value)
}

/// The text of the first attribute of a kind; empty if there is none.
pub(crate) fn text(bytes: &[u8], kind: u16) -> &str {
    find(bytes, kind).map_or("", |attribute| attribute.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.text(1, "abcd");
        writer.nest(2, |w| {
            w.be32(3, 7);
            w.u8(4, 9);
        });
        assert!(!writer.overflowed());
        assert_eq!(text(&bytes, 1), "abcd");
        let nested = value(&bytes, 2);
        assert_eq!(find(nested, 3).and_then(|a| a.as_be32()), Some(7));
        assert_eq!(value(nested, 4), [9]);
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_nest_beyond_16_bits_is_noticed_and_no_read_goes_astray() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.nest(1, |w| (0..9000).for_each(|_| w.be32(1, 0)));
        assert!(writer.overflowed());
        for cut in 0..64 {
            assert!(read(&bytes[..cut]).count() <= 16, "{cut}");
        }
    }
}
