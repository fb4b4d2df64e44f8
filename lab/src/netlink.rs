//! The little netlink that a lab speaks itself: requests that the kernel works off before `sendto` returns.

use std::{io, os::fd::AsRawFd};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket},
};

/// The message type with which the kernel says no (or, with code 0, that all went well).
const ERROR: u16 = 2;

/// One request message: the header, then the given payload.
pub(crate) fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    const REQUEST: u16 = 1;
    const HEADER: u32 = 16;
    let mut message = Vec::with_capacity(64);
    message.extend((HEADER + payload.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    // Sequence and port: nothing here is matched up, and the kernel fills in the port.
    message.extend([0; 8]);
    message.extend(payload);
    message
}

/// One attribute, padded to the next multiple of four.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len() as u16;
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Sends messages in the calling thread's namespace; the first that the kernel refuses is the error.
pub(crate) fn send(protocol: SockProtocol, messages: &[u8]) -> io::Result<()> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    sendto(netlink.as_raw_fd(), messages, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    match recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
        Ok(_) if u16::from_ne_bytes([answer[4], answer[5]]) == ERROR => {
            let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
        }
        Ok(_) | Err(Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
