//! Frames as they are, for what no socket of an honest kernel would send.

use std::{io, os::fd::AsRawFd};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};

use crate::{LabError, Namespace};

impl Namespace {
    /// Sends a frame on one of its links, link header and all. What has no `CAP_NET_RAW` in a container cannot do this.
    ///
    /// # Errors
    /// When there is no such link, or the kernel does not take the frame.
    pub fn send_frame(&self, link: &str, frame: &[u8]) -> Result<(), LabError> {
        self.run(|| send(link, frame))?.map_err(self.error(format!("send a frame on {link}")))
    }
}

fn send(link: &str, frame: &[u8]) -> io::Result<()> {
    let address = link_address(link)?.ok_or(io::ErrorKind::NotFound)?;
    // Of protocol 0: it receives nothing.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(sendto(socket.as_raw_fd(), frame, &address, MsgFlags::empty()).map(drop)?)
}

/// It names the link by its number; what is in it as an address does not matter where the frame has one.
fn link_address(link: &str) -> io::Result<Option<LinkAddr>> {
    let of_link = getifaddrs()?.filter(|interface| interface.interface_name == link);
    Ok(of_link.filter_map(|interface| interface.address?.as_link_addr().copied()).next())
}
