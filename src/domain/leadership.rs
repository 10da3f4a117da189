//! Who leads: what a replica does about the Lease, given what it sees of it and the time.
//!
//! Never two lead at once. That rests on three rules and on no clock of another machine:
//!
//! - Who leads writes for the *renew deadline* after the last renewal that the API server confirmed, counted from when that
//!   was sent; then it ends.
//! - Who doesn't lead waits for the *lease duration*, which is longer, after each change of the Lease that it sees, whatever
//!   the change says: another holder, or none. Where there is no Lease, it makes one without a holder, and waits likewise:
//!   somebody may have deleted it under a leader. That one, and any that was robbed by hand, learns of it by its next
//!   renewal, or ends at its deadline.
//! - Only a holder that has stopped writing says that the Lease is free at once, by a form that nothing else has.
//!
//! Times in the Lease are for people. What is measured is [`Moment`]s of this machine.

use std::time::Duration;

use jiff::Timestamp;

/// A time by a clock that nobody sets, and that goes on while the process is stopped and while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// So long after the machine started.
    pub const fn since_boot(time: Duration) -> Self {
        Self(time)
    }

    /// How long after the machine started.
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// So much later.
    pub const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How long it is from here until then; nothing if that has passed.
    pub const fn until(self, then: Self) -> Duration {
        then.0.saturating_sub(self.0)
    }
}

/// The longest request to the KMS: what was sent right before the renew deadline has an answer then, or was given up.
pub const LONGEST_REQUEST: Duration = Duration::from_secs(20);

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    lease: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// Why times don't go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTerms {
    /// Another could lead while this one still writes.
    #[error(
        "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline: another replica may lead once the lease is over, and this one must have ended by then; 20s longer covers every request"
    )]
    LeaseTooShort,
    /// One renewal that fails would end it.
    #[error(
        "--leader-elect-renew-deadline must be at least twice --leader-elect-retry-period: with less, a single renewal that fails ends the leader"
    )]
    DeadlineTooShort,
}

impl Terms {
    /// A lease, until when it must be renewed, and how often that is tried.
    pub fn new(lease: Duration, renew_deadline: Duration, retry: Duration) -> Result<Self, BadTerms> {
        if lease <= renew_deadline {
            return Err(BadTerms::LeaseTooShort);
        }
        if retry.is_zero() || renew_deadline < retry * 2 {
            return Err(BadTerms::DeadlineTooShort);
        }
        Ok(Self { lease, renew_deadline, retry })
    }

    /// How long a Lease is somebody's after its last change.
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// How long a leader leads after its last renewal.
    pub const fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// How often a leader renews.
    pub const fn retry(&self) -> Duration {
        self.retry
    }

    /// How often others look, so that a Lease that was let go isn't idle for long.
    pub fn look(&self) -> Duration {
        self.retry / 2
    }

    /// How long one request about the Lease may take: two fit before the deadline.
    pub fn patience(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// Whether a request that was sent right before the deadline is over before the lease is.
    pub fn covers_requests(&self) -> bool {
        self.lease >= self.renew_deadline.saturating_add(LONGEST_REQUEST)
    }
}

/// What tells one state of a Lease from every other: two Leases of the same name have different uids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Which state of it.
    pub version: Version,
    /// Whose it is.
    pub holder: Option<String>,
    /// How long it is theirs.
    pub duration: Option<Duration>,
    /// When they say that they renewed it.
    pub renewed: Option<Timestamp>,
}

/// How long a Lease that was let go says that it lasts: the least that the API server takes. No holder says so.
pub const LET_GO: Duration = Duration::from_secs(1);

impl Seen {
    /// Whether nobody ever held it.
    fn is_new(&self) -> bool {
        self.holder.is_none() && self.duration.is_none() && self.renewed.is_none()
    }

    /// Whether its holder let it go, and writes no more. A holder that was taken out by hand leaves its own duration.
    fn is_let_go(&self) -> bool {
        self.holder.is_none() && self.duration == Some(LET_GO)
    }
}

/// What one that doesn't lead does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It looks again, and may not take the Lease before that moment.
    Wait(Moment),
    /// It makes the Lease, without a holder, and looks again.
    Create,
    /// It takes the Lease, in the version that was seen.
    Take,
}

/// One that doesn't lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    terms: Terms,
    me: String,
    /// What was seen last.
    last: Option<Version>,
    /// Until when somebody may write who held the Lease.
    taken_until: Option<Moment>,
    /// What it wrote into the Lease when it last tried to take it.
    asked: Option<Timestamp>,
}

impl Candidate {
    /// One that has seen nothing yet.
    pub const fn new(me: String, terms: Terms) -> Self {
        Self { terms, me, last: None, taken_until: None, asked: None }
    }

    /// It tries to take the Lease, and writes this time into it.
    pub const fn asks(&mut self, at: Timestamp) {
        self.asked = Some(at);
    }

    /// What to do about what is seen now. `now` is when it was seen, or later.
    pub fn look(&mut self, seen: Option<&Seen>, now: Moment) -> Step {
        let Some(seen) = seen else { return Step::Create };
        if self.last.as_ref() != Some(&seen.version) {
            self.last = Some(seen.version.clone());
            let wait = seen.duration.unwrap_or_default().max(self.terms.lease);
            self.taken_until = (!seen.is_let_go() && !self.took(seen)).then(|| now.after(wait));
        }
        self.taken_until.filter(|until| now < *until).map_or(Step::Take, Step::Wait)
    }

    /// Whether this is its own, though the answer to its write was lost. A name that somebody wrote there by hand stands
    /// beside the time of another.
    fn took(&self, seen: &Seen) -> bool {
        seen.holder.as_ref() == Some(&self.me) && seen.renewed.is_some() && seen.renewed == self.asked
    }
}

/// Whose a Lease is, to the one that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Still its own, since somebody changed something else; or one that was made anew and had no holder yet.
    Mine,
    /// There is none: it may be made anew, since nobody else can have it before this one's deadline.
    Gone,
    /// Another's, or nobody's: it leads no more.
    Lost(Option<String>),
}

/// Whose a Lease is that isn't in the version that its leader wrote.
pub fn claim(me: &str, seen: Option<&Seen>) -> Claim {
    match seen {
        None => Claim::Gone,
        Some(seen) if seen.holder.as_deref() == Some(me) || seen.is_new() => Claim::Mine,
        Some(seen) => Claim::Lost(seen.holder.clone()),
    }
}

#[cfg(test)]
mod tests;
