//! Two hundred connections such as a company has, from an API server that knows nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use axum::{Json, Router, extract::Query, routing::get};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::OnceCell};

/// How many there are.
pub const CONNECTIONS: usize = 200;
/// How many of them share the Secret of their team; the others have one each.
pub const SHARERS: usize = 40;

const TEAMS: [&str; 10] =
    ["payments", "web", "platform", "data", "mobile", "search", "billing", "identity", "infrastructure", "research"];
const SYSTEMS: [&str; 20] = [
    "api",
    "checkout",
    "ledger",
    "reports",
    "gateway",
    "catalogue",
    "mailer",
    "webhooks",
    "importer",
    "console",
    "documents",
    "scheduler",
    "metrics",
    "archive",
    "invoices",
    "accounts",
    "storefront",
    "recommendations",
    "translation-memory",
    "fraud-detection",
];

/// What `list -A` prints of all of them, as a file; made once.
pub async fn listed(form: &str) -> PathBuf {
    static SERVER: OnceCell<PathBuf> = OnceCell::const_new();
    let kubeconfig = SERVER.get_or_init(serve).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitbucket-connection-operator"));
    command.args(["list", "-A", "-o", form]).env_clear().env("KUBECONFIG", kubeconfig);
    let output = command.output().await.expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Each test has its own: they run at the same time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(uuid::Uuid::new_v4().to_string());
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(format!("fleet.{form}"));
    fs::write(&file, output.stdout).expect("a file");
    file
}

#[derive(Deserialize)]
struct Asked {
    limit: usize,
    #[serde(rename = "continue")]
    from: Option<usize>,
}

/// Starts the API server, in a runtime of its own that outlives the first test; returns a kubeconfig that leads to it.
async fn serve() -> PathBuf {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let objects: Vec<Value> = (0..CONNECTIONS).map(|index| object(index, Timestamp::now())).collect();
            let page = move |Query(Asked { limit, from }): Query<Asked>| {
                let from = from.unwrap_or_default();
                let end = objects.len().min(from + limit);
                let next = if end < objects.len() { end.to_string() } else { String::new() };
                let list = json!({
                    "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnectionList",
                    "metadata": {"continue": next}, "items": objects[from..end],
                });
                async move { Json(list) }
            };
            let path = "/apis/connections.kms.hanzo.ai/v1alpha1/bitbucketconnections";
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let _ = tell.send(listener.local_addr().expect("an address"));
            axum::serve(listener, Router::new().route(path, get(page))).await.expect("a server");
        });
    });
    let address = told.await.expect("an address");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    // What earlier runs left.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("kubeconfig");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {}}],
    });
    fs::write(&file, kubeconfig.to_string()).expect("a file");
    file
}

/// One of them. Every fifth shares a Secret; a few have ended, some end soon, some are in trouble.
fn object(index: usize, now: Timestamp) -> Value {
    let (team, system) = (TEAMS[index % TEAMS.len()], SYSTEMS[index / TEAMS.len()]);
    let shared = index < SHARERS;
    let secret = if shared { "bitbucket-token".to_owned() } else { format!("{system}-token") };
    // The same for all that share; spread over a year for the others.
    let days = if shared { 20 + 30 * (index % TEAMS.len()) } else { 365 * (index * 37 % 200) / 200 };
    let days = i64::try_from(days).expect("few days") - 3;
    let ends = now + SignedDuration::from_hours(24 * days);
    let ends = ends.strftime("%Y-%m-%dT00:00:00Z").to_string();
    let source = if index % 9 == 4 { "Inferred" } else { "Secret" };
    let trouble = match index % 25 {
        7 => Some((
            "False",
            "ScopesMissing",
            "The token lacks scopes, and those of a token can't be changed: create a new \
            one with all that are in status.scopes.required at id.atlassian.com (Security, API tokens, Create API token with \
            scopes, app Bitbucket) and put it into key token of the Secret. Missing: read:webhook:bitbucket (to see webhooks).",
        )),
        13 => Some((
            "False",
            "CredentialsRejected",
            "Bitbucket refuses the token (401), with its e-mail and without it: the \
            token itself is dead. To replace it, create one at id.atlassian.com.",
        )),
        21 => {
            Some(("Unknown", "KmsUnavailable", "The KMS at app.kms.hanzo.ai answers 503; it is asked again by itself."))
        }
        _ => None,
    };
    let (status, reason, message) = trouble.unwrap_or(("True", "Succeeded", "The connection is as it should be."));
    let missing: &[&str] = if reason == "ScopesMissing" { &["read:webhook:bitbucket"] } else { &[] };
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
        "metadata": {"name": system, "namespace": team, "uid": format!("uid-{index}")},
        "spec": {
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": secret},
            "scopes": {"useCases": ["SecretScanning"]}, "contact": format!("#{team}-on-call"),
            "expiry": {"warnBefore": ["30d", "14d", "7d", "1d"]},
        },
        "status": {
            "token": {"expiresAt": ends, "expirySource": source},
            "account": {"username": format!("{team}-bot")},
            "scopes": {"missing": missing},
            "connection": {
                "id": index.to_string(), "name": format!("{team}-{system}"), "origin": "Created",
                "kmsRef": "ClusterKmsInstance/default", "host": "https://app.kms.hanzo.ai",
            },
            "conditions": [{
                "type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    })
}
