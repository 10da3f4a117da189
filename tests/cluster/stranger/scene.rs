//! A namespace of its own with a KMS of its own, in which a failure has come about.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::{Value, json};
use sim::{Authority, Bitbucket, Caller, Kms, Match, Operation, State, Token};

use super::{
    document::Section,
    stable::{PAST, TO_COME},
    stories::{Ends, Server, Story},
};
use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, PROJECT, SECRET, Tenant, World, condition, is_settled, needed_by,
};
use bitbucket_connection_operator::{api::ClusterKmsInstance, domain::scopes::UseCase};

/// The connection of each story, as on the page.
pub const NAME: &str = "payments";

/// Where a story is played.
pub struct Scene {
    pub bitbucket: Bitbucket,
    pub kms: Kms,
    pub tenant: Tenant,
    /// The ClusterKmsInstance, which others don't use.
    pub instance: String,
    /// The token that was issued for it.
    pub token: String,
    /// What is in the Secret, if there is one.
    pub values: Option<Value>,
    /// When it began.
    pub began: Timestamp,
}

/// The operator's questions about a token, and those of `check`.
pub fn asked(token: &str) -> Match {
    Match::ops([Operation::User, Operation::Workspaces]).caller(Caller::Operator).token(token)
}

impl Scene {
    /// Plays a story until the operator says what the page says.
    pub async fn set(world: &World, number: usize, story: &Story, section: &Section) -> Self {
        let began = Timestamp::now();
        let kms = match story.server {
            Server::Http => Kms::start(&world.bitbucket).await,
            Server::Untrusted => {
                Kms::start_tls(&world.bitbucket, Authority::new("a CA that nobody knows").issue()).await
            }
        };
        kms.add_identity(CLIENT_ID, CLIENT_SECRET);
        kms.add_project(PROJECT);
        let token = format!("ATATT3xFfGF0-canary-of-story-{number:02}");
        let issued = Token::new(EMAIL, &token).scopes(needed_by(&[UseCase::SecretScanning]));
        let issued = issued.account("hanzo-bot", "Hanzo Bot", "{11111111-1111-4111-8111-111111111111}");
        let issued = issued.workspaces(["hanzo-payments"]);
        world.bitbucket.add((story.issued)(issued));
        let in_days = |days: i64| (began + (24 * days).hours()).to_zoned(TimeZone::UTC).date().to_string();
        let ends = Ends { to_come: in_days(TO_COME), past: in_days(-PAST) };
        let scene = Self {
            bitbucket: world.bitbucket.clone(),
            kms,
            // As long as the words that stand for them, since tables are as wide as their cells.
            tenant: world.tenant(&format!("tea-{number:02}")).await,
            instance: format!("kms-{number:03}"),
            values: story.secret.map(|of| of(&token, &ends)),
            token,
            began,
        };
        scene.play(world, story, section).await;
        scene
    }

    async fn play(&self, world: &World, story: &Story, section: &Section) {
        (story.before)(self);
        self.fail(story);
        let instance = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "ClusterKmsInstance",
            "metadata": {"name": self.instance},
            "spec": {
                "host": self.kms.url(), "namespace": world.namespace(),
                "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}},
                "grants": [{"namespaceSelector": {}, "projectIds": ["*"], "organizationScope": true}],
            },
        });
        self.tenant.apply(instance).await;
        let judged = |instance: &_| is_settled(instance) && !condition(instance, "Ready").0.is_empty();
        self.tenant.until_cluster_instance(&self.instance, "was looked at", judged).await;
        if let Some(values) = &self.values {
            self.tenant.secret_with(SECRET, values.clone()).await;
        }
        let kms_ref = json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": self.instance}});
        self.tenant.connection(NAME).change(kms_ref).change((story.spec)()).apply().await;
        if let Some(later) = story.later {
            self.tenant.ready(NAME).await;
            later(self).await;
        }
        let told = |bbc: &_| {
            let (status, reason, _) = condition(bbc, &section.condition);
            is_settled(bbc) && (status, reason) == (section.status.clone(), section.reason.clone())
        };
        let what = format!("says {}={}, {}", section.condition, section.status, section.reason);
        self.tenant.until(NAME, &what, told).await;
        if story.instance {
            // It counts who uses it when it is looked at.
            self.look_again().await;
            let counted = |instance: &ClusterKmsInstance| {
                let held = instance.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
                held && instance.status.as_ref().and_then(|status| status.connections) == Some(1)
            };
            self.tenant.until_cluster_instance(&self.instance, "knows its connection", counted).await;
            self.tenant.until(NAME, &what, told).await;
        }
    }

    /// Has Bitbucket fail as the story wants it; once more for another who asks.
    pub fn fail(&self, story: &Story) {
        if let Some((meant, fault)) = story.fault.map(|fault| fault(asked(&self.token))) {
            self.bitbucket.fail_when(meant, fault);
        }
    }

    /// Puts a token into the Secret that Bitbucket refuses.
    pub async fn put_dead_token(&self) {
        let dead = format!("{}-dead", self.token);
        self.bitbucket.add(Token::new(EMAIL, &dead).state(State::Revoked));
        self.tenant.secret_with(SECRET, json!({"email": EMAIL, "token": dead})).await;
    }

    /// Has the operator look at it now.
    pub async fn look_again(&self) {
        self.tenant.request_reconcile(NAME).await;
    }
}
