//! The validated spec. Nothing behind this door reads raw strings again.

use std::{collections::BTreeSet, fmt};

use super::{
    conditions::{Judgement, Reason},
    connection::KmsScope,
    duration::Span,
    names,
    ownership::DESCRIPTION_MAX,
    scopes::{self, Scope, UseCase},
    text,
};
use crate::api::BitbucketConnectionSpec;

/// A spec that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSpec {
    /// Through which instance the KMS is reached.
    pub kms_ref: InstanceRef,
    /// Where in the KMS the connection lives.
    pub scope: KmsScope,
    /// Its name there.
    pub name: String,
    /// The user's text, trimmed, without the mark; absent, a connection that was adopted keeps its own.
    pub description: Option<String>,
    /// What to do about an unmarked connection of that name.
    pub adoption: AdoptionPolicy,
    /// Where the credentials are.
    pub secret: SecretKeys,
    /// What the token must be allowed to do.
    pub required: BTreeSet<Scope>,
    /// Workspaces that the token must reach.
    pub workspaces: BTreeSet<String>,
    /// What to do about scopes and workspaces that are missing.
    pub on_missing: Policy,
    /// What to do about scopes in excess.
    pub on_excess: Policy,
    /// `spec.expiry.notAfter` as written; a bad date is told by the condition ExpiringSoon.
    pub not_after: Option<String>,
    /// How long before the end to warn, longest first, without repetitions.
    pub warn_before: Vec<Span>,
    /// Who must act when the token ends, in one line.
    pub contact: Option<String>,
    /// How far the operator goes.
    pub management: Management,
    /// How often all is verified again.
    pub interval: Span,
}

/// Which instance: a kind and a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceRef {
    /// KmsInstance or ClusterKmsInstance.
    pub kind: InstanceKind,
    /// Its name.
    pub name: String,
}

/// The kinds of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceKind {
    /// Serves its own namespace.
    Namespaced,
    /// Serves the namespaces that it grants something.
    Cluster,
}

impl InstanceKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "KmsInstance",
            Self::Cluster => "ClusterKmsInstance",
        }
    }
}

impl InstanceRef {
    /// Reads what [`Display`](fmt::Display) wrote into a status.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let kind = [InstanceKind::Namespaced, InstanceKind::Cluster].into_iter().find(|it| it.as_str() == kind)?;
        (!name.is_empty()).then(|| Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// Name and keys of the Secret with the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKeys {
    /// The Secret, in the namespace of the object.
    pub name: String,
    /// Key of the e-mail.
    pub email: String,
    /// Key of the token.
    pub token: String,
    /// Key of the expiry, which need not be there.
    pub expires_at: String,
}

/// What to do about a token whose scopes differ from the required ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It never reaches the KMS.
    Block,
    /// It is used, and people are told.
    Warn,
}

/// What to do about a connection of the wanted name that bears no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionPolicy {
    /// It is left alone.
    Never,
    /// It is taken over, if the instance grants that.
    Adopt,
}

/// What happens to the connection when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted.
    Delete,
    /// It stays, without the mark.
    Retain,
}

/// How far the operator goes with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// It keeps the connection in step.
    Full,
    /// It verifies and reports, and writes nothing to the KMS.
    Observe,
    /// It asks nobody, and writes nothing.
    Suspended,
}

impl Management {
    /// The word in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Observe => "Observe",
            Self::Suspended => "Suspended",
        }
    }
}

/// Why a spec can't be acted on. The schema refuses most of this before; what slips past it is told here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecProblem {
    /// No valid connection name.
    #[error(
        "\"{0}\" is no valid connection name: write lower case letters and digits in groups joined by single hyphens, 1 to 64 characters, into spec.connectionName."
    )]
    InvalidName(String),
    /// The KMS counts as JavaScript does, the schema in characters.
    #[error(
        "spec.description is too long for the KMS, which counts UTF-16 units (an emoji is two): write at most 200 of them."
    )]
    DescriptionTooLong,
    /// Anything else.
    #[error("{field} {problem}.")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What is wrong, and what to write instead.
        problem: &'static str,
    },
}

impl SpecProblem {
    /// The condition Synced.
    pub fn judgement(&self) -> Judgement {
        let reason = match self {
            Self::InvalidName(_) => Reason::InvalidName,
            Self::DescriptionTooLong => Reason::DescriptionTooLong,
            Self::Invalid { .. } => Reason::SpecInvalid,
        };
        Judgement::new(reason, self.to_string())
    }
}

/// How often all is verified again where the spec doesn't say.
pub const DEFAULT_INTERVAL: Span = Span::from_secs(3_600);
/// When to warn where the spec doesn't say.
pub const DEFAULT_WARN_BEFORE: [Span; 5] =
    [Span::from_days(30), Span::from_days(14), Span::from_days(7), Span::from_days(3), Span::from_days(1)];

/// Validates a spec; `object` is metadata.name, the default of the connection's name.
pub fn validate(object: &str, raw: &BitbucketConnectionSpec) -> Result<ConnectionSpec, SpecProblem> {
    let name = raw.connection_name.as_deref().unwrap_or(object);
    if !is_slug(name) {
        return Err(SpecProblem::InvalidName(name.to_owned()));
    }
    let description = raw.description.as_deref().map(text::trim);
    if description.is_some_and(|text| text.encode_utf16().count() > DESCRIPTION_MAX) {
        return Err(SpecProblem::DescriptionTooLong);
    }
    let use_cases = raw.scopes.use_cases.iter().map(|word| UseCase::parse(word)).collect::<Option<Vec<_>>>();
    let use_cases = use_cases
        .ok_or_else(|| invalid("spec.scopes.useCases", "may hold SecretScanning, SecretSync and CodeReview alone"))?;
    let additional = raw.scopes.additional.iter().map(|name| Scope::parse(name)).collect::<Option<Vec<_>>>();
    let additional = additional.ok_or_else(|| {
        invalid("spec.scopes.additional", "must hold scopes by their full names, such as read:issue:bitbucket")
    })?;
    if use_cases.is_empty() && additional.is_empty() {
        return Err(invalid("spec.scopes", "needs at least one use case or additional scope"));
    }
    let workspaces: BTreeSet<_> = raw.workspaces.iter().cloned().collect();
    if !workspaces.iter().all(|slug| names::is_workspace_slug(slug)) {
        return Err(invalid(
            "spec.workspaces",
            "must hold slugs of workspaces as in bitbucket.org/<slug>, in lower case, such as hanzo-payments",
        ));
    }
    let mut required = scopes::required(&use_cases, &additional);
    // Without it the token doesn't say what it reaches.
    required.extend((!workspaces.is_empty()).then(Scope::read_workspace));
    Ok(ConnectionSpec {
        kms_ref: instance_ref(raw)?,
        scope: scope(raw)?,
        name: name.to_owned(),
        description: description.map(str::to_owned),
        adoption: adoption_policy(raw)?,
        secret: secret_keys(raw)?,
        required,
        workspaces,
        on_missing: policy("spec.scopes.onMissing", raw.scopes.on_missing.as_deref(), Policy::Block)?,
        on_excess: policy("spec.scopes.onExcess", raw.scopes.on_excess.as_deref(), Policy::Warn)?,
        not_after: raw.expiry.as_ref().and_then(|expiry| expiry.not_after.clone()),
        warn_before: warn_before(raw)?,
        contact: raw.contact.as_deref().map(text::one_line).filter(|text| !text.is_empty()),
        management: management(raw)?,
        interval: interval(raw)?,
    })
}

/// Which instance a spec names: readable also where the rest of it is not, since deletion depends on the least.
pub fn instance_ref(raw: &BitbucketConnectionSpec) -> Result<InstanceRef, SpecProblem> {
    let Some(kms_ref) = &raw.kms_ref else {
        return Ok(InstanceRef { kind: InstanceKind::Cluster, name: "default".to_owned() });
    };
    let kind = match kms_ref.kind.as_deref() {
        None | Some("KmsInstance") => InstanceKind::Namespaced,
        Some("ClusterKmsInstance") => InstanceKind::Cluster,
        Some(_) => return Err(invalid("spec.kmsRef.kind", "must be KmsInstance or ClusterKmsInstance")),
    };
    if !names::is_object_name(&kms_ref.name) {
        return Err(invalid("spec.kmsRef.name", "must be the name of an instance"));
    }
    Ok(InstanceRef { kind, name: kms_ref.name.clone() })
}

/// Where in the KMS a spec puts its connection.
pub fn scope(raw: &BitbucketConnectionSpec) -> Result<KmsScope, SpecProblem> {
    match (&raw.project_id, raw.organization_scope.unwrap_or(false)) {
        (Some(id), false) if uuid::Uuid::parse_str(id).is_ok() => Ok(KmsScope::Project(id.to_ascii_lowercase())),
        (Some(_), false) => Err(invalid("spec.projectId", "must be the id of a KMS project, a UUID")),
        (None, true) => Ok(KmsScope::Organization),
        _ => Err(invalid("spec", "must set exactly one of projectId and organizationScope: true")),
    }
}

/// How far the operator goes: readable also where the rest of a spec is not, since it comes before anything is done.
pub fn management(raw: &BitbucketConnectionSpec) -> Result<Management, SpecProblem> {
    let Some(word) = raw.management_policy.as_deref() else { return Ok(Management::Full) };
    let policies = [Management::Full, Management::Observe, Management::Suspended];
    let policy = policies.into_iter().find(|policy| policy.as_str() == word);
    policy.ok_or_else(|| invalid("spec.managementPolicy", "must be Full, Observe or Suspended"))
}

/// What a spec says about deletion. What can't be read counts as absent, because a typing error must not leave
/// connections behind silently, and the schema refuses it anyway.
pub fn deletion_policy(raw: &BitbucketConnectionSpec) -> Option<DeletionPolicy> {
    match raw.deletion_policy.as_deref() {
        Some("Retain") => Some(DeletionPolicy::Retain),
        Some("Delete") => Some(DeletionPolicy::Delete),
        _ => None,
    }
}

fn adoption_policy(raw: &BitbucketConnectionSpec) -> Result<AdoptionPolicy, SpecProblem> {
    match raw.adoption_policy.as_deref() {
        None | Some("Never") => Ok(AdoptionPolicy::Never),
        Some("Adopt") => Ok(AdoptionPolicy::Adopt),
        Some(_) => Err(invalid("spec.adoptionPolicy", "must be Never or Adopt")),
    }
}

fn secret_keys(raw: &BitbucketConnectionSpec) -> Result<SecretKeys, SpecProblem> {
    let secret = &raw.secret_ref;
    if !names::is_object_name(&secret.name) {
        return Err(invalid("spec.secretRef.name", "must be the name of a Secret in this namespace"));
    }
    let key = |key: &Option<String>, default: &str| key.clone().unwrap_or_else(|| default.to_owned());
    Ok(SecretKeys {
        name: secret.name.clone(),
        email: key(&secret.email_key, "email"),
        token: key(&secret.token_key, "token"),
        expires_at: key(&secret.expires_at_key, "expiresAt"),
    })
}

/// How long before the end to warn, longest first, from a spec that may be invalid otherwise.
pub fn warn_before(raw: &BitbucketConnectionSpec) -> Result<Vec<Span>, SpecProblem> {
    let Some(texts) = raw.expiry.as_ref().and_then(|expiry| expiry.warn_before.as_ref()) else {
        return Ok(DEFAULT_WARN_BEFORE.to_vec());
    };
    let spans = texts.iter().map(|text| text.parse()).collect::<Result<BTreeSet<Span>, _>>();
    let spans = spans.map_err(|_| {
        invalid("spec.expiry.warnBefore", "must hold durations such as 14d, 36h or 1d12h, the largest unit first")
    })?;
    Ok(spans.into_iter().rev().collect())
}

fn interval(raw: &BitbucketConnectionSpec) -> Result<Span, SpecProblem> {
    let Some(text) = raw.interval.as_deref() else { return Ok(DEFAULT_INTERVAL) };
    let good = text.parse::<Span>().ok().filter(|span| (60..=86_400).contains(&span.as_secs()));
    good.ok_or_else(|| invalid("spec.interval", "must be between 1m and 24h, such as 30m or 1h30m"))
}

fn policy(field: &'static str, word: Option<&str>, default: Policy) -> Result<Policy, SpecProblem> {
    match word {
        None => Ok(default),
        Some("Block") => Ok(Policy::Block),
        Some("Warn") => Ok(Policy::Warn),
        Some(_) => Err(invalid(field, "must be Block or Warn")),
    }
}

fn invalid(field: &'static str, problem: &'static str) -> SpecProblem {
    SpecProblem::Invalid { field, problem }
}

/// The KMS's rule for names: `^[a-z0-9]+(-[a-z0-9]+)*$`, 1 to 64.
fn is_slug(name: &str) -> bool {
    let group = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 64 && name.split('-').all(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(change: Value) -> BitbucketConnectionSpec {
        let mut spec = json!({
            "projectId": "7FFBB072-2575-495a-b5b0-127f88caef78",
            "secretRef": {"name": "token"},
            "scopes": {"useCases": ["SecretScanning"]},
        });
        for (field, value) in change.as_object().expect("an object") {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn defaults_are_filled_in() {
        let spec = validate("payments", &spec(json!({}))).expect("good spec");
        assert_eq!(spec.kms_ref.to_string(), "ClusterKmsInstance/default");
        assert_eq!(spec.scope, KmsScope::Project("7ffbb072-2575-495a-b5b0-127f88caef78".to_owned()));
        assert_eq!((spec.name.as_str(), spec.description.as_deref()), ("payments", None));
        assert_eq!(spec.adoption, AdoptionPolicy::Never);
        assert_eq!(spec.secret.expires_at, "expiresAt");
        assert_eq!((spec.on_missing, spec.on_excess), (Policy::Block, Policy::Warn));
        assert_eq!(spec.warn_before, DEFAULT_WARN_BEFORE);
        assert_eq!((spec.management, spec.interval.to_string().as_str()), (Management::Full, "1h"));
    }

    #[test]
    fn texts_are_taken_up_to_their_length_and_empty_ones_say_nothing() {
        let longest = "😀".repeat(DESCRIPTION_MAX / 2);
        let told = |change: Value| {
            let spec = validate("payments", &spec(change)).expect("good spec");
            (spec.description, spec.contact)
        };
        assert_eq!(told(json!({"description": longest})), (Some(longest.clone()), None));
        assert_eq!(told(json!({"contact": "team\na"})).1.as_deref(), Some("team a"));
        assert_eq!(told(json!({"contact": " \n"})).1, None);
    }

    #[test]
    fn what_is_said_of_deletion_is_taken_by_its_word() {
        let cases = [
            (json!("Retain"), Some(DeletionPolicy::Retain)),
            (json!("Delete"), Some(DeletionPolicy::Delete)),
            (json!("retain"), None),
            (json!(null), None),
        ];
        for (word, policy) in cases {
            assert_eq!(deletion_policy(&spec(json!({"deletionPolicy": word}))), policy, "{word}");
        }
    }

    #[test]
    fn how_far_to_go_is_read_from_a_spec_that_is_invalid_otherwise() {
        for policy in [Management::Full, Management::Observe, Management::Suspended] {
            let raw = spec(json!({"managementPolicy": policy.as_str(), "interval": "30s"}));
            assert_eq!(management(&raw), Ok(policy));
            assert!(validate("payments", &raw).is_err());
        }
    }

    #[test]
    fn what_a_status_names_is_read_back() {
        for text in ["KmsInstance/own", "ClusterKmsInstance/default"] {
            assert_eq!(InstanceRef::parse(text).map(|it| it.to_string()).as_deref(), Some(text));
        }
        for text in ["", "KmsInstance", "KmsInstance/", "Vault/x"] {
            assert_eq!(InstanceRef::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_alone_is_a_kms_instance() {
        let spec = validate("payments", &spec(json!({"kmsRef": {"name": "own"}}))).expect("good spec");
        assert_eq!(spec.kms_ref.to_string(), "KmsInstance/own");
    }

    #[test]
    fn to_ask_for_workspaces_takes_a_scope() {
        let required = |workspaces: Value| {
            let change = json!({"workspaces": workspaces, "scopes": {"additional": ["read:issue:bitbucket"]}});
            let spec = validate("payments", &spec(change)).expect("good spec");
            spec.required.into_iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>()
        };
        let without = ["read:issue:bitbucket", "read:user:bitbucket"];
        assert_eq!(required(json!([])), without);
        assert_eq!(required(json!(["hanzo"])), [without[0], without[1], "read:workspace:bitbucket"]);
    }

    #[test]
    fn warnings_are_sorted_and_told_apart_by_length() {
        let spec =
            validate("payments", &spec(json!({"expiry": {"warnBefore": ["24h", "7d", "1d"]}}))).expect("good spec");
        assert_eq!(spec.warn_before, [Span::from_days(7), Span::from_days(1)]);
    }

    #[test]
    fn what_slips_past_the_schema_is_refused_with_its_place() {
        let table = [
            (json!({"connectionName": "Not-A-Slug"}), "\"Not-A-Slug\" is no valid connection name"),
            (json!({"connectionName": "a--b"}), "\"a--b\" is no valid connection name"),
            (json!({"description": "😀".repeat(101)}), "spec.description is too long"),
            (json!({"projectId": "payments"}), "spec.projectId must be the id of a KMS project"),
            (json!({"organizationScope": true}), "spec must set exactly one of"),
            (json!({"kmsRef": {"kind": "Vault", "name": "x"}}), "spec.kmsRef.kind must be"),
            (json!({"kmsRef": {"name": ""}}), "spec.kmsRef.name must be"),
            (json!({"kmsRef": {"name": "a/b"}}), "spec.kmsRef.name must be"),
            (json!({"secretRef": {"name": ""}}), "spec.secretRef.name must be"),
            (json!({"secretRef": {"name": "../../team-b/secrets/token"}}), "spec.secretRef.name must be"),
            (json!({"scopes": {}}), "spec.scopes needs at least one"),
            (json!({"scopes": {"useCases": ["Everything"]}}), "spec.scopes.useCases may hold"),
            (json!({"scopes": {"additional": ["a b"]}}), "spec.scopes.additional must hold"),
            (json!({"scopes": {"useCases": ["SecretSync"], "onMissing": "Panic"}}), "spec.scopes.onMissing must be"),
            (json!({"expiry": {"warnBefore": ["soon"]}}), "spec.expiry.warnBefore must hold"),
            (json!({"managementPolicy": "Paused"}), "spec.managementPolicy must be Full, Observe or Suspended"),
            (json!({"workspaces": ["bitbucket.org/hanzo"]}), "spec.workspaces must hold slugs"),
            (json!({"adoptionPolicy": "Always"}), "spec.adoptionPolicy must be"),
            (json!({"interval": "30s"}), "spec.interval must be between"),
            (json!({"interval": "1h-1h"}), "spec.interval must be between"),
        ];
        for (change, words) in table {
            let problem = validate("payments", &spec(change.clone())).expect_err("a refusal").to_string();
            assert!(problem.contains(words), "{change}: {problem}");
        }
    }
}
