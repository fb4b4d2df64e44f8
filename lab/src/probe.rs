//! Questions of the form "may this pod talk to that address", asked with packets, many at a time.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::errno::Errno;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream, UdpSocket},
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{LabError, Namespace, Protocol, Traffic, echo::Echo, namespace::any, responder::greeting, sctp};

const IN_FLIGHT: usize = 1024;
/// How long silence must last to mean "denied", where that is what is expected.
const IMPATIENT: Duration = Duration::from_millis(400);
/// The same where an answer is expected: a busy machine must not look like a rule.
const PATIENT: Duration = Duration::from_secs(3);
/// How often a packet that nobody repeats for us is sent, within one patience.
const ROUNDS: u32 = 3;
/// An unreachable host that is reported later than this was reported by the asker's own neighbour discovery.
const PROMPT: Duration = Duration::from_secs(1);

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The pod or node that asks, by its id, or [`crate::OUTSIDE`].
    pub from: String,
    /// Which of its addresses it asks from; none leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// The address asked.
    pub to: IpAddr,
    /// What is sent.
    pub traffic: Traffic,
    /// How many bytes go there and back beside what the question needs; SCTP carries none.
    pub payload: u16,
    /// Whose answer counts, by id. If none is named: that of the pod that has the address, and anybody's where no pod
    /// has.
    pub answerers: Vec<String>,
    /// Which answer is likely. It does not change what is observed, only how long silence is listened to.
    pub expectation: Expectation,
}

impl Probe {
    /// From any of its addresses, without a payload, answered by whoever has the address.
    pub fn new(from: impl Into<String>, to: IpAddr, traffic: Traffic, expectation: Expectation) -> Self {
        Self { from: from.into(), source: None, to, traffic, payload: 0, answerers: Vec::new(), expectation }
    }
}

/// The likely outcome of a [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Silence is doubted: the probe is repeated with more patience before it counts.
    Allowed,
    /// Silence is believed soon.
    Denied,
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// One whose answer counts has answered; of an echo, somebody in its name.
    Allowed,
    /// Nothing came back.
    Denied,
    /// Something said no: a reset, an ABORT or an ICMP error, because nothing listens there or because a rule rejects.
    Refused,
    /// Something came back that makes no sense.
    Broken(String),
}

/// A probe with its names resolved.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where it is asked from.
    pub from: Namespace,
    /// What is asked; without answerers, anybody's answer counts.
    pub probe: Probe,
}

/// Asks all, some hundred at a time, and calls `progress` for each as it is answered (by index, in any order).
/// The observations come in the order of the questions.
pub fn ask(questions: Vec<Question>, mut progress: impl FnMut(usize, &Observed)) -> Result<Vec<Observed>, LabError> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(LabError::Thread)?;
    let mut observations = vec![Observed::Broken("was not asked".into()); questions.len()];
    let (answers, answered) = mpsc::channel();
    // Goes from namespace to namespace to make its sockets, so it cannot be the caller's thread.
    let thread = thread::Builder::new()
        .name("lab-prober".into())
        .spawn(move || ask_on_this_thread(&runtime, questions, &answers))
        .map_err(LabError::Thread)?;
    for (index, observed) in answered {
        progress(index, &observed);
        observations[index] = observed;
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    Ok(observations)
}

fn ask_on_this_thread(runtime: &Runtime, questions: Vec<Question>, answers: &mpsc::Sender<(usize, Observed)>) {
    runtime.block_on(async {
        let mut asking = JoinSet::new();
        for (index, question) in questions.into_iter().enumerate() {
            if asking.len() >= IN_FLIGHT {
                asking.join_next().await;
            }
            let answers = answers.clone();
            asking.spawn(async move {
                let observed = question.ask().await;
                // Nobody listens only when the caller's progress panicked.
                let _ = answers.send((index, observed));
            });
        }
        asking.join_all().await;
    });
}

impl Question {
    async fn ask(&self) -> Observed {
        let first = self.attempt(IMPATIENT).await;
        match (&first, self.probe.expectation) {
            (Observed::Denied | Observed::Broken(_), Expectation::Allowed) => self.attempt(PATIENT).await,
            _ => first,
        }
    }

    async fn attempt(&self, patience: Duration) -> Observed {
        let start = Instant::now();
        let target = |port| SocketAddr::new(self.probe.to, port);
        let result = match self.probe.traffic {
            Traffic::Port(Protocol::Tcp, port) => self.ask_tcp(target(port), patience).await,
            Traffic::Port(Protocol::Udp, port) => self.ask_udp(target(port), patience).await,
            Traffic::Port(Protocol::Sctp, port) => self.ask_sctp(target(port), patience).await,
            Traffic::Echo => self.ask_echo(patience).await,
        };
        result.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::TimedOut => Observed::Denied,
            io::ErrorKind::HostUnreachable if start.elapsed() > PROMPT => Observed::Denied,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied => Observed::Refused,
            _ => Observed::Broken(error.to_string()),
        })
    }

    async fn ask_tcp(&self, target: SocketAddr, patience: Duration) -> io::Result<Observed> {
        self.from.enter()?;
        let socket = self.from.bind_fresh(self.source(), |source| {
            let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.bind(source)?;
            Ok(socket)
        })?;
        // Ends with a reset, so that thousands of probes leave no thousands of connections in TIME_WAIT.
        socket.set_zero_linger()?;
        let mut stream = BufReader::new(timeout(patience, socket.connect(target)).await??);
        // Connected, so the packets pass; a slow answer is now the machine's fault and no verdict.
        let mut line = String::new();
        match timeout(PATIENT, stream.read_line(&mut line)).await {
            Ok(read) => _ = read?,
            Err(_) => return Ok(Observed::Broken("connected, but nobody spoke".into())),
        }
        match timeout(PATIENT, self.exchange(&mut stream)).await {
            Ok(exchanged) => exchanged.map(|()| self.judge(&line)),
            Err(_) => Ok(Observed::Broken(format!("connected, but {} bytes did not come back", self.probe.payload))),
        }
    }

    /// Sends the payload and awaits it back.
    async fn exchange(&self, stream: &mut BufReader<TcpStream>) -> io::Result<()> {
        let payload = self.payload();
        stream.get_mut().write_all(payload.as_bytes()).await?;
        let mut back = vec![0; payload.len()];
        stream.read_exact(&mut back).await.map(drop)
    }

    async fn ask_udp(&self, target: SocketAddr, patience: Duration) -> io::Result<Observed> {
        self.from.enter()?;
        let socket = self.from.bind_fresh(self.source(), StdUdpSocket::bind)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        socket.connect(target).await?;

        let question = nonce() + &self.payload();
        let mut buffer = vec![0; 1 << 16];
        for _ in 0..ROUNDS {
            let sent = socket.send(question.as_bytes()).await;
            if is_news_of_an_mtu(&sent) {
                continue;
            }
            sent?;
            let Ok(received) = timeout(patience / ROUNDS, socket.recv(&mut buffer)).await else { continue };
            if is_news_of_an_mtu(&received) {
                continue;
            }
            let answer = String::from_utf8_lossy(&buffer[..received?]).into_owned();
            return Ok(match answer.strip_suffix(&question) {
                Some(greeting) => self.judge(greeting),
                None => Observed::Broken(format!("asked otherwise, was answered {:.80?}", answer)),
            });
        }
        Ok(Observed::Denied)
    }

    async fn ask_sctp(&self, target: SocketAddr, patience: Duration) -> io::Result<Observed> {
        self.from.enter()?;
        let open = |source: SocketAddr| sctp::Opening::new(source, target);
        let opening = self.from.bind_fresh(self.source(), open)?;
        for _ in 0..ROUNDS {
            opening.send().await?;
            if let Ok(greeting) = timeout(patience / ROUNDS, opening.answer()).await {
                return Ok(self.judge(&greeting?));
            }
        }
        Ok(Observed::Denied)
    }

    /// A kernel answers in nobody's name, so that this cannot tell which pod it was.
    async fn ask_echo(&self, patience: Duration) -> io::Result<Observed> {
        self.from.enter()?;
        let payload = format!("podwall-lab {}{}", nonce(), self.payload());
        let echo = self.from.bind_fresh(self.source(), |source| Echo::new(source, self.probe.to, payload.clone()))?;
        for round in 0..ROUNDS {
            let sent = echo.send(round as u16).await;
            if is_news_of_an_mtu(&sent) {
                continue;
            }
            sent?;
            let Ok(answer) = timeout(patience / ROUNDS, echo.answer()).await else { continue };
            if is_news_of_an_mtu(&answer) {
                continue;
            }
            return Ok(answer?.map_or_else(Observed::Broken, |()| Observed::Allowed));
        }
        Ok(Observed::Denied)
    }

    fn source(&self) -> IpAddr {
        self.probe.source.unwrap_or_else(|| any(self.probe.to))
    }

    fn payload(&self) -> String {
        "x".repeat(self.probe.payload.into())
    }

    fn judge(&self, said: &str) -> Observed {
        let answerers = &self.probe.answerers;
        if answerers.is_empty() || answerers.iter().any(|answerer| said == greeting(answerer)) {
            Observed::Allowed
        } else {
            Observed::Broken(format!("{} should have answered, what came is {said:?}", answerers.join(" or ")))
        }
    }
}

/// Whether some router on the way has let know what it carries at most: the next packet will be cut to fit.
fn is_news_of_an_mtu<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::EMSGSIZE as i32))
}

/// What no other question of this process contains.
fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
