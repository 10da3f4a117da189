//! What tests turn, and what they look at: everything behind the operator's back.

use std::time::Duration;

use super::{Connection, Flavor, Kms};
use crate::front::lock;

impl Kms {
    /// Becomes another server; what is stored stays.
    pub fn set_flavor(&self, flavor: Flavor) {
        lock(&self.0.state).flavor = flavor;
    }

    /// How long it waits for Bitbucket, 10 s at first.
    pub fn set_bitbucket_timeout(&self, patience: Duration) {
        lock(&self.0.state).patience = patience;
    }

    /// Leaves `credentialsHash` out of every answer: it is optional.
    pub fn hide_credentials_hash(&self, hide: bool) {
        lock(&self.0.state).hide_hash = hide;
    }

    /// Allows so many reads and writes (logins among them) a minute, as the KMS does (60 and 200), and answers 429
    /// beyond. Unlimited at first.
    pub fn limit_per_minute(&self, reads: Option<usize>, writes: Option<usize>) {
        let mut state = lock(&self.0.state);
        state.reads.set(reads);
        state.written.set(writes);
    }

    /// Creates a project.
    pub fn add_project(&self, id: &str) {
        lock(&self.0.state).projects.insert(id.to_owned());
    }

    /// Deletes a project, and its connections with it.
    pub fn remove_project(&self, id: &str) {
        let mut state = lock(&self.0.state);
        state.projects.remove(id);
        state.rows.retain(|_, row| row.project_id.as_deref() != Some(id));
    }

    /// Takes the permission for `create`, `edit`, `delete` or `read` from every identity.
    pub fn deny(&self, action: &str) {
        lock(&self.0.state).denied.insert(action.to_owned());
    }

    /// Gives a permission back.
    pub fn allow(&self, action: &str) {
        lock(&self.0.state).denied.remove(action);
    }

    /// Takes away the permission to read this connection alone: lists omit it, asking for it is a 403.
    pub fn hide(&self, id: &str) {
        lock(&self.0.state).hidden.insert(id.to_owned());
    }

    /// Ends [`Kms::hide`].
    pub fn unhide(&self, id: &str) {
        lock(&self.0.state).hidden.remove(id);
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
        let mut rows: Vec<Connection> = lock(&self.0.state).rows.values().cloned().collect();
        rows.sort_by(|a, b| (&a.name, &a.project_id).cmp(&(&b.name, &b.project_id)));
        rows
    }

    /// The first row of this name, in whatever scope.
    pub fn connection(&self, name: &str) -> Option<Connection> {
        self.connections().into_iter().find(|row| row.name == name)
    }

    /// Stores a row as it is, without asking anyone; returns its id.
    pub fn insert(&self, row: Connection) -> String {
        let id = row.id.clone();
        lock(&self.0.state).rows.insert(id.clone(), row);
        id
    }

    /// Changes a row. For other credentials use [`Connection::write_credentials`], which changes the hash too.
    ///
    /// # Panics
    /// If there is no such row: a test that means another one should not pass.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut Connection)) {
        let now = self.now();
        let mut state = lock(&self.0.state);
        let row = state.rows.get_mut(id).expect("a connection of this id");
        change(row);
        row.updated_at = now;
    }

    /// Deletes a row, even one in use; false if there is none.
    pub fn remove(&self, id: &str) -> bool {
        lock(&self.0.state).rows.remove(id).is_some()
    }
}
