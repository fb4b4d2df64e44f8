//! How the API server is found and spoken to.

use std::path::Path;
use std::time::Duration;

use http::Response;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use super::KubernetesError;
use crate::observe::{Kind, Observer};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may say nothing. Longer than a watch lasts, which ends by itself.
const SILENCE: Duration = Duration::from_secs(130);

/// A client for the cluster that a kubeconfig names; without one for that of `KUBECONFIG` or `~/.kube/config`, or the one
/// that this process is a pod of. Every answer that it gets is noted as a sign of life for one kind.
pub(super) async fn client(
    kubeconfig: Option<&Path>,
    kind: Kind,
    observer: Observer,
) -> Result<Client, KubernetesError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .map_err(|source| KubernetesError::Kubeconfig { path: path.into(), source })?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|source| KubernetesError::Kubeconfig { path: path.into(), source })?
        }
        None => Config::infer().await.map_err(KubernetesError::NoCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    let contact = MapResponseLayer::new(move |response: Response<_>| {
        if !response.status().is_server_error() {
            observer.connected(kind);
        }
        response
    });
    let builder = ClientBuilder::try_from(config).map_err(KubernetesError::Client)?;
    Ok(builder.with_layer(&contact).build())
}
