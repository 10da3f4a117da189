//! What can happen.

use crate::{
    cast::{Instance, Place, Purse, Slot, Team},
    token::Kind,
};

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Somebody does something, in the cluster or at a service.
    Deed(Deed),
    /// Something goes wrong with the machine: only where a test has it in its hand.
    Mishap(Mishap),
    /// Milliseconds pass.
    Wait(u64),
    /// The operator comes as far as it can: where time can't be turned.
    Pause,
    /// The operator is killed and started again, likewise.
    Restart,
}

/// What people and services do.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A connection is created, if there is none.
    Connect(Slot, Wish),
    /// Its spec is changed.
    Edit(Slot, Edit),
    /// It is deleted.
    Delete(Slot),
    /// Somebody asks for a look.
    Request(Slot),
    /// A new token comes into a Secret, which is made if there is none.
    Issue(Purse, Kind, Expiry),
    /// The token that was there before comes back.
    RollBack(Purse),
    /// A Secret gets a label.
    Label(Purse),
    /// A Secret loses its token.
    LoseKey(Purse),
    /// A Secret is deleted.
    DropSecret(Purse),
    /// The owner of the token in a Secret revokes it.
    Revoke(Purse),
    /// Bitbucket knows it again.
    Reinstate(Purse),
    /// Somebody changes a connection in the KMS.
    Drift(Slot, Drift),
    /// The KMS hides a connection from all identities: its list omits it, and asking for it is refused.
    Hide(Slot),
    /// The KMS shows again all that it hid.
    Show,
    /// Somebody removes a project in the KMS, with all that is in it.
    DropProject(Project),
    /// Somebody makes it again, empty.
    MakeProject(Project),
    /// Somebody makes a connection there of a name that ours may want.
    Foreign(Name, Place, Foreign),
    /// Somebody deletes it.
    NoForeign(Name, Place),
    /// The KMS takes the permission for an action from all identities.
    Deny(Action),
    /// It gives all permissions back.
    Allow,
    /// Somebody changes an instance.
    Instance(Instance, InstanceEdit),
    /// Somebody deletes a namespace with all that is in it; later steps make it anew.
    DropNamespace(Team),
    /// Bitbucket fails until it is healed.
    BitbucketFails(Outage),
    /// The KMS does.
    KmsFails(Outage),
    /// That many next writes to the KMS take effect, but nobody is answered.
    AnswersLost(usize),
    /// Both services are well again.
    Heal,
}

/// What a connection is created with, besides what later edits may say.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Through the team's own instance.
    pub own_instance: bool,
    /// Where.
    pub place: Place,
    /// With the team's other Secret.
    pub spare: bool,
    /// `connectionName`.
    pub name: Option<Name>,
    /// `adoptionPolicy: Adopt`.
    pub adopt: bool,
}

/// Names that several want.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// `payments`, as two objects are called.
    Payments,
    /// `common`.
    Common,
}

impl Name {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Common => "common",
        }
    }
}

/// A change of a spec.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// `connectionName`.
    Name(Option<Name>),
    /// `description`.
    Description(Option<Text>),
    /// `secretRef.name`.
    Spare(bool),
    /// `secretRef.tokenKey`: another key than the Secret has.
    WrongKey(bool),
    /// `scopes.additional`.
    Additional(bool),
    /// `workspaces`.
    Workspace(bool),
    /// `scopes.onMissing: Warn`.
    WarnMissing(bool),
    /// `scopes.onExcess: Block`.
    BlockExcess(bool),
    /// `adoptionPolicy: Adopt`.
    Adopt(bool),
    /// `deletionPolicy`.
    Deletion(Option<Deletion>),
    /// `managementPolicy`.
    Management(Management),
    /// `interval`.
    Interval(Interval),
    /// `contact` and `expiry`, which nothing in the KMS depends on.
    Contact,
}

/// A description.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// A usual one.
    Usual,
    /// Another.
    Other,
    /// 150 emoji: few enough for the schema, too many for the KMS.
    Emoji,
}

impl Text {
    /// The text.
    pub fn text(self) -> String {
        match self {
            Self::Usual => "Payments of team A".to_owned(),
            Self::Other => "Nobody touches this".to_owned(),
            Self::Emoji => "🦀".repeat(150),
        }
    }
}

/// `deletionPolicy`.
#[derive(Clone, Copy, Debug)]
pub enum Deletion {
    /// `Delete`.
    Delete,
    /// `Retain`.
    Retain,
}

/// `managementPolicy`.
#[derive(Clone, Copy, Debug)]
pub enum Management {
    /// `Full`.
    Full,
    /// `Observe`.
    Observe,
    /// `Suspended`.
    Suspended,
}

/// `interval`.
#[derive(Clone, Copy, Debug)]
pub enum Interval {
    /// `5m`.
    Short,
    /// `1h`.
    Usual,
}

/// What a Secret says of the end of its token.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// Nothing.
    Unsaid,
    /// A date that is far off.
    Far,
    /// Something that is no date.
    Gibberish,
}

/// What somebody does to a connection in the KMS.
#[derive(Clone, Copy, Debug)]
pub enum Drift {
    /// Gives it another name.
    Renamed,
    /// Gives it another text, and leaves the mark.
    Described,
    /// Takes the mark away.
    Stripped,
    /// Writes credentials of somebody else.
    Credentials,
    /// Deletes it.
    Deleted,
    /// Writes the mark into its text once more.
    MarkedTwice,
    /// Makes another one like it, mark included, of another name.
    Doubled,
}

/// A project that may be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Project {
    /// The first.
    One,
    /// The second.
    Two,
}

impl Project {
    /// Where connections of it are.
    pub fn place(self) -> Place {
        match self {
            Self::One => Place::One,
            Self::Two => Place::Two,
        }
    }
}

/// A connection that isn't ours.
#[derive(Clone, Copy, Debug)]
pub enum Foreign {
    /// One that could be adopted.
    Plain,
    /// One whose text leaves no room for a mark.
    Long,
    /// One of another app.
    OtherApp,
    /// One with the mark of another cluster.
    Marked,
}

/// What the KMS may permit.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Reading.
    Read,
    /// Creating.
    Create,
    /// Changing.
    Edit,
    /// Deleting.
    Delete,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Edit, Self::Delete];

    /// The KMS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Delete => "delete",
        }
    }
}

/// A change of an instance, which is made if there is none.
#[derive(Clone, Copy, Debug)]
pub enum InstanceEdit {
    /// It is as at first: of the good host, with a good Secret, granting everything.
    Good,
    /// Its Secret is gone.
    NoSecret,
    /// Its Secret holds a wrong client secret.
    WrongSecret,
    /// It names a host that isn't allowed.
    ForbiddenHost,
    /// It is deleted.
    Deleted,
    /// It grants other things; of the shared one alone.
    Grants(Grants),
}

/// What the shared instance grants.
#[derive(Clone, Copy, Debug)]
pub enum Grants {
    /// Everything to all.
    All,
    /// Everything to the first team.
    OnlyA,
    /// The first project to all.
    OnlyProjectOne,
    /// Everything but adoption.
    NoAdoption,
    /// Nothing.
    Nothing,
}

/// How a service fails.
#[derive(Clone, Copy, Debug)]
pub enum Outage {
    /// 503 from a load balancer.
    Down,
    /// No answer.
    Hang,
    /// 429, with seconds to wait or without.
    RateLimited(Option<u64>),
    /// 500.
    Broken,
    /// Connections are closed.
    Reset,
    /// A page of HTML with status 200.
    Html,
}

/// What goes wrong with the machine.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// The process ends at the effect of this number from now on, and is started again.
    Crash(usize, When),
    /// The process is killed; somebody else starts.
    Failover,
    /// The process is killed and stays away.
    Kill,
    /// It is started, if it is away.
    Start,
    /// The clocks of all are turned by so many seconds.
    TurnClocks(i64),
    /// The API server can't be reached until it is healed.
    ApiDown,
    /// So many status writes meet a conflict.
    Conflicts(usize),
    /// The answers to so many writes are lost.
    WritesLost(usize),
    /// So many writes are refused with 500.
    WritesRefused(usize),
    /// So many reads of an object give its version before.
    Stale(usize),
    /// The next read of a Secret gives its version before.
    StaleSecret(Purse),
    /// Watches tell nothing until they are released.
    HoldWatches,
    /// Another process takes over, whose caches lack what so many writes before changed, and its watches tell nothing until
    /// they are released.
    TakenOver(u64),
    /// They tell all again.
    ReleaseWatches,
    /// Watches break, and go on where they were.
    BreakWatches,
    /// Watches break, and must begin anew.
    Gone,
    /// The API server is well again.
    HealApi,
}

/// Where in an effect a process ends.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Before it has an effect.
    Before,
    /// After that, before the answer is there.
    AnswerLost,
    /// When the answer has come.
    After,
}

/// What happens, from the first step to the last.
#[derive(Clone, Debug)]
pub struct History(pub Vec<Step>);
