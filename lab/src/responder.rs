//! What listens in a pod, on a node and outside: it says who it is, then repeats what it hears.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use crate::{LabError, Namespace, Protocol, Reactor, datagram::Datagrams, sctp};

/// A burst of probes to one port must never wait for a place in the queue.
const BACKLOG: u32 = 1024;

/// The listeners of one pod, both address families on each port. They end when this is dropped.
#[derive(Debug)]
pub struct Responder(Vec<AbortHandle>);

enum Socket {
    Tcp(TcpSocket),
    Udp(StdUdpSocket),
    Sctp(sctp::Listener),
}

impl Responder {
    /// Listens on the ports of a pod. It presents itself by the name of the namespace.
    pub fn start(reactor: &Reactor, pod: &Namespace, ports: &[(Protocol, u16)]) -> Result<Self, LabError> {
        let error = |protocol, port, source| LabError::Listen { pod: pod.name().into(), protocol, port, source };
        let (sctp, mut bound): (Vec<_>, Vec<_>) = ports.iter().partition(|(protocol, _)| *protocol == Protocol::Sctp);
        // One listener hears all of them.
        bound.extend(sctp.first());
        let sctp: Arc<[u16]> = sctp.into_iter().map(|(_, port)| port).collect();
        let bind = |&(protocol, port)| {
            Socket::bind(protocol, port, &sctp)
                .map(|socket| (protocol, port, socket))
                .map_err(|source| error(protocol, port, source))
        };
        let sockets = pod.run(|| bound.iter().map(bind).collect::<Result<Vec<_>, _>>())??;

        let greeting: Arc<str> = greeting(pod.name()).into();
        let _context = reactor.handle().enter();
        let mut responder = Self(Vec::with_capacity(sockets.len()));
        for (protocol, port, socket) in sockets {
            let task = socket.serve(greeting.clone(), reactor).map_err(|source| error(protocol, port, source))?;
            responder.0.push(task);
        }
        Ok(responder)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// What a pod says first, on every protocol.
pub(crate) fn greeting(pod: &str) -> String {
    format!("podwall-lab {pod}\n")
}

impl Socket {
    fn bind(protocol: Protocol, port: u16, sctp: &Arc<[u16]>) -> io::Result<Self> {
        // Takes IPv4 as well, as long as net.ipv6.bindv6only is off, which it is in a new namespace.
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match protocol {
            Protocol::Tcp => {
                let socket = TcpSocket::new_v6()?;
                socket.set_reuseaddr(true)?;
                socket.bind(address)?;
                Ok(Self::Tcp(socket))
            }
            Protocol::Udp => {
                let socket = StdUdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
            Protocol::Sctp => sctp::Listener::bind(sctp.clone()).map(Self::Sctp),
        }
    }

    fn serve(self, greeting: Arc<str>, reactor: &Reactor) -> io::Result<AbortHandle> {
        let task = match self {
            Self::Tcp(socket) => reactor.handle().spawn(serve_tcp(socket.listen(BACKLOG)?, greeting)),
            Self::Udp(socket) => reactor.handle().spawn(serve_udp(Datagrams::new(socket)?, greeting)),
            Self::Sctp(listener) => reactor.handle().spawn(listener.serve(greeting)?),
        };
        Ok(task.abort_handle())
    }
}

async fn serve_tcp(listener: TcpListener, greeting: Arc<str>) {
    // Owned here, so that the connections end with the listener.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let greeting = greeting.clone();
                connections.spawn(async move { echo(stream, &greeting).await });
            }
            // Out of descriptors, most likely; some come back when connections end.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn echo(mut stream: TcpStream, greeting: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(greeting.as_bytes()).await?;
    let mut buffer = [0; 2048];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

async fn serve_udp(socket: Datagrams, greeting: Arc<str>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // Errors are those of earlier answers (the asker is gone); the socket stays good.
        if let Ok((length, asker)) = socket.receive(&mut buffer).await {
            let answer = [greeting.as_bytes(), &buffer[..length]].concat();
            let _ = socket.answer(&answer, &asker).await;
        }
    }
}
