//! What tests turn, and what they look at: everything behind the operator's back.

use std::time::Duration;

use super::connection::UNKNOWN;
use super::{Connection, Flavor, Kms, Limits};
use crate::front::lock;

impl Kms {
    /// Becomes another server; what is stored stays.
    pub fn set_flavor(&self, flavor: Flavor) {
        let mut state = lock(&self.0.state);
        state.flavor = flavor;
        state.rows.tell_anew();
    }

    /// How long it waits for Bitbucket, 10 s at first.
    pub fn set_bitbucket_timeout(&self, patience: Duration) {
        lock(&self.0.state).patience = patience;
    }

    /// Leaves `credentialsHash` out of every answer: it is optional.
    pub fn hide_credentials_hash(&self, hide: bool) {
        let mut state = lock(&self.0.state);
        state.hide_hash = hide;
        state.rows.tell_anew();
    }

    /// Allows each client address so much a minute, and answers 429 beyond, as the KMS does ([`Limits::USUAL`]). Every
    /// answer tells what is left. Unlimited at first.
    pub fn set_limits(&self, limits: Limits) {
        lock(&self.0.state).quotas.set(limits);
    }

    /// [`Kms::set_limits`] without a limit of all requests.
    pub fn limit_per_minute(&self, reads: Option<usize>, writes: Option<usize>) {
        self.set_limits(Limits { reads, writes, all: None });
    }

    /// Creates a project.
    pub fn add_project(&self, id: &str) {
        lock(&self.0.state).projects.insert(id.to_owned());
    }

    /// Deletes a project, and its connections with it.
    pub fn remove_project(&self, id: &str) {
        let mut state = lock(&self.0.state);
        state.projects.remove(id);
        let in_it = |row: &&Connection| row.project_id.as_deref() == Some(id);
        let gone: Vec<String> = state.rows.iter().filter(in_it).map(|row| row.id.clone()).collect();
        gone.iter().for_each(|id| drop(state.rows.remove(id)));
    }

    /// Takes the permission for `create`, `edit`, `delete` or `read` from every identity.
    pub fn deny(&self, action: &str) {
        lock(&self.0.state).denied.insert((None, action.to_owned()));
    }

    /// Takes it from one identity: by its client id, identity id or static access token, here as below.
    pub fn deny_to(&self, identity: &str, action: &str) {
        lock(&self.0.state).denied.insert((Some(identity.to_owned()), action.to_owned()));
    }

    /// Gives a permission back, to everybody.
    pub fn allow(&self, action: &str) {
        lock(&self.0.state).denied.retain(|(_, denied)| denied != action);
    }

    /// Takes away the permission to read this connection alone: lists omit it, asking for it is a 403.
    pub fn hide(&self, id: &str) {
        self.hide_as(id, None);
    }

    /// Takes it from one identity; others see the connection.
    pub fn hide_from(&self, identity: &str, id: &str) {
        self.hide_as(id, Some(identity.to_owned()));
    }

    fn hide_as(&self, id: &str, whom: super::Who) {
        let mut state = lock(&self.0.state);
        state.hidden.entry(id.to_owned()).or_default().insert(whom);
        state.rows.tell_anew();
    }

    /// Ends [`Kms::hide`] and [`Kms::hide_from`].
    pub fn unhide(&self, id: &str) {
        let mut state = lock(&self.0.state);
        state.hidden.remove(id);
        state.rows.tell_anew();
    }

    /// Has a sync or scanner use this connection, so that it can't be deleted.
    pub fn attach(&self, id: &str) {
        lock(&self.0.state).attached.insert(id.to_owned());
    }

    /// Ends [`Kms::attach`].
    pub fn detach(&self, id: &str) {
        lock(&self.0.state).attached.remove(id);
    }

    /// All rows, of every app and scope, by name.
    pub fn connections(&self) -> Vec<Connection> {
        lock(&self.0.state).rows.iter().cloned().collect()
    }

    /// The first row of this name, in whatever scope.
    pub fn connection(&self, name: &str) -> Option<Connection> {
        lock(&self.0.state).rows.named(name).next().cloned()
    }

    /// Stores a row as it is, without asking anyone; returns its id. One without times was made now.
    pub fn insert(&self, mut row: Connection) -> String {
        let now = self.now();
        for time in [&mut row.created_at, &mut row.updated_at] {
            if *time == UNKNOWN {
                *time = now;
            }
        }
        let id = row.id.clone();
        lock(&self.0.state).rows.put(row);
        id
    }

    /// Changes a row. For other credentials use [`Connection::write_credentials`], which changes the hash too.
    ///
    /// # Panics
    /// If there is no such row: a test that means another one should not pass.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut Connection)) {
        let now = self.now();
        let mut state = lock(&self.0.state);
        let mut row = state.rows.remove(id).expect("a connection of this id");
        change(&mut row);
        row.updated_at = now;
        state.rows.put(row);
    }

    /// Deletes a row, even one in use; false if there is none.
    pub fn remove(&self, id: &str) -> bool {
        lock(&self.0.state).rows.remove(id).is_some()
    }
}
