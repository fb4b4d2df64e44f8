//! Answering HTTP on a bounded number of connections, none of which may last.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How many connections are served at once; others wait.
const CONNECTIONS: usize = 32;
/// How long a connection may last: its request, the answer, and whatever the answer takes.
const LIFETIME: Duration = Duration::from_secs(8);
/// When a connection that could not be accepted, or a listener that could not be made, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(super) trait Listener: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and what is answered on it.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Router)>> + Send;
}

/// Serves until it is dropped: one request a connection.
pub(super) async fn serve(listener: impl Listener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, router) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(RETRY).await;
                continue;
            }
        };
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
            match timeout(LIFETIME, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection failed"),
                Err(_) => tracing::debug!("a connection took too long"),
            }
            drop(place);
        });
    }
}

/// Makes a listener, however long it takes: what had the name before may be about to end.
pub(super) async fn bind<L>(name: &str, bind: impl Fn() -> io::Result<L>) -> L {
    let mut told = false;
    loop {
        match bind() {
            Ok(listener) => return listener,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%error, "cannot listen on {name}; trying again");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}
