//! What Bitbucket says of the token, and what the KMS holds. The only room that asks questions outside the cluster.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{
    context::Context,
    errors,
    observe::{Access, Observed, Task, has_finalizer},
};
use crate::{
    domain::{
        conditions::{self, Judgement, Reason, types},
        connection::{KmsConnection, KmsScope},
        credential::{CredentialProblem, Credentials},
        ownership::{self, Ownership},
        plan::{self, Remote, Surprise},
        schedule::{self, Due},
        spec::{self, AdoptionPolicy, ConnectionSpec, SpecProblem},
        text,
        token::{Push, Token},
        verdict::{NoVerdict, Verdict},
    },
    kms::{KmsError, Reading, SHARED_MAX, Snapshot},
    telemetry::traces::STEPS,
};

/// How old a list may be: what objects do at about the same time costs one list.
const SHARED: Duration = Duration::from_secs(30);

/// What both services say.
pub struct Verified {
    /// The token in the Secret; nothing where the spec doesn't say where to look.
    pub token: Option<Token>,
    /// The credentials, where they can be some.
    pub credentials: Option<Credentials>,
    /// When Bitbucket gave its verdict.
    pub at: Option<Timestamp>,
    /// What the KMS holds.
    pub remote: Remote,
    /// When a service wants to be asked again.
    pub retry_after: Option<Duration>,
    /// How long until a look has its turn that nothing but the interval asks for.
    pub postponed: Option<Duration>,
}

impl Verified {
    /// Before anybody was asked.
    const fn nothing() -> Self {
        Self { token: None, credentials: None, at: None, remote: Remote::Absent, retry_after: None, postponed: None }
    }
}

/// Asks both services, as far as the pass needs their answers.
#[tracing::instrument(target = STEPS, skip_all)]
pub async fn verify(observed: &Observed, due: Due, context: &Context) -> Verified {
    let not_before = due.skips_caches().then(Instant::now);
    let mut verified = Verified::nothing();
    let Ok(spec) = &observed.spec else {
        verified.remote = unreachable(&observed.access);
        return verified;
    };
    ask_bitbucket(&mut verified, observed, spec, due, not_before, context).await;
    let push = verified.token.as_ref().map_or(Push::Nothing, |token| token.push(spec));
    let recorded = observed.object.status.as_ref().is_some_and(|status| status.connection.is_some());
    verified.remote = match &observed.access {
        Err(_) => unreachable(&observed.access),
        // Nothing can be there, and nothing will be written: the KMS isn't asked.
        Ok(_) if !recorded && !has_finalizer(&observed.object) && push != Push::Allowed => Remote::Absent,
        Ok(access) => {
            // What another object of its name left behind may be in no list that was asked for before that one went.
            let predecessor = context.memory.went(&observed.target()).filter(|_| !recorded);
            let not_before = if observed.memory.uncertain { Some(Instant::now()) } else { not_before.max(predecessor) };
            let reading = reading(observed, not_before);
            find(observed, access, &spec.scope, reading, &mut verified, context).await
        }
    };
    verified
}

/// A look that nothing but the interval asks for waits for its turn without a word: nothing is known to be wrong.
fn postponed(observed: &Observed, wait: Duration) -> Option<Duration> {
    (observed.task == Task::Verify(Due::Interval)).then_some(wait)
}

/// How new a list has to be. Those who look because their interval is over share one, though they come one after another.
fn reading(observed: &Observed, not_before: Option<Instant>) -> Reading {
    let max_age = match observed.task {
        Task::Verify(Due::Interval) => schedule::spread_of(observed.interval).min(SHARED_MAX) + SHARED,
        // Those who wait for their turn to write would else read it again for each.
        Task::Verify(Due::Retry) if observed.memory.queued => SHARED_MAX,
        _ => SHARED,
    };
    Reading { priority: observed.priority(), not_before, max_age }
}

/// Looks up what a deletion has to deal with: by the status, else by the mark.
#[tracing::instrument(name = "verify", target = STEPS, skip_all)]
pub async fn locate(observed: &Observed, context: &Context) -> Verified {
    let mut verified = Verified::nothing();
    verified.remote = match (&observed.access, scope_of(observed)) {
        (Err(judgement), _) => Remote::Unreadable(judgement.clone()),
        (Ok(_), Err(problem)) => Remote::Unreadable(problem.judgement()),
        (Ok(access), Ok(scope)) => {
            let reading = reading(observed, Some(deletion_began(observed)));
            find(observed, access, &scope, reading, &mut verified, context).await
        }
    };
    verified
}

/// Where the connection is: by the spec, which grants are checked for, and where that can't be read by the status.
pub fn scope_of(observed: &Observed) -> Result<KmsScope, SpecProblem> {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.as_ref());
    spec::scope(&observed.object.spec).or_else(|problem| match recorded {
        Some(connection) => Ok(connection.project_id.clone().map_or(KmsScope::Organization, KmsScope::Project)),
        None => Err(problem),
    })
}

/// What a deletion relies on is read after it, or another look at it, was asked for; objects that are deleted together
/// share it.
fn deletion_began(observed: &Observed) -> Instant {
    let asked = observed.object.metadata.deletion_timestamp.as_ref().map_or(observed.now, |time| time.0);
    let ago = Duration::try_from(observed.now.duration_since(asked)).unwrap_or_default();
    let now = Instant::now();
    if observed.memory.uncertain || observed.requested() { now } else { now.checked_sub(ago).unwrap_or(now) }
}

/// What the KMS holds after a surprise.
#[tracing::instrument(name = "verify", target = STEPS, skip_all)]
pub async fn after(surprise: Surprise, observed: &Observed, context: &Context) -> Remote {
    match surprise {
        Surprise::NameTaken => find_by_name(observed, context).await,
        Surprise::Misplaced(connection) => Remote::Misplaced(connection),
        Surprise::Kept(why) => Remote::Unreadable(why),
    }
}

/// After a refused name: whose is it?
async fn find_by_name(observed: &Observed, context: &Context) -> Remote {
    let (Ok(spec), Ok(access)) = (&observed.spec, &observed.access) else { return unreachable(&observed.access) };
    match access.kms.connection_named(&spec.scope, &spec.name, observed.priority()).await {
        Ok(Some(connection)) => match ownership::ownership(&connection.description, &observed.owner) {
            Ownership::Ours(_) => ours(connection, observed),
            Ownership::Unmarked if plan::is_misplaced(&connection, &spec.scope, None) => Remote::NoProjects,
            Ownership::Unmarked => Remote::Adoptable(connection),
            Ownership::Another => Remote::NameTaken,
        },
        // It is another app's, one that we may not see, or was deleted since.
        Ok(None) | Err(KmsError::OtherApp | KmsError::PermissionDenied { .. }) => Remote::NameTaken,
        Err(error) => failed(&error, access, &spec.scope, context),
    }
}

async fn ask_bitbucket(
    verified: &mut Verified,
    observed: &Observed,
    spec: &ConnectionSpec,
    due: Due,
    not_before: Option<Instant>,
    context: &Context,
) {
    let Some(secret) = &observed.secret else {
        verified.token = Some(Token::NoSecret);
        return;
    };
    // Nothing there yet is waiting, as a missing key is.
    let email = secret.email.as_ref().filter(|email| !text::trim(email).is_empty());
    let (email, token) = match (email, &secret.token) {
        (None, _) => {
            verified.token = Some(Token::NoKey(spec.secret.email.clone()));
            return;
        }
        (_, None) => {
            verified.token = Some(Token::NoKey(spec.secret.token.clone()));
            return;
        }
        (Some(email), Some(token)) => (email, token),
    };
    let credentials = match Credentials::parse(email, token.expose_secret()) {
        Ok(credentials) => credentials,
        Err(CredentialProblem::TokenEmpty) => {
            verified.token = Some(Token::NoKey(spec.secret.token.clone()));
            return;
        }
        Err(problem) => {
            verified.token = Some(Token::Invalid(problem));
            return;
        }
    };
    let fingerprint = credentials.fingerprint(&context.owner_id);
    let email = credentials.email.as_str().to_owned();
    if let Some(judgement) = refused_before(observed, due) {
        verified.token = Some(Token::RefusedBefore { judgement, fingerprint, email });
    } else {
        let not_before = if due == Due::SecretChanged { secret.changed.or(not_before) } else { not_before };
        let reach = !spec.workspaces.is_empty();
        let given = context.verdicts.get(&credentials, observed.interval, not_before, reach, observed.priority()).await;
        verified.retry_after = given.retry_after();
        if let Verdict::Unknown(NoVerdict::NotYet { wait }) = given.verdict {
            verified.postponed = postponed(observed, wait);
        }
        if !matches!(given.verdict, Verdict::Unknown(_)) {
            verified.at = Some(given.at);
        }
        verified.token = Some(Token::Asked { verdict: given.verdict, fingerprint, email });
    }
    verified.credentials = Some(credentials);
}

/// What CredentialsValid said of these very credentials, if Bitbucket refused them within the interval: failing must
/// not burn a quota or lock an account.
fn refused_before(observed: &Observed, due: Due) -> Option<Judgement> {
    match due {
        Due::FirstPass | Due::SpecChanged | Due::Requested | Due::SecretChanged | Due::Interval => return None,
        Due::AccessChanged | Due::Retry => {}
    }
    let status = observed.object.status.as_ref()?;
    let judgement = conditions::recorded(&status.conditions, types::CREDENTIALS_VALID)?;
    let recorded = status.token.as_ref()?.secret_version.as_deref()?;
    let same = observed.secret.as_ref().is_some_and(|secret| *secret.stands_for == *recorded);
    let within = status.next_verification_time.as_ref().is_some_and(|next| next.0 > observed.now);
    let refused = matches!(judgement.reason, Reason::CredentialsRejected | Reason::TokenExpired);
    (same && within && refused).then_some(judgement)
}

/// Looks up the connection of an object: by the status's id, then by its mark.
async fn find(
    observed: &Observed,
    access: &Access,
    scope: &KmsScope,
    reading: Reading,
    verified: &mut Verified,
    context: &Context,
) -> Remote {
    match search(observed, access, scope, reading).await {
        Ok(remote) => remote,
        Err(error) => {
            let rest = || access.kms.rests_for(scope).map(|rest| schedule::scatter(rest, &observed.uid));
            verified.retry_after = errors::retry_after(&error).or_else(rest);
            if let KmsError::NotYet { wait } = error {
                verified.postponed = postponed(observed, wait);
            }
            failed(&error, access, scope, context)
        }
    }
}

async fn search(observed: &Observed, access: &Access, scope: &KmsScope, reading: Reading) -> Result<Remote, KmsError> {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.as_ref());
    let judge = |connection: KmsConnection| match ownership::ownership(&connection.description, &observed.owner) {
        Ownership::Ours(_) => ours(connection, observed),
        other @ (Ownership::Another | Ownership::Unmarked) => Remote::NotOurs(connection, other),
    };
    let mut list = access.kms.connections(scope, reading).await?;
    if let Some(recorded) = recorded {
        if let Some(connection) = list.by_id(&recorded.id) {
            return Ok(judge(connection));
        }
        // A list says nothing about what it lacks: the identity may not see it. Of another scope it can't be: scopes
        // don't change, and a status that was copied from elsewhere must not lead where the spec doesn't.
        match access.kms.connection(scope, &recorded.id, reading.priority).await {
            Ok(Some(connection)) => return Ok(judge(connection)),
            Ok(None) | Err(KmsError::OtherApp) => {}
            Err(error) => return Err(error),
        }
        // It is gone. What is made anew must not be made twice.
        list = access.kms.connections(scope, Reading { not_before: Some(Instant::now()), ..reading }).await?;
    }
    Ok(match &list.owned_by(&observed.owner)[..] {
        [connection] => ours(connection.clone(), observed),
        [] if recorded.is_some_and(|it| plan::is_another_kms(it, &access.host, list.organization().as_deref())) => {
            Remote::HostChanged
        }
        [] if drops_projects(observed, access, &list) => Remote::NoProjects,
        [] => adoptable(observed, &list).map_or(Remote::Absent, Remote::Adoptable),
        _ => Remote::Ambiguous,
    })
}

/// A connection with our mark, where it is wanted or not.
fn ours(connection: KmsConnection, observed: &Observed) -> Remote {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.as_ref());
    // The project can't be changed, so it is the one that the connection was asked for in.
    let wanted = spec::scope(&observed.object.spec);
    if wanted.is_ok_and(|wanted| plan::is_misplaced(&connection, &wanted, recorded)) {
        Remote::Misplaced(connection)
    } else {
        Remote::Ours(connection)
    }
}

/// Whether the KMS would drop the project of a new connection: by the connections that it shows, else by what came of
/// the last attempt, until a person changes something or asks for another.
fn drops_projects(observed: &Observed, access: &Access, list: &Snapshot) -> bool {
    let (Ok(spec), Task::Verify(due)) = (&observed.spec, observed.task) else { return false };
    if spec.scope == KmsScope::Organization {
        return false;
    }
    let again = match due {
        Due::SpecChanged | Due::Requested | Due::AccessChanged => true,
        Due::FirstPass | Due::SecretChanged | Due::Retry | Due::Interval => false,
    };
    let told = || {
        let Some(status) = &observed.object.status else { return false };
        let misplaced = status.connection.as_ref().is_some_and(|connection| connection.project_id.is_none());
        misplaced || conditions::recorded(&status.conditions, types::SYNCED) == Some(plan::no_projects(spec))
    };
    match list.tells_projects() {
        Some(tells) => !tells,
        None => !again && (access.kms.dropped_a_project() || told()),
    }
}

/// An unmarked connection of the wanted name, if one is to be taken over. What the list lacks a refused name will show.
fn adoptable(observed: &Observed, list: &Snapshot) -> Option<KmsConnection> {
    let wanting = observed.spec.as_ref().ok().filter(|spec| spec.adoption == AdoptionPolicy::Adopt);
    let spec = wanting.filter(|_| observed.task != Task::Delete)?;
    let named = list.by_name(&spec.name)?;
    let unmarked = ownership::ownership(&named.description, &observed.owner) == Ownership::Unmarked;
    unmarked.then_some(named)
}

/// What an error of the KMS leaves to know. A login that failed is news for the instance.
fn failed(error: &KmsError, access: &Access, scope: &KmsScope, context: &Context) -> Remote {
    if let KmsError::Login(error) = error
        && context.instances.failed(&access.key, error)
    {
        context.triggers.look(&super::triggers::Target::Instance(access.key.clone()));
    }
    Remote::Unreadable(errors::synced(error, &access.instance, scope))
}

fn unreachable(access: &Result<Access, Judgement>) -> Remote {
    Remote::Unreadable(match access {
        Err(judgement) => judgement.clone(),
        Ok(_) => Judgement::not_evaluated("the spec can't be read"),
    })
}
