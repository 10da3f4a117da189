//! The API server's journal of changes, and of what ServiceAccounts read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::error::{Error, cannot};

/// Where the journal is.
pub(crate) fn log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

fn policy(dir: &Path) -> PathBuf {
    dir.join("audit-policy.json")
}

/// Writes down what goes into the journal: changes and attempts at them, and what ServiceAccounts read or tried to,
/// without any contents. JSON is YAML.
pub(crate) fn write_policy(dir: &Path) -> Result<(), Error> {
    let policy_file = policy(dir);
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            { "level": "None", "users": ["system:apiserver"] },
            { "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] },
            { "level": "Metadata", "userGroups": ["system:serviceaccounts"] },
            { "level": "None" },
        ],
    });
    fs::write(&policy_file, format!("{policy:#}\n")).map_err(cannot(format!("write {}", policy_file.display())))
}

/// The API server's arguments for it. It stays one file, however long it gets (in MB): what is read as it grows is else
/// lost in between.
pub(crate) fn arguments(command: &mut Command, dir: &Path) {
    command.arg("--audit-policy-file").arg(policy(dir)).arg("--audit-log-path").arg(log(dir));
    command.args(["--audit-log-maxsize", "100000"]);
}
