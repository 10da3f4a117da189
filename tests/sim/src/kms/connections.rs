//! The endpoints below `/api/v1/app-connections/bitbucket`.

use std::collections::{HashMap, HashSet};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use super::connection::Connection;
use super::errors::{self, Findings};
use super::validate::{self, Credentials};
use super::{Flavor, KmsState, Server, Who};
use crate::front::{Answer, lock};
use crate::journal::{Caller, Entry, Operation};

const BASE: &str = "/api/v1/app-connections/bitbucket";
const APP: &str = "bitbucket";

/// Both arms are answers; `Err` is one that ended the story early.
type Reply = Result<Answer, Answer>;

impl Server {
    pub(super) async fn connections(&self, request: &Entry) -> Reply {
        let who = self.authorize(request)?;
        match request.operation {
            Operation::List => self.list(request, &who),
            Operation::Get => self.get(&id(request)?, &who),
            Operation::GetByName => self.get_by_name(request, &who),
            Operation::Create => self.create(request, &who).await,
            Operation::Update => self.update(request, &who).await,
            Operation::Delete => self.delete(&id(request)?, &who),
            Operation::User | Operation::Workspaces | Operation::Login | Operation::Status | Operation::Other => {
                Err(errors::no_route(&request.method, &request.path))
            }
        }
    }

    fn list(&self, request: &Entry, who: &str) -> Reply {
        let mut state = lock(&self.state);
        state.permit("read", who)?;
        let project = state.scope(request.query("projectId")).map(str::to_owned);
        if let Some(id) = &project
            && !state.projects.contains(id)
        {
            return Err(no_project(id));
        }
        let KmsState { rows, hidden, hide_hash, flavor, .. } = &mut *state;
        // Without a project every scope is meant, not only the organization.
        let in_scope = |row: &Connection| project.is_none() || row.project_id == project;
        let shown = |row: &Connection| row.app == APP && in_scope(row) && !is_hidden(hidden, row, who);
        let list = rows.list(project.as_deref(), who, shown, |row| tell(row, *flavor, *hide_hash).to_string());
        Ok(Answer::text(200, list))
    }

    fn get(&self, id: &str, who: &str) -> Reply {
        let mut state = lock(&self.state);
        let row = state.find(id)?;
        state.permit_read(row, who)?;
        of_this_app(row, "ID", id)?;
        Ok(state.answer(id))
    }

    fn get_by_name(&self, request: &Entry, who: &str) -> Reply {
        let name = request.path[BASE.len()..].trim_start_matches("/connection-name/");
        let name = name.trim_end_matches('/');
        let mut state = lock(&self.state);
        let project = state.scope(request.query("projectId"));
        let older = state.flavor == Flavor::Older;
        let found = state.rows.named(name).find(|row| older || row.project_id.as_deref() == project);
        let Some(row) = found else {
            let scope = match (older, project) {
                (true, _) => "",
                (false, Some(_)) => " in project scope.",
                (false, None) => " in organization scope.",
            };
            return Err(errors::not_found(&format!("Could not find App Connection with name {name}{scope}")));
        };
        state.permit_read(row, who)?;
        of_this_app(row, "name", name)?;
        let id = row.id.clone();
        Ok(state.answer(&id))
    }

    /// Permission, project, Bitbucket, insert: a taken name shows last.
    async fn create(&self, request: &Entry, who: &str) -> Reply {
        let body = body(request)?;
        let (wanted, project) = {
            let state = lock(&self.state);
            let wanted = validate::create(&body, state.longest_name())?;
            state.permit("create", who)?;
            let project = state.scope(wanted.project_id.as_deref()).map(str::to_owned);
            if let Some(id) = &project
                && !state.projects.contains(id)
            {
                return Err(no_project(id));
            }
            (wanted, project)
        };
        self.ask_bitbucket(&wanted.credentials).await?;

        let now = self.front.now();
        let mut state = lock(&self.state);
        state.free(&wanted.name, project.as_deref(), None)?;
        let row = Connection {
            description: wanted.description,
            project_id: project,
            created_at: now,
            updated_at: now,
            ..Connection::new(&wanted.name)
        }
        .credentials(&wanted.credentials.email, &wanted.credentials.token);
        let id = row.id.clone();
        state.rows.put(row);
        Ok(state.answer(&id))
    }

    /// Whatever app the connection belongs to.
    async fn update(&self, request: &Entry, who: &str) -> Reply {
        let id = id(request)?;
        let body = body(request)?;
        let wanted = {
            let state = lock(&self.state);
            let wanted = validate::update(&body, state.longest_name())?;
            state.find(&id)?;
            state.permit("edit", who)?;
            wanted
        };
        if let Some(credentials) = &wanted.credentials {
            self.ask_bitbucket(credentials).await?;
        }

        let now = self.front.now();
        let mut state = lock(&self.state);
        let mut row = state.find(&id)?.clone();
        if let Some(name) = wanted.name {
            state.free(&name, row.project_id.as_deref(), Some(&id))?;
            row.name = name;
        }
        if let Some(description) = wanted.description {
            row.description = description;
        }
        if let Some(Credentials { email, token }) = &wanted.credentials {
            row.write_credentials(email, token);
        }
        row.updated_at = now;
        let id = row.id.clone();
        state.rows.put(row);
        Ok(state.answer(&id))
    }

    fn delete(&self, id: &str, who: &str) -> Reply {
        let mut state = lock(&self.state);
        let row = state.find(id)?;
        state.permit("delete", who)?;
        of_this_app(row, "ID", id)?;
        if state.attached.contains(id) {
            return Err(errors::bad_request(
                "Cannot delete App Connection with existing connections. \
                 Remove all existing connections and try again.",
            ));
        }
        let answer = state.answer(id);
        state.rows.remove(id);
        Ok(answer)
    }

    /// The KMS tells only the status of a refusal, and outages with the same 400. Any 2xx will do, a page of HTML too.
    async fn ask_bitbucket(&self, credentials: &Credentials) -> Result<(), Answer> {
        let patience = lock(&self.state).patience;
        let Credentials { email, token } = credentials;
        let basic = STANDARD.encode(format!("{email}:{token}"));
        let request = Request::get("/2.0/user")
            .header("authorization", format!("Basic {basic}"))
            .header("accept", "application/json")
            .body(Body::empty())
            .expect("base64 is a valid header");
        let call = async {
            let Ok(response) = self.bitbucket.call(Caller::Kms, request).await else {
                return Err("socket hang up".to_owned());
            };
            let status = response.status();
            if !status.is_success() {
                return Err(format!("Request failed with status code {}", status.as_u16()));
            }
            // The client of the KMS reads bodies to their end.
            to_bytes(response.into_body(), 8 << 20).await.map_err(|_| "aborted".to_owned())?;
            Ok(())
        };
        let verdict = tokio::time::timeout(patience, call).await;
        let verdict = verdict.unwrap_or_else(|_| Err(format!("timeout of {}ms exceeded", patience.as_millis())));
        verdict.map_err(|reason| errors::bad_request(&format!("Failed to validate credentials: {reason}")))
    }
}

impl KmsState {
    fn longest_name(&self) -> usize {
        if self.flavor == Flavor::Older { 32 } else { 64 }
    }

    /// The project that a request means; older servers know none.
    fn scope<'a>(&self, project: Option<&'a str>) -> Option<&'a str> {
        project.filter(|_| self.flavor != Flavor::Older)
    }

    fn permit(&self, action: &str, who: &str) -> Result<(), Answer> {
        let is_meant = |identity: &Who| identity.as_deref().is_none_or(|identity| identity == who);
        let denied = self.denied.iter().any(|(identity, denied)| denied == action && is_meant(identity));
        if denied { Err(errors::denied(action)) } else { Ok(()) }
    }

    fn permit_read(&self, row: &Connection, who: &str) -> Result<(), Answer> {
        if is_hidden(&self.hidden, row, who) { Err(errors::denied("read")) } else { self.permit("read", who) }
    }

    fn find(&self, id: &str) -> Result<&Connection, Answer> {
        self.rows.get(id).ok_or_else(|| errors::not_found(&format!("Could not find App Connection with ID {id}")))
    }

    /// Names are taken across all apps of a scope.
    fn free(&self, name: &str, project: Option<&str>, but: Option<&str>) -> Result<(), Answer> {
        let mut others = self.rows.named(name).filter(|row| Some(row.id.as_str()) != but);
        let taken = others.any(|row| row.project_id.as_deref() == project);
        if taken {
            return Err(errors::bad_request(&format!("An App Connection with the name \"{name}\" already exists")));
        }
        Ok(())
    }

    fn answer(&mut self, id: &str) -> Answer {
        let (flavor, hide_hash) = (self.flavor, self.hide_hash);
        let told = self.rows.told(id, |row| tell(row, flavor, hide_hash).to_string());
        Answer::text(200, format!("{{\"appConnection\":{told}}}").into())
    }
}

fn tell(row: &Connection, flavor: Flavor, hide_hash: bool) -> Value {
    let mut body = row.json(flavor == Flavor::Older);
    if hide_hash && let Some(fields) = body.as_object_mut() {
        fields.remove("credentialsHash");
    }
    body
}

fn is_hidden(hidden: &HashMap<String, HashSet<Who>>, row: &Connection, who: &str) -> bool {
    let from = hidden.get(&row.id);
    from.is_some_and(|from| from.iter().any(|whom| whom.as_deref().is_none_or(|whom| whom == who)))
}

fn no_project(id: &str) -> Answer {
    errors::bad_request(&format!("Could not find project with ID {id}"))
}

fn of_this_app(row: &Connection, by: &str, key: &str) -> Result<(), Answer> {
    if row.app == APP {
        return Ok(());
    }
    Err(errors::bad_request(&format!("App Connection with {by} {key} is not for App \"{APP}\"")))
}

fn id(request: &Entry) -> Result<String, Answer> {
    let id = request.path[BASE.len()..].trim_matches('/');
    match Uuid::try_parse(id) {
        Ok(uuid) if id.len() == 36 => Ok(uuid.to_string()),
        _ => Err(Findings::one("invalid_string", &["connectionId"], "Invalid uuid")),
    }
}

/// The body, which must be JSON and say so.
pub(super) fn body(request: &Entry) -> Result<Value, Answer> {
    let kind = request.header("content-type").unwrap_or_default();
    if !request.body.is_empty() && !kind.starts_with("application/json") {
        return Err(errors::media_type(kind));
    }
    request.json.clone().ok_or_else(|| Findings::one("invalid_type", &[], "Body is not valid JSON"))
}
