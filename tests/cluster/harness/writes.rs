//! What the operator changed, or tried to, and which Secrets it read, as the API server saw it.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

/// One request, mostly to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// create, patch, update, delete or deletecollection; of those that were refused also get, list or watch.
    pub verb: String,
    /// The resource, with its subresource: `bitbucketconnections/status`, `events`.
    pub resource: String,
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The status of the answer.
    pub code: i64,
}

impl Write {
    /// Did it take effect?
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// The API server's audit log. It is read on from where it was last read: many tests ask often for what stands at the end
/// of a long text.
pub struct Audit {
    log: PathBuf,
    read: Mutex<Requests>,
}

/// What was read so far.
#[derive(Default)]
struct Requests {
    /// Bytes of the log, up to the end of a line.
    bytes: u64,
    by_user: HashMap<String, Vec<Write>>,
}

impl Audit {
    /// Of the log at this place; it need not be there yet.
    pub fn new(log: PathBuf) -> Self {
        Self { log, read: Mutex::default() }
    }

    /// All changes by `user`.
    pub fn writes(&self, user: &str) -> Vec<Write> {
        self.requests(user, |request| !["get", "list", "watch"].contains(&request.verb.as_str()))
    }

    /// Every request of `user` that was refused for want of a right.
    pub fn refused(&self, user: &str) -> Vec<Write> {
        self.requests(user, |request| request.code == 403)
    }

    /// Secrets and ConfigMaps that `user` read one by one, or tried to: `secrets team-a/bitbucket-token`, in their order.
    pub fn reads(&self, user: &str) -> Vec<String> {
        let is_source = |resource: &str| ["secrets", "configmaps"].contains(&resource);
        let reads = self.requests(user, |request| request.verb == "get" && is_source(&request.resource));
        reads.iter().map(|read| format!("{} {}/{}", read.resource, read.namespace, read.name)).collect()
    }

    fn requests(&self, user: &str, are_meant: impl Fn(&Write) -> bool) -> Vec<Write> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.on(&self.log).unwrap_or_else(|error| panic!("cannot read {}: {error}", self.log.display()));
        read.by_user.get(user).into_iter().flatten().filter(|request| are_meant(request)).cloned().collect()
    }
}

impl Requests {
    fn on(&mut self, log: &PathBuf) -> std::io::Result<()> {
        // The API server makes it with the first line.
        let Ok(mut file) = File::open(log) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        // What follows the last end of a line is being written.
        for line in more.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            self.bytes += line.len() as u64;
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            let Event { verb, user, object_ref, response_status } = event;
            let subresource = object_ref.subresource.map(|name| format!("/{name}")).unwrap_or_default();
            self.by_user.entry(user.username).or_default().push(Write {
                verb,
                resource: object_ref.resource + &subresource,
                namespace: object_ref.namespace,
                name: object_ref.name,
                code: response_status.code,
            });
        }
        Ok(())
    }
}

/// What is read of an audit event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: Option<String>,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: i64,
}
