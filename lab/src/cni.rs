//! The CNI protocol, as far as a container runtime speaks it: environment, configuration on stdin, JSON back.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{LabError, Namespace, PodNetwork, lineage::mark, scratch::Scratch};

/// The plugins that a lab uses.
pub const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "ptp"];
/// The bridge that the pods of a node hang on, in the node's namespace.
pub const BRIDGE: &str = "cni0";
/// A pod's link.
pub const POD_LINK: &str = "eth0";

/// Where plugins are looked for: `CNI_PATH`, then where distributions and installers put them.
pub fn search_path() -> Vec<PathBuf> {
    let given = env::var_os("CNI_PATH").unwrap_or_default();
    env::split_paths(&given)
        .chain(["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"].map(PathBuf::from))
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect()
}

/// The file of a plugin.
pub fn find(plugin: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|folder| folder.join(plugin)).find(|file| file.is_file())
}

/// The plugins of one node: their configuration and their state.
#[derive(Debug)]
pub(crate) struct Plugins {
    network: PodNetwork,
    node: Namespace,
    ranges: [String; 2],
    state: Scratch,
}

/// What a pod got.
pub(crate) struct Attachment {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) link_address: [u8; 6],
}

#[derive(Deserialize)]
struct AddResult {
    interfaces: Vec<Interface>,
    ips: Vec<AssignedAddress>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    mac: String,
}

#[derive(Deserialize)]
struct AssignedAddress {
    address: String,
}

#[derive(Deserialize)]
struct Failure {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

impl Plugins {
    pub(crate) fn new(network: PodNetwork, node: &Namespace, ranges: [String; 2]) -> Result<Self, LabError> {
        let state = Scratch::new().map_err(node.error("make a folder for the CNI plugins' state"))?;
        Ok(Self { network, node: node.clone(), ranges, state })
    }

    /// Gives a pod its `eth0`; IPv4 comes first in the addresses.
    pub(crate) fn add(&self, pod: &Namespace) -> Result<Attachment, LabError> {
        let plugin = self.network.plugin();
        let answer = self.run(plugin, "ADD", pod)?;
        let malformed = |reason: String| LabError::Plugin { plugin, command: "ADD", pod: pod.name().into(), reason };
        let result: AddResult = serde_json::from_value(answer).map_err(|error| malformed(error.to_string()))?;
        let parse = |ip: &AssignedAddress| {
            let address = ip.address.split('/').next().unwrap_or_default();
            address.parse().map_err(|_| malformed(format!("{:?} is not an address", ip.address)))
        };
        let addresses = result.ips.iter().map(parse).collect::<Result<_, _>>()?;
        let link = result.interfaces.iter().find(|interface| interface.name == POD_LINK);
        let link_address = link
            .and_then(|link| parse_link_address(&link.mac))
            .ok_or_else(|| malformed(format!("{POD_LINK} has no link address")))?;
        Ok(Attachment { addresses, link_address })
    }

    /// Takes a pod's `eth0` away and frees its addresses.
    pub(crate) fn delete(&self, pod: &Namespace) -> Result<(), LabError> {
        self.run(self.network.plugin(), "DEL", pod).map(drop)
    }

    /// Brings `lo` up, as runtimes do before anything else.
    pub(crate) fn add_loopback(&self, namespace: &Namespace) -> Result<(), LabError> {
        self.run("loopback", "ADD", namespace).map(drop)
    }

    fn config(&self, plugin: &str, state: &str) -> Value {
        let mut config = json!({ "cniVersion": "1.0.0", "name": "lab", "type": plugin });
        if plugin == "loopback" {
            return config;
        }
        let ranges: Vec<Value> = self.ranges.iter().map(|range| json!([{ "subnet": range }])).collect();
        config["ipMasq"] = false.into();
        config["ipam"] = json!({ "type": "host-local", "dataDir": state, "ranges": ranges });
        if let Some(mtu) = self.network.mtu() {
            config["mtu"] = mtu.into();
        }
        if plugin == "bridge" {
            config["bridge"] = BRIDGE.into();
            config["isGateway"] = true.into();
            config["isDefaultGateway"] = true.into();
            config["hairpinMode"] = true.into();
        } else {
            config["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
        }
        config
    }

    fn run(&self, plugin: &'static str, command: &'static str, pod: &Namespace) -> Result<Value, LabError> {
        let failed = |reason: String| LabError::Plugin { plugin, command, pod: pod.name().into(), reason };
        let path = find(plugin).ok_or_else(|| failed(format!("not found in {:?}", search_path())))?;
        let link = if plugin == "loopback" { "lo" } else { POD_LINK };

        let mut child = Command::new(path);
        mark(child.env_clear())
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("CNI_COMMAND", command)
            // A container's name cannot hold a slash, a Kubernetes name no underscore.
            .env("CNI_CONTAINERID", pod.name().replace('/', "_"))
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", link)
            .env("CNI_PATH", env::join_paths(search_path()).unwrap_or_else(|_| OsString::new()));

        let output = self.node.run(|| {
            let config = self.config(plugin, self.state.enter()?);
            output_with_input(child, &config.to_string())
        })?;
        let output = output.map_err(|error| failed(error.to_string()))?;

        if output.status.success() {
            // DEL answers with nothing.
            let answer = if output.stdout.is_empty() { b"null" } else { output.stdout.as_slice() };
            return serde_json::from_slice(answer).map_err(|error| failed(error.to_string()));
        }
        Err(match serde_json::from_slice::<Failure>(&output.stdout) {
            Ok(Failure { code, msg, details }) => {
                LabError::Cni { plugin, command, pod: pod.name().into(), code, message: msg, details }
            }
            Err(_) => failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
        })
    }
}

fn output_with_input(mut command: Command, input: &str) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Taken out of the child, so that the plugin sees the end of its input.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    child.wait_with_output()
}

fn parse_link_address(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}
