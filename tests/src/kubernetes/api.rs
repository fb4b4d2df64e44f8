//! The API server as suites talk to it: plain JSON, and answers that are waited for.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::{Method, Request};
use kube::config::KubeConfigOptions;
use kube::core::Status;
use kube::{Client, Config, Error, Result};
use lab::Reactor;
use serde_json::{Value, json};

use super::{Kubeconfig, resource};

/// Longer than any answer takes that comes.
const PATIENCE: Duration = Duration::from_secs(30);
const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// What is misspelt in a suite is an error there.
const STRICT: &str = "fieldValidation=Strict";

/// The API server, for one user. Objects are JSON; an id is `NAMESPACE/NAME`, or the name of what has no namespace.
///
/// What the server refuses is [`Error::Api`] with its Status; what does not reach it is another [`Error`].
#[derive(Clone)]
pub struct Api {
    client: Client,
    reactor: Arc<Reactor>,
}

impl Api {
    /// For the user of a kubeconfig, by sockets of the reactor's namespace.
    pub(super) fn new(reactor: &Arc<Reactor>, kubeconfig: &Kubeconfig) -> Self {
        let content = serde_json::from_value(kubeconfig.content().clone()).expect("we have written it");
        let client = wait(reactor, async move {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(content, &options).await.expect("a good kubeconfig");
            Client::try_from(config).expect("a client")
        });
        Self { client, reactor: reactor.clone() }
    }

    /// For anybody who comes by plain HTTP.
    pub(super) fn plain(reactor: &Arc<Reactor>, server: &str) -> Self {
        let config = Config::new(server.parse().expect("a URL"));
        let client = wait(reactor, async { Client::try_from(config).expect("a client") });
        Self { client, reactor: reactor.clone() }
    }

    /// Creates an object.
    pub fn create(&self, object: &Value) -> Result<Value> {
        self.ask(Method::POST, &format!("{}?{STRICT}", resource::creation_path(object)), "application/json", object)
    }

    /// What the server would say to [`Self::create`]: the object as it would be stored.
    pub fn dry_run(&self, object: &Value) -> Result<Value> {
        let path = format!("{}?{STRICT}&dryRun=All", resource::creation_path(object));
        self.ask(Method::POST, &path, "application/json", object)
    }

    /// Creates an object, or makes the fields that this one has be as they are here.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        let kind = resource::kind_of(object);
        let path = resource::path(kind, &resource::id_of(kind, object));
        self.ask(Method::PATCH, &format!("{path}?{STRICT}&fieldManager=tests&force=true"), APPLY_PATCH, object)
    }

    /// Merges these fields into an object; null removes one.
    pub fn patch(&self, kind: &str, id: &str, fields: &Value) -> Result<Value> {
        self.ask(Method::PATCH, &format!("{}?{STRICT}", resource::path(kind, id)), MERGE_PATCH, fields)
    }

    /// Merges these fields into an object's status.
    pub fn patch_status(&self, kind: &str, id: &str, status: &Value) -> Result<Value> {
        let path = format!("{}/status?{STRICT}", resource::path(kind, id));
        self.ask(Method::PATCH, &path, MERGE_PATCH, &json!({"status": status}))
    }

    /// One object.
    pub fn get(&self, kind: &str, id: &str) -> Result<Value> {
        self.ask(Method::GET, &resource::path(kind, id), "", &Value::Null)
    }

    /// All objects of a kind, of every namespace.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let mut list = self.ask(Method::GET, &resource::list_path(kind), "", &Value::Null)?;
        let Value::Array(mut items) = list["items"].take() else { panic!("no list of {kind}: {list}") };
        // Only the list as a whole says what it holds.
        items.iter_mut().for_each(|item| item["kind"] = kind.into());
        Ok(items)
    }

    /// Deletes an object, with the grace that it asks for itself.
    pub fn delete(&self, kind: &str, id: &str) -> Result<Value> {
        self.ask(Method::DELETE, &resource::path(kind, id), "", &Value::Null)
    }

    /// Deletes an object without grace, as kubelet does once a pod has ended.
    pub fn delete_now(&self, kind: &str, id: &str) -> Result<Value> {
        let path = format!("{}?gracePeriodSeconds=0", resource::path(kind, id));
        self.ask(Method::DELETE, &path, "", &Value::Null)
    }

    /// Deletes a namespace and its pods, policies and so on, which without a controller nobody else does.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        self.delete("Namespace", name)?;
        for kind in resource::kinds() {
            let objects = self.list(kind)?;
            for object in objects.iter().filter(|object| object["metadata"]["namespace"] == name) {
                self.delete_now(kind, &resource::id_of(kind, object))?;
            }
        }
        let path = format!("{}/finalize", resource::path("Namespace", name));
        let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}});
        self.ask(Method::PUT, &path, "application/json", &finalized).map(|_| ())
    }

    /// A token for a ServiceAccount that is there.
    pub(super) fn token(&self, namespace: &str, service_account: &str) -> Result<String> {
        let path = format!("{}/token", resource::path("ServiceAccount", &format!("{namespace}/{service_account}")));
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self.ask(Method::POST, &path, "application/json", &request)?;
        Ok(answer["status"]["token"].as_str().expect("a TokenRequest is answered by a token").to_owned())
    }

    /// Any request whose answer is JSON.
    pub fn ask(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Value> {
        let request = Request::builder().method(method).uri(path);
        let request = if body.is_null() {
            request.body(Vec::new())
        } else {
            request.header("content-type", content_type).body(body.to_string().into_bytes())
        };
        let request = request.unwrap_or_else(|error| panic!("{path}: {error}"));
        self.with_client(|client| async move { client.request(request).await })
    }

    /// Any request whose answer is text.
    pub fn get_text(&self, path: &str) -> Result<String> {
        let request = Request::get(path).body(Vec::new()).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.with_client(|client| async move { client.request_text(request).await })
    }

    /// Waits for what a client does, for whatever else it can do.
    pub fn with_client<T, F>(&self, work: impl FnOnce(Client) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        wait(&self.reactor, work(self.client.clone()))
    }

    /// The client, for what is spawned on the reactor.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// What its sockets are served by.
    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }
}

/// Whom the server refused something, in its words.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T>) -> Box<Status> {
    match answer {
        Err(Error::Api(status)) => status,
        other => panic!("the API server should have refused it, but: {other:?}"),
    }
}

/// Has a reactor's thread do something and waits for it.
fn wait<T: Send + 'static>(reactor: &Reactor, work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, answer) = mpsc::sync_channel(1);
    reactor.handle().spawn(async move {
        let result = tokio::time::timeout(PATIENCE, work).await;
        _ = done.send(result);
    });
    match answer.recv() {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => panic!("no answer within {PATIENCE:?}"),
        Err(_) => panic!("what was to be done has panicked"),
    }
}
