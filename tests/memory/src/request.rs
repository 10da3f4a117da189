//! What a request asks for.

use http::{HeaderMap, Method, Uri, header, request::Parts};

use crate::{
    journal::{Entry, Outcome, Verb},
    kinds::{KINDS, KindId},
    object::Key,
    refusal::Refusal,
};

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Kind(KindId),
    /// `/version`.
    Version,
    /// SelfSubjectReview: who am I?
    Review,
}

/// The form of a patch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PatchForm {
    Merge,
    Json,
    Apply,
}

/// A request, read.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub verb: Verb,
    pub target: Target,
    /// None means all, or that the kind has none.
    pub namespace: Option<String>,
    pub name: String,
    pub subresource: &'static str,
    /// Of the answer only metadata is wanted.
    pub metadata_only: bool,
    pub patch: Option<PatchForm>,
    pub query: Query,
}

/// The parameters that are understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub watch: bool,
    pub resource_version: String,
    pub exact: bool,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    pub timeout_seconds: Option<u64>,
    pub field_manager: String,
    /// `metadata.name=` as a field selector.
    pub only_name: Option<String>,
}

/// A word that is in a table of ours, so that it needn't be kept again; empty for any other.
pub(crate) fn known(word: &str) -> &'static str {
    let kinds = KINDS.iter().map(|kind| kind.plural);
    kinds.chain(["status", "token", "version", "selfsubjectreviews"]).find(|it| *it == word).unwrap_or_default()
}

impl Asked {
    pub fn read(parts: &Parts) -> Result<Self, Refusal> {
        Self::read_head(&parts.method, &parts.uri, &parts.headers)
    }

    /// Reads a request whose body doesn't matter.
    pub fn read_head(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let query = Query::read(uri.query().unwrap_or_default())?;
        let path = uri.path();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let place = Place::of(&segments).ok_or_else(|| Refusal::unsupported(format!("nothing is served at {path}")))?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let patch = match (method, text(header::CONTENT_TYPE)) {
            (&Method::PATCH, "application/merge-patch+json") => Some(PatchForm::Merge),
            (&Method::PATCH, "application/json-patch+json") => Some(PatchForm::Json),
            (&Method::PATCH, "application/apply-patch+yaml") => Some(PatchForm::Apply),
            (&Method::PATCH, other) => return Err(Refusal::unsupported(format!("patches as {other:?} aren't served"))),
            _ => None,
        };
        let single = !place.name.is_empty();
        let verb = match (method, single) {
            (&Method::GET, true) => Verb::Get,
            (&Method::GET, false) if matches!(place.target, Target::Version) => Verb::Get,
            (&Method::GET, false) if query.watch => Verb::Watch,
            (&Method::GET, false) => Verb::List,
            (&Method::POST, _) if !single || place.subresource == "token" => Verb::Create,
            (&Method::PUT, true) => Verb::Update,
            (&Method::PATCH, true) => Verb::Patch,
            (&Method::DELETE, true) => Verb::Delete,
            (method, _) => return Err(Refusal::unsupported(format!("{method} {path} isn't served"))),
        };
        Ok(Self {
            verb,
            target: place.target,
            namespace: place.namespace.map(str::to_owned),
            name: place.name.to_owned(),
            subresource: place.subresource,
            metadata_only: text(header::ACCEPT).contains("as=PartialObjectMetadata"),
            patch,
            query,
        })
    }

    pub fn key(&self) -> Key {
        Key { namespace: self.namespace.clone().unwrap_or_default(), name: self.name.clone() }
    }

    pub fn entry(&self) -> Entry {
        let resource = match self.target {
            Target::Kind(kind) => kind.get().plural,
            Target::Version => "version",
            Target::Review => "selfsubjectreviews",
        };
        Entry {
            verb: self.verb,
            resource,
            subresource: self.subresource,
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
            outcome: Outcome::Open,
            changed: false,
        }
    }
}

struct Place<'a> {
    target: Target,
    namespace: Option<&'a str>,
    name: &'a str,
    subresource: &'static str,
}

impl<'a> Place<'a> {
    fn of(segments: &[&'a str]) -> Option<Self> {
        let alone = |target| Self { target, namespace: None, name: "", subresource: "" };
        match segments {
            ["version"] => Some(alone(Target::Version)),
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Some(alone(Target::Review)),
            ["api", version, rest @ ..] => Self::of_kind("", version, rest),
            ["apis", group, version, rest @ ..] => Self::of_kind(group, version, rest),
            _ => None,
        }
    }

    fn of_kind(group: &str, version: &str, rest: &[&'a str]) -> Option<Self> {
        let (namespace, rest) = match rest {
            // A namespace itself, or its status.
            ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
            _ => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        let kind = KindId::find(group, plural).filter(|kind| kind.get().version == version)?;
        let served = match subresource {
            "" => true,
            "status" => kind.get().has_status(),
            "token" => plural == "serviceaccounts",
            _ => false,
        };
        // An object of a namespaced kind is in a namespace; without one only all can be asked for.
        let placed = if kind.get().namespaced { namespace.is_some() || name.is_empty() } else { namespace.is_none() };
        let target = Target::Kind(kind);
        (served && placed).then(|| Self { target, namespace, name, subresource: known(subresource) })
    }
}

impl Query {
    fn read(query: &str) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_set = matches!(&*value, "true" | "1");
            match &*name {
                "watch" => read.watch = is_set,
                "resourceVersion" => read.resource_version = value.into_owned(),
                "resourceVersionMatch" => read.exact = value == "Exact",
                "allowWatchBookmarks" => read.bookmarks = is_set,
                "sendInitialEvents" => read.initial_events = Some(is_set),
                "timeoutSeconds" => read.timeout_seconds = value.parse().ok(),
                "fieldManager" => read.field_manager = value.into_owned(),
                "fieldSelector" => read.only_name = Some(only_name(&value)?),
                // A server may answer with more than a page.
                "limit" => {}
                // One manager alone applies: it can always force. Schemas aren't known here.
                "force" | "fieldValidation" | "pretty" => {}
                _ => return Err(Refusal::unsupported(format!("the parameter {name}={value} isn't served"))),
            }
        }
        Ok(read)
    }
}

fn only_name(selector: &str) -> Result<String, Refusal> {
    let name = selector.strip_prefix("metadata.name=").filter(|name| !name.contains(','));
    name.map(str::to_owned).ok_or_else(|| Refusal::unsupported(format!("the field selector {selector} isn't served")))
}
