//! What a history remembers of what was done: that can't be seen in the world any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sim::Connection;

use crate::{
    cast::{Purse, Slot},
    token::{Issued, Kind},
};

/// What was done so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// All tokens.
    pub tokens: Vec<Issued>,
    /// The tokens that were in a Secret, the last one last.
    pub held: BTreeMap<Purse, Vec<usize>>,
    /// Connections in the KMS that aren't ours, as people left them.
    pub foreign: BTreeMap<String, Connection>,
    /// When people took our mark from a connection.
    pub stripped: BTreeMap<String, Duration>,
    /// Connections that the KMS hides.
    pub hidden: BTreeSet<String>,
    /// Connections that may be there beside another one of the same object: somebody copied one, or the KMS hid one, so
    /// that nobody could know of it.
    pub beside: BTreeSet<String>,
    /// When somebody last had a connection with a mark appear.
    pub appeared: Option<Duration>,
    /// Projects that are removed, by their ids.
    pub no_projects: BTreeSet<String>,
    /// Tokens that an object could rightly have written at some time.
    pub justified: BTreeSet<(Slot, String)>,
    /// Secrets of which a version was served that was no longer the newest.
    pub read_late: BTreeSet<Purse>,
    /// Objects are served in versions that are no longer the newest, which no real API server does.
    pub objects_read_late: bool,
    /// When a token was last good for anybody.
    pub good: BTreeMap<String, Duration>,
    /// The newest token of a Secret that was written for an object.
    pub newest: BTreeMap<(Slot, Purse), u64>,
    /// Objects of which a deletion was allowed to leave a connection in the KMS.
    pub may_leave: BTreeSet<Slot>,
    /// When somebody last changed what may be written.
    pub changed: Duration,
    /// No watch tells of anything: what people change since, nobody can know.
    pub unheard: bool,
    /// How often what has an effect only here and there had one.
    pub reached: BTreeMap<&'static str, u64>,
    /// What must not have happened.
    pub violations: BTreeSet<String>,
    serials: u64,
}

impl Ledger {
    /// Notes that something had an effect.
    pub fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    /// A new token of somebody's, which comes into a Secret.
    pub fn issue(&mut self, purse: Purse, kind: Kind, owner: &str) -> Issued {
        self.serials += 1;
        let serial = self.serials;
        let email = match kind {
            Kind::UserName => format!("bot-of-{owner}"),
            _ => format!("bot@{owner}.example.com"),
        };
        let text = match kind {
            Kind::Empty => String::new(),
            _ => format!("ATATT3x-{}-{serial}", crate::cast::CANARY),
        };
        let issued = Issued { kind, email, text, revoked: false, serial };
        self.held.entry(purse).or_default().push(self.tokens.len());
        self.tokens.push(issued.clone());
        issued
    }

    /// The token that was in a Secret before the present one; it is the newest from now on.
    pub fn roll_back(&mut self, purse: Purse) -> Option<Issued> {
        let held = self.held.get_mut(&purse)?;
        let before = if held.len() > 1 { held[held.len() - 2] } else { *held.last()? };
        held.push(before);
        self.serials += 1;
        self.tokens[before].serial = self.serials;
        Some(self.tokens[before].clone())
    }

    /// The token that was last in a Secret.
    pub fn held_last(&mut self, purse: Purse) -> Option<&mut Issued> {
        let last = *self.held.get(&purse)?.last()?;
        self.tokens.get_mut(last)
    }

    /// The token of that text.
    pub fn token(&self, text: &str) -> Option<&Issued> {
        self.tokens.iter().find(|issued| issued.text == text)
    }

    /// The Secret in which a token was.
    pub fn purse(&self, text: &str) -> Option<Purse> {
        let at = self.tokens.iter().position(|issued| issued.text == text)?;
        self.held.iter().find(|(_, held)| held.contains(&at)).map(|(purse, _)| *purse)
    }
}
