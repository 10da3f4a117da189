//! Takes the Lease, keeps it, lets it go.
//!
//! Written by hand: kube-lease-manager 0.13, the crate for kube 5, lets a Lease go without looking at its version, and is
//! silent while renewals fail. What to do is decided in [`leadership`](crate::domain::leadership).

use std::time::Duration;

use futures::future;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::ObjectReference,
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use tokio::time::{sleep, timeout};

use super::{context::FIELD_MANAGER, leadership::Leadership};
use crate::domain::leadership::{Candidate, Claim, LET_GO, LONGEST_REQUEST, Moment, Seen, Step, Terms, Version, claim};

/// How often letting go is tried when somebody else writes to the Lease at the same time.
const RELEASE_ATTEMPTS: usize = 3;

/// Why a question about the Lease was given up.
const NO_ANSWER: &str = "no answer in time";

/// Which Lease, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionOptions {
    /// The name of the Lease.
    pub lease_name: String,
    /// Its times.
    pub terms: Terms,
}

/// Why this process leads no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No renewal was confirmed in time.
    #[error(
        "the Lease {lease} could not be renewed within {deadline:?} ({reason}), so another replica may lead soon; this one ends and writes nothing more, and follows after its restart. See whether the API server can be reached from here, whether the ServiceAccount may get, create and update Leases there, and whether this process or its machine was stopped for so long."
    )]
    Unconfirmed {
        /// The Lease.
        lease: String,
        /// Within which time.
        deadline: Duration,
        /// What the last attempt met.
        reason: String,
    },
    /// It is another's.
    #[error(
        "the Lease {lease} was taken away: {}. This replica ends and writes nothing more, and follows after its restart. Where nobody did that by hand, see whether two installations share the Lease: give each its own --leader-elect-resource-name.",
        whose(.holder.as_deref())
    )]
    TakenAway {
        /// The Lease.
        lease: String,
        /// Who has it now.
        holder: Option<String>,
    },
}

fn whose(holder: Option<&str>) -> String {
    holder.map_or_else(|| "nobody holds it now".to_owned(), |holder| format!("{holder} holds it now"))
}

/// This process as one replica among others.
pub struct Election {
    leases: Api<Lease>,
    /// For people: namespace and name.
    shown: String,
    options: ElectionOptions,
    /// No other process has that name, not even this pod's container after a restart.
    me: String,
    replica: String,
    leadership: Leadership,
}

/// The Lease in the hand of its holder.
pub struct Held {
    lease: Box<Lease>,
    /// When the last renewal that was confirmed was sent.
    renewed: Moment,
}

/// Why a renewal failed.
enum Failed {
    /// It is another's.
    Lost(Option<String>),
    /// It may succeed later.
    ForNow(String),
}

impl Election {
    /// A replica of that name.
    pub fn new(client: Client, options: ElectionOptions, replica: &str, leadership: Leadership) -> Self {
        let namespace = client.default_namespace().to_owned();
        if !options.terms.covers_requests() {
            tracing::warn!(
                "the lease is less than {LONGEST_REQUEST:?} longer than the renew deadline: what a leader sent to the KMS right before it ended could be carried out when another leads; make --leader-elect-lease-duration longer"
            );
        }
        Self {
            shown: format!("{namespace}/{}", options.lease_name),
            leases: Api::namespaced(client, &namespace),
            options,
            me: format!("{replica}_{}", uuid::Uuid::new_v4()),
            replica: replica.to_owned(),
            leadership,
        }
    }

    /// Waits until this process leads. `looked` is called each time that the Lease could be read.
    pub async fn win(&self, looked: impl Fn()) -> Held {
        let mut candidate = Candidate::new(self.me.clone(), self.options.terms);
        let (mut told, mut trouble) = (None, None);
        loop {
            match self.stand(&mut candidate).await {
                Ok(Stand::Won(held)) => {
                    tracing::info!(lease = self.shown, identity = self.me, "leading");
                    return held;
                }
                Ok(Stand::Waits(holder)) => {
                    looked();
                    trouble = None;
                    if told.as_ref() != Some(&holder) {
                        let wait = self.options.terms.lease();
                        tracing::info!(
                            lease = self.shown,
                            identity = self.me,
                            holder = holder.as_deref().unwrap_or("nobody"),
                            "following; it leads once the Lease is let go, or unchanged for {wait:?}"
                        );
                        told = Some(holder);
                    }
                }
                // Somebody was faster.
                Ok(Stand::Again) => {}
                Err(reason) if trouble.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    tracing::warn!(
                        lease = self.shown,
                        reason,
                        "the Lease can't be used, and who can't use it can't lead; let the ServiceAccount get, create and update Leases there"
                    );
                    trouble = Some(reason);
                }
            }
            sleep(self.options.terms.look()).await;
        }
    }

    /// Looks at the Lease, and takes it if it may.
    async fn stand(&self, candidate: &mut Candidate) -> Result<Stand, String> {
        let lease = self.asked(self.leases.get_opt(&self.options.lease_name)).await?.map_err(words)?;
        let seen = lease.as_ref().map(seen);
        match (candidate.look(seen.as_ref(), self.leadership.now()), lease) {
            (Step::Take, Some(lease)) => {
                let at = micros();
                candidate.asks(at);
                let sent = self.leadership.now();
                match self.asked(self.put(&self.taken(lease, at))).await? {
                    Ok(lease) => Ok(Stand::Won(self.confirmed(lease, sent))),
                    Err(error) if is_conflict(&error) => Ok(Stand::Again),
                    Err(error) => Err(words(error)),
                }
            }
            (Step::Create, _) | (Step::Take, None) => {
                let new = Lease { metadata: self.metadata(), ..Lease::default() };
                match self.asked(self.leases.create(&PostParams::default(), &new)).await? {
                    Ok(_) => Ok(Stand::Again),
                    Err(error) if is_conflict(&error) => Ok(Stand::Again),
                    Err(error) => Err(words(error)),
                }
            }
            (Step::Wait(_), _) => Ok(Stand::Waits(seen.and_then(|seen| seen.holder))),
        }
    }

    /// Tells in the cluster's events who leads now, as people look for it: among those of the Lease.
    pub fn tell(&self, client: Client, held: &Held) -> impl Future<Output = ()> + Send + 'static {
        let regarding = held.lease.object_ref(&());
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", self.options.lease_name, uuid::Uuid::new_v4().simple())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(micros())),
            reporting_controller: Some(format!("{}/{FIELD_MANAGER}", crate::api::GROUP)),
            reporting_instance: Some(self.replica.clone()),
            action: Some("Lead".to_owned()),
            reason: Some("LeaderElection".to_owned()),
            type_: Some("Normal".to_owned()),
            note: Some(format!("{} leads", self.me)),
            regarding: Some(ObjectReference { resource_version: None, ..regarding }),
            ..Event::default()
        };
        async move {
            let told = Api::namespaced(client, &namespace).create(&PostParams::default(), &event).await;
            if let Err(error) = told {
                // Where the operator sees some namespaces only, it may have no right to events in its own.
                tracing::debug!(%error, "no event tells who leads");
            }
        }
    }

    /// Keeps the Lease, until it is lost. What is in `held` is as new as can be at each moment.
    pub async fn keep(&self, held: &mut Held) -> Lost {
        let terms = self.options.terms;
        let mut reason = "this process was stopped, or had no time".to_owned();
        loop {
            sleep(terms.retry().min(self.left(held))).await;
            // Before anything else: it may have been stopped for long.
            let left = self.left(held);
            if left.is_zero() {
                break;
            }
            // What hangs is no reason to end later.
            let renewal = timeout(left, self.renew(held)).await;
            match renewal.unwrap_or_else(|_| Err(Failed::ForNow(NO_ANSWER.to_owned()))) {
                Ok(()) => {}
                Err(Failed::Lost(holder)) => {
                    self.leadership.end();
                    return Lost::TakenAway { lease: self.shown.clone(), holder };
                }
                Err(Failed::ForNow(trouble)) => {
                    tracing::warn!(
                        lease = self.shown,
                        reason = trouble,
                        "the Lease was not renewed; it is tried again"
                    );
                    reason = trouble;
                }
            }
        }
        self.leadership.end();
        Lost::Unconfirmed { lease: self.shown.clone(), deadline: terms.renew_deadline(), reason }
    }

    /// How long this process may still write.
    fn left(&self, held: &Held) -> Duration {
        self.leadership.now().until(held.renewed.after(self.options.terms.renew_deadline()))
    }

    async fn renew(&self, held: &mut Held) -> Result<(), Failed> {
        let sent = self.leadership.now();
        let renewed = match self.for_now(self.put(&self.taken((*held.lease).clone(), micros()))).await? {
            Ok(lease) => Ok(lease),
            Err(error) if is_conflict(&error) || is_gone(&error) => self.claimed().await?,
            Err(error) => Err(error),
        };
        *held = self.confirmed(renewed.map_err(|error| Failed::ForNow(words(error)))?, sent);
        Ok(())
    }

    /// The Lease again, after somebody else wrote to it or deleted it.
    async fn claimed(&self) -> Result<kube::Result<Lease>, Failed> {
        let lease = match self.for_now(self.leases.get_opt(&self.options.lease_name)).await? {
            Ok(lease) => lease,
            Err(error) => return Ok(Err(error)),
        };
        match (claim(&self.me, lease.as_ref().map(seen).as_ref()), lease) {
            (Claim::Lost(holder), _) => Err(Failed::Lost(holder)),
            (Claim::Mine, Some(lease)) => {
                tracing::warn!(lease = self.shown, "somebody else wrote to the Lease; it is still this replica's");
                self.for_now(self.put(&self.taken(lease, micros()))).await
            }
            (Claim::Gone | Claim::Mine, _) => {
                tracing::warn!(lease = self.shown, "the Lease was deleted under its leader; it is made anew");
                let anew = self.taken(Lease { metadata: self.metadata(), ..Lease::default() }, micros());
                self.for_now(self.leases.create(&PostParams::default(), &anew)).await
            }
        }
    }

    /// Lets the Lease go, if it is still this process's, so that another leads at once. Only for one that writes no more.
    pub async fn let_go(&self, mut held: Held) {
        self.leadership.end();
        for _ in 0..RELEASE_ATTEMPTS {
            let lease = let_go((*held.lease).clone());
            let outcome = self.asked(self.put(&lease)).await;
            match outcome.map(|answer| answer.map_err(|error| (is_conflict(&error), words(error)))) {
                Ok(Ok(_)) => {
                    tracing::info!(lease = self.shown, "the Lease was let go");
                    return;
                }
                Ok(Err((true, _))) => {
                    let newest = self.asked(self.leases.get_opt(&self.options.lease_name)).await;
                    match newest {
                        Ok(Ok(Some(lease))) if seen(&lease).holder.as_ref() == Some(&self.me) => *held.lease = lease,
                        // Another's, gone, or out of reach.
                        _ => return,
                    }
                }
                Ok(Err((false, reason))) | Err(reason) => {
                    tracing::warn!(lease = self.shown, reason, "the Lease was not let go; it runs out by itself");
                    return;
                }
            }
        }
    }

    /// Leaves the Lease to run out by itself: for one that ends while something that it sent may still be carried out.
    fn leave(&self) {
        let wait = self.options.terms.lease();
        tracing::warn!(
            lease = self.shown,
            "the Lease is not let go: what was sent may still be carried out; another replica leads in {wait:?} at the latest"
        );
    }

    async fn put(&self, lease: &Lease) -> kube::Result<Lease> {
        self.leases.replace(&self.options.lease_name, &PostParams::default(), lease).await
    }

    /// A question about the Lease, which is given up before it is too late for another.
    async fn asked<T>(&self, question: impl Future<Output = T>) -> Result<T, String> {
        timeout(self.options.terms.patience(), question).await.map_err(|_| NO_ANSWER.to_owned())
    }

    async fn for_now<T>(&self, question: impl Future<Output = T>) -> Result<T, Failed> {
        self.asked(question).await.map_err(Failed::ForNow)
    }

    /// The API server confirmed that the Lease is this process's.
    fn confirmed(&self, lease: Lease, sent: Moment) -> Held {
        self.leadership.lead_until(sent.after(self.options.terms.renew_deadline()));
        Held { lease: Box::new(lease), renewed: sent }
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.options.lease_name.clone()), ..ObjectMeta::default() }
    }

    /// The Lease with this process as its holder, from now on.
    fn taken(&self, lease: Lease, at: Timestamp) -> Lease {
        let before = lease.spec.unwrap_or_default();
        let same = before.holder_identity.as_ref() == Some(&self.me);
        let transitions = before.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: seconds(self.options.terms.lease()),
            acquire_time: if same { before.acquire_time } else { Some(MicroTime(at)) },
            renew_time: Some(MicroTime(at)),
            lease_transitions: Some(if same { transitions } else { transitions.saturating_add(1) }),
            ..before
        };
        Lease { spec: Some(spec), ..lease }
    }
}

/// What came of looking at the Lease.
enum Stand {
    /// This process leads.
    Won(Held),
    /// It is somebody's, or may be.
    Waits(Option<String>),
    /// It isn't as it was seen any more.
    Again,
}

/// The Lease without a holder, for anybody to take at once.
fn let_go(lease: Lease) -> Lease {
    let before = lease.spec.unwrap_or_default();
    let spec = LeaseSpec {
        holder_identity: None,
        lease_duration_seconds: seconds(LET_GO),
        renew_time: Some(MicroTime(micros())),
        ..before
    };
    Lease { spec: Some(spec), ..lease }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        version: Version {
            uid: lease.uid().unwrap_or_default(),
            resource_version: lease.resource_version().unwrap_or_default(),
        },
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: duration.map(Duration::from_secs),
        renewed: spec.renew_time.map(|time| time.0),
    }
}

fn seconds(duration: Duration) -> Option<i32> {
    i32::try_from(duration.as_secs()).ok()
}

/// Now, for people; as exact as the API server keeps it.
fn micros() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[allow(clippy::needless_pass_by_value, reason = "so that it can be named where errors are mapped")]
fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// By which right an operator works.
pub enum Seat<'a> {
    /// There is no other.
    Alone,
    /// It was elected, once it holds the Lease.
    Among {
        /// How.
        election: &'a Election,
        /// The Lease, once it has it.
        held: Option<Held>,
    },
}

impl<'a> Seat<'a> {
    /// That of the only replica, or of one that wasn't elected yet.
    pub fn of(election: Option<&'a Election>) -> Self {
        election.map_or(Self::Alone, |election| Self::Among { election, held: None })
    }

    /// Ends when the right is lost.
    pub async fn keep(&mut self) -> Lost {
        match self {
            Self::Among { election, held: Some(held) } => election.keep(held).await,
            Self::Alone | Self::Among { held: None, .. } => future::pending().await,
        }
    }

    /// Gives the right to another.
    pub async fn let_go(self) {
        if let Self::Among { election, held: Some(held) } = self {
            election.let_go(held).await;
        }
    }

    /// Ends the right without giving it to another, who has to wait for it.
    pub fn leave(self) {
        if let Self::Among { election, held: Some(_) } = self {
            election.leave();
        }
    }
}

#[cfg(test)]
mod tests;
