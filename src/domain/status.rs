//! The status that a pass leaves behind, and the events that go with it: pure, from what the pass found.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    conditions::{self, Children, Class, History, Judgement, Reason, types},
    duration::Span,
    events::{self, Announcement, EventReason},
    expiry::{self, Advice, Declared, Expiry, ExpirySource, Outlook},
    plan::{Identity, Intent},
    schedule,
    scopes::Scope,
    spec::ConnectionSpec,
    token::{self, Token},
    verdict::{Reach, Refusal, Verdict},
    workspaces,
};
use crate::api::{
    AccountStatus, BitbucketConnectionStatus, ConnectionStatus, ScopesStatus, TokenStatus, WorkspacesStatus,
};

/// A pass over an object.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Now.
    pub now: Timestamp,
    /// The object's uid.
    pub uid: &'a str,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The status before.
    pub before: &'a BitbucketConnectionStatus,
    /// The spec, where it is valid.
    pub spec: Option<&'a ConnectionSpec>,
    /// The effective interval.
    pub interval: Span,
    /// When the operator started.
    pub started: Timestamp,
    /// What the pass found; nothing where nothing was due.
    pub findings: Option<Findings<'a>>,
}

/// What a pass found that looked at everything.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The token in the Secret; nothing where the spec doesn't say where to look.
    pub token: Option<&'a Token>,
    /// The version of the Secret that its values stand for.
    pub secret_version: Option<&'a str>,
    /// What people declared about the expiry.
    pub declared: Declared<'a>,
    /// The condition Synced.
    pub synced: Judgement,
    /// What the KMS holds now.
    pub connection: Option<ConnectionStatus>,
    /// What was done.
    pub tells: &'a [Intent],
    /// What would be done in the KMS if that were not forbidden.
    pub pending: &'a [String],
    /// When Bitbucket gave the verdict, if it gave one.
    pub verified_at: Option<Timestamp>,
    /// The annotation that was acted on.
    pub requested: Option<&'a str>,
    /// Whether the object is let go: nobody sees its conditions any more, and no change of them is news.
    pub release: bool,
}

/// What is to be written and told, and when to look again.
#[derive(Debug)]
pub struct Report {
    /// The new status.
    pub status: BitbucketConnectionStatus,
    /// Events that go with it.
    pub announcements: Vec<Announcement>,
    /// The class of the object.
    pub class: Option<Class>,
    /// When something changes by itself.
    pub wake_at: Option<Timestamp>,
}

/// Computes the status after a pass.
pub fn report(pass: &Pass<'_>) -> Report {
    let before = pass.before;
    let generation = if pass.findings.is_some() { pass.generation } else { before.observed_generation };
    let mut status = before.clone();
    status.observed_generation = generation;

    if let Some(findings) = &pass.findings {
        status.connection.clone_from(&findings.connection);
        status.plan = findings.pending.to_vec();
        status.token = token_status(before.token.as_ref(), findings, pass.now);
        let same = same_token(before.token.as_ref(), findings);
        status.account = account_status(findings.token, before.account.as_ref().filter(|_| same));
        status.scopes = scopes_status(findings.token, pass.spec, before.scopes.as_ref().filter(|_| same));
        status.workspaces = workspaces_status(findings.token, pass.spec, before.workspaces.as_ref().filter(|_| same));
        if let Some(requested) = findings.requested {
            status.last_handled_reconcile_at = Some(requested.to_owned());
        }
    }
    let expiry = expiry_of(&status, pass);
    if let (Some(expiry), Some(token)) = (expiry, status.token.as_mut()) {
        token.expires_at = expiry.time().map(whole).map(Time);
        token.expiry_source = Some(match expiry {
            Expiry::At(_, source) | Expiry::Unreadable(source) => source.as_str().to_owned(),
        });
    }
    let expired = expiry.is_some_and(|expiry| expiry.declared_and_passed(pass.now));
    let children = children(pass, expired);
    let outlook = outlook(expiry, pass);

    let interval = pass.spec.map(|_| pass.interval);
    let history = history(pass, interval);
    let readiness = conditions::readiness(&children, history);
    if let Some(findings) = &pass.findings {
        times::set(&mut status, findings, &children, readiness.class, pass);
    }
    let old = &before.conditions;
    let write = |kind: &str, judgement: &Judgement| conditions::condition(kind, judgement, generation, old, pass.now);
    // What was said of the token before is nothing to be repeated of none.
    let none = matches!(pass.findings.as_ref().and_then(|findings| findings.token), Some(Token::NoKey(_)));
    let expiring = expiring_soon(outlook.as_ref(), if none { &[] } else { old });
    status.conditions = vec![
        write(types::CREDENTIALS_VALID, &children.credentials),
        write(types::SCOPES_SUFFICIENT, &children.scopes),
        write(types::SYNCED, &children.synced),
        write(types::READY, &readiness.ready),
        write(types::EXPIRING_SOON, &expiring),
    ];
    let markers = [(types::RECONCILING, readiness.reconciling), (types::STALLED, readiness.stalled)];
    for (kind, _) in markers.into_iter().filter(|(_, present)| *present) {
        status.conditions.push(conditions::marker(kind, &readiness.ready, generation, old, pass.now));
    }

    let mut announcements = intents(pass, &status);
    if pass.findings.as_ref().is_none_or(|findings| !findings.release) {
        announcements.extend(events::transitions(old, &status.conditions));
        announcements.extend(expiry_events(pass, &mut status, expiry, outlook.as_ref(), &children));
    }
    let stale_at =
        interval.zip(status.last_verified_time.as_ref()).and_then(|(interval, last)| stale_at(last.0, interval));
    let wake_at = [
        status.next_verification_time.as_ref().map(|at| schedule::due_at(at.0, pass.started, pass.interval, pass.uid)),
        outlook.and_then(|outlook| outlook.changes_at),
        stale_at.filter(|at| readiness.class == Some(Class::Transient) && *at > pass.now),
    ];
    Report { status, announcements, class: readiness.class, wake_at: wake_at.into_iter().flatten().min() }
}

fn children(pass: &Pass<'_>, expired: bool) -> Children {
    let recorded = |kind: &str| {
        conditions::recorded(&pass.before.conditions, kind)
            .unwrap_or_else(|| Judgement::not_evaluated("nobody has looked at this object yet"))
    };
    let Some(findings) = &pass.findings else {
        return Children {
            credentials: recorded(types::CREDENTIALS_VALID),
            scopes: recorded(types::SCOPES_SUFFICIENT),
            synced: recorded(types::SYNCED),
        };
    };
    let (credentials, scopes) = match (findings.token, pass.spec) {
        (Some(token), Some(spec)) => {
            (token::credentials_valid(token, &spec.secret, expired), token::scopes_sufficient(token, spec))
        }
        _ => (recorded(types::CREDENTIALS_VALID), recorded(types::SCOPES_SUFFICIENT)),
    };
    Children { credentials, scopes, synced: findings.synced.clone() }
}

/// Whether an outage may leave the object Ready: it was so, at the generation that it has now.
fn history(pass: &Pass<'_>, interval: Option<Span>) -> History {
    let ready = conditions::find(&pass.before.conditions, types::READY);
    let was_ready = ready.is_some_and(|ready| {
        let stale = ready.reason == Reason::VerificationStale.as_str();
        (ready.status == "True" || stale) && ready.observed_generation == pass.generation
    });
    let last = pass.before.last_verified_time.as_ref().map(|time| time.0);
    let stale =
        interval.zip(last).and_then(|(interval, last)| stale_at(last, interval)).is_some_and(|at| at <= pass.now);
    History { was_ready, stale }
}

/// Whether the Secret holds the token that the status tells of.
fn same_token(before: Option<&TokenStatus>, findings: &Findings<'_>) -> bool {
    let Some(before) = before else { return false };
    let fingerprint = match findings.token {
        Some(Token::Asked { fingerprint, .. } | Token::RefusedBefore { fingerprint, .. }) => Some(fingerprint.as_str()),
        Some(Token::NoSecret) | None => return true,
        Some(Token::NoKey(_) | Token::Invalid(_)) => None,
    };
    match before.fingerprint.as_deref() {
        // The version alone doesn't tell: the spec may name another key of the same Secret.
        Some(accepted) => fingerprint == Some(accepted),
        None => findings.secret_version.is_some() && before.secret_version.as_deref() == findings.secret_version,
    }
}

/// Whether the Secret holds another token than the accepted one that the status tells of, be it good or not: with the
/// token its declared end must change, and a verdict that comes later can't be compared any more.
fn is_another_token(before: Option<&TokenStatus>, findings: Option<&Findings<'_>>) -> bool {
    let published = before.and_then(|token| token.fingerprint.as_deref());
    let found = match findings.and_then(|findings| findings.token) {
        Some(Token::Asked { fingerprint, .. } | Token::RefusedBefore { fingerprint, .. }) => Some(fingerprint.as_str()),
        Some(Token::NoSecret | Token::NoKey(_) | Token::Invalid(_)) | None => None,
    };
    published.zip(found).is_some_and(|(published, found)| published != found)
}

fn token_status(before: Option<&TokenStatus>, findings: &Findings<'_>, now: Timestamp) -> Option<TokenStatus> {
    let same = before.filter(|_| same_token(before, findings));
    if matches!(findings.token, Some(Token::NoSecret) | None) {
        return same.map(|token| TokenStatus { secret_version: None, ..token.clone() });
    }
    let fingerprint = match findings.token {
        Some(Token::Asked { fingerprint, .. }) if findings.token.and_then(Token::accepted).is_some() => {
            Some(fingerprint.as_str().to_owned())
        }
        _ => same.and_then(|token| token.fingerprint.clone()),
    };
    Some(TokenStatus {
        fingerprint,
        secret_version: findings.secret_version.map(str::to_owned),
        first_seen_time: same.and_then(|token| token.first_seen_time.clone()).or(Some(Time(now))),
        last_notified_threshold: same.and_then(|token| token.last_notified_threshold.clone()),
        ..TokenStatus::default()
    })
}

fn account_status(token: Option<&Token>, before: Option<&AccountStatus>) -> Option<AccountStatus> {
    let account = match token {
        Some(Token::Asked { verdict: Verdict::Accepted(accepted), .. }) => accepted.account.as_ref(),
        // Whose it is tells what is wrong. The message says only that it is another's: it is repeated in many places.
        Some(Token::Asked { verdict: Verdict::Refused(Refusal::WrongEmail(Some(account))), .. }) => Some(account),
        _ => return before.cloned(),
    };
    account.map(|account| AccountStatus {
        uuid: account.uuid.clone(),
        username: account.username.clone(),
        display_name: account.display_name.clone(),
    })
}

fn scopes_status(
    token: Option<&Token>,
    spec: Option<&ConnectionSpec>,
    before: Option<&ScopesStatus>,
) -> Option<ScopesStatus> {
    let spec = spec?;
    let names =
        |scopes: &std::collections::BTreeSet<Scope>| scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let required = names(&spec.required);
    let compared = token.and_then(|token| token::comparison(token, spec).zip(token.accepted()?.granted.as_ref()));
    Some(match compared {
        Some((comparison, granted)) => ScopesStatus {
            required,
            granted: names(granted),
            missing: names(&comparison.missing),
            excess: names(&comparison.excess),
        },
        None => ScopesStatus { required, ..before.cloned().unwrap_or_default() },
    })
}

fn workspaces_status(
    token: Option<&Token>,
    spec: Option<&ConnectionSpec>,
    before: Option<&WorkspacesStatus>,
) -> Option<WorkspacesStatus> {
    let wanted = &spec?.workspaces;
    if wanted.is_empty() {
        return None;
    }
    match token.and_then(Token::accepted).map(|accepted| &accepted.reach) {
        Some(Reach::Known(reached)) => {
            let (reachable, missing) = workspaces::shown(wanted, reached);
            Some(WorkspacesStatus { reachable, missing })
        }
        Some(Reach::NotAsked) => None,
        Some(Reach::Unknown(_)) | None => before.cloned(),
    }
}

/// When the token ends: by what was read in this pass, else by what the status tells.
fn expiry_of(status: &BitbucketConnectionStatus, pass: &Pass<'_>) -> Option<Expiry> {
    let token = status.token.as_ref()?;
    let read = pass.findings.as_ref().filter(|findings| findings.secret_version.is_some());
    if let Some(findings) = read {
        // Where there is no token, none ends within a year.
        if matches!(findings.token, Some(Token::NoKey(_))) && findings.declared == Declared::default() {
            return None;
        }
        let first_seen = token.first_seen_time.as_ref().map_or(pass.now, |time| time.0);
        return Some(expiry::determine(findings.declared, first_seen));
    }
    let before = pass.before.token.as_ref()?;
    let source = ExpirySource::parse(before.expiry_source.as_deref()?)?;
    Some(before.expires_at.as_ref().map_or(Expiry::Unreadable(source), |at| Expiry::At(at.0, source)))
}

fn outlook(expiry: Option<Expiry>, pass: &Pass<'_>) -> Option<Outlook> {
    expiry.zip(pass.spec).map(|(expiry, spec)| {
        let advice = Advice { place: (&spec.secret).into(), contact: spec.contact.as_deref() };
        expiry::outlook(expiry, &spec.warn_before, pass.now, &advice)
    })
}

fn expiring_soon(outlook: Option<&Outlook>, before: &[Condition]) -> Judgement {
    match outlook {
        Some(outlook) => outlook.judgement.clone(),
        None => conditions::recorded(before, types::EXPIRING_SOON)
            .unwrap_or_else(|| Judgement::not_evaluated("the end of the token is judged once the Secret holds one")),
    }
}

fn intents(pass: &Pass<'_>, status: &BitbucketConnectionStatus) -> Vec<Announcement> {
    let Some(findings) = &pass.findings else { return Vec::new() };
    let connection = status.connection.as_ref().or(pass.before.connection.as_ref());
    let (id, name) = connection.map(|it| (it.id.as_str(), it.name.as_str())).unwrap_or_default();
    let version = findings.secret_version.unwrap_or_default();
    let generation = pass.generation.unwrap_or_default();
    let one = |intent: &Intent| match intent {
        Intent::Created => {
            Announcement::new(EventReason::ConnectionCreated, id, format!("Created the connection {name} in the KMS."))
        }
        Intent::Adopted => Announcement::new(
            EventReason::ConnectionAdopted,
            id,
            format!(
                "Took over the connection {name} in the KMS: it now has the credentials of the Secret and the mark of this object. When this object is deleted it stays there without the mark, unless spec.deletionPolicy says Delete."
            ),
        ),
        Intent::Updated => Announcement::new(
            EventReason::ConnectionUpdated,
            format!("{id} {generation} {version}"),
            format!("Changed the connection {name} in the KMS as this object and its Secret say."),
        ),
        Intent::Rotated => Announcement::new(
            EventReason::CredentialsRotated,
            format!("{id} {version}"),
            format!(
                "Bitbucket accepted the new token, and it replaced the old one in the connection {name}. The old one can be revoked now."
            ),
        ),
        Intent::DriftCorrected { fields, since } => Announcement::new(
            EventReason::DriftCorrected,
            format!("{id} {since}"),
            format!("Somebody had changed the connection {name} in the KMS; put back: {fields}."),
        ),
        Intent::Recreated => Announcement::new(
            EventReason::DriftCorrected,
            id,
            format!(
                "Somebody had deleted the connection {name} in the KMS; created it again. What had used it must be pointed to the new one."
            ),
        ),
        Intent::Deleted(Identity { id, name }) => {
            Announcement::new(EventReason::ConnectionDeleted, id, format!("Deleted the connection {name} in the KMS."))
        }
        Intent::Retained { connection: Identity { id, name }, with_mark: false } => Announcement::new(
            EventReason::ConnectionRetained,
            id,
            format!("The connection {name} stays in the KMS, without the mark of this object."),
        ),
        Intent::Retained { connection: Identity { id, name }, with_mark: true } => Announcement::new(
            EventReason::ConnectionRetained,
            id,
            format!(
                "The connection {name} stays in the KMS. Its description could not be changed there, so it still bears the mark of this object; remove the mark there before another object or cluster adopts it."
            ),
        ),
        Intent::LeftAsItIs { connection: Some(Identity { id, name }), policy } => Announcement::new(
            EventReason::ConnectionRetained,
            id,
            format!(
                "The connection {name} stays in the KMS as it is, and still bears the mark of this object, because spec.managementPolicy was {} and allows no call. Delete it there if nobody needs it.",
                policy.as_str()
            ),
        ),
        Intent::LeftAsItIs { connection: None, policy } => Announcement::new(
            EventReason::ConnectionRetained,
            "",
            format!(
                "The KMS was not asked, because spec.managementPolicy was {} and allows no call. If it holds a connection with the mark of this object, that stays as it is.",
                policy.as_str()
            ),
        ),
        Intent::LeftAlone(Identity { id, name }) => Announcement::new(
            EventReason::OwnershipMarkMissing,
            id,
            format!(
                "The connection {name} in the KMS no longer bears the mark of this object, so it was left alone. Delete it there if nobody needs it."
            ),
        ),
    };
    findings.tells.iter().map(one).collect()
}

/// Events about the end of the token; remembers the threshold that one was about.
fn expiry_events(
    pass: &Pass<'_>,
    status: &mut BitbucketConnectionStatus,
    expiry: Option<Expiry>,
    outlook: Option<&Outlook>,
    children: &Children,
) -> Vec<Announcement> {
    let mut events = Vec::new();
    let (Some(expiry), Some(outlook), Some(token)) = (expiry, outlook, status.token.as_mut()) else { return events };
    let id = token.fingerprint.clone().or_else(|| token.secret_version.clone()).unwrap_or_default();
    let before = pass.before.token.as_ref();
    let turned = |kind: &str, reason: Reason| {
        conditions::find(&pass.before.conditions, kind).is_none_or(|old: &Condition| old.reason != reason.as_str())
    };
    let expired = [
        (types::CREDENTIALS_VALID, &children.credentials, Reason::TokenExpired),
        (types::EXPIRING_SOON, &outlook.judgement, Reason::Expired),
    ];
    let just_expired = expired.into_iter().find(|(kind, now, reason)| now.reason == *reason && turned(kind, *reason));
    if let Some((_, judgement, _)) = just_expired {
        events.push(Announcement::new(EventReason::TokenExpired, id.as_str(), judgement.message.as_str()));
    }
    let last = token.last_notified_threshold.as_deref().and_then(|text| text.parse().ok());
    if outlook.judgement.reason == Reason::WarningWindow
        && let Some(threshold) = expiry::owed(outlook.passed, last)
    {
        events.push(Announcement::token_expiring(&id, threshold, &outlook.judgement.message));
        token.last_notified_threshold = Some(threshold.to_string());
    }
    let date_changed = before.and_then(|old| old.expires_at.as_ref()) != token.expires_at.as_ref();
    let another = is_another_token(before, pass.findings.as_ref());
    let first_seen = token.first_seen_time.as_ref().map_or(pass.now, |time| time.0);
    if expiry.implausible(first_seen) && (date_changed || another) {
        let date = expiry.time().map(expiry::day).unwrap_or_default();
        events.push(Announcement::new(
            EventReason::ExpiryImplausible,
            format!("{id} {date}"),
            expiry.time().map(expiry::implausible).unwrap_or_default(),
        ));
    }
    let declared = matches!(expiry, Expiry::At(_, source) if source != ExpirySource::Inferred);
    let was_declared = before.is_some_and(|old| old.expiry_source.as_deref() != Some(ExpirySource::Inferred.as_str()));
    if another && declared && was_declared && !date_changed {
        let date = expiry.time().map(expiry::day).unwrap_or_default();
        events.push(Announcement::new(
            EventReason::ExpiryNotUpdated,
            id.as_str(),
            format!("The token in the Secret changed, but its declared end, {date}, did not. Declare the end of the new token, or nobody is warned in time."),
        ));
    }
    events
}

mod suspended;
mod times;
pub use suspended::suspended;
use times::{stale_at, whole};

#[cfg(test)]
mod tests;
