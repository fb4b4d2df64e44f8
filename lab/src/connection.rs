//! A connection that stays, to see what a change of rules does to it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{LabError, Namespace, responder::greeting};

const PATIENCE: Duration = Duration::from_secs(3);

/// A TCP connection from a pod to a [`crate::Responder`].
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    greeting: String,
    /// What has come of the line that is being read; a timeout may cut it anywhere.
    line: Vec<u8>,
    echoes: u64,
}

impl Connection {
    /// Connects and awaits the greeting.
    pub fn open(from: &Namespace, to: IpAddr, port: u16) -> Result<Self, LabError> {
        let error = |source| LabError::Connect { from: from.name().into(), to, port, source };
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(to, port), PATIENCE);
        let stream = from.run(connect)?.map_err(error)?;
        let mut connection =
            Self { stream: BufReader::new(stream), greeting: String::new(), line: Vec::new(), echoes: 0 };
        connection.greeting = connection.read_line(Instant::now() + PATIENCE).map_err(error)?;
        Ok(connection)
    }

    /// Whether it is that pod at the other end.
    pub fn is_with(&self, pod: &str) -> bool {
        self.greeting == greeting(pod)
    }

    /// Sends a line and awaits it back. `TimedOut` says that it did not come; the connection may be used on.
    pub fn echo(&mut self, line: &str, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        self.echoes += 1;
        // Numbered, because what a rule held back earlier arrives once the rule is gone.
        let line = format!("{} {}\n", self.echoes, line.replace('\n', " "));
        self.stream.get_mut().write_all(line.as_bytes())?;
        while self.read_line(deadline)? != line {}
        Ok(())
    }

    fn read_line(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => {
                    let line = String::from_utf8_lossy(&self.line).into_owned();
                    self.line.clear();
                    return Ok(line);
                }
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
