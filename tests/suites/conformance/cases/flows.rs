//! Flows, and what must become of them.

use std::net::IpAddr;

use lab::{Expectation, OUTSIDE, Observed, Probe, Protocol, Traffic};
use policy_compiler::cidr::Family;

use crate::world::{EVERYWHERE, World};

/// On the port that policies of cases speak of.
pub const TCP: Traffic = Traffic::Port(Protocol::Tcp, 80);
/// The same number.
pub const UDP: Traffic = Traffic::Port(Protocol::Udp, 80);
/// The same number.
pub const SCTP: Traffic = Traffic::Port(Protocol::Sctp, 80);
/// Another port.
pub const OTHER_TCP: Traffic = Traffic::Port(Protocol::Tcp, 81);
/// One of every kind.
pub const ALL: [Traffic; 4] = [TCP, UDP, SCTP, Traffic::Echo];

/// What is asked of others than those who have an address.
#[derive(Clone, Debug)]
pub enum To<'a> {
    /// A pod, a node or the host outside, by its addresses.
    End(&'a str),
    /// Some addresses, and whose answers are right.
    Addresses(Vec<IpAddr>, &'a [&'a str]),
}

impl<'a> From<&'a str> for To<'a> {
    fn from(id: &'a str) -> Self {
        Self::End(id)
    }
}

/// Flows that are asked all at once.
pub struct Flows<'w> {
    world: &'w World,
    asked: Vec<(Probe, Observed)>,
}

impl<'w> Flows<'w> {
    /// None yet.
    pub fn of(world: &'w World) -> Self {
        Self { world, asked: Vec::new() }
    }

    /// These are answered by the right one, in every family that both ends have.
    pub fn pass<'a>(&mut self, from: &str, to: impl Into<To<'a>>, traffics: &[Traffic]) -> Result<(), String> {
        self.ask(from, to.into(), traffics, &Family::BOTH, Observed::Allowed)
    }

    /// These are met with silence.
    pub fn fail<'a>(&mut self, from: &str, to: impl Into<To<'a>>, traffics: &[Traffic]) -> Result<(), String> {
        self.ask(from, to.into(), traffics, &Family::BOTH, Observed::Denied)
    }

    /// These are answered in one family and met with silence in the other.
    pub fn pass_only<'a>(
        &mut self,
        family: Family,
        from: &str,
        to: impl Into<To<'a>>,
        traffics: &[Traffic],
    ) -> Result<(), String> {
        let to = to.into();
        for one in Family::BOTH {
            let expected = if one == family { Observed::Allowed } else { Observed::Denied };
            self.ask(from, to.clone(), traffics, &[one], expected)?;
        }
        Ok(())
    }

    /// These come to something else.
    pub fn come_to<'a>(
        &mut self,
        expected: &Observed,
        from: &str,
        to: impl Into<To<'a>>,
        traffics: &[Traffic],
    ) -> Result<(), String> {
        self.ask(from, to.into(), traffics, &Family::BOTH, expected.clone())
    }

    fn ask(
        &mut self,
        from: &str,
        to: To<'_>,
        traffics: &[Traffic],
        families: &[Family],
        expected: Observed,
    ) -> Result<(), String> {
        let (addresses, answerers) = match to {
            To::End(id) => (addresses(self.world, id)?, vec![id.to_owned()]),
            To::Addresses(addresses, answerers) => {
                (addresses, answerers.iter().map(|&answerer| answerer.to_owned()).collect())
            }
        };
        let likely = if expected == Observed::Denied { Expectation::Denied } else { Expectation::Allowed };
        let addresses: Vec<IpAddr> =
            addresses.into_iter().filter(|address| families.contains(&Family::of(*address))).collect();
        if addresses.is_empty() {
            return Err(format!("nothing is asked of {answerers:?}"));
        }
        for address in addresses {
            for &traffic in traffics {
                let mut probe = Probe::new(from, address, traffic, likely);
                probe.answerers.clone_from(&answerers);
                if from == OUTSIDE {
                    probe.source = EVERYWHERE.into_iter().find(|one| one.is_ipv4() == address.is_ipv4());
                }
                self.asked.push((probe, expected.clone()));
            }
        }
        Ok(())
    }

    /// Has all of them carry so many bytes, there and back.
    pub fn carry(&mut self, payload: u16) {
        self.asked.iter_mut().for_each(|(probe, _)| probe.payload = payload);
    }

    /// Sends them. Each that comes to something else is told.
    pub fn check(self) -> Result<(), String> {
        let probes: Vec<Probe> = self.asked.iter().map(|(probe, _)| probe.clone()).collect();
        let observed = self.world.lab().probe_all(&probes, |_, _| ()).map_err(|error| error.to_string())?;
        let wrong = self.asked.iter().zip(observed).filter(|((_, expected), observed)| expected != observed);
        let lines: Vec<String> = wrong
            .map(|((probe, expected), observed)| {
                let Probe { from, source, to, traffic, payload, .. } = probe;
                let source = source.map(|source| format!(" ({source})")).unwrap_or_default();
                format!("{from}{source} -> {to} {traffic:?}, {payload} bytes: {observed:?} instead of {expected:?}")
            })
            .collect();
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }
}

/// The addresses of a pod, a node or the host outside: of the latter those that everybody may rely on.
pub fn addresses(world: &World, id: &str) -> Result<Vec<IpAddr>, String> {
    match id {
        OUTSIDE => Ok(EVERYWHERE.into()),
        id => world.lab().addresses(id).map(<[_]>::to_vec).map_err(|error| error.to_string()),
    }
}

/// The address of a pod or node in one family.
pub fn address(world: &World, id: &str, family: Family) -> Result<IpAddr, String> {
    let found = addresses(world, id)?.into_iter().find(|address| Family::of(*address) == family);
    found.ok_or_else(|| format!("{id} has no address of {family:?}"))
}

/// A policy in a namespace, `NS/NAME`, its spec in YAML's flow style.
pub fn policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("x", name));
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: \"{namespace}\"}}\nspec: {spec}\n"
    )
}

/// Isolates pods of a namespace and allows them nothing: `{}` for all of them, or `{matchLabels: ..}`.
pub fn deny_all(namespace: &str, pods: &str) -> String {
    policy(&format!("{namespace}/deny-all"), &format!("{{podSelector: {pods}, policyTypes: [Ingress, Egress]}}"))
}
