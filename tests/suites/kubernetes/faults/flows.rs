//! Traffic that a fault must not change: new flows all the time, and connections that stay.

use std::time::Duration;

use lab::{Connection, Flood, FloodReceiver};
use podwall_tests::kubernetes::Cluster;

use super::world::{ALLOWED, DENIED, HTTP};

/// Where floods are received; nothing else listens there.
const PORT: u16 = 7000;
/// New flows a second, for each family of each way.
const RATE: u32 = 200;
/// Longer than a lost packet takes to be sent again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both families of what is always allowed, and of what never is.
pub(super) struct Flows {
    allowed: Vec<Way>,
    denied: Vec<Way>,
    connections: Vec<Connection>,
}

/// From one pod to another.
struct Way {
    from: &'static str,
    floods: Vec<Flood>,
    _receiver: FloodReceiver,
}

impl Flows {
    pub(super) fn start(cluster: &Cluster) -> Self {
        let (from, to) = ALLOWED;
        let open = |address| Connection::open(&cluster.namespace(from), address, HTTP.1);
        let connections = cluster.addresses(to).into_iter().map(|address| open(address).unwrap()).collect();
        let mut flows = Self { allowed: Vec::new(), denied: Vec::new(), connections };
        flows.start_allowed(cluster);
        flows.start_denied(cluster);
        flows
    }

    pub(super) fn start_allowed(&mut self, cluster: &Cluster) {
        self.allowed = vec![Way::start(cluster, ALLOWED, PORT)];
    }

    #[track_caller]
    pub(super) fn stop_allowed(&mut self) {
        self.allowed.drain(..).for_each(|way| way.finish(true));
    }

    pub(super) fn start_denied(&mut self, cluster: &Cluster) {
        // On a port of their own: receivers of both kinds are in one pod.
        self.denied = DENIED.map(|way| Way::start(cluster, way, PORT + 1)).into();
    }

    #[track_caller]
    pub(super) fn stop_denied(&mut self) {
        self.denied.drain(..).for_each(|way| way.finish(false));
    }

    /// Both are as they must be so far. That nothing of an allowed flood was lost is seen at its end.
    #[track_caller]
    pub(super) fn check(&mut self) {
        for Way { from, floods, .. } in &self.denied {
            for flood in floods {
                assert_eq!(flood.arrived(), 0, "of {} datagrams from {from}, which may send none", flood.sent());
            }
        }
        for connection in &mut self.connections {
            connection.echo("still there", PATIENCE).expect("an allowed connection lasts");
        }
    }

    #[track_caller]
    pub(super) fn finish(mut self) {
        self.check();
        self.stop_denied();
        self.stop_allowed();
    }
}

impl Way {
    #[track_caller]
    fn start(cluster: &Cluster, (from, to): (&'static str, &'static str), port: u16) -> Self {
        let receiver = FloodReceiver::start(&cluster.namespace(to), port).unwrap();
        let start = |address| Flood::start(&cluster.namespace(from), address, &receiver, RATE).unwrap();
        let floods = cluster.addresses(to).into_iter().map(start).collect();
        Self { from, floods, _receiver: receiver }
    }

    #[track_caller]
    fn finish(self, is_allowed: bool) {
        let from = self.from;
        for flood in self.floods {
            let result = flood.stop().unwrap();
            assert!(result.sent > 0, "{from} has sent nothing");
            match is_allowed {
                true => assert_eq!(result.lost, [0; 0], "of {} datagrams from {from}, which may send all", result.sent),
                false => assert_eq!(result.arrived, 0, "of {} datagrams from {from}, which may send none", result.sent),
            }
        }
    }
}
