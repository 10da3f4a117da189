//! How each failure comes about, in the order of the page.

use bitbucket_connection_operator::domain::scopes::UseCase;
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use sim::{Caller, Connection, Fault, Flavor, Match, Operation, State, Token};

use super::scene::Scene;
use crate::harness::{EMAIL, PROJECT, needed_by};

/// Who shows its certificate.
#[derive(Clone, Copy, PartialEq)]
pub enum Server {
    Http,
    /// By TLS, with a certificate of a CA that nobody knows.
    Untrusted,
}

/// Days on which a token may end.
pub struct Ends {
    pub to_come: String,
    pub past: String,
}

/// A failure, as what differs from a connection that is as it should be.
pub struct Story {
    /// As the page has it.
    pub title: &'static str,
    /// The Secret of a token, and its end; none is no Secret.
    pub secret: Option<fn(token: &str, ends: &Ends) -> Value>,
    /// The token at Bitbucket.
    pub issued: fn(Token) -> Token,
    /// How Bitbucket's answers to the operator about this token fail.
    pub fault: Option<fn(Match) -> (Match, Fault)>,
    /// The spec of the connection, as a merge patch.
    pub spec: fn() -> Value,
    pub server: Server,
    /// What is wrong before there is a connection.
    pub before: fn(&Scene),
    /// What goes wrong once the connection is Ready; none is a connection that never was.
    pub later: Option<for<'a> fn(&'a Scene) -> BoxFuture<'a, ()>>,
    /// Whether it is about the credentials, so that `check` can tell it too.
    pub check: bool,
    /// Whether it is about the instance, which tells more.
    pub instance: bool,
}

fn usual(token: &str, ends: &Ends) -> Value {
    json!({"email": EMAIL, "token": token, "expiresAt": ends.to_come})
}

/// A failure of the credentials.
fn token(title: &'static str) -> Story {
    Story {
        title,
        secret: Some(usual),
        issued: |token| token,
        fault: None,
        spec: || json!({}),
        server: Server::Http,
        before: |_| (),
        later: None,
        check: true,
        instance: false,
    }
}

/// A token that Bitbucket refuses.
fn refused(title: &'static str, issued: fn(Token) -> Token) -> Story {
    Story { issued, ..token(title) }
}

/// A failure on the side of the KMS.
fn kms(title: &'static str) -> Story {
    Story { check: false, ..token(title) }
}

fn scopes() -> Vec<String> {
    needed_by(&[UseCase::SecretScanning])
}

/// All of them.
pub fn stories() -> Vec<Story> {
    [of_secrets(), of_refusals(), of_scopes(), of_bitbucket(), of_the_kms(), of_ends()].into_iter().flatten().collect()
}

fn of_secrets() -> Vec<Story> {
    let secret = |title, secret| Story { secret: Some(secret), ..token(title) };
    vec![
        Story { secret: None, check: false, ..token("There is no Secret") },
        Story {
            check: false,
            ..secret("The Secret has no such key", |token, _| json!({"email": EMAIL, "API_TOKEN": token}))
        },
        secret(
            "A user name stands where the e-mail belongs",
            |token, ends| json!({"email": "hanzo-bot", "token": token, "expiresAt": ends.to_come}),
        ),
        secret(
            "Git's user name stands where the e-mail belongs",
            |token, ends| json!({"email": "x-bitbucket-api-token-auth", "token": token, "expiresAt": ends.to_come}),
        ),
        secret(
            "There is more than the token behind its key",
            |token, ends| json!({"email": EMAIL, "token": format!("Bearer {token}"), "expiresAt": ends.to_come}),
        ),
    ]
}

fn of_refusals() -> Vec<Story> {
    vec![
        refused("The token is dead", |token| token.state(State::Revoked)),
        Story {
            secret: Some(|token, ends| json!({"email": EMAIL, "token": token, "expiresAt": ends.past})),
            ..refused("The token has expired", |token| token.state(State::Revoked))
        },
        refused("The token belongs to another account", |mut token| {
            "ada@example.com".clone_into(&mut token.email);
            token.account("ada", "Ada Lovelace", "{22222222-2222-4222-8222-222222222222}")
        }),
        refused("The e-mail is an alias", |token| token.state(State::NotRegisteredEmail)),
        refused("The wrong button was pressed", |token| token.state(State::NoBitbucketScopes)),
        refused("It is an access token", |token| token.credential_type("repo_access_token").state(State::BearerOnly)),
        refused("It is an app password", |token| token.state(State::AppPassword(401))),
        Story {
            // Of two questions the second is not answered.
            fault: Some(|asked| (asked.skip(1).times(1), Fault::status(503))),
            ..refused("The cause of a refusal stays unknown", |token| token.state(State::Revoked))
        },
    ]
}

fn of_scopes() -> Vec<Story> {
    vec![
        refused("A scope is missing", |token| {
            let look_alike = |scope: String| scope.replace("read:user:", "read:account:");
            token.scopes(scopes().into_iter().map(look_alike))
        }),
        Story {
            spec: || json!({"scopes": {"onExcess": "Block"}}),
            ..refused("The token may do too much", |token| {
                token.scopes(scopes().into_iter().chain(["admin:repository:bitbucket".to_owned()]))
            })
        },
        refused("Nobody says which scopes the token has", |token| token.hide_scopes(true)),
        Story {
            spec: || json!({"workspaces": ["hanzo-payments"]}),
            ..refused("A workspace is out of reach", |token| token.workspaces([""; 0]))
        },
    ]
}

fn of_bitbucket() -> Vec<Story> {
    vec![
        refused("An IP allow list keeps the cluster out", |token| token.state(State::IpBlocked)),
        Story {
            // An account of its own: for a while nobody asks in its name.
            secret: Some(
                |token, ends| json!({"email": "limited@example.com", "token": token, "expiresAt": ends.to_come}),
            ),
            fault: Some(|asked| (asked, Fault::RateLimited { retry_after: Some(3_600) })),
            ..token("The account's hourly limit is used up")
        },
        Story { fault: Some(|asked| (asked, Fault::status(503))), ..token("Bitbucket gives no answer") },
    ]
}

fn of_the_kms() -> Vec<Story> {
    vec![
        Story {
            later: Some(|scene| scene.put_dead_token().boxed()),
            check: false,
            ..token("The new token is not in the KMS")
        },
        Story {
            before: |scene| {
                let asked = Match::op(Operation::User).caller(Caller::Kms).token(&scene.token);
                scene.bitbucket.fail_when(asked, Fault::status(401));
            },
            // The operator's own question is answered well.
            check: true,
            ..kms("The KMS can't use a token that is good")
        },
        Story {
            before: |scene| _ = scene.kms.insert(Connection::new("payments").project(PROJECT).app("github")),
            ..kms("The name is taken")
        },
        Story {
            before: |scene| scene.kms.set_flavor(Flavor::Older),
            spec: || json!({"projectId": null, "organizationScope": true, "connectionName": "bitbucket-connection-of-the-payments-team"}),
            ..kms("The KMS refuses the name")
        },
        Story {
            later: Some(|scene| {
                let row = scene.kms.connection("payments").expect("a connection");
                scene.kms.edit(&row.id, |row| row.description = Some("Repositories of the payments team".to_owned()));
                scene.look_again().boxed()
            }),
            spec: || json!({"description": "Repositories of the payments team"}),
            ..kms("Somebody edited the description")
        },
        Story { before: |scene| scene.kms.deny("create"), ..kms("The machine identity may not do it") },
        Story { before: |scene| scene.kms.remove_project(PROJECT), ..kms("The KMS knows no such project") },
        Story { before: |scene| scene.kms.set_flavor(Flavor::Older), ..kms("The KMS is too old to know projects") },
        Story {
            before: |scene| scene.kms.remove_identity(crate::harness::CLIENT_ID),
            instance: true,
            ..kms("The instance can't log in")
        },
        Story { server: Server::Untrusted, instance: true, ..kms("The certificate of the KMS is not trusted") },
        Story {
            later: Some(|scene| {
                let row = scene.kms.connection("payments").expect("a connection");
                scene.kms.attach(&row.id);
                async { scene.tenant.delete("payments").await }.boxed()
            }),
            ..kms("The object does not go away")
        },
    ]
}

fn of_ends() -> Vec<Story> {
    vec![
        Story {
            secret: Some(|token, _| json!({"email": EMAIL, "token": token, "expiresAt": "01.03.2027"})),
            ..token("The date can't be read")
        },
        Story {
            secret: Some(|token, _| json!({"email": EMAIL, "token": token})),
            ..token("It ends by a date that nobody wrote")
        },
    ]
}
