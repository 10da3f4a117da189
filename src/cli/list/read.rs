//! Reads all BitbucketConnections of a namespace or a cluster, as whoever the kubeconfig or the pod is.

use std::time::Duration;

use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::ListOptions;
use crate::{api::BitbucketConnection, cli::name};

/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// How long the API server may take to answer, or to accept a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the cluster gives no list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster.
    #[error(
        "no Kubernetes cluster to ask: {0}. Set KUBECONFIG to the path of a kubeconfig that works with kubectl, name one with --kubeconfig, or one of its contexts with --context; in a pod, give it a ServiceAccount"
    )]
    NoCluster(String),
    /// The cluster didn't answer.
    #[error(
        "the API server at {address} can't be reached: {reason}. See whether `kubectl get --raw /version` works with the same kubeconfig"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// The innermost cause.
        reason: String,
    },
    /// The kinds aren't there.
    #[error(
        "this cluster has no BitbucketConnections: the operator isn't installed. Is it the right context? To install the kinds: {program} crds | kubectl apply --server-side -f -",
        program = name::called()
    )]
    NotInstalled,
    /// The API server doesn't know who asks.
    #[error(
        "the API server doesn't accept these credentials: {0}. They may have expired: log in to the cluster again, and see whether `kubectl auth whoami` works with the same kubeconfig"
    )]
    Unauthorized(String),
    /// The caller may not.
    #[error(
        "the API server refuses: {reason}. Where the chart is installed, the role view includes this right. Somebody who may give it types: {command}"
    )]
    Forbidden {
        /// What the API server says.
        reason: String,
        /// What gives the right.
        command: String,
    },
    /// Anything else.
    #[error("the API server refuses: {0}")]
    Refused(String),
}

/// The objects, and where they are, in words.
pub(super) async fn objects(options: &ListOptions) -> Result<(Vec<BitbucketConnection>, String), Error> {
    let mut config = config(options).await?;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    let address = config.cluster_url.to_string();
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| Error::NoCluster(innermost(&error)))?;
    let (api, place): (Api<BitbucketConnection>, _) = if options.all_namespaces {
        (Api::all(client), "all namespaces".to_owned())
    } else {
        (Api::namespaced(client, &namespace), format!("the namespace {namespace}"))
    };
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.label_selector.clone_from(&options.selector);
    let namespace = (!options.all_namespaces).then_some(namespace.as_str());
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(|error| refused(error, &address, namespace))?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok((objects, place)),
        }
    }
}

/// The kubeconfig's context, else the pod's ServiceAccount.
async fn config(options: &ListOptions) -> Result<Config, Error> {
    if options.kubeconfig.is_none() && options.context.is_none() {
        // Outside of a pod nobody wants to hear that this is no pod.
        let cause =
            |error: &dyn std::error::Error| error.source().map_or_else(|| error.to_string(), ToString::to_string);
        return Config::infer().await.map_err(|error| Error::NoCluster(cause(&error)));
    }
    let read = options.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let read = read.map_err(|error| Error::NoCluster(error.to_string()))?;
    let chosen = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(read, &chosen).await.map_err(|error| Error::NoCluster(error.to_string()))
}

fn refused(error: kube::Error, address: &str, namespace: Option<&str>) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 404 => Error::NotInstalled,
        kube::Error::Api(status) if status.code == 401 => Error::Unauthorized(status.message.clone()),
        kube::Error::Api(status) if status.code == 403 => {
            Error::Forbidden { command: grant(&status.message, namespace), reason: status.message.clone() }
        }
        kube::Error::Api(status) => Error::Refused(status.message.clone()),
        error => Error::Unreachable { address: address.to_owned(), reason: innermost(&error) },
    }
}

/// The command that gives the right to whoever is refused with these words.
fn grant(message: &str, namespace: Option<&str>) -> String {
    let user =
        message.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map_or("<user>", |(user, _)| user);
    let account = user.strip_prefix("system:serviceaccount:");
    let subject =
        account.map_or_else(|| format!("--user={}", quoted(user)), |account| format!("--serviceaccount={account}"));
    let (kind, place) = namespace.map_or_else(
        || ("clusterrolebinding", String::new()),
        |namespace| ("rolebinding", format!(" --namespace={namespace}")),
    );
    format!("kubectl create {kind} view-bitbucketconnections --clusterrole=view {subject}{place}")
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._:-/".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_is_told_what_would_help() {
        let refused = |user: &str| {
            format!("bitbucketconnections.connections.kms.hanzo.ai is forbidden: User \"{user}\" cannot list resource")
        };
        let view = "view-bitbucketconnections --clusterrole=view";
        let table = [
            (
                refused("ada@example.com"),
                Some("team-a"),
                format!("kubectl create rolebinding {view} --user=ada@example.com --namespace=team-a"),
            ),
            (
                refused("system:serviceaccount:web:calendar"),
                None,
                format!("kubectl create clusterrolebinding {view} --serviceaccount=web:calendar"),
            ),
            (refused("it's; rm"), None, format!(r"kubectl create clusterrolebinding {view} --user='it'\''s; rm'")),
            ("no".to_owned(), None, format!("kubectl create clusterrolebinding {view} --user='<user>'")),
        ];
        for (message, namespace, expected) in table {
            assert_eq!(grant(&message, namespace), expected, "{message}");
        }
    }
}
