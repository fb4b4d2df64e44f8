//! Follows all objects of one kind: lists them, watches them, begins anew when the server has forgotten where we were.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::Api;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, ExponentialBackoff, InitialListStrategy, watcher};
use policy_compiler::model::ObjectId;
use tokio::sync::mpsc::Sender;

use super::watched::{Complaint, Watched};
use crate::observe::{Kind, Observer};
use crate::source::Event;

/// How long a watch that fails waits before it tries again: twice as long each time, more or less.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// How long a watch lasts, in seconds, before it is opened anew; nodes and kinds spread over the range. A connection that
/// died without a word is noticed that soon.
const SHORTEST_WATCH: u64 = 60;
const LONGEST_WATCH: u64 = 120;
/// Objects a page, where the server lists in pages.
const PAGE: u32 = 500;

/// What a follower says.
pub(super) struct Heard {
    /// What happened, together.
    pub(super) events: Vec<Event>,
    /// What is wrong now with objects of the events, and with others that could not be read; without complaints: nothing.
    pub(super) complaints: Vec<(ObjectId, Vec<Complaint>)>,
    /// The kind, where this is a whole list of it.
    pub(super) listed: Option<Kind>,
}

/// One kind's follower.
pub(super) struct Follower {
    /// The node whose agent this is.
    pub(super) node: String,
    /// Where only some objects matter, which.
    pub(super) fields: Option<String>,
    pub(super) say: Sender<Heard>,
    pub(super) observer: Observer,
}

impl Follower {
    /// Follows until nobody listens any more.
    pub(super) async fn follow<K: Watched>(self, api: Api<K>) {
        let mut state = State::default();
        let mut strategy = InitialListStrategy::StreamingList;
        let mut backoff = backoff();
        let (kind, mut first) = (K::KIND.name(), true);
        loop {
            let mut events = pin!(watcher(api.clone(), self.config(K::KIND, strategy.clone())));
            loop {
                let heard = match events.next().await {
                    Some(Ok(event)) => {
                        backoff.reset();
                        state.hear(event)
                    }
                    Some(Err(error)) if strategy == InitialListStrategy::StreamingList && refuses_streams(&error) => {
                        tracing::info!(kind, %error, "the server does not stream lists: asking for pages");
                        strategy = InitialListStrategy::ListWatch;
                        break;
                    }
                    Some(Err(error)) => {
                        tracing::warn!(kind, error = describe(&error), "watch failed");
                        self.observer.watch_failed(K::KIND);
                        self.observer.disconnected(K::KIND);
                        tokio::time::sleep(backoff.next().unwrap_or(LONGEST_RETRY)).await;
                        None
                    }
                    None => break,
                };
                if let Some(heard) = heard {
                    if heard.listed.is_some() {
                        listed(&self.observer, K::KIND, std::mem::replace(&mut first, false));
                    }
                    if self.say.send(heard).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn config(&self, kind: Kind, strategy: InitialListStrategy) -> Config {
        let mut hasher = DefaultHasher::new();
        (&self.node, kind).hash(&mut hasher);
        let seconds = SHORTEST_WATCH + hasher.finish() % (LONGEST_WATCH - SHORTEST_WATCH);
        Config {
            field_selector: self.fields.clone(),
            timeout: u32::try_from(seconds).ok(),
            initial_list_strategy: strategy,
            page_size: Some(PAGE),
            ..Config::default()
        }
    }
}

fn listed(observer: &Observer, kind: Kind, first: bool) {
    if first {
        observer.listed(kind);
    } else {
        observer.relisted(kind);
    }
}

fn backoff() -> ExponentialBackoff {
    let builder = backon::ExponentialBuilder::default().with_min_delay(FIRST_RETRY).with_max_delay(LONGEST_RETRY);
    builder.with_factor(2.0).with_jitter().without_max_times().into()
}

/// Whether the server said that it does not stream lists, in whatever words: versions and storages before etcd 3.6 have
/// several, and some come as an event of a stream that had been opened. Being busy or refusing us is something else.
fn refuses_streams(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    ![401, 403, 404, 410, 429, 502, 503, 504].contains(&code)
}

/// An error with its causes, which its own words leave out.
fn describe(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// What is known of one kind.
#[derive(Default)]
struct State {
    known: BTreeSet<ObjectId>,
    /// While a list comes in: all of it takes effect together, or objects that are gone would stand beside those that
    /// have their addresses now.
    list: Option<List>,
}

#[derive(Default)]
struct List {
    seen: BTreeSet<ObjectId>,
    events: Vec<Event>,
    complaints: Vec<(ObjectId, Vec<Complaint>)>,
}

impl State {
    fn hear<K: Watched>(&mut self, event: watcher::Event<K>) -> Option<Heard> {
        let learned = Instant::now();
        match event {
            watcher::Event::Init => {
                self.list = Some(List::default());
                None
            }
            watcher::Event::InitApply(object) => {
                let list = self.list.get_or_insert_default();
                let (id, event, complaints) = read(object, learned);
                list.seen.insert(id.clone());
                list.events.extend(event);
                if !complaints.is_empty() || self.known.contains(&id) {
                    list.complaints.push((id, complaints));
                }
                None
            }
            watcher::Event::InitDone => {
                let List { seen, events, mut complaints } = self.list.take().unwrap_or_default();
                let gone: Vec<_> = self.known.difference(&seen).cloned().collect();
                complaints.extend(gone.iter().map(|id| (id.clone(), Vec::new())));
                let events = gone.into_iter().map(|id| Event::remove(id, learned)).chain(events).collect();
                self.known = seen;
                Some(Heard { events, complaints, listed: Some(K::KIND) })
            }
            watcher::Event::Apply(object) => {
                let (id, event, complaints) = read(object, learned);
                self.known.insert(id.clone());
                Some(Heard { events: event.into_iter().collect(), complaints: vec![(id, complaints)], listed: None })
            }
            watcher::Event::Delete(object) => {
                let id = K::id(object.meta());
                self.known.remove(&id);
                let complaints = vec![(id.clone(), Vec::new())];
                Some(Heard { events: vec![Event::remove(id, learned)], complaints, listed: None })
            }
        }
    }
}

fn read<K: Watched>(object: K, learned: Instant) -> (ObjectId, Option<Event>, Vec<Complaint>) {
    let id = K::id(object.meta());
    let (object, complaints) = object.read();
    (id, object.map(|object| Event::apply(object, learned)), complaints)
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use kube::core::Status;
    use serde_json::{Value, json};

    use super::super::pod::ApiPod;
    use super::*;

    type Guarded = DeserializeGuard<ApiPod>;

    fn pod(name: &str, spec: Value) -> Guarded {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})).unwrap()
    }

    fn said(heard: Option<Heard>) -> String {
        let Some(heard) = heard else { return String::new() };
        let events =
            heard.events.iter().map(|event| format!("{}{}", if event.object.is_some() { "+" } else { "-" }, event.id));
        let complaints =
            heard.complaints.iter().flat_map(|(id, complaints)| complaints.iter().map(move |it| format!("{id}: {it}")));
        events.chain(complaints).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_list_takes_effect_at_its_end_and_what_is_gone_goes_first() {
        let mut state = State::default();
        let mut hear = |event| said(state.hear::<Guarded>(event));
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        assert_eq!(hear(Init), "");
        assert_eq!(hear(InitApply(pod("a", json!({})))), "");
        assert_eq!(hear(InitApply(pod("b", json!({})))), "");
        assert_eq!(hear(InitDone), "+Pod n/a, +Pod n/b");
        assert_eq!(hear(Delete(pod("b", json!({})))), "-Pod n/b");
        assert_eq!(hear(Apply(pod("c", json!({})))), "+Pod n/c");
        // A list that breaks off leaves no trace.
        assert_eq!(hear(Init), "");
        assert_eq!(hear(InitApply(pod("broken", json!({})))), "");
        assert_eq!(hear(Init), "");
        assert_eq!(hear(InitApply(pod("c", json!({})))), "");
        assert_eq!(hear(InitApply(pod("d", json!({})))), "");
        assert_eq!(hear(InitDone), "-Pod n/a, +Pod n/c, +Pod n/d");
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_told_of_and_passed_over() {
        let mut state = State::default();
        let mut hear = |event| said(state.hear::<Guarded>(event));
        use watcher::Event::{Apply, Init, InitApply, InitDone};
        hear(Init);
        hear(InitApply(pod("a", json!({}))));
        let list = json!({"containers": "none"});
        hear(InitApply(pod("bad", list.clone())));
        let text = hear(InitDone);
        assert!(text.starts_with("+Pod n/a, Pod n/bad: cannot be decoded: "), "{text}");
        // What counted of it before counts on: it is neither applied nor removed.
        let text = hear(Apply(pod("a", list)));
        assert!(text.starts_with("Pod n/a: cannot be decoded: "), "{text}");
    }

    #[test]
    fn what_a_server_says_that_streams_no_lists() {
        let status = |code| Box::new(Status { code, ..Status::default() });
        let start = |code| watcher::Error::WatchStartFailed(kube::Error::Api(status(code)));
        for (error, refuses) in [
            (start(422), true),
            (watcher::Error::WatchError(status(500)), true),
            (start(403), false),
            (start(429), false),
            (watcher::Error::WatchError(status(410)), false),
            (watcher::Error::NoResourceVersion, false),
        ] {
            assert_eq!(refuses_streams(&error), refuses, "{error:?}");
        }
    }
}
