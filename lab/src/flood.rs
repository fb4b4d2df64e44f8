//! A stream of new flows, counted, to find the one packet that slips through while rules change.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};

use crate::{LabError, Namespace, namespace::any};

/// Room for tens of thousands of datagrams: a loss must be the rules' doing.
const RECEIVE_BUFFER: usize = 32 << 20;
const STRAGGLERS: Duration = Duration::from_secs(1);
/// How far a flood may lag behind its schedule and catch up; what is beyond is let go.
const LAG: Duration = Duration::from_millis(20);

type Arrivals = Arc<Mutex<HashMap<u64, BTreeSet<u64>>>>;

/// Counts, in one pod and on one port, what arrives of any number of floods.
#[derive(Debug)]
pub struct FloodReceiver {
    port: u16,
    arrivals: Arrivals,
    next_tag: AtomicU64,
    _thread: Stoppable<()>,
}

/// Datagrams on their way from one pod to another, each a flow of its own.
#[derive(Debug)]
pub struct Flood {
    from: String,
    tag: u64,
    sent: Arc<AtomicU64>,
    arrivals: Arrivals,
    thread: Stoppable<io::Result<()>>,
}

/// What became of a [`Flood`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodResult {
    /// How many datagrams were sent.
    pub sent: u64,
    /// How many of them arrived.
    pub arrived: u64,
    /// Which did not, counted from 0.
    pub lost: Vec<u64>,
}

impl FloodReceiver {
    /// Starts to receive in a pod.
    pub fn start(pod: &Namespace, port: u16) -> Result<Self, LabError> {
        let socket = pod.run(|| bind_receiver(port))?.map_err(pod.error(format!("receive a flood on port {port}")))?;
        let arrivals = Arrivals::default();
        let thread = Stoppable::start({
            let arrivals = arrivals.clone();
            move |stop| receive(&socket, &arrivals, stop)
        })?;
        Ok(Self { port, arrivals, next_tag: AtomicU64::new(0), _thread: thread })
    }
}

impl Flood {
    /// A rate that two processors bear beside everything else.
    pub const DEFAULT_RATE: u32 = 2000;

    /// Starts to send from a pod to the receiver, which must be the one behind the address.
    pub fn start(from: &Namespace, to: IpAddr, receiver: &FloodReceiver, rate: u32) -> Result<Self, LabError> {
        let tag = receiver.next_tag.fetch_add(1, Ordering::Relaxed);
        let sent = Arc::new(AtomicU64::new(0));
        let target = SocketAddr::new(to, receiver.port);
        let thread = Stoppable::start({
            let (from, sent) = (from.clone(), sent.clone());
            move |stop| send(&from, target, tag, rate, &sent, stop)
        })?;
        Ok(Self { from: from.name().into(), tag, sent, arrivals: receiver.arrivals.clone(), thread })
    }

    /// How many datagrams have left; the next one has this sequence number.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// How many datagrams have arrived so far.
    pub fn arrived(&self) -> u64 {
        lock(&self.arrivals).get(&self.tag).map_or(0, |sequences| sequences.len() as u64)
    }

    /// Stops, gives stragglers a second, and counts.
    pub fn stop(mut self) -> Result<FloodResult, LabError> {
        let error =
            |source| LabError::Namespace { namespace: self.from.clone(), action: "send a flood".into(), source };
        self.thread.stop().unwrap_or(Ok(())).map_err(error)?;
        let sent = self.sent();
        let deadline = Instant::now() + STRAGGLERS;
        while self.arrived() < sent && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let arrived = lock(&self.arrivals).remove(&self.tag).unwrap_or_default();
        let lost = (0..sent).filter(|sequence| !arrived.contains(sequence)).collect();
        Ok(FloodResult { sent, arrived: arrived.len() as u64, lost })
    }
}

fn bind_receiver(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    // Beyond net.core.rmem_max only for the machine's root; a user namespace's gets what the limit leaves.
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

fn receive(socket: &UdpSocket, arrivals: &Arrivals, stop: &AtomicBool) {
    let mut datagram = [0; 16];
    while !stop.load(Ordering::Relaxed) {
        // An error is the read timeout, which is there to look at `stop`.
        if let Ok(16) = socket.recv(&mut datagram) {
            let number = u128::from_be_bytes(datagram);
            lock(arrivals).entry((number >> 64) as u64).or_default().insert(number as u64);
        }
    }
}

fn send(
    from: &Namespace,
    target: SocketAddr,
    tag: u64,
    rate: u32,
    sent: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    from.enter()?;
    let interval = Duration::from_secs(1) / rate.max(1);
    let mut due = Instant::now();
    for sequence in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let socket = from.bind_fresh(any(target.ip()), UdpSocket::bind)?;
        socket.send_to(&(u128::from(tag) << 64 | u128::from(sequence)).to_be_bytes(), target)?;
        sent.store(sequence + 1, Ordering::SeqCst);

        due += interval;
        let now = Instant::now();
        thread::sleep(due.saturating_duration_since(now));
        due = due.max(now.checked_sub(LAG).unwrap_or(now));
    }
    Ok(())
}

/// A poisoned lock guards plain counts, which are right whoever panicked.
fn lock(arrivals: &Arrivals) -> MutexGuard<'_, HashMap<u64, BTreeSet<u64>>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that ends when told or dropped.
#[derive(Debug)]
struct Stoppable<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Stoppable<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::Builder::new().spawn(move || work(&told)).map_err(LabError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl<T> Stoppable<T> {
    fn stop(&mut self) -> Option<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl<T> Drop for Stoppable<T> {
    fn drop(&mut self) {
        self.stop();
    }
}
