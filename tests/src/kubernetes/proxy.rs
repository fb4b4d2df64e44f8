//! What stands between agents and the API server, and speaks for API servers of other kinds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::control_plane::ADDRESS;
use super::{ControlPlane, Kubeconfig};

/// How an API server says that it does not stream lists.
#[derive(Clone, Copy, Debug)]
pub enum NoStreams {
    /// It opens a stream, and the first event in it is an error: its storage is etcd before 3.6.
    Event,
    /// It refuses the request, for what it lacks.
    Invalid,
}

/// A server of plain HTTP in the control plane's namespace. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    task: AbortHandle,
}

impl Proxy {
    /// Starts one, which passes on what a user asks for, but streams no lists.
    pub fn without_streams(control_plane: &ControlPlane, user: &Kubeconfig, how: NoStreams) -> Self {
        let api = control_plane.api_of(user);
        let (bound, address) = mpsc::channel();
        let task = api.reactor().handle().spawn(serve(api.client(), how, bound)).abort_handle();
        Self { address: address.recv().expect("a free port in a namespace of its own"), task }
    }

    /// How a user gets to the API server through it.
    pub fn kubeconfig(&self, user: &Kubeconfig) -> Kubeconfig {
        user.by(&format!("http://{}", self.address))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: Client, how: NoStreams, bound: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind((ADDRESS, 0)).await.expect("a free port");
    _ = bound.send(listener.local_addr().expect("it is bound"));
    // Owned here, so that the connections end with the listener.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let client = client.clone();
        let service = service_fn(move |request| answer(client.clone(), how, request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(client: Client, how: NoStreams, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().query().is_some_and(|query| query.contains("sendInitialEvents=true")) {
        return Ok(how.refuse());
    }
    // Whoever follows only reads.
    let passed_on = client.send(request.map(|_| Body::empty())).await;
    Ok(passed_on.unwrap_or_else(|_| respond(StatusCode::BAD_GATEWAY, &Value::Null)))
}

impl NoStreams {
    fn refuse(self) -> Response<Body> {
        match self {
            Self::Event => {
                let message = "a watch stream was requested by the client but the required storage feature \
                               RequestWatchProgress is disabled";
                let status = status(500, "InternalError", message);
                respond(StatusCode::OK, &json!({"type": "ERROR", "object": status}))
            }
            Self::Invalid => {
                let message = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
                               resourceVersionMatch is required when sendInitialEvents is set";
                respond(StatusCode::UNPROCESSABLE_ENTITY, &status(422, "Invalid", message))
            }
        }
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(format!("{body}\n").into_bytes())).expect("a well-formed response")
}
