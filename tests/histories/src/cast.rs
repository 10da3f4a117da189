//! Who and what there is: few of each, so that histories meet.

use sha2::{Digest as _, Sha256};

/// A namespace.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Team {
    /// The first.
    A,
    /// The second.
    B,
}

impl Team {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];
}

/// A place for a BitbucketConnection: its namespace and name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Slot {
    /// `payments` of the first team.
    PaymentsA,
    /// `orders` of the first team.
    OrdersA,
    /// `payments` of the second team: a name that both want.
    PaymentsB,
    /// `billing` of the second team.
    BillingB,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PaymentsA, Self::OrdersA, Self::PaymentsB, Self::BillingB];

    /// Whose it is.
    pub fn team(self) -> Team {
        match self {
            Self::PaymentsA | Self::OrdersA => Team::A,
            Self::PaymentsB | Self::BillingB => Team::B,
        }
    }

    /// The object's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentsA | Self::PaymentsB => "payments",
            Self::OrdersA => "orders",
            Self::BillingB => "billing",
        }
    }
}

/// A Secret with a token.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Purse {
    /// Whose.
    pub team: Team,
    /// The team's other one.
    pub spare: bool,
}

impl Purse {
    /// The Secret's name.
    pub fn name(self) -> &'static str {
        if self.spare { "spare-token" } else { "bitbucket-token" }
    }
}

/// Where a connection is in the KMS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The first project.
    One,
    /// The second project.
    Two,
    /// The whole organization.
    Organization,
}

/// An instance.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Instance {
    /// The ClusterKmsInstance `default`.
    Shared,
    /// The KmsInstance `own` of a team.
    Own(Team),
}

/// Names and addresses that differ between the places where histories are played.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The operator's owner id.
    pub owner: String,
    /// Namespaces are `<prefix>-a` and `<prefix>-b`.
    pub prefix: String,
    /// The namespace of the shared instance's Secret.
    pub home: String,
    /// The address of the KMS.
    pub host: String,
    /// The ids of both projects.
    pub projects: [String; 2],
}

/// In every token and client secret: what is looked for where no secret may be.
pub const CANARY: &str = "canary-in-every-secret";
/// The workspace that connections may name.
pub const WORKSPACE: &str = "hanzo";
/// A host that the operator may not talk to.
pub const FORBIDDEN_HOST: &str = "https://elsewhere.test";
/// The Secret of an instance.
pub const IDENTITY: &str = "kms-credentials";

impl Cast {
    /// The name of a team's namespace.
    pub fn namespace(&self, team: Team) -> String {
        let letter = match team {
            Team::A => "a",
            Team::B => "b",
        };
        format!("{}-{letter}", self.prefix)
    }

    /// The id of a place's project.
    pub fn project(&self, place: Place) -> Option<&str> {
        match place {
            Place::One => Some(&self.projects[0]),
            Place::Two => Some(&self.projects[1]),
            Place::Organization => None,
        }
    }

    /// The digits of a slot's mark.
    pub fn digits(&self, slot: Slot) -> String {
        let mut hash = Sha256::new();
        for part in [&*self.owner, &self.namespace(slot.team()), slot.name()] {
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whose mark a description ends in, and whether it says that the connection was adopted.
    pub fn mark(&self, description: &str) -> Option<Mark> {
        let (_, mark) = description.strip_suffix(']')?.rsplit_once("[k8s:")?;
        let (digits, origin) = mark.split_once(':')?;
        let slot = Slot::ALL.into_iter().find(|slot| self.digits(*slot) == digits);
        Some(Mark { slot, adopted: origin == "a" })
    }

    /// The namespace in which an instance's Secret is.
    pub fn instance_home(&self, instance: Instance) -> String {
        match instance {
            Instance::Shared => self.home.clone(),
            Instance::Own(team) => self.namespace(team),
        }
    }

    /// The client id of an instance's identity.
    pub fn client_id(&self, instance: Instance) -> String {
        format!("client-of-{}", self.instance_home(instance))
    }

    /// The client secret that goes with it.
    pub fn client_secret(&self, instance: Instance) -> String {
        format!("{CANARY}-of-{}", self.instance_home(instance))
    }
}

/// The mark of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Whose; none is somebody whom this history doesn't know.
    pub slot: Option<Slot>,
    /// Whether the connection was there before.
    pub adopted: bool,
}
