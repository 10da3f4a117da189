//! The stored connections: found by id and by name, and told without being written out anew each time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use axum::body::Bytes;

use super::connection::Connection;

/// Rows by id, and the lists that were made of them.
#[derive(Default)]
pub(super) struct Rows {
    by_id: HashMap<String, Row>,
    /// In the order of lists: by name, then project, then id.
    in_order: BTreeSet<(String, Option<String>, String)>,
    /// By what was asked for and by whom; none survives a change.
    lists: BTreeMap<(Option<String>, String), Bytes>,
}

struct Row {
    connection: Connection,
    /// The JSON of an answer, once somebody asked for it.
    told: Option<String>,
}

impl Rows {
    pub(super) fn get(&self, id: &str) -> Option<&Connection> {
        self.by_id.get(id).map(|row| &row.connection)
    }

    /// By name, then project.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.in_order.iter().filter_map(|(_, _, id)| self.get(id))
    }

    /// Those of this name, in whatever scope.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Connection> {
        let first = (name.to_owned(), None, String::new());
        let from = self.in_order.range((Bound::Included(first), Bound::Unbounded));
        from.take_while(move |(other, ..)| other == name).filter_map(|(_, _, id)| self.get(id))
    }

    /// Stores a row; one of the same id is replaced.
    pub(super) fn put(&mut self, connection: Connection) {
        self.remove(&connection.id);
        self.in_order.insert(key(&connection));
        self.by_id.insert(connection.id.clone(), Row { connection, told: None });
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Connection> {
        self.lists.clear();
        let gone = self.by_id.remove(id)?.connection;
        self.in_order.remove(&key(&gone));
        Some(gone)
    }

    /// Something else changed what is told of rows, or to whom.
    pub(super) fn tell_anew(&mut self) {
        self.lists.clear();
        self.by_id.values_mut().for_each(|row| row.told = None);
    }

    /// The JSON of a row, made once for each change.
    pub(super) fn told(&mut self, id: &str, tell: impl Fn(&Connection) -> String) -> &str {
        let Some(row) = self.by_id.get_mut(id) else { return "null" };
        row.told.get_or_insert_with(|| tell(&row.connection))
    }

    /// `{"appConnections": […]}` for somebody, made once for each change.
    pub(super) fn list(
        &mut self,
        project: Option<&str>,
        whom: &str,
        shown: impl Fn(&Connection) -> bool,
        tell: impl Fn(&Connection) -> String,
    ) -> Bytes {
        let asked = (project.map(str::to_owned), whom.to_owned());
        if let Some(list) = self.lists.get(&asked) {
            return list.clone();
        }
        let mut text = String::from("{\"appConnections\":[");
        for (_, _, id) in &self.in_order {
            if let Some(row) = self.by_id.get_mut(id)
                && shown(&row.connection)
            {
                if !text.ends_with('[') {
                    text.push(',');
                }
                text.push_str(row.told.get_or_insert_with(|| tell(&row.connection)));
            }
        }
        text.push_str("]}");
        self.lists.entry(asked).or_insert(text.into()).clone()
    }
}

fn key(row: &Connection) -> (String, Option<String>, String) {
    (row.name.clone(), row.project_id.clone(), row.id.clone())
}
