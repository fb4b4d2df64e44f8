//! The one writer: what events mean becomes a transaction, and what the kernel refuses is found down to its policy.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use policy_compiler::cluster::Cluster;
use policy_compiler::delta::{ChainChange, Delta, SetChange};
use policy_compiler::model::{Object, ObjectId, ObjectName, Policy};
use policy_compiler::plan::{Generation, LivePlan, MarkMask};

use super::{Options, culprits};
use crate::kernel::{Commit, Kernel, KernelError, Observed, Repair};
use crate::observe::{self, Action, Enforcement, Kind, Observer};
use crate::source::{Event, News, Problem};

/// Events of which it is measured when they come into force. Where nothing does, for as long as the kernel refuses
/// everything, more of them say no more.
const TIMED: usize = 100_000;

/// What the live plan says, brought into the kernel.
pub(super) struct Writer {
    kernel: Kernel,
    live: LivePlan,
    mask: MarkMask,
    observer: Observer,
    /// Whether the source has spoken.
    knows: bool,
    /// Whether a table that was there at the start is ours.
    claimed: bool,
    /// Whether nobody else can change the table.
    owned: bool,
    /// How many changes the kernel has taken.
    commits: u64,
    /// Whether the kernel holds what the live plan held when it was last asked for a delta.
    in_step: bool,
    /// Whether somebody else may have changed the table since the last commit.
    doubted: bool,
    /// Since when events wait to come into force, by kind.
    waiting: Vec<(Kind, Instant)>,
    /// Policies that changed since the kernel last accepted anything, and when.
    changed: BTreeMap<ObjectName, Instant>,
    /// Policies that the kernel refused: as they are, and why.
    refused: BTreeMap<ObjectName, (Policy, String)>,
    /// What the source says is wrong.
    problems: Vec<Problem>,
}

impl Writer {
    pub(super) fn new(kernel: Kernel, options: &Options, observer: Observer) -> Self {
        let mask = options.settings.mark_mask;
        let live = LivePlan::new(&options.node, options.settings.clone(), Generation::FIRST);
        Self {
            kernel,
            live,
            mask,
            observer,
            knows: false,
            claimed: false,
            owned: false,
            commits: 0,
            in_step: false,
            doubted: false,
            waiting: Vec::new(),
            changed: BTreeMap::new(),
            refused: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Tells the live plan what has happened.
    pub(super) fn hear(&mut self, news: News) {
        let first = !std::mem::replace(&mut self.knows, true);
        if first {
            Kind::WATCHED.into_iter().for_each(|kind| self.observer.listed(kind));
        }
        for event in &news.events {
            let kind = Kind::of(&event.id);
            self.observer.event(kind, if event.object.is_some() { Action::Apply } else { Action::Delete });
            if self.waiting.len() < TIMED {
                self.waiting.push((kind, event.learned));
            }
            match (&event.id, &event.object) {
                (ObjectId::Pod(name), None) => self.observer.view().remove(name),
                (_, Some(Object::Pod(pod))) => self.observer.view().put(pod, self.live.is_local(pod)),
                _ => {}
            }
        }
        if first {
            // All at once is cheaper than one by one.
            let objects = news.events.into_iter().filter_map(|event| event.object);
            self.live.load(&objects.collect::<Cluster>());
        } else {
            news.events.into_iter().for_each(|event| self.apply(event));
        }
        if let Some(problems) = news.problems {
            for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
                tracing::warn!(%problem, "input");
            }
            self.problems = problems;
            self.tell_problems();
        }
    }

    fn apply(&mut self, event: Event) {
        if let ObjectId::Policy(name) = &event.id {
            let same = |object: &Object| {
                let refused = self.refused.get(name);
                matches!(object, Object::Policy(policy) if refused.is_some_and(|(refused, _)| refused == &**policy))
            };
            if event.object.as_ref().is_some_and(same) {
                return; // told again, not changed
            }
            if self.refused.remove(name).is_some() {
                self.tell_problems();
            }
            match event.object {
                Some(_) => _ = self.changed.insert(name.clone(), event.learned),
                None => _ = self.changed.remove(name),
            }
        }
        match event.object {
            Some(object) => self.live.apply(object),
            None => self.live.remove(&event.id),
        }
    }

    /// Makes the kernel hold what the live plan says. What it refuses is looked for and closed; the rest is committed.
    pub(super) fn reconcile(&mut self) -> Result<(), KernelError> {
        let first = !self.in_step;
        let done = if self.knows { self.commit() } else { self.claim() };
        let done = match done {
            Err(error) if self.knows && error.is_refusal() => self.without_culprits(error),
            done => done,
        };
        match &done {
            Ok(()) if self.knows => self.in_force(first),
            Ok(()) => {}
            Err(error) => self.observer.refused(error),
        }
        done
    }

    /// Takes a table over that is there already, as it is: it goes on serving until everything is known, and nobody else's
    /// flush of the ruleset removes it.
    fn claim(&mut self) -> Result<(), KernelError> {
        if !self.claimed && self.kernel.exists()? {
            self.kernel.repair(&Repair::default())?;
        }
        self.claimed = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), KernelError> {
        let started = Instant::now();
        let done = if std::mem::take(&mut self.in_step) { self.advance()? } else { self.adopt()? };
        self.in_step = true;
        let deleting = done.as_ref().map_or(Duration::ZERO, |(_, commit)| commit.deleting);
        let took = started.elapsed().saturating_sub(deleting);
        self.changed.clear();
        let waiting = std::mem::take(&mut self.waiting);
        let doubted = std::mem::take(&mut self.doubted);
        if let Some((delta, commit)) = &done {
            self.commits += 1;
            waiting
                .into_iter()
                .for_each(|(kind, learned)| self.observer.applied(kind, learned.elapsed().saturating_sub(deleting)));
            self.observer.committed(*commit, took);
            if doubted {
                self.observer.repaired();
            }
            self.log(delta, *commit, took);
        }
        self.observer.view().isolate(&self.live.pods());
        Ok(())
    }

    /// From what the kernel turns out to hold.
    fn adopt(&mut self) -> Result<Option<(Delta, Commit)>, KernelError> {
        let observed = self.kernel.read()?;
        let stamp = observed.as_ref().and_then(|observed| observed.stamp(self.mask.bits()));
        match stamp.and_then(|value| Generation::from_value(value, self.mask)) {
            Some(generation) => self.live.set_generation(generation),
            None if self.commits == 0 => self.live.set_generation(unlike_earlier_ones(self.mask)),
            None => {}
        }
        let mut repair = difference(observed.as_ref(), &self.live);
        if (observed.is_some() || self.commits > 0) && !repair.is_empty() {
            // What was let through in the meantime is not known: everything is judged again.
            self.tighten();
            repair = difference(observed.as_ref(), &self.live);
        }
        tracing::debug!(adopted = observed.is_some(), "read the table");
        _ = self.live.delta(); // all of it is in the repair
        let commit = self.kernel.repair(&repair)?;
        self.owned = self.kernel.is_owned()?;
        Ok((!repair.is_empty()).then(|| (repair.delta().clone(), commit)))
    }

    /// From what was committed last.
    fn advance(&mut self) -> Result<Option<(Delta, Commit)>, KernelError> {
        if self.live.tightens() {
            self.tighten();
        }
        let delta = self.live.delta();
        if delta.is_empty() {
            return Ok(None);
        }
        let commit = self.kernel.commit(&delta)?;
        Ok(Some((delta, commit)))
    }

    /// After a refusal. Perhaps only our picture of the table was wrong; if not, some policy asks for what the kernel does
    /// not take, and is closed (invariant 1).
    fn without_culprits(&mut self, refusal: KernelError) -> Result<(), KernelError> {
        tracing::warn!(error = %refusal, "refused: reading the table back");
        let refusal = match self.commit() {
            Err(error) if error.is_refusal() => error,
            done => return done,
        };
        let Some(culprits) = self.culprits()? else { return Err(refusal) };
        for name in culprits {
            let Some(policy) = self.live.policy(&name).cloned() else { continue };
            let reason = refusal.to_string();
            tracing::error!(policy = %name, reason, "the kernel refuses this policy: its pods are closed");
            self.live.apply(Object::Policy(Box::new(policy.close())));
            self.refused.insert(name, (policy, reason));
        }
        self.tell_problems();
        self.commit()
    }

    /// The policies that the kernel refuses; none where it refuses something else.
    fn culprits(&mut self) -> Result<Option<Vec<ObjectName>>, KernelError> {
        let observed = self.kernel.read()?;
        let suspects = self.suspects();
        let Self { kernel, live, .. } = self;
        culprits::find(&suspects, |closed| {
            let mut trial = live.clone();
            for policy in closed.iter().filter_map(|name| live.policy(name)) {
                trial.apply(Object::Policy(Box::new(policy.close())));
            }
            accepted(kernel.rehearse(&difference(observed.as_ref(), &trial)))
        })
    }

    /// The policies that have a say on this node, the latest changed first.
    fn suspects(&self) -> Vec<ObjectName> {
        let mut changed: Vec<_> = self.changed.iter().collect();
        changed.sort_by_key(|(_, when)| Reverse(**when));
        let mut suspects: Vec<_> = changed.into_iter().map(|(name, _)| name.clone()).collect();
        for pod in self.live.pods() {
            suspects.extend(pod.ingress.into_iter().chain(pod.egress));
        }
        let mut seen = BTreeSet::new();
        let open = |name: &ObjectName| self.live.policy(name).is_some_and(|policy| !policy.closed);
        suspects.retain(|name| seen.insert(name.clone()) && open(name));
        suspects
    }

    /// Opens policies again that the kernel refused and no longer does. Whether there are any.
    pub(super) fn reconsider(&mut self) -> Result<bool, KernelError> {
        if self.refused.is_empty() || !self.in_step {
            return Ok(false);
        }
        let observed = self.kernel.read()?;
        let before = self.refused.len();
        for (name, (policy, _)) in self.refused.clone() {
            let mut trial = self.live.clone();
            trial.apply(Object::Policy(Box::new(policy.clone())));
            if accepted(self.kernel.rehearse(&difference(observed.as_ref(), &trial)))? {
                tracing::info!(policy = %name, "the kernel takes this policy now");
                self.live.apply(Object::Policy(Box::new(policy)));
                self.refused.remove(&name);
            }
        }
        self.tell_problems();
        Ok(self.refused.len() < before)
    }

    /// Somebody else may have changed the table: it is read back before the next commit.
    pub(super) fn doubt(&mut self) {
        self.in_step = false;
        self.doubted = true;
    }

    /// Whether the kernel holds what was last committed, as far as is known.
    pub(super) fn in_step(&self) -> bool {
        self.in_step
    }

    /// How many changes the kernel has taken.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// In how many chains and sets the table differs from what was committed.
    pub(super) fn compare(&mut self) -> Result<usize, KernelError> {
        let observed = self.kernel.read()?;
        Ok(self.differences(observed.as_ref()))
    }

    /// The same, of a table that was read before.
    pub(super) fn differences(&self, observed: Option<&Observed>) -> usize {
        let repair = difference(observed, &self.live);
        repair.delta().chains.len() + repair.delta().sets.len()
    }

    /// Removes the table.
    pub(super) fn withdraw(&mut self) -> Result<bool, KernelError> {
        self.in_step = false;
        let existed = self.kernel.remove()?;
        self.observer.withdrawn();
        Ok(existed)
    }

    /// Has every live connection judged again.
    fn tighten(&mut self) {
        self.live.set_generation(self.live.generation().next(self.mask));
    }

    fn in_force(&self, first: bool) {
        self.observer.in_force(Enforcement {
            generation: self.live.generation().number(),
            owned: self.owned,
            size: self.live.table().size(),
            policies: self.live.policy_count(),
        });
        if first {
            tracing::info!(table = &**self.kernel.table(), "policies are in force");
        }
        tracing::debug!("in step");
    }

    fn tell_problems(&self) {
        let refused = self.refused.iter().map(|(name, (_, reason))| observe::Problem {
            policy: Some(name.to_string()),
            closed: true,
            message: format!("the kernel refuses it: {reason}"),
        });
        let told = self.problems.iter().map(|problem| observe::Problem {
            policy: problem.policy().map(|name| name.to_string()),
            closed: problem.policy().and_then(|name| self.live.policy(&name)).is_some_and(|policy| policy.closed),
            message: problem.to_string(),
        });
        self.observer.set_problems(told.chain(refused).collect::<Vec<_>>());
    }

    fn log(&self, delta: &Delta, commit: Commit, took: Duration) {
        let elements: usize = delta.sets.values().map(elements).sum();
        tracing::info!(
            generation = self.live.generation().number(),
            chains = delta.chains.len(),
            deleted_chains = delta.chains.values().filter(|change| **change == ChainChange::Delete).count(),
            sets = delta.sets.len(),
            elements,
            operations = commit.operations,
            bytes = commit.bytes,
            microseconds = took.as_micros() as u64,
            "committed"
        );
    }
}

/// What a table starts with that is made from nothing. Connections may live that an earlier table has stamped, of which
/// nothing is known any more: most likely with another number than this.
fn unlike_earlier_ones(mask: MarkMask) -> Generation {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Generation::numbered(seconds, mask)
}

/// What makes the table that was found the one that the plan wants.
fn difference(observed: Option<&Observed>, live: &LivePlan) -> Repair {
    observed.map_or_else(|| Repair::create(live.table()), |observed| observed.delta_to(live.table()))
}

/// Whether a rehearsal went well; anything but a refusal says nothing about that.
fn accepted(rehearsal: Result<(), KernelError>) -> Result<bool, KernelError> {
    match rehearsal {
        Ok(()) => Ok(true),
        Err(error) if error.is_refusal() => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many elements a change adds and removes; those of a deleted set are not counted.
fn elements(change: &SetChange) -> usize {
    match change {
        SetChange::Create(set) => set.elements.len(),
        SetChange::Edit { remove, add } => remove.len() + add.len(),
        SetChange::Delete => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use policy_compiler::cidr::CidrRules;
    use policy_compiler::manifest::{self, Content};
    use policy_compiler::plan::Settings;

    use super::*;
    use crate::engine::audit::Audit;
    use crate::kernel::tests::in_namespace;
    use crate::observe::Identity;

    const MANIFEST: &str = "apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}
";

    fn nft(arguments: &str) -> String {
        let output = Command::new("nft").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A writer that has committed the manifest, to a table that everybody can change.
    fn writer() -> (Writer, Observer) {
        nft("add table inet podwall");
        let options = Options { node: "n1".into(), settings: Settings::default(), audit: Duration::from_secs(60) };
        let observer = Observer::new(Identity { node: "n1".into(), table: "podwall".into() });
        let mut writer = Writer::new(Kernel::open("podwall").unwrap(), &options, observer.clone());
        let manifest = manifest::read(&"m.yaml".into(), MANIFEST, CidrRules::Legacy);
        let objects = manifest.documents.into_iter().flat_map(|document| match document.content {
            Content::Objects(objects) => objects,
            _ => panic!("{:?}", manifest.problems),
        });
        let events = objects.map(|object| Event::apply(object, Instant::now())).collect();
        writer.hear(News { events, problems: None });
        writer.reconcile().unwrap();
        assert!(nft("list table inet podwall").contains("tcp dport 80"));
        (writer, observer)
    }

    fn in_runtime(test: impl AsyncFnOnce() + Send + 'static) {
        in_namespace(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test()));
    }

    fn metric(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    #[test]
    fn an_audit_finds_what_nobody_told_of_and_it_is_mended() {
        in_runtime(async || {
            let (mut writer, observer) = writer();
            let mut audit = Audit::new("podwall".into(), Duration::from_millis(1));
            let read = audit.next(writer.commits()).await;
            assert!(!audit.judge(read, &mut writer, &observer).unwrap(), "nothing differs");

            nft("flush chain inet podwall deny_ingress");
            nft("delete element inet podwall dispatch_ingress_v4 { 10.244.1.1 }");
            let read = audit.next(writer.commits()).await;
            assert!(audit.judge(read, &mut writer, &observer).unwrap());
            writer.reconcile().unwrap();
            let read = audit.next(writer.commits()).await;
            assert!(!audit.judge(read, &mut writer, &observer).unwrap(), "it has been mended");
            let metrics = observer.metrics().await;
            assert_eq!(metric(&metrics, "podwall_audit_differences_total"), 2.0);
            assert_eq!(metric(&metrics, "podwall_audits_total"), 3.0);
            assert_eq!(metric(&metrics, "podwall_drift_repairs_total"), 1.0);
        });
    }

    #[test]
    fn nothing_grows_while_the_kernel_refuses() {
        in_runtime(async || {
            let (mut writer, _) = writer();
            let policy = writer.live.policy(&ObjectName::new("shop", "web")).unwrap().clone();
            for number in 0..TIMED + 10 {
                let name = ObjectName::new("shop", format!("p{number}"));
                let another = Policy { name: name.clone(), ..policy.clone() };
                let came = Event::apply(Object::Policy(Box::new(another)), Instant::now());
                let went = Event::remove(ObjectId::Policy(name), Instant::now());
                writer.hear(News { events: vec![came, went], problems: None });
            }
            assert_eq!((writer.waiting.len(), writer.changed.len()), (TIMED, 0));
        });
    }

    #[test]
    fn a_reading_that_a_commit_has_overtaken_says_nothing_and_is_repeated() {
        in_runtime(async || {
            let (mut writer, observer) = writer();
            let mut audit = Audit::new("podwall".into(), Duration::from_secs(3600));
            for overtaken in 0..=3 {
                let read = audit.next(writer.commits()).await;
                // By somebody else's doing, and by a commit of ours.
                nft("flush chain inet podwall deny_ingress");
                writer.commits += 1;
                // The loop waits for the fourth reading, and no hour for any but the first.
                assert_eq!(audit.judge(read, &mut writer, &observer).unwrap(), overtaken == 3, "{overtaken}");
            }
            assert_eq!(metric(&observer.metrics().await, "podwall_audits_total"), 1.0);
            // Nor is a reading repeated at once that failed, or that nothing can be said about.
            writer.reconcile().unwrap();
            for failed in [true, false] {
                let mut audit = Audit::new("podwall".into(), Duration::from_secs(3600));
                let read = audit.next(writer.commits()).await;
                writer.commits += 1;
                assert!(!audit.judge(read, &mut writer, &observer).unwrap());
                let read = audit.next(writer.commits()).await;
                let read = if failed { Err(KernelError::NotPermitted) } else { read };
                writer.in_step &= failed;
                assert_eq!(audit.judge(read, &mut writer, &observer).is_err(), failed);
                let next = tokio::time::timeout(Duration::from_millis(200), audit.next(writer.commits())).await;
                assert!(next.is_err(), "the next waits for its tick, failed: {failed}");
            }
        });
    }

    #[test]
    fn a_policy_that_the_kernel_takes_after_all_is_opened_again() {
        in_runtime(async || {
            let (mut writer, observer) = writer();
            let name = ObjectName::new("shop", "web");
            let policy = writer.live.policy(&name).unwrap().clone();
            writer.live.apply(Object::Policy(Box::new(policy.close())));
            writer.refused.insert(name, (policy, "no memory".into()));
            writer.tell_problems();
            writer.reconcile().unwrap();
            assert!(!nft("list table inet podwall").contains("tcp dport 80"));
            assert!(observer.status().problems[0].closed);
            assert!(writer.reconsider().unwrap());
            writer.reconcile().unwrap();
            assert!(nft("list table inet podwall").contains("tcp dport 80"));
            assert!(observer.status().problems.is_empty() && !writer.reconsider().unwrap());
        });
    }

    #[test]
    fn what_is_refused_for_no_policy_is_told_and_blamed_on_none() {
        in_runtime(async || {
            let (mut writer, observer) = writer();
            nft("delete table inet podwall");
            // As many chains as a hook has room for.
            nft("add table inet other");
            let chain = |number| format!("add chain inet other c{number} {{ type filter hook forward priority 0; }}");
            nft(&(0..1024).map(chain).collect::<Vec<_>>().join("; "));
            writer.doubt();
            let error = writer.reconcile().unwrap_err();
            assert!(error.is_refusal(), "{error}");
            assert!(writer.refused.is_empty() && observer.status().problems.is_empty());
            let committed = observer.conditions().into_iter().find(|condition| condition.name == "committed").unwrap();
            assert!(!committed.holds && committed.reason.contains(&error.to_string()), "{committed:?}");
        });
    }
}
