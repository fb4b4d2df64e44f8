//! A switch: a bridge in a namespace, which joins others.

use crate::{LabError, Namespace, ip};

/// The bridge in its namespace.
const BRIDGE: &str = "switch";
/// A number in `linux/if_bridge.h`: a port that neither learns nor forwards.
const DISABLED: u8 = 0;
/// Another: one that does.
const FORWARDING: u8 = 3;

/// A switch. It goes with its namespace.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
}

/// A place on a [`Switch`] and what is plugged in there.
#[derive(Debug)]
pub struct Port {
    switch: Namespace,
    name: String,
}

impl Switch {
    /// A switch without anything on it, in a namespace that has none yet.
    pub fn new(namespace: &Namespace) -> Result<Self, LabError> {
        // It carries frames; what is in them is the matter of those whom it joins.
        namespace.set_sysctls(&[
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ])?;
        ip::batch(namespace, &[format!("link add {BRIDGE} type bridge"), format!("link set {BRIDGE} up")])?;
        Ok(Self { namespace: namespace.clone() })
    }

    /// Makes its own namespace a host among those that it joins, with an address such as `10.0.0.1/24`, and one that can
    /// speak to itself.
    pub fn own(&self, address: &str) -> Result<(), LabError> {
        ip::batch(&self.namespace, &[format!("addr add {address} dev {BRIDGE}"), "link set lo up".to_owned()])
    }

    /// Plugs a host in: the name of the port, and the host's link and its addresses, such as `10.0.0.2/24`.
    pub fn connect(&self, port: &str, host: &Namespace, link: &str, addresses: &[String]) -> Result<Port, LabError> {
        ip::batch(
            &self.namespace,
            &[
                format!("link add {port} type veth peer name {link} netns {}", host.path().display()),
                format!("link set {port} master {BRIDGE} up"),
            ],
        )?;
        let addresses = addresses.iter().map(|address| format!("addr add {address} dev {link}"));
        ip::batch(host, &[format!("link set {link} up")].into_iter().chain(addresses).collect::<Vec<_>>())?;
        Ok(Port { switch: self.namespace.clone(), name: port.to_owned() })
    }
}

impl Port {
    /// Loses every frame from now on, in both directions, and tells nobody: neither end sees its link go down.
    pub fn cut(&self) -> Result<(), LabError> {
        self.set_state(DISABLED)
    }

    /// Undoes [`Self::cut`].
    pub fn mend(&self) -> Result<(), LabError> {
        self.set_state(FORWARDING)
    }

    fn set_state(&self, state: u8) -> Result<(), LabError> {
        ip::bridge_batch(&self.switch, &[format!("link set dev {} state {state}", self.name)])
    }
}
