//! One thread that serves the sockets of all pods: a socket stays in the namespace that it was made in.

use std::thread::{self, JoinHandle};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{LabError, Namespace};

/// The thread behind every [`crate::Responder`]. Dropping it closes their sockets.
#[derive(Debug)]
pub struct Reactor {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reactor {
    /// Starts the thread.
    pub fn start() -> Result<Self, LabError> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(LabError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("lab-reactor".into())
            .spawn(move || {
                // An error says that the sender is gone, which is an order to stop as well.
                let _ = runtime.block_on(stopped);
            })
            .map_err(LabError::Thread)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Starts the thread inside a namespace, where the sockets of all that is spawned on it are then made.
    pub fn start_in(namespace: &Namespace) -> Result<Self, LabError> {
        // A thread is born where the one is that starts it.
        namespace.run(Self::start)?
    }

    /// What work for the thread is spawned on.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; there is nobody left to whom it matters.
            let _ = thread.join();
        }
    }
}
