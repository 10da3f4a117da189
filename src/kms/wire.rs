//! Connections as the KMS writes and reads them. Newer servers add fields and older ones lack some: unknown ones are
//! passed over, missing ones are none. Only id and name make a connection.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use crate::{
    domain::{
        connection::{Changes, KmsConnection, KmsScope, NewConnection},
        credential::Credentials,
    },
    http::{self, BadShape, Body},
};

/// The app that connections of this endpoint are for.
const APP: &str = "bitbucket";
/// The only method there is for Bitbucket.
const METHOD: &str = "api-token";

/// Where a connection is, as far as its server tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// No word about it: older servers know organization scope alone.
    #[default]
    Untold,
    /// In a project, or, with null, in the organization.
    At(Option<String>),
}

impl Place {
    /// Whether it is in that scope. On an older server every connection is in the scope that was asked for.
    pub fn is_in(&self, scope: &KmsScope) -> bool {
        match self {
            Self::Untold => true,
            Self::At(project_id) => project_id.as_deref() == scope.project_id(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(deserialize_with = "uuid")]
    id: Uuid,
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    app: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    org_id: Option<String>,
    /// Absent, null and a project are three things.
    #[serde(default, deserialize_with = "place")]
    project_id: Place,
    #[serde(default, deserialize_with = "lenient")]
    credentials: Option<Shown>,
    #[serde(default, deserialize_with = "lenient")]
    credentials_hash: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    updated_at: Option<String>,
}

/// What is shown of credentials.
#[derive(Deserialize)]
struct Shown {
    #[serde(default, deserialize_with = "lenient")]
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    app_connection: Wire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Many<'a> {
    #[serde(borrow)]
    app_connections: Vec<&'a RawValue>,
}

/// A field that may have become something else: then it is as good as missing.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field<T> {
        Known(T),
        Other(IgnoredAny),
    }
    Ok(match Field::deserialize(field)? {
        Field::Known(value) => Some(value),
        Field::Other(_) => None,
    })
}

/// Ids end up in addresses and in the status: nothing else than a UUID is one.
fn uuid<'de, D: Deserializer<'de>>(field: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(field)?;
    // The error must not repeat the text.
    Uuid::parse_str(&text).map_err(|_| D::Error::custom("no UUID"))
}

fn place<'de, D: Deserializer<'de>>(field: D) -> Result<Place, D::Error> {
    Option::deserialize(field).map(Place::At)
}

impl Wire {
    fn read(self) -> (KmsConnection, Place) {
        let place = self.project_id;
        let connection = KmsConnection {
            id: self.id.to_string(),
            name: self.name,
            description: self.description.unwrap_or_default(),
            app: self.app.unwrap_or_else(|| APP.to_owned()),
            org_id: self.org_id,
            project_id: match &place {
                Place::Untold => None,
                Place::At(project_id) => project_id.clone(),
            },
            email: self.credentials.and_then(|shown| shown.email),
            credentials_hash: self.credentials_hash,
            updated_at: self.updated_at,
        };
        (connection, place)
    }
}

/// `{"appConnection": …}`.
pub(super) fn one(body: &Body) -> Result<(KmsConnection, Place), BadShape> {
    body.parse::<One>().map(|one| one.app_connection.read())
}

/// `{"appConnections": […]}`: those of a scope, one after the other, as there may be 10,000. Asked without a project, the KMS
/// lists every scope.
pub(super) fn list(
    body: &Body,
    scope: &KmsScope,
) -> Result<impl Iterator<Item = Result<KmsConnection, BadShape>>, BadShape> {
    let all = body.parse::<Many<'_>>()?.app_connections.into_iter();
    Ok(all.filter_map(|row| match serde_json::from_str::<Wire>(row.get()).map(Wire::read) {
        Ok((connection, place)) => place.is_in(scope).then_some(Ok(connection)),
        Err(error) => Some(Err(error.into())),
    }))
}

/// A connection without secrets: a server may echo what it was sent in any field.
pub(super) fn masked(connection: KmsConnection, secrets: &[&str]) -> KmsConnection {
    let mask = |text: String| http::mask(&text, secrets);
    KmsConnection {
        // A UUID holds none.
        id: connection.id,
        name: mask(connection.name),
        description: mask(connection.description),
        app: mask(connection.app),
        org_id: connection.org_id.map(mask),
        project_id: connection.project_id.map(mask),
        email: connection.email.map(mask),
        credentials_hash: connection.credentials_hash.map(mask),
        updated_at: connection.updated_at.map(mask),
    }
}

/// The body of a creation. It holds the token: build it at the edge alone.
pub(super) fn create_body(new: &NewConnection, credentials: &Credentials) -> Value {
    let mut body = json!({
        "name": new.name,
        "description": new.description,
        "method": METHOD,
        "credentials": credentials_body(credentials),
    });
    if let Some(project_id) = new.scope.project_id() {
        body["projectId"] = project_id.into();
    }
    body
}

/// The body of a change. With credentials it holds the token: build it at the edge alone.
pub(super) fn update_body(changes: &Changes, credentials: Option<&Credentials>) -> Value {
    let mut body = Map::new();
    if let Some(name) = &changes.name {
        body.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(description) = &changes.description {
        let value = if description.is_empty() { Value::Null } else { description.as_str().into() };
        body.insert("description".to_owned(), value);
    }
    if let Some(credentials) = credentials {
        body.insert("credentials".to_owned(), credentials_body(credentials));
    }
    body.into()
}

/// Always both fields: the KMS takes no halves.
fn credentials_body(credentials: &Credentials) -> Value {
    json!({ "email": credentials.email.as_str(), "apiToken": credentials.token.expose() })
}
