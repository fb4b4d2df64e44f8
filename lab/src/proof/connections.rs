//! Connections that stay open while policies change (rules 133, 134).

use crate::{
    Connection, LabError, Observed, Protocol, Traffic,
    connection::carry,
    proof::{End, Prediction, Proof, Stage, Trial},
};

/// How many connections are kept open at most, for the sake of the machine.
const MOST: usize = 512;

/// Connections that were opened because they were allowed.
#[derive(Debug, Default)]
pub struct Connections(Vec<(Trial, Connection)>);

impl Stage {
    /// Opens the TCP connections that were found to pass; of too many a part, evenly. Those from outside and those to
    /// Services are not among them.
    pub fn connect(&self, proof: &Proof) -> Result<Connections, LabError> {
        let may_stay = |trial: &&Trial| {
            let is_tcp = matches!(trial.traffic, Traffic::Port(Protocol::Tcp, _));
            is_tcp && trial.passed() && !trial.to.is_service() && !matches!(trial.from, End::Outside(_))
        };
        let passed: Vec<&Trial> = proof.trials.iter().filter(may_stay).collect();
        let chosen = passed.iter().step_by(passed.len().div_ceil(MOST).max(1));
        let open = |trial: &&Trial| {
            let place = trial.from.place().unwrap_or_default();
            let port = trial.traffic.port().unwrap_or_default();
            let connection = Connection::open(self.lab.namespace(&place)?, trial.address, port)?;
            Ok(((*trial).clone(), connection))
        };
        chosen.map(open).collect::<Result<_, _>>().map(Connections)
    }

    /// What has become of open connections in the state that the cluster is in now. Those of pods that are gone, or are
    /// not the same any more, are left out.
    pub fn review(&self, connections: Connections) -> Vec<Trial> {
        let ground = self.ground();
        let (mut trials, mut open): (Vec<Trial>, Vec<Connection>) = (Vec::new(), Vec::new());
        for (trial, connection) in connections.0 {
            let now = ground.direct(&trial.from, &trial.to, trial.traffic);
            let still = |place: Option<String>, address| {
                let known = place.and_then(|place| self.lab.addresses(&place).ok().map(<[_]>::to_vec));
                known.is_some_and(|known| known.contains(&address))
            };
            let same_source = match trial.from {
                End::Pod(_) => connection.source().is_some_and(|source| still(trial.from.place(), source)),
                _ => true,
            };
            // One that has finished is not there any more, whatever is still told of it.
            let same_target = still(trial.to.place(), trial.address);
            if let Some(now) = now.into_iter().find(|now| now.address == trial.address)
                && same_source
                && same_target
            {
                trials.push(now);
                open.push(connection);
            }
        }
        let likely: Vec<bool> = trials.iter().map(|trial| trial.predicted == Prediction::Allowed).collect();
        let observed: Vec<Observed> = carry(&mut open, &likely);
        for (trial, observed) in trials.iter_mut().zip(observed) {
            trial.observed = Some(observed);
        }
        trials
    }
}
