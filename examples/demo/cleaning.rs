//! What takes away from a cluster of somebody's what the demo made there: by the demo itself at its end, by the script that
//! it leaves with `KEEP=1`, and by people where neither could.

use crate::cluster::{GROUP, KINDS, NAMESPACE};
use crate::screen::quote;

/// What was made.
#[derive(Clone, Copy, Debug)]
pub struct Cleaning {
    /// Whether the kinds came with the demo: then they go with it.
    pub brought_kinds: bool,
}

impl Cleaning {
    /// Commands of a shell, in their order; each is tried whatever became of those before.
    ///
    /// The operator lets its objects go. Where it is gone, that is done in its place: what the finalizers protect is in a
    /// KMS that is a stand-in.
    pub fn commands(self, kubectl: &str) -> Vec<String> {
        let mut commands = vec![
            format!(
                "{kubectl} delete bitbucketconnections --all --timeout=30s ||\n  \
                 {{ {kubectl} get bitbucketconnections --output=name; echo clusterkmsinstance/default; }} |\n  \
                 xargs -n 1 {kubectl} patch --type=merge --patch='{{\"metadata\":{{\"finalizers\":null}}}}'"
            ),
            format!("{kubectl} delete clusterkmsinstance default --ignore-not-found --timeout=30s"),
            format!("{kubectl} delete namespace {NAMESPACE} --ignore-not-found --timeout=60s"),
        ];
        if self.brought_kinds {
            commands.push(format!("{kubectl} delete crd --ignore-not-found --timeout=60s {}", kinds().join(" ")));
        }
        commands
    }

    /// The same for people, with their own kubeconfig.
    pub fn by_hand(self, context: &str) -> String {
        let kubectl = format!("kubectl --context {} --namespace {NAMESPACE}", quote(context));
        let indented = self.commands(&kubectl).join("\n").replace('\n', "\n  ");
        format!("  {indented}")
    }
}

/// The full names of the kinds.
pub fn kinds() -> [String; 3] {
    KINDS.map(|kind| format!("{kind}.{GROUP}"))
}
