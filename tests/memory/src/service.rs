//! The way of a request: noted, failed or held if a test wants that, carried out, answered.

use std::{
    collections::BTreeMap,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use http::{Request, Response, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};

use crate::{
    MemoryApi, accounts,
    carry_out::{Effect, Patch, Preconditions, Written},
    fault::Fault,
    journal::{Outcome, Verb},
    kinds::KindId,
    refusal::Refusal,
    request::{Asked, Target},
    rules::Part,
    watch,
};

/// The body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, Broken>;

/// The connection broke.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection to the API server in memory broke, because the test asked for it")]
pub struct Broken;

/// What a request led to, before it is put into bytes of HTTP.
enum Done {
    Said { code: u16, body: Bytes, changed: bool },
    Watching(BoxStream<'static, Result<Bytes, Broken>>),
}

impl tower::Service<Request<Body>> for MemoryApi {
    type Response = Response<Answer>;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().answer(request).boxed()
    }
}

impl MemoryApi {
    async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, Broken> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let asked = match Asked::read(&parts) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(self.refuse(&refusal, &parts)),
        };
        let (number, fault) = {
            let mut state = self.state();
            (state.journal.arrived(&asked), state.rules.pick(&asked.entry()))
        };
        let end = |outcome, changed| self.state().journal.end(number, outcome, changed);
        match &fault {
            Some(Fault::Status(code)) => {
                end(Outcome::Failed, false);
                return Ok(refused(&Refusal::on_demand(*code)));
            }
            Some(Fault::Unreachable) => {
                end(Outcome::Failed, false);
                return Err(Broken);
            }
            Some(Fault::Gone) if matches!(asked.verb, Verb::List | Verb::Watch) => {
                end(Outcome::Failed, false);
                return Ok(match asked.verb {
                    Verb::Watch => streaming(watch::gone().boxed()),
                    _ => refused(&Refusal::on_demand(410)),
                });
            }
            Some(Fault::Hold(hold)) if !hold.after => hold.gate.pass().await,
            Some(Fault::StatusAfter(_) | Fault::LoseAnswer | Fault::Stale | Fault::Gone | Fault::Hold(_)) | None => {}
        }
        let stale = matches!(fault, Some(Fault::Stale));
        let done = self.carry_out(&asked, &body, stale);
        let (code, changed) = match &done {
            Ok(Done::Said { code, changed, .. }) => (*code, *changed),
            Ok(Done::Watching(_)) => (200, false),
            Err(refusal) => (refusal.code, false),
        };
        match fault {
            Some(Fault::StatusAfter(instead)) => {
                end(Outcome::AnswerLost(code), changed);
                return Ok(refused(&Refusal::on_demand(instead)));
            }
            Some(Fault::LoseAnswer) => {
                end(Outcome::AnswerLost(code), changed);
                return Err(Broken);
            }
            Some(Fault::Hold(hold)) if hold.after => {
                end(Outcome::AnswerLost(code), changed);
                hold.gate.pass().await;
            }
            Some(Fault::Status(_) | Fault::Unreachable | Fault::Stale | Fault::Gone | Fault::Hold(_)) | None => {}
        }
        end(Outcome::Answered(code), changed);
        Ok(match done {
            Ok(Done::Said { code, body, .. }) => said(code, body),
            Ok(Done::Watching(lines)) => streaming(lines),
            Err(refusal) => self.refuse(&refusal, &parts),
        })
    }

    /// Refuses a request; what no fault made so, and a real API server would do, is noted.
    fn refuse(&self, refusal: &Refusal, parts: &Parts) -> Response<Answer> {
        if refusal.code == Refusal::UNSUPPORTED {
            self.state().journal.unsupported.push(format!("{} {}", parts.method, parts.uri));
        }
        refused(refusal)
    }

    fn carry_out(&self, asked: &Asked, body: &Bytes, stale: bool) -> Result<Done, Refusal> {
        let kind = match asked.target {
            Target::Version => return Ok(json_answer(200, &accounts::version(), false)),
            Target::Review => return Ok(json_answer(201, &accounts::review(parse(body)?), false)),
            Target::Kind(kind) => kind,
        };
        match asked.verb {
            Verb::Watch => Ok(Done::Watching(watch::begin(self, kind, asked)?.boxed())),
            Verb::List => self.list_answer(kind, asked),
            Verb::Get => {
                let mut state = self.state();
                let key = asked.key();
                let before = if stale { state.table(kind).previous(&key).cloned() } else { None };
                if before.is_some() {
                    *state.stale.entry(kind).or_default() += 1;
                }
                let found = before.or_else(|| state.get(kind, &key).cloned());
                let found = found.ok_or_else(|| Refusal::not_found(kind.get(), &asked.name))?;
                Ok(Done::Said { code: 200, body: found.bytes(asked.metadata_only), changed: false })
            }
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => self.write_answer(kind, asked, body),
        }
    }

    fn list_answer(&self, kind: KindId, asked: &Asked) -> Result<Done, Refusal> {
        let state = self.state();
        let query = &asked.query;
        if !matches!(query.resource_version.as_str(), "" | "0") {
            let wanted = watch::version(&query.resource_version)?;
            if wanted > state.revision {
                return Err(Refusal::from_the_future(wanted, state.revision));
            }
            if query.exact && wanted != state.revision {
                return Err(Refusal::expired("The provided resource version is too old: only the newest is kept"));
            }
        }
        let namespace = asked.namespace.as_deref();
        let (revision, objects) = match state.behind.get(&kind) {
            Some(revision) => state.list_as_of(kind, namespace, *revision),
            None => (state.revision, state.list(kind, namespace)),
        };
        let it = kind.get();
        let (name, api_version) = if asked.metadata_only {
            ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned())
        } else {
            (it.name, it.api_version())
        };
        let head = json!({"kind": format!("{name}List"), "apiVersion": api_version, "metadata": {
            "resourceVersion": revision.to_string(),
        }});
        let mut body = head.to_string().into_bytes();
        body.pop();
        body.extend_from_slice(br#","items":["#);
        let objects = objects.iter().filter(|object| watch::meant(asked, object));
        for (index, object) in objects.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&object.bytes(asked.metadata_only));
        }
        body.extend_from_slice(b"]}");
        Ok(Done::Said { code: 200, body: body.into(), changed: false })
    }

    fn write_answer(&self, kind: KindId, asked: &Asked, body: &Bytes) -> Result<Done, Refusal> {
        let now = self.now();
        let namespace = asked.namespace.as_deref().unwrap_or_default();
        let part = if asked.subresource == "status" { Part::Status } else { Part::Main };
        let mut state = self.state();
        let written = match (asked.verb, asked.patch) {
            (Verb::Create, _) if asked.subresource == "token" => {
                let account = state.get(kind, &asked.key()).cloned();
                let account = account.ok_or_else(|| Refusal::not_found(kind.get(), &asked.name))?;
                let token = accounts::token(&account, parse(body)?, self.timestamp(), state.next_number());
                return Ok(json_answer(201, &token, false));
            }
            (Verb::Create, _) => state.create(kind, namespace, parse(body)?, &now)?,
            (Verb::Patch, Some(form)) => {
                let manager = &asked.query.field_manager;
                state.patch(kind, &asked.key(), part, Patch { form, manager, body: parse(body)? }, &now)?
            }
            (Verb::Delete, _) => {
                let options = if body.is_empty() { json!({}) } else { parse(body)? };
                let given = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
                if options.get("dryRun").is_some_and(|it| it.as_array().is_none_or(|all| !all.is_empty())) {
                    return Err(Refusal::unsupported("deletions without effect aren't served"));
                }
                let insists = Preconditions { uid: given("uid"), resource_version: given("resourceVersion") };
                let written = state.delete(kind, &asked.key(), &insists, &now)?;
                if written.effect == Effect::Removed {
                    return Ok(json_answer(200, &removed(kind, &written), true));
                }
                written
            }
            _ => state.replace(kind, &asked.key(), part, parse(body)?)?,
        };
        let code = if written.effect == Effect::Created { 201 } else { 200 };
        let changed = written.effect != Effect::Unchanged;
        Ok(Done::Said { code, body: written.object.bytes(asked.metadata_only), changed })
    }
}

/// What is said of an object that is gone.
fn removed(kind: KindId, written: &Written) -> Value {
    let mut details = BTreeMap::from([
        ("name", written.object.key.name.as_str()),
        ("kind", kind.get().plural),
        ("uid", written.object.uid()),
    ]);
    if !kind.get().group.is_empty() {
        details.insert("group", kind.get().group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body is no JSON: {error}")))
}

fn json_answer(code: u16, value: &Value, changed: bool) -> Done {
    Done::Said { code, body: value.to_string().into(), changed }
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    let mut response = said(refusal.code, refusal.status().to_string().into());
    if refusal.code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn said(code: u16, body: Bytes) -> Response<Answer> {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    response(code, body)
}

fn streaming(lines: BoxStream<'static, Result<Bytes, Broken>>) -> Response<Answer> {
    response(200, StreamBody::new(lines.map(|line| line.map(Frame::data))).boxed_unsync())
}

fn response(code: u16, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a status that a test asked for, from 100 to 999");
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
