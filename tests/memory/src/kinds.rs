//! The kinds that are served.

/// A kind, and how its objects behave.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    /// As in `kind`.
    pub name: &'static str,
    pub namespaced: bool,
    /// Defined by a CustomResourceDefinition: with generations and a status apart from the rest, whose absence is
    /// `{observedGeneration: -1}`.
    pub custom: bool,
    /// May be replaced without saying which version is meant.
    pub unconditional: bool,
}

const fn custom(plural: &'static str, name: &'static str, namespaced: bool) -> Kind {
    Kind {
        group: "connections.kms.hanzo.ai",
        version: "v1alpha1",
        plural,
        name,
        namespaced,
        custom: true,
        unconditional: false,
    }
}

const fn builtin(group: &'static str, plural: &'static str, name: &'static str) -> Kind {
    Kind { group, version: "v1", plural, name, namespaced: true, custom: false, unconditional: true }
}

/// All of them.
pub(crate) static KINDS: [Kind; 9] = [
    custom("bitbucketconnections", "BitbucketConnection", true),
    custom("kmsinstances", "KmsInstance", true),
    custom("clusterkmsinstances", "ClusterKmsInstance", false),
    builtin("", "secrets", "Secret"),
    builtin("", "configmaps", "ConfigMap"),
    Kind { namespaced: false, ..builtin("", "namespaces", "Namespace") },
    Kind { unconditional: false, ..builtin("", "serviceaccounts", "ServiceAccount") },
    builtin("events.k8s.io", "events", "Event"),
    Kind { unconditional: false, ..builtin("coordination.k8s.io", "leases", "Lease") },
];

/// A kind by its number in [`KINDS`]: what tables are kept by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct KindId(pub usize);

impl KindId {
    /// The kind of a group and a plural.
    pub fn find(group: &str, plural: &str) -> Option<Self> {
        KINDS.iter().position(|kind| kind.group == group && kind.plural == plural).map(Self)
    }

    pub fn namespaces() -> Self {
        Self(5)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..KINDS.len()).map(Self)
    }

    pub fn get(self) -> &'static Kind {
        &KINDS[self.0]
    }
}

impl Kind {
    /// `group/version`, as in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, as in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Kind.group`, as in other messages.
    pub fn qualified_name(&self) -> String {
        if self.group.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.name, self.group) }
    }

    /// Whether `/status` is a subresource.
    pub fn has_status(&self) -> bool {
        self.custom || self.plural == "namespaces"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_where_they_are_looked_for() {
        assert_eq!(KindId::namespaces().get().plural, "namespaces");
        assert_eq!(KindId::find("", "namespaces"), Some(KindId::namespaces()));
    }
}
