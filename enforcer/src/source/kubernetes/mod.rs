//! A Kubernetes API server, watched.
//!
//! A [`follow::Follower`] a kind lists and watches its objects, [`watched`], [`pod`] and [`policy`] make lean objects of
//! them, and [`Kubernetes`] puts what they say together, once all of them have said everything once.

mod client;
mod follow;
mod pod;
mod policy;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use policy_compiler::manifest::Severity;
use policy_compiler::model::ObjectId;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use self::follow::{Follower, Heard};
use self::pod::ApiPod;
use self::policy::ApiPolicy;
use self::watched::{Complaint, Watched};
use super::{Event, News, Problem, Source};
use crate::observe::{Kind, Observer};

/// How many words may wait for the loop; beyond, watches wait with reading.
const WAITING: usize = 1024;

/// Why an API server cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A kubeconfig cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// Nothing says where an API server is.
    #[error("there is neither a kubeconfig nor a pod's service account: {0}")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// What was configured makes no client.
    #[error("cannot speak to the API server: {0}")]
    Client(#[source] kube::Error),
    /// A watch has ended, which it never does by itself.
    #[error("a watch has ended")]
    Ended,
}

/// Yields what happens to pods, namespaces and NetworkPolicies, and to one node.
pub struct Kubernetes {
    node: String,
    heard: Receiver<Heard>,
    /// The kinds of which not everything is known yet.
    unlisted: BTreeSet<Kind>,
    /// What there is, until then: not what has come and gone, which would be ever more of while one kind is refused.
    first: BTreeMap<ObjectId, Event>,
    /// What has happened afterwards.
    events: Vec<Event>,
    problems: BTreeMap<ObjectId, Vec<Problem>>,
    /// Whether the problems are others than those that were told last.
    problems_changed: bool,
    followers: JoinSet<()>,
}

impl Kubernetes {
    /// Starts to watch, within a tokio runtime; asks the server nothing yet. Without a kubeconfig it is looked for where
    /// kubectl looks, then where a pod has its service account.
    ///
    /// # Errors
    /// When it is not known where the server is, or how to speak to it.
    pub async fn open(kubeconfig: Option<&Path>, node: &str, observer: Observer) -> Result<Self, KubernetesError> {
        let (say, heard) = channel(WAITING);
        let (node, kubeconfig) = (node.to_owned(), kubeconfig.map(Path::to_owned));
        let own = Some(format!("metadata.name={node}"));
        let mut watches = Watches { node, kubeconfig, say, observer, followers: JoinSet::new() };
        watches.start::<DeserializeGuard<ApiPod>>(None).await?;
        watches.start::<DeserializeGuard<PartialObjectMeta<Namespace>>>(None).await?;
        watches.start::<DeserializeGuard<ApiPolicy>>(None).await?;
        watches.start::<DeserializeGuard<PartialObjectMeta<Node>>>(own).await?;
        Ok(Self::of(watches.node, heard, watches.followers))
    }

    fn of(node: String, heard: Receiver<Heard>, followers: JoinSet<()>) -> Self {
        Self {
            node,
            heard,
            unlisted: Kind::WATCHED.into(),
            first: BTreeMap::new(),
            events: Vec::new(),
            problems: BTreeMap::new(),
            problems_changed: true,
            followers,
        }
    }

    fn take_over(&mut self, heard: Heard) {
        for event in &heard.events {
            if matches!(&event.id, ObjectId::Node(_)) {
                self.know_node(event.object.is_some());
            }
        }
        if heard.listed == Some(Kind::Node) && heard.events.is_empty() && heard.complaints.is_empty() {
            self.know_node(false);
        }
        self.gather(heard.events, heard.listed);
        for (id, complaints) in heard.complaints {
            if matches!(id, ObjectId::Node(_)) {
                continue;
            }
            let problem = |complaint: Complaint| Problem::Object {
                object: id.clone(),
                severity: complaint.severity,
                path: complaint.path,
                message: complaint.message,
            };
            let problems: Vec<_> = complaints.into_iter().map(problem).collect();
            self.set_problems(id.clone(), problems);
        }
    }

    fn gather(&mut self, events: Vec<Event>, listed: Option<Kind>) {
        if self.unlisted.is_empty() {
            self.events.extend(events);
            return;
        }
        for event in events {
            _ = match event.object {
                Some(_) => self.first.insert(event.id.clone(), event),
                None => self.first.remove(&event.id),
            };
        }
        if listed.is_some_and(|kind| self.unlisted.remove(&kind)) && self.unlisted.is_empty() {
            self.events.extend(std::mem::take(&mut self.first).into_values());
        }
    }

    /// An agent of a node that does not exist isolates nobody, which its name alone does not show.
    fn know_node(&mut self, exists: bool) {
        let id = ObjectId::Node(self.node.as_str().into());
        let message = "there is no such node, so no pod can be on it".to_owned();
        let missing = Problem::Object { object: id.clone(), severity: Severity::Warning, path: None, message };
        self.set_problems(id, if exists { Vec::new() } else { vec![missing] });
    }

    fn set_problems(&mut self, id: ObjectId, problems: Vec<Problem>) {
        self.problems_changed |= match problems.is_empty() {
            true => self.problems.remove(&id).is_some(),
            false => self.problems.insert(id, problems.clone()).as_ref() != Some(&problems),
        };
    }

    fn news(&mut self) -> Option<News> {
        if !self.unlisted.is_empty() || self.events.is_empty() && !self.problems_changed {
            return None;
        }
        let changed = std::mem::take(&mut self.problems_changed);
        let problems = changed.then(|| self.problems.values().flatten().cloned().collect());
        Some(News { events: std::mem::take(&mut self.events), problems })
    }
}

impl Source for Kubernetes {
    type Error = KubernetesError;

    async fn next(&mut self) -> Result<News, KubernetesError> {
        loop {
            while let Ok(heard) = self.heard.try_recv() {
                self.take_over(heard);
            }
            if let Some(news) = self.news() {
                return Ok(news);
            }
            tokio::select! {
                heard = self.heard.recv() => self.take_over(heard.ok_or(KubernetesError::Ended)?),
                _ = self.followers.join_next() => return Err(KubernetesError::Ended),
            }
        }
    }
}

/// Starts followers. Each has a client of its own, so that one kind's answers are no sign of life for another.
struct Watches {
    node: String,
    kubeconfig: Option<PathBuf>,
    say: Sender<Heard>,
    observer: Observer,
    followers: JoinSet<()>,
}

impl Watches {
    async fn start<K: Watched>(&mut self, fields: Option<String>) -> Result<(), KubernetesError> {
        let (node, say, observer) = (self.node.clone(), self.say.clone(), self.observer.clone());
        let client = client::client(self.kubeconfig.as_deref(), K::KIND, observer.clone()).await?;
        observer.disconnected(K::KIND);
        self.followers.spawn(Follower { node, fields, say, observer }.follow::<K>(Api::all(client)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use policy_compiler::model::{Labels, Namespace, Object};

    use super::*;

    fn came(name: &str) -> Event {
        let namespace = Namespace { name: name.into(), labels: Labels::default(), origin: None };
        Event::apply(Object::Namespace(namespace), Instant::now())
    }

    fn went(name: &str) -> Event {
        Event::remove(ObjectId::Namespace(name.into()), Instant::now())
    }

    fn heard(events: impl Into<Vec<Event>>) -> Heard {
        Heard { events: events.into(), complaints: Vec::new(), listed: None }
    }

    #[test]
    fn while_a_kind_is_unlisted_what_comes_and_goes_is_not_kept() {
        let mut source = Kubernetes::of("n1".to_owned(), channel(1).1, JoinSet::new());
        let [late, earlier @ ..] = Kind::WATCHED;
        source.take_over(heard([came("stays")]));
        for kind in earlier {
            source.take_over(Heard { listed: Some(kind), ..heard([]) });
        }
        for number in 0..100 {
            source.take_over(heard([came(&number.to_string())]));
            source.take_over(heard([came("stays"), went(&number.to_string())]));
        }
        assert!(source.news().is_none());
        assert_eq!(source.first.len(), 1, "it does not grow");
        source.take_over(Heard { listed: Some(late), ..heard([came("last")]) });
        let names = |news: News| news.events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>();
        assert_eq!(names(source.news().unwrap()), ["Namespace last", "Namespace stays"]);
        // From now on everything is told, in order.
        source.take_over(heard([went("last"), came("last"), went("last")]));
        assert_eq!(names(source.news().unwrap()).len(), 3);
        assert!(source.news().is_none());
    }
}
