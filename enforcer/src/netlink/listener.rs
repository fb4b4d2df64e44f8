//! A socket that hears of every transaction in its network namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::NetlinkError;
use super::received::{Message, messages};
use super::socket::{MSG_DONTWAIT, RECEIVE, set_receive_buffer};

/// NFNLGRP_NFTABLES.
const GROUP: u32 = 7;
/// Datagrams that are read before other tasks have their turn.
const AT_ONCE: usize = 1024;
/// Losses are reported as errors of the socket, also where nothing is left to be read.
const EVENTS: Interest = Interest::READABLE.add(Interest::ERROR);

/// Hears everybody's transactions but those of its own socket, which makes none.
pub(crate) struct Listener {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

/// What is left to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Nothing for now.
    Empty,
    /// More, or so it seems.
    More,
    /// More, and before it something that was lost.
    Lost,
}

impl Listener {
    /// The calling thread must be in a tokio runtime, and in the network namespace.
    pub(crate) fn open(receive_buffer: usize) -> Result<Self, NetlinkError> {
        let failed = |doing| move |source| NetlinkError::Socket { doing, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed("open"))?;
        set_receive_buffer(&socket, receive_buffer)?;
        socket.bind_auto().map_err(failed("bind"))?;
        // Nobody but the kernel may send to it.
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        socket.add_membership(GROUP).map_err(failed("receive notifications over"))?;
        #[expect(
            deprecated,
            reason = "the constructor that replaces it is unsafe; `Socket` owns its descriptor and keeps it"
        )]
        let socket = AsyncFd::with_interest(socket, EVENTS).map_err(failed("wait for"))?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE) })
    }

    /// Waits for messages, and hands on those that are queued, as many as are read at a time.
    ///
    /// Cancelled, it has lost nothing.
    pub(crate) async fn hear(&mut self, mut heard: impl FnMut(Message<'_>)) -> Result<Queue, NetlinkError> {
        let mut ready = self.socket.ready(EVENTS).await.map_err(|source| Self::failed("wait for", source))?;
        for _ in 0..AT_ONCE {
            self.buffer.clear();
            match ready.try_io(|socket| socket.get_ref().recv(&mut self.buffer, MSG_DONTWAIT)) {
                Ok(Ok(_)) => messages(&self.buffer).for_each(&mut heard),
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(Queue::Lost),
                Ok(Err(source)) => return Err(Self::failed("receive from", source)),
                Err(_would_block) => return Ok(Queue::Empty),
            }
        }
        Ok(Queue::More)
    }

    fn failed(doing: &'static str, source: io::Error) -> NetlinkError {
        NetlinkError::Socket { doing, source }
    }
}
