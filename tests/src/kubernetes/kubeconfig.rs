//! How somebody logs in at the API server.

use std::io::Write;
use std::path::Path;

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::certificates::Identity;

/// A kubeconfig: a file for programs, which is there as long as this is. Whoever may read the file may log in.
#[derive(Debug)]
pub struct Kubeconfig {
    file: NamedTempFile,
    content: Value,
}

impl Kubeconfig {
    /// By certificate.
    pub(super) fn of_identity(server: &str, authority: &str, identity: &Identity) -> Self {
        let user = json!({
            "client-certificate-data": base64(&identity.certificate),
            "client-key-data": base64(&identity.key),
        });
        Self::new(&trusting(server, authority), &user)
    }

    /// By token.
    pub(super) fn of_token(server: &str, authority: &str, token: &str) -> Self {
        Self::new(&trusting(server, authority), &json!({"token": token}))
    }

    fn new(cluster: &Value, user: &Value) -> Self {
        let content = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        let mut file = NamedTempFile::with_suffix(".kubeconfig").expect("a temporary file");
        file.write_all(content.to_string().as_bytes()).expect("a temporary file can be written");
        Self { file, content }
    }

    /// For the same user, by another way to the server: plain HTTP.
    pub(super) fn by(&self, server: &str) -> Self {
        Self::new(&json!({"server": server}), &self.content["users"][0]["user"])
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its path as an argument.
    pub fn argument(&self) -> &str {
        self.path().to_str().expect("temporary paths are UTF-8")
    }

    /// What stands in it.
    pub(super) fn content(&self) -> &Value {
        &self.content
    }
}

fn trusting(server: &str, authority: &str) -> Value {
    json!({"server": server, "certificate-authority-data": base64(authority)})
}

/// A text as JSON has bytes.
pub(super) fn base64(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("bytes have a form in JSON")
}
