//! How much of it one client may have in a minute.

use jiff::{SignedDuration, Timestamp};

use crate::front::Answer;
use crate::journal::{Entry, Operation};
use crate::quota::{Fixed, Quota, Standing};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// How many requests one client address may send in a minute; none is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Lists and single connections.
    pub reads: Option<usize>,
    /// POST, PATCH, DELETE, and logins.
    pub writes: Option<usize>,
    /// All of them together. The health page counts nowhere.
    pub all: Option<usize>,
}

impl Limits {
    /// Those of the KMS, which plans change.
    pub const USUAL: Self = Self { reads: Some(60), writes: Some(200), all: Some(600) };
}

/// A minute begins with the first request after the last one's end.
pub(super) struct Quotas {
    reads: Quota<Fixed>,
    writes: Quota<Fixed>,
    all: Quota<Fixed>,
}

impl Default for Quotas {
    fn default() -> Self {
        let unlimited = || Quota::unlimited(MINUTE);
        Self { reads: unlimited(), writes: unlimited(), all: unlimited() }
    }
}

impl Quotas {
    pub(super) fn set(&mut self, limits: Limits) {
        self.reads.set(limits.reads);
        self.writes.set(limits.writes);
        self.all.set(limits.all);
    }

    /// Where a client stands after a request: by the limit that it exceeds, else by that of its kind.
    pub(super) fn spend(&mut self, request: &Entry, now: Timestamp) -> Option<Standing> {
        let kind = match request.operation {
            Operation::Status => return None,
            Operation::List | Operation::Get | Operation::GetByName => Some(&mut self.reads),
            Operation::Create | Operation::Update | Operation::Delete | Operation::Login => Some(&mut self.writes),
            Operation::User | Operation::Workspaces | Operation::Other => None,
        };
        let client = client(request);
        let all = self.all.spend(client, now);
        if all.is_some_and(|all| all.exceeded) {
            return all;
        }
        kind.and_then(|kind| kind.spend(client, now)).or(all)
    }
}

/// The address of the client: what a proxy says, or this machine's.
fn client(request: &Entry) -> &str {
    let forwarded = request.header("x-forwarded-for").and_then(|list| list.split(',').next());
    forwarded.map(str::trim).filter(|address| !address.is_empty()).unwrap_or("127.0.0.1")
}

/// The headers that every answer bears.
pub(super) fn tell(answer: Answer, standing: Standing) -> Answer {
    answer
        .header("x-ratelimit-limit", &standing.limit.to_string())
        .header("x-ratelimit-remaining", &standing.remaining.to_string())
        .header("x-ratelimit-reset", &standing.reset.to_string())
}
