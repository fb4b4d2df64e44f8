//! The agent's end.

use std::io;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{LOOP_PATIENCE, Request, STATUS, Sender, WITHDRAW, Withdrawn, address, is_trusted, name};
use crate::observe::connection::{self, Listener};
use crate::observe::{Observer, Status, http};

/// Answers until it is dropped. A name that another agent has is waited for.
pub async fn serve(observer: Observer, requests: Sender) {
    let table = observer.identity().table.clone();
    let name = format!("@{}", name(&table));
    let listener = connection::bind(&name, || UnixListener::bind(address(&table))).await;
    connection::serve(Control { listener, router: routes(observer, requests) }).await;
}

struct Control {
    listener: UnixListener,
    router: Router,
}

impl Listener for Control {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Router)> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if is_trusted(user) {
            return Ok((stream, self.router.clone()));
        }
        tracing::warn!(user, "refused to answer on the control socket");
        let refusal = (StatusCode::FORBIDDEN, "only root may ask, and the agent's own user\n");
        Ok((stream, Router::new().fallback(async move || refusal)))
    }
}

fn routes(observer: Observer, requests: Sender) -> Router {
    http::routes(observer.clone())
        .merge(Router::new().route(STATUS, get(status)).with_state(observer))
        .merge(Router::new().route(WITHDRAW, post(withdraw)).with_state(requests))
}

async fn status(State(observer): State<Observer>) -> Json<Status> {
    Json(observer.status())
}

async fn withdraw(State(requests): State<Sender>) -> Result<Json<Withdrawn>, (StatusCode, String)> {
    let ask = async {
        let (answer, answered) = oneshot::channel();
        requests.send(Request::Withdraw { answer }).await.ok()?;
        answered.await.ok()
    };
    match timeout(LOOP_PATIENCE, ask).await {
        Ok(Some(Ok(removed))) => Ok(Json(Withdrawn { removed })),
        Ok(Some(Err(error))) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Ok(None) => Err((StatusCode::SERVICE_UNAVAILABLE, "the agent is ending".to_owned())),
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, "the agent's loop does not answer".to_owned())),
    }
}
