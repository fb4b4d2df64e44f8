//! Control planes that one test after another has for itself: starting one takes seconds, emptying one does not.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::thread;

use kube::Result;
use serde_json::{Value, json};

use super::control_plane::{OWN_NAMESPACES, OWN_SERVICE};
use super::{ControlPlane, resource};

static IDLE: Mutex<Vec<ControlPlane>> = Mutex::new(Vec::new());

/// Where there are as many objects as this, starting anew is faster.
const MANY: usize = 500;
/// Roles and bindings that an API server makes for itself.
const OWN_LABEL: &str = "kubernetes.io/bootstrapping";

/// A control plane with nothing on it but what is of its own, and that nobody else uses meanwhile.
pub struct Lease(Option<ControlPlane>);

impl Lease {
    /// One that an earlier test has left, or a new one.
    pub fn new() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self(Some(idle.unwrap_or_else(ControlPlane::start)))
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

impl From<ControlPlane> for Lease {
    fn from(control_plane: ControlPlane) -> Self {
        Self(Some(control_plane))
    }
}

impl Deref for Lease {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.0.as_ref().expect("it is there until this is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(control_plane) = self.0.take() else { return };
        // One on which a test has failed may be in any state.
        if !thread::panicking() && control_plane.is_as_started() && control_plane.empty().unwrap_or(false) {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(control_plane);
        }
    }
}

impl ControlPlane {
    /// Deletes everything that the API server has not made for itself; but where that is so much that a new one is there
    /// sooner, nothing more, and says that it has not.
    pub fn empty(&self) -> Result<bool> {
        let api = self.api();
        for kind in resource::kinds() {
            let objects = api.list(kind)?;
            if objects.len() > MANY {
                return Ok(false);
            }
            for object in objects.iter().filter(|object| !is_own(kind, object)) {
                let id = resource::id_of(kind, object);
                if object["metadata"]["finalizers"].is_array() {
                    api.patch(kind, &id, &json!({"metadata": {"finalizers": null}}))?;
                }
                // One that was deleted before goes with its last finalizer.
                match kind {
                    _ if api.get(kind, &id).is_err() => {}
                    "Namespace" => api.delete_namespace(&id)?,
                    _ => api.delete_now(kind, &id).map(|_| ())?,
                }
            }
        }
        Ok(true)
    }
}

/// Whether the API server made it for itself.
fn is_own(kind: &str, object: &Value) -> bool {
    let id = resource::id_of(kind, object);
    match kind {
        "Namespace" => OWN_NAMESPACES.contains(&&*id),
        "Service" => id == OWN_SERVICE,
        _ => !object["metadata"]["labels"][OWN_LABEL].is_null(),
    }
}
