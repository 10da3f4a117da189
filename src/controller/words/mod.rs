//! Every word that the operator says in conditions, events and plans: made by the functions that say it, of one set of
//! example names, so that all of them can be read at one sitting. messages.txt holds them; docs/conditions.md and
//! docs/troubleshooting.md take theirs from here.
//!
//! `make docs` writes what is generated anew.

pub(crate) mod dictionary;
mod events;
mod instances;
mod kms;
mod messages;
mod page;
mod ready;
mod token;

use crate::domain::{
    conditions::{Judgement, Says, Status},
    connection::KmsConnection,
    credential::Credentials,
    ownership::{self, Origin, Owner, OwnerId},
    spec::{self, ConnectionSpec, InstanceKind, InstanceRef},
    token::Token,
    verdict::Verdict,
};

/// A condition as it can be found in an object.
pub struct Example {
    /// What brings it about, in a few words. No two examples have the same.
    pub case: &'static str,
    /// Type of the condition.
    pub condition: &'static str,
    /// Its status.
    pub status: Status,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

impl Example {
    fn new(case: &'static str, condition: &'static str, says: &impl Says) -> Self {
        let (status, reason, message) = (says.status(), says.reason(), says.message().to_owned());
        Self { case, condition, status, reason, message }
    }
}

/// All that BitbucketConnections say.
pub fn of_connections() -> Vec<Example> {
    [token::credentials(), token::scopes(), kms::synced(), ready::ready(), token::expiry()]
        .into_iter()
        .flatten()
        .collect()
}

/// Fails where no example is of a variant, and doesn't compile where a variant is not listed.
macro_rules! every_variant {
    ($type:ty, $examples:expr, $($variant:pat),+ $(,)?) => {{
        let _: fn(&$type) = |it| match it { $($variant => (),)+ };
        let examples: Vec<$type> = $examples.into_iter().collect();
        $(assert!(
            examples.iter().any(|it| matches!(it, $variant)),
            "there is no example of {}", stringify!($variant),
        );)+
    }};
}
use every_variant;

/// The second of an example.
fn values<T>(examples: Vec<(&'static str, T)>) -> impl Iterator<Item = T> {
    examples.into_iter().map(|(_, value)| value)
}

fn spec_of(change: &serde_json::Value) -> ConnectionSpec {
    let mut raw = serde_json::json!({
        "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
        "secretRef": {"name": "bitbucket-token"},
        "scopes": {"useCases": ["SecretScanning"]},
    });
    let fields = raw.as_object_mut().expect("an object");
    fields.extend(change.as_object().cloned().unwrap_or_default());
    spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
}

fn spec() -> ConnectionSpec {
    spec_of(&serde_json::Value::Null)
}

fn owner_id() -> OwnerId {
    OwnerId::new("cluster").expect("a good id")
}

fn owner() -> Owner {
    Owner::of(&owner_id(), "team-a", "payments")
}

fn asked(verdict: Verdict) -> Token {
    let credentials = Credentials::parse("bot@example.com", "token").expect("good values");
    Token::Asked { verdict, fingerprint: credentials.fingerprint(&owner_id()), email: "bot@example.com".to_owned() }
}

fn instance(kind: InstanceKind) -> InstanceRef {
    let name = match kind {
        InstanceKind::Cluster => "default",
        InstanceKind::Namespaced => "kms",
    };
    InstanceRef { kind, name: name.to_owned() }
}

fn connection() -> KmsConnection {
    KmsConnection {
        id: "11111111-1111-4111-8111-111111111111".to_owned(),
        name: "payments".to_owned(),
        description: ownership::describe("Repositories of the payments team", &owner(), Origin::Created),
        app: "bitbucket".to_owned(),
        org_id: None,
        project_id: spec().scope.project_id().map(str::to_owned),
        email: None,
        credentials_hash: None,
        updated_at: None,
    }
}

fn judged(condition: &'static str, examples: Vec<(&'static str, Judgement)>) -> Vec<Example> {
    examples.iter().map(|(case, judgement)| Example::new(case, condition, judgement)).collect()
}

/// Compares a generated file with the one that is kept, or writes it where `UPDATE_DOCS` is set.
pub fn keep(path: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, text).expect("a file that may be written");
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).find(|(kept, now)| kept != now);
    assert!(kept == text, "{path} is stale; run `make docs` and read the difference. The first line: {differs:#?}");
}
