//! etcd and kube-apiserver, in a network namespace of their own.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use kube::Result;
use lab::{Namespace, Node, Port, Process, Reactor, Scratch, Switch};
use serde_json::{Value, json};

use super::certificates::{self, Authority};
use super::kubeconfig::base64;
use super::{Api, Kubeconfig, program, resource};

/// Its address on the network that joins it to the nodes; theirs are above. Nothing else is on that network.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 199, 0, 1);
const SERVER: &str = "https://10.199.0.1:6443";
const ETCD: &str = "http://127.0.0.1:2379";
/// The namespaces that an API server makes for itself.
pub(super) const OWN_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The Service that it makes for itself.
pub(super) const OWN_SERVICE: &str = "default/kubernetes";
/// A node's link to it.
const NODE_LINK: &str = "management";
/// What the files of the authority, the API server and etcd lie in, where these see them.
const FOLDER: &str = "control-plane";

/// Three times what it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// An API server and its etcd. They end with it, or with the process; nothing of them stays.
///
/// There are no controllers: a namespace that is deleted stays [`Terminating`](Api::delete_namespace), nobody makes
/// ServiceAccounts or EndpointSlices, and pods run where their manifest says.
pub struct ControlPlane {
    api: Api,
    api_server: Mutex<Process>,
    flags: Mutex<Vec<String>>,
    _etcd: Process,
    authority: Authority,
    next_address: AtomicU8,
    switch: Switch,
    scratch: Scratch,
    folder: PathBuf,
    namespace: Namespace,
}

impl ControlPlane {
    /// Starts both, and waits until the API server is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags for the API server, such as `--feature-gates=WatchList=false` or `--watch-cache=false`.
    pub fn start_with(flags: &[&str]) -> Self {
        let namespace = Namespace::new("control-plane").unwrap_or_else(|error| panic!("{error}"));
        let build = || -> std::result::Result<_, lab::LabError> {
            let switch = Switch::new(&namespace)?;
            switch.own(&format!("{ADDRESS}/24"))?;
            let reactor = Arc::new(Reactor::start_in(&namespace)?);
            Ok((switch, reactor))
        };
        let (switch, reactor) = build().unwrap_or_else(|error| panic!("{error}"));
        let authority = Authority::new();
        let scratch = Scratch::new().expect("a tmpfs for the control plane");
        let folder = write_keys(&scratch, &authority);

        let admin = Kubeconfig::of_identity(SERVER, &authority.pem(), &authority.user("admin", Some("system:masters")));
        let etcd = spawn(&namespace, &scratch, etcd(&folder));
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let api_server = spawn(&namespace, &scratch, api_server(&folder, &flags));
        let control_plane = Self {
            api: Api::new(&reactor, &admin),
            api_server: Mutex::new(api_server),
            flags: Mutex::new(flags),
            _etcd: etcd,
            authority,
            next_address: AtomicU8::new(2),
            switch,
            scratch,
            folder,
            namespace,
        };
        control_plane.await_ready();
        control_plane
    }

    /// The API server for its administrator. Its sockets are in the control plane's own namespace, so no cut link parts
    /// them from it.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The API server for whom a kubeconfig is of.
    pub fn api_of(&self, kubeconfig: &Kubeconfig) -> Api {
        Api::new(self.api.reactor(), kubeconfig)
    }

    /// How a user of this name, in this group, logs in from a connected node.
    pub fn kubeconfig(&self, user: &str, group: Option<&str>) -> Kubeconfig {
        Kubeconfig::of_identity(SERVER, &self.authority.pem(), &self.authority.user(user, group))
    }

    /// How a ServiceAccount that is there logs in, by a token of its own.
    pub fn service_account(&self, namespace: &str, name: &str) -> Kubeconfig {
        let token = self.api.token(namespace, name).unwrap_or_else(|error| panic!("no token: {error}"));
        Kubeconfig::of_token(SERVER, &self.authority.pem(), &token)
    }

    /// Joins a node to it, by a link that nothing else uses.
    pub fn connect(&self, node: &Node) -> Port {
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, _] = ADDRESS.octets();
        let address = format!("{}/24", Ipv4Addr::new(a, b, c, number));
        let port = self.switch.connect(&format!("node{number}"), node.namespace(), NODE_LINK, &[address]);
        port.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The namespace that it is in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Kills the API server, as SIGKILL does.
    pub fn kill_api_server(&self) {
        self.api_server().kill().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts the API server on the data that is there, with the flags that it had, and waits until it is ready.
    pub fn start_api_server(&self) {
        self.kill_api_server();
        let command = api_server(&self.folder, &lock(&self.flags));
        *self.api_server() = spawn(&self.namespace, &self.scratch, command);
        self.await_ready();
    }

    /// Kills the API server and starts it with other flags.
    pub fn restart_with(&self, flags: &[&str]) {
        *lock(&self.flags) = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.start_api_server();
    }

    /// Resets every connection to the API server; it takes new ones.
    pub fn cut_connections(&self) {
        let sockets = || Command::new("ss").args(["--kill", "state", "established", "sport", "=", "6443"]).output();
        let output = self.namespace.run(sockets).unwrap_or_else(|error| panic!("{error}")).expect("ss starts");
        let error = String::from_utf8_lossy(&output.stderr);
        // A connection that ends by itself meanwhile is none of our business.
        assert!(output.status.success() && !error.contains("not supported"), "ss --kill: {error}");
    }

    /// Has etcd forget what has been: every revision before the present one. A watch from just before it is still served.
    pub fn compact(&self) {
        let range = self.ask_etcd("range", &json!({"key": base64("/"), "keys_only": true}));
        self.ask_etcd("compaction", &json!({"revision": range["header"]["revision"], "physical": true}));
    }

    /// Stores an object past the API server, which would refuse it, or is not there. It must have been one that the API
    /// server has stored.
    pub fn store(&self, kind: &str, id: &str, object: &Value) {
        self.ask_etcd("put", &json!({"key": base64(&resource::key(kind, id)), "value": base64(&object.to_string())}));
    }

    /// Removes an object past the API server.
    pub fn remove(&self, kind: &str, id: &str) {
        let answer = self.ask_etcd("deleterange", &json!({"key": base64(&resource::key(kind, id))}));
        assert_eq!(answer["deleted"], "1", "{kind} {id}: {answer}");
    }

    /// Asks etcd for something, by its JSON gateway.
    fn ask_etcd(&self, method: &str, body: &Value) -> Value {
        let etcd = Api::plain(self.api.reactor(), ETCD);
        let answer = etcd.ask(Method::POST, &format!("/v3/kv/{method}"), "application/json", body);
        answer.unwrap_or_else(|error| panic!("etcd, {method}: {error}"))
    }

    /// Whether it answers and has no flags of anybody's.
    pub(super) fn is_as_started(&self) -> bool {
        lock(&self.flags).is_empty() && self.is_ready().is_ok()
    }

    /// Whether it answers, and has made what it makes for itself a moment after it says that it is ready.
    fn is_ready(&self) -> Result<()> {
        self.api.get_text("/readyz")?;
        OWN_NAMESPACES.iter().try_for_each(|name| self.api.get("Namespace", name).map(|_| ()))?;
        self.api.get("Service", OWN_SERVICE).map(|_| ())
    }

    fn await_ready(&self) {
        let start = Instant::now();
        while let Err(error) = self.is_ready() {
            let mut api_server = self.api_server();
            let ended = api_server.wait(Duration::ZERO).unwrap_or_else(|error| panic!("{error}"));
            if ended.is_some() || start.elapsed() > PATIENCE {
                let said = api_server.stderr();
                let last = said[said.len().saturating_sub(20)..].join("\n");
                panic!("kube-apiserver is not ready ({error}); it has ended: {ended:?}; it said:\n{last}");
            }
            drop(api_server);
            thread::sleep(PAUSE);
        }
    }

    fn api_server(&self) -> MutexGuard<'_, Process> {
        lock(&self.api_server)
    }
}

/// What was guarded is whole, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(namespace: &Namespace, scratch: &Scratch, command: Command) -> Process {
    Process::spawn_seeing(namespace, scratch, command).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes what the API server knows itself and others by; says where.
fn write_keys(scratch: &Scratch, authority: &Authority) -> PathBuf {
    let server = authority.server("kube-apiserver", &["localhost", "127.0.0.1", &ADDRESS.to_string()]);
    let service_accounts = certificates::key();
    let files = [
        ("authority.crt", authority.pem()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("service-accounts.key", service_accounts.serialize_pem()),
        ("service-accounts.pub", service_accounts.public_key_pem()),
    ];
    let write = |(name, content): (&str, String)| scratch.write(FOLDER, name, content.as_bytes());
    files.map(|file| write(file).expect("a tmpfs can be written"))[0].clone()
}

/// A command that the kernel kills with the thread that starts it, also where this process is killed.
fn tied(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program(name)).stdout(Stdio::null());
    command
}

fn etcd(folder: &std::path::Path) -> Command {
    let mut command = tied("etcd");
    command.arg("--data-dir").arg(folder.join("etcd")).args([
        &format!("--listen-client-urls={ETCD}"),
        &format!("--advertise-client-urls={ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380",
        // Nothing outlives the tmpfs that it is in.
        "--unsafe-no-fsync",
        // Elects itself at once.
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--log-level=warn",
    ]);
    command
}

fn api_server(folder: &std::path::Path, flags: &Vec<String>) -> Command {
    let mut command = tied("kube-apiserver");
    let files = [
        ("client-ca-file", "authority.crt"),
        ("tls-cert-file", "server.crt"),
        ("tls-private-key-file", "server.key"),
        ("service-account-signing-key-file", "service-accounts.key"),
        ("service-account-key-file", "service-accounts.pub"),
    ];
    command.args(files.map(|(flag, file)| format!("--{flag}={}", folder.join(file).display())));
    command.args([
        &format!("--etcd-servers={ETCD}"),
        &format!("--bind-address={ADDRESS}"),
        "--secure-port=6443",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged",
        // These need controllers: accounts that nobody makes, taints that nobody takes away.
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,DefaultTolerationSeconds",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        "--shutdown-delay-duration=0s",
    ]);
    command.args(flags);
    command
}
