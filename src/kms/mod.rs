//! The client of the KMS: one host, one identity, and one session for all connections of an instance.
//!
//! Every success of the KMS is status 200 with JSON; anything else that calls itself a success is another server's. It
//! has no idempotency keys: [`KmsError::may_have_taken_effect`] tells when a write must be looked up before it is repeated.

mod error;
mod list;
mod login;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod traffic;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::http::header::AUTHORIZATION;
use reqwest::Method;
use serde_json::Value;
use url::Url;

pub use error::{CERTIFICATE_NOT_TRUSTED, KmsError, LoginError, NO_CONNECTION, NoProof};
pub use login::{Evidence, Identity, Proof, Prover};
pub use snapshot::Snapshot;
pub use traffic::{Limits, Reading, SHARED_MAX, WriteTurn};

use crate::{
    domain::{
        connection::{Changes, KmsConnection, KmsScope, NewConnection},
        credential::Credentials,
        host,
        limit::Priority,
        login::AuthMethod,
    },
    http::{Answer, BODY_MAX, BadShape, Client, Failure, Gate, LIST_MAX, Observe},
};
use error::Operation;
use list::Lists;
use session::{Bearer, Session};
use snapshot::{Rows, Write};
use traffic::Rest;

/// A server, and the way to it.
#[derive(Clone)]
pub struct Server {
    /// Its address, found good before.
    pub url: Url,
    /// The way; it should come from [`crate::http::client`].
    pub http: Client,
    /// Its limits, shared by all who ask it.
    pub limits: Arc<Limits>,
    /// Told of each request.
    pub observe: Observe,
}

/// The KMS of one instance.
pub struct Kms {
    server: Server,
    host: String,
    identity: Identity,
    organization_slug: Option<String>,
    session: Session,
    lists: Lists,
    rest: Rest,
    /// By which its places are told from those of others at the same host.
    number: u64,
    /// Whether the last connection for a project was made without it.
    dropped_a_project: AtomicBool,
}

/// One request but for its session.
struct Call<'a> {
    operation: Operation,
    method: Method,
    /// What follows `app-connections/bitbucket/`.
    path: &'a [&'a str],
    project_id: Option<&'a str>,
    body: Option<Value>,
    limit: usize,
    /// What must not come back in an error.
    secret: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn new(operation: Operation, method: Method, path: &'a [&'a str]) -> Self {
        Self { operation, method, path, project_id: None, body: None, limit: BODY_MAX, secret: None }
    }
}

impl Kms {
    /// A client of a KMS; nothing is sent yet. Other credentials or another server need another `Kms`.
    pub fn new(server: Server, identity: Identity, organization_slug: Option<String>) -> Self {
        Self {
            host: host::display(&server.url),
            number: server.limits.another_client(),
            server,
            identity,
            organization_slug,
            session: Session::default(),
            lists: Lists::default(),
            rest: Rest::default(),
            dropped_a_project: AtomicBool::new(false),
        }
    }

    /// The address, without a trailing slash.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Waits for the right to send one write, if that is a matter of a moment; else says when to come back. `who` is
    /// the name under which the place is kept.
    pub async fn turn_to_write(&self, who: &str, priority: Priority) -> Result<WriteTurn, KmsError> {
        Ok(self.server.limits.turn_to_write(who, priority).await?)
    }

    /// How long a scope is left alone after an outage, if there was one.
    pub fn rests_for(&self, scope: &KmsScope) -> Option<Duration> {
        self.rest.left(scope)
    }

    /// The limits of its host.
    pub fn limits(&self) -> &Limits {
        &self.server.limits
    }

    /// Makes sure that there is a session: logs in if there is none, or if it is past 70 % of its life.
    ///
    /// A refusal is remembered for 5 minutes (the KMS locks an identity after three), a rate limit as long as the KMS
    /// says; until then it is returned without a call, unless `again` is set.
    pub async fn authenticate(&self, again: bool) -> Result<(), LoginError> {
        self.bearer(None, again).await.map(drop)
    }

    /// The connections of a scope, as a list that is as new as the reading asks for, with everything that this client
    /// wrote since. Callers who wait for the same list share it, and its failure. After an outage the KMS is left alone
    /// for a while, and everybody gets the error of then.
    ///
    /// A list is no proof of absence: it omits what the identity may not read. Ask [`Kms::connection`] about an id, and
    /// [`Kms::connection_named`] about a name.
    pub async fn connections(&self, scope: &KmsScope, reading: Reading) -> Result<Arc<Snapshot>, KmsError> {
        let insist = reading.priority == Priority::AtOnce;
        let fetch = || self.rest.ask(scope, insist, self.list(scope, reading.priority));
        self.lists.get(scope, reading.not_before, reading.max_age, fetch).await
    }

    async fn list(&self, scope: &KmsScope, priority: Priority) -> Result<Rows, KmsError> {
        self.turn_to_read(&scope.to_string(), priority).await?;
        let call =
            Call { project_id: scope.project_id(), limit: LIST_MAX, ..Call::new(Operation::List, Method::GET, &[]) };
        let answer = self.success(call).await?;
        let (mut rows, before) = (Rows::new(self.lists.texts()), self.lists.last(scope));
        for connection in wire::list(&answer.body, scope).map_err(unreadable)? {
            rows.put(&connection.map_err(unreadable)?, before.as_deref());
        }
        Ok(rows)
    }

    async fn turn_to_read(&self, who: &str, priority: Priority) -> Result<(), KmsError> {
        Ok(self.server.limits.reads.pass(&format!("{} {who}", self.number), priority).await?)
    }

    /// The connection of that id in a scope; `None` if the KMS says that there is none, or that it is elsewhere.
    /// [`KmsError::OtherApp`] if the id is that of a connection to something else than Bitbucket.
    pub async fn connection(
        &self,
        scope: &KmsScope,
        id: &str,
        priority: Priority,
    ) -> Result<Option<KmsConnection>, KmsError> {
        // It comes from a status, in which people with rights can write anything.
        if uuid::Uuid::parse_str(id).is_err() {
            return Ok(None);
        }
        self.turn_to_read(id, priority).await?;
        let found = self.read(Call::new(Operation::Get, Method::GET, &[id])).await?;
        if found.is_none() {
            // Ids are never used twice.
            self.lists.wrote(Write::Gone { id: id.to_owned() });
        }
        Ok(found.filter(|(_, place)| place.is_in(scope)).map(|(connection, _)| connection))
    }

    /// The connection of that name in a scope; `None` if the KMS says that there is none. [`KmsError::OtherApp`] if the
    /// name is taken by a connection to something else than Bitbucket.
    pub async fn connection_named(
        &self,
        scope: &KmsScope,
        name: &str,
        priority: Priority,
    ) -> Result<Option<KmsConnection>, KmsError> {
        self.turn_to_read(&format!("{name} in {scope}"), priority).await?;
        let path = ["connection-name", name];
        let call = Call { project_id: scope.project_id(), ..Call::new(Operation::GetByName, Method::GET, &path) };
        let found = self.read(call).await?;
        Ok(found.filter(|(_, place)| place.is_in(scope)).map(|(connection, _)| connection))
    }

    /// Creates a connection. The KMS first checks the credentials with Bitbucket, then the name.
    ///
    /// A server that knows only organization scope ignores the project: then `project_id` of the result is `None`.
    pub async fn create(
        &self,
        new: &NewConnection,
        credentials: &Credentials,
        _turn: WriteTurn,
    ) -> Result<KmsConnection, KmsError> {
        let call = Call {
            body: Some(wire::create_body(new, credentials)),
            secret: Some(credentials.token.expose()),
            ..Call::new(Operation::Create, Method::POST, &[])
        };
        let scope = new.scope.clone();
        let made = self.write(call, |written| Write::Put { scope: Some(scope), connection: written }).await?;
        if new.scope.project_id().is_some() {
            self.dropped_a_project.store(made.project_id.is_none(), Ordering::Relaxed);
        }
        Ok(made)
    }

    /// Whether the last connection that was created for a project came out without it: the server knows none.
    pub fn dropped_a_project(&self) -> bool {
        self.dropped_a_project.load(Ordering::Relaxed)
    }

    /// Changes a connection; without `credentials` those in the KMS stay. The KMS does not check that the id is that of
    /// a connection to Bitbucket: look at its `app` before. [`KmsError::NotFound`] if it is gone.
    pub async fn update(
        &self,
        id: &str,
        changes: &Changes,
        credentials: Option<&Credentials>,
        _turn: WriteTurn,
    ) -> Result<KmsConnection, KmsError> {
        let path = [id];
        let call = Call {
            body: Some(wire::update_body(changes, credentials)),
            secret: credentials.map(|credentials| credentials.token.expose()),
            ..Call::new(Operation::Update, Method::PATCH, &path)
        };
        let result = self.write(call, |written| Write::Put { scope: None, connection: written }).await;
        if matches!(result, Err(KmsError::NotFound)) {
            self.lists.wrote(Write::Gone { id: id.to_owned() });
        }
        result
    }

    /// Deletes a connection; one that is gone already is fine.
    pub async fn delete(&self, id: &str, _turn: WriteTurn) -> Result<(), KmsError> {
        let path = [id];
        let call = Call::new(Operation::Delete, Method::DELETE, &path);
        match self.write(call, |_| Write::Gone { id: id.to_owned() }).await {
            Ok(_) => Ok(()),
            Err(KmsError::NotFound) => {
                self.lists.wrote(Write::Gone { id: id.to_owned() });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, call: Call<'_>) -> Result<Option<(KmsConnection, wire::Place)>, KmsError> {
        match self.success(call).await {
            Ok(answer) => wire::one(&answer.body).map(Some).map_err(unreadable),
            Err(KmsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a write and lays it over the lists. Where it isn't known whether it took effect, be it that this future
    /// is dropped, the lists so far are not used any more.
    async fn write(
        &self,
        call: Call<'_>,
        write: impl FnOnce(Arc<KmsConnection>) -> Write,
    ) -> Result<KmsConnection, KmsError> {
        let secrets: Vec<&str> = call.secret.into_iter().collect();
        let doubt = self.lists.doubt();
        let result = match self.success(call).await {
            // Only the KMS itself answers 200 to a session of its own: an answer that can't be read was lost on the way.
            Ok(answer) => wire::one(&answer.body)
                .map(|(connection, _)| wire::masked(connection, &secrets))
                .map_err(|_| KmsError::Unavailable { what: error::UNREADABLE.to_owned() }),
            Err(error) => Err(error),
        };
        match &result {
            Ok(written) => {
                self.lists.wrote(write(Arc::new(written.clone())));
                doubt.settle();
            }
            Err(error) if !error.may_have_taken_effect() => doubt.settle(),
            Err(_) => {}
        }
        result
    }

    /// Sends a request in a session and takes status 200 alone. A session that the KMS ended early is replaced, once.
    async fn success(&self, call: Call<'_>) -> Result<Answer, KmsError> {
        let mut bearer = self.bearer(None, false).await?;
        let mut answer = self.send(&call, &bearer).await?;
        if error::ends_session(&answer) {
            bearer = self.bearer(Some(bearer.generation), false).await?;
            answer = self.send(&call, &bearer).await?;
        }
        if answer.status == 200 {
            return Ok(answer);
        }
        let mut secrets: Vec<&str> = call.secret.into_iter().chain([bearer.token()]).collect();
        secrets.extend(self.identity.secrets());
        if error::ends_session(&answer) {
            let refused = LoginError::SessionRefused { message: error::message(&answer.body, &secrets) };
            self.session.condemn(&bearer, refused.clone()).await;
            return Err(refused.into());
        }
        Err(error::classify(call.operation, &answer, &secrets))
    }

    async fn send(&self, call: &Call<'_>, bearer: &Bearer) -> Result<Answer, KmsError> {
        let mut url = self.address(&["app-connections", "bitbucket"], call.path);
        if let Some(project_id) = call.project_id {
            url.query_pairs_mut().append_pair("projectId", project_id);
        }
        let mut request = self.server.http.request(call.method.clone(), url).header(AUTHORIZATION, bearer.header());
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        match self.server.http.send(request, call.limit, call.operation.label(), &self.server.observe).await {
            Ok(answer) => {
                self.gate(&call.method).heard(answer.status, &answer.headers);
                Ok(answer)
            }
            // Whom not to trust is no matter of one request: the session is given up, so that the next login tells the
            // instance, and nobody sends anything until it is cured.
            Err(failure @ Failure::Certificate) => {
                let refused = LoginError::Unavailable { what: error::what(failure) };
                self.session.condemn(bearer, refused.clone()).await;
                Err(refused.into())
            }
            Err(failure) => Err(KmsError::Unavailable { what: error::what(failure) }),
        }
    }

    async fn bearer(&self, ended: Option<u64>, again: bool) -> Result<Bearer, LoginError> {
        self.session.bearer(ended, again, || self.log_in()).await
    }

    /// What requests of that method pass through.
    fn gate(&self, method: &Method) -> &Gate {
        if *method == Method::GET { &self.server.limits.reads } else { &self.server.limits.writes }
    }

    async fn log_in(&self) -> Result<session::Granted, LoginError> {
        let method = self.identity.method;
        let made;
        let proof = match &self.identity.evidence {
            Evidence::Held(proof) => proof,
            Evidence::Made(prover) => {
                made = prover.prove().await?;
                &made
            }
        };
        let secrets: Vec<&str> = proof.secrets().collect();
        let Some(path) = self.identity.path() else { return self.try_token(method, proof, &secrets).await };
        self.gate(&Method::POST).pass(&format!("{} login", self.number), Priority::First).await?;
        let url = self.address(&["auth"], &path);
        let request = self
            .server
            .http
            .request(Method::POST, url)
            .json(&self.identity.body(proof, self.organization_slug.as_deref()));
        let answer = self.server.http.send(request, BODY_MAX, Operation::Login.label(), &self.server.observe).await;
        let answer = answer.map_err(|failure| LoginError::Unavailable { what: error::what(failure) })?;
        self.gate(&Method::POST).heard(answer.status, &answer.headers);
        login::read(&answer, method, &secrets)
    }

    /// An access token needs no login; whether the KMS takes it shows by a question about a connection that there isn't.
    async fn try_token(
        &self,
        method: AuthMethod,
        proof: &Proof,
        secrets: &[&str],
    ) -> Result<session::Granted, LoginError> {
        let header = proof.access_token().and_then(login::bearer).ok_or(LoginError::InvalidCredentials { method })?;
        self.gate(&Method::GET).pass(&format!("{} login", self.number), Priority::First).await?;
        let nobody = uuid::Uuid::nil().to_string();
        let url = self.address(&["app-connections", "bitbucket"], &[&nobody]);
        let request = self.server.http.request(Method::GET, url).header(AUTHORIZATION, header.clone());
        let answer = self.server.http.send(request, BODY_MAX, Operation::Get.label(), &self.server.observe).await;
        let answer = answer.map_err(|failure| LoginError::Unavailable { what: error::what(failure) })?;
        self.gate(&Method::GET).heard(answer.status, &answer.headers);
        error::classify_probe(&answer, method, secrets)?;
        Ok(session::Granted { header, expires_in: 0 })
    }

    /// An address below `/api/v1`. Each part is encoded, so that no id or name can lead elsewhere.
    fn address(&self, room: &[&str], path: &[&str]) -> Url {
        let mut url = self.server.url.clone();
        // Only addresses such as `mailto:` have no segments, and those are no hosts.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "v1"]).extend(room).extend(path);
        }
        url
    }
}

/// A read that was answered 200, but not by an API of app connections.
fn unreadable(shape: BadShape) -> KmsError {
    match shape {
        BadShape::Truncated => KmsError::Unavailable { what: error::UNREADABLE.to_owned() },
        BadShape::Foreign => KmsError::NotOffered,
    }
}
