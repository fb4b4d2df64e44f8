//! What probes and Prometheus ask for: `/livez`, `/readyz`, `/metrics`.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::{TcpListener, TcpStream};

use super::connection::{self, Listener};
use super::{Condition, Observer, metrics};

/// Answers until it is dropped. An address that cannot be listened on is tried again every second.
pub async fn serve(address: SocketAddr, observer: Observer) {
    let listener = connection::bind(&address.to_string(), || listen(address)).await;
    tracing::info!(%address, "answers HTTP");
    connection::serve(Http { listener, router: routes(observer) }).await;
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

struct Http {
    listener: TcpListener,
    router: Router,
}

impl Listener for Http {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Router)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, self.router.clone()))
    }
}

pub(super) fn routes(observer: Observer) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(observer)
}

async fn livez(State(observer): State<Observer>) -> impl IntoResponse {
    report(&[observer.heartbeat()])
}

async fn readyz(State(observer): State<Observer>) -> impl IntoResponse {
    report(&observer.conditions())
}

async fn metrics(State(observer): State<Observer>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], observer.metrics().await)
}

/// A line for each condition: `[+]NAME: REASON` where it holds, `[-]NAME: REASON` where it does not.
fn report(conditions: &[Condition]) -> (StatusCode, String) {
    let mut text = String::new();
    for Condition { name, holds, reason } in conditions {
        let sign = if *holds { '+' } else { '-' };
        // A String takes every write.
        _ = writeln!(text, "[{sign}]{name}: {reason}");
    }
    match conditions.iter().all(|condition| condition.holds) {
        true => (StatusCode::OK, text),
        false => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}
