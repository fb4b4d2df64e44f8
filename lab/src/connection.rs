//! A connection that stays, to see what a change of rules does to it.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{LabError, Namespace, Observed, responder::greeting};

const PATIENCE: Duration = Duration::from_secs(3);
/// How long silence must last where it is likely.
const IMPATIENCE: Duration = Duration::from_millis(400);

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

    /// The address that it was opened from.
    pub fn source(&self) -> Option<IpAddr> {
        self.stream.get_ref().local_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// Sends a line and awaits it back. `TimedOut` says that it did not come; the connection may be used on.
    pub fn echo(&mut self, line: &str, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        let line = self.say(line)?;
        while self.read_line(deadline)? != line {}
        Ok(())
    }

    /// Sends a line, and says what must come back.
    fn say(&mut self, line: &str) -> io::Result<String> {
        self.echoes += 1;
        // Numbered, because what a rule held back earlier arrives once the rule is gone.
        let line = format!("{} {}\n", self.echoes, line.replace('\n', " "));
        self.stream.get_mut().write_all(line.as_bytes())?;
        Ok(line)
    }

    /// Whether the line has come back by now.
    fn has_heard(&mut self, line: &str) -> io::Result<bool> {
        loop {
            match self.stream.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => {
                    let heard = self.line == line.as_bytes();
                    self.line.clear();
                    if heard {
                        return Ok(true);
                    }
                }
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
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

/// Which connections still carry what is said on them, asked of all at once. Silence is believed soon where no answer is
/// likely, and only after some seconds elsewhere.
pub(crate) fn carry(connections: &mut [Connection], likely: &[bool]) -> Vec<Observed> {
    let said: Vec<io::Result<String>> = connections
        .iter_mut()
        .map(|connection| {
            connection.stream.get_ref().set_nonblocking(true)?;
            connection.say("still there")
        })
        .collect();
    let mut observed: Vec<Option<Observed>> = vec![None; connections.len()];
    let start = Instant::now();
    loop {
        for ((connection, said), observed) in connections.iter_mut().zip(&said).zip(&mut observed) {
            if observed.is_none() {
                *observed = match said.as_ref().map(|line| connection.has_heard(line)) {
                    Ok(Ok(true)) => Some(Observed::Allowed),
                    Ok(Ok(false)) => None,
                    Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Some(Observed::Refused),
                    Ok(Err(error)) => Some(Observed::Broken(error.to_string())),
                    Err(error) => Some(Observed::Broken(error.to_string())),
                };
            }
        }
        let awaited = || observed.iter().zip(likely).any(|(observed, likely)| observed.is_none() && *likely);
        let patience = if awaited() { PATIENCE } else { IMPATIENCE };
        if observed.iter().all(Option::is_some) || start.elapsed() > patience {
            return observed.into_iter().map(|observed| observed.unwrap_or(Observed::Denied)).collect();
        }
        thread::sleep(Duration::from_millis(2));
    }
}
