//! The end of whoever asks.

use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{PATIENCE, STATUS, WITHDRAW, Withdrawn, address, is_trusted, name};
use crate::observe::Status;

/// No answer is longer, not even with the longest names that there can be.
const LONGEST_ANSWER: usize = 64 << 20;

/// Why an agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody else has taken the name.
    #[error("what listens on @{name} is no agent: it belongs to user {user}")]
    Foreign {
        /// The socket.
        name: String,
        /// Who it belongs to.
        user: u32,
    },
    /// There is an agent, which says nothing.
    #[error("the agent does not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The agent refused, or failed.
    #[error("the agent refuses: {0}")]
    Refused(String),
    /// The answer is none.
    #[error("the agent's answer makes no sense")]
    Answer(#[source] serde_json::Error),
    /// The conversation broke off.
    #[error("cannot talk to the agent")]
    Connection(#[source] hyper::Error),
    /// There can be no connection.
    #[error("cannot connect to the agent")]
    Socket(#[source] io::Error),
}

/// Asks the agent of one table, in the network namespace of the calling thread. No question takes longer than five
/// seconds.
#[derive(Clone, Debug)]
pub struct Client {
    table: String,
}

impl Client {
    /// Nothing is asked yet.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into() }
    }

    /// What the agent enforces; none: no agent runs.
    ///
    /// # Errors
    /// When there seems to be an agent that cannot be asked.
    pub async fn status(&self) -> Result<Option<Status>, ControlError> {
        self.ask(Method::GET, STATUS).await
    }

    /// Has the agent remove its table and enforce nothing until it is restarted. Says whether there was a table; none:
    /// no agent runs.
    ///
    /// # Errors
    /// When there seems to be an agent that cannot be asked, or the agent failed.
    pub async fn withdraw(&self) -> Result<Option<bool>, ControlError> {
        let withdrawn: Option<Withdrawn> = self.ask(Method::POST, WITHDRAW).await?;
        Ok(withdrawn.map(|withdrawn| withdrawn.removed))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &'static str) -> Result<Option<T>, ControlError> {
        timeout(PATIENCE, self.exchange(method, path)).await.unwrap_or(Err(ControlError::Silent))
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &'static str,
    ) -> Result<Option<T>, ControlError> {
        let stream = match UnixStream::connect(address(&self.table)).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            // As many wait for an answer as may.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ControlError::Silent),
            Err(error) => return Err(ControlError::Socket(error)),
        };
        let user = stream.peer_cred().map_err(ControlError::Socket)?.uid();
        if !is_trusted(user) {
            return Err(ControlError::Foreign { name: name(&self.table), user });
        }
        let (mut requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ControlError::Connection)?;
        let mut request = axum::http::Request::new(Body::empty());
        (*request.method_mut(), *request.uri_mut()) = (method, axum::http::Uri::from_static(path));
        let answer = async {
            let response = requests.send_request(request).await.map_err(ControlError::Connection)?;
            let status = response.status();
            let body = to_bytes(Body::new(response.into_body()), LONGEST_ANSWER).await;
            Ok::<_, ControlError>((status, body.map_err(|error| ControlError::Socket(io::Error::other(error)))?))
        };
        tokio::pin!(answer, connection);
        let (status, body) = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            // What was read before the end is still to be taken.
            _ = &mut connection => answer.await?,
        };
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map(Some).map_err(ControlError::Answer),
            _ => Err(ControlError::Refused(String::from_utf8_lossy(&body).trim_end().to_owned())),
        }
    }
}
