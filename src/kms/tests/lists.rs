//! When a list is asked for, and what it holds after writes of our own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant;

use super::super::{
    error::KmsError,
    list::Lists,
    snapshot::{Rows, Snapshot, Write},
};
use crate::domain::{
    connection::{KmsConnection, KmsScope},
    ownership::{Origin, Owner, OwnerId, describe},
};

const WINDOW: Duration = Duration::from_secs(30);
const SCOPE: KmsScope = KmsScope::Organization;

fn owner(name: &str) -> Owner {
    Owner::of(&OwnerId::new("cluster").expect("good id"), "team-a", name)
}

fn connection(id: &str, name: &str) -> KmsConnection {
    KmsConnection {
        id: id.to_owned(),
        name: name.to_owned(),
        description: describe("", &owner(name), Origin::Created),
        app: "bitbucket".to_owned(),
        org_id: Some("org".to_owned()),
        project_id: None,
        email: Some("bot@example.com".to_owned()),
        credentials_hash: Some(format!("hash of {id}")),
        updated_at: Some(format!("then, {name}")),
    }
}

fn put(id: &str, name: &str) -> Write {
    Write::Put { scope: None, connection: Arc::new(connection(id, name)) }
}

fn gone(id: &str) -> Write {
    Write::Gone { id: id.to_owned() }
}

fn rows<const N: usize>(connections: [KmsConnection; N], before: Option<&Snapshot>) -> Rows {
    let mut rows = Rows::default();
    connections.iter().for_each(|connection| rows.put(connection, before));
    rows
}

/// What the KMS would answer, and how often it was asked.
#[derive(Default)]
struct Server(AtomicUsize);

impl Server {
    async fn list(&self) -> Result<Rows, KmsError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(rows([connection("1", "one")], None))
    }

    async fn fail(&self) -> Result<Rows, KmsError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err(KmsError::NotOffered)
    }

    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn one_list_answers_all() {
    let (lists, server) = (Lists::default(), Server::default());
    for _ in 0..2 {
        let all = join_all((0..50).map(|_| lists.get(&SCOPE, None, WINDOW, || server.list()))).await;
        assert!(all.into_iter().all(|list| list.is_ok_and(|list| list.by_name("one").is_some())));
    }
    assert_eq!(server.asked(), 1);
    assert!(lists.get(&SCOPE, Some(Instant::now()), WINDOW, || server.list()).await.is_ok());
    assert_eq!(server.asked(), 2);
    assert!(lists.get(&KmsScope::Project("p".to_owned()), None, WINDOW, || server.list()).await.is_ok());
    assert_eq!(server.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_old_list_answers_nobody() {
    let (lists, server) = (Lists::default(), Server::default());
    let get = |max_age| lists.get(&SCOPE, None, max_age, || server.list());
    assert!(get(WINDOW).await.is_ok());
    tokio::time::advance(WINDOW + Duration::from_millis(1)).await;
    assert!(get(WINDOW * 2).await.is_ok(), "for some it is new enough");
    assert_eq!(server.asked(), 1);
    assert!(get(WINDOW).await.is_ok());
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_failure_is_shared_and_not_kept() {
    let (lists, server) = (Lists::default(), Server::default());
    let all = join_all((0..50).map(|_| lists.get(&SCOPE, None, WINDOW, || server.fail()))).await;
    assert!(all.into_iter().all(|list| list.err() == Some(KmsError::NotOffered)));
    assert_eq!(server.asked(), 1);
    assert!(lists.get(&SCOPE, None, WINDOW, || server.list()).await.is_ok());
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn own_writes_are_in_the_list() {
    let (lists, server) = (Lists::default(), Server::default());
    let get = || async { lists.get(&SCOPE, None, WINDOW, || server.list()).await.expect("a list") };
    let first = get().await;

    lists.wrote(put("2", "two"));
    let list = get().await;
    assert_eq!(list.by_id("2"), Some(connection("2", "two")));
    assert_eq!(list.owned_by(&owner("two")).len(), 1);
    assert_eq!(list.len(), 2);
    assert_eq!(first.len(), 2, "nobody who holds it is told that what we wrote isn't there");

    lists.wrote(put("2", "renamed"));
    let list = get().await;
    assert!(list.by_name("two").is_none() && list.owned_by(&owner("two")).is_empty());
    assert_eq!(list.by_name("renamed"), Some(connection("2", "renamed")));

    lists.wrote(gone("2"));
    let list = get().await;
    assert!(list.by_id("2").is_none() && list.by_name("renamed").is_none());
    assert!(list.owned_by(&owner("renamed")).is_empty());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn own_writes_are_in_a_list_that_is_on_its_way() {
    let (lists, server) = (Lists::default(), Server::default());
    let list = lists.get(&SCOPE, None, WINDOW, || async {
        let connections = server.list().await?;
        // The KMS has answered already; these come after.
        lists.wrote(put("2", "two"));
        lists.wrote(gone("1"));
        lists.wrote(put("3", "three"));
        lists.wrote(gone("3"));
        Ok(connections)
    });
    let list = list.await.expect("a list");
    assert!(list.by_id("1").is_none() && list.by_id("3").is_none() && list.by_id("2").is_some());
    // A list from after the writes is taken as it is.
    let list = lists.get(&SCOPE, Some(Instant::now()), WINDOW, || server.list()).await.expect("a list");
    assert!(list.by_id("1").is_some() && list.by_id("2").is_none());
}

#[tokio::test]
async fn a_write_reaches_its_scope_alone() {
    let (lists, server) = (Lists::default(), Server::default());
    let project = KmsScope::Project("p".to_owned());
    assert!(lists.get(&SCOPE, None, WINDOW, || server.list()).await.is_ok());
    assert!(lists.get(&project, None, WINDOW, || server.list()).await.is_ok());
    lists.wrote(Write::Put { scope: Some(project.clone()), connection: Arc::new(connection("2", "two")) });
    let organization = lists.get(&SCOPE, None, WINDOW, || server.list()).await.expect("a list");
    let project = lists.get(&project, None, WINDOW, || server.list()).await.expect("a list");
    assert_eq!((organization.len(), project.len()), (1, 2));
}

#[tokio::test]
async fn a_lost_write_ends_the_list() {
    let (lists, server) = (Lists::default(), Server::default());
    for (settled, expected) in [(true, 1), (false, 2)] {
        assert!(lists.get(&SCOPE, None, WINDOW, || server.list()).await.is_ok());
        let doubt = lists.doubt();
        if settled {
            doubt.settle();
        } else {
            drop(doubt);
        }
        assert!(lists.get(&SCOPE, None, WINDOW, || server.list()).await.is_ok());
        assert_eq!(server.asked(), expected);
    }
}

#[tokio::test]
async fn a_list_that_is_given_up_blocks_nobody() {
    let (lists, server) = (Lists::default(), Server::default());
    let mut given_up = Box::pin(lists.get(&SCOPE, None, WINDOW, std::future::pending));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    assert!(lists.get(&SCOPE, None, WINDOW, || server.list()).await.is_ok());
}

#[tokio::test]
async fn a_list_keeps_of_the_one_before_what_is_the_same() {
    let scope = KmsScope::Organization;
    let list = |rows| Snapshot::new(scope.clone(), Instant::now(), rows);
    let before = list(rows([connection("1", "one"), connection("2", "two"), connection("3", "three")], None));
    // One as it was, one edited by hand, one deleted, one new.
    let edited = KmsConnection { email: Some("ada@example.com".to_owned()), ..connection("2", "two") };
    let now = [connection("1", "one"), edited.clone(), connection("4", "four")];
    let after = list(rows(now.clone(), Some(&before)));
    assert_eq!(after.len(), 3);
    for connection in now {
        assert_eq!(after.by_id(&connection.id).as_ref(), Some(&connection));
        assert_eq!(after.by_name(&connection.name).as_ref(), Some(&connection));
        assert_eq!(after.owned_by(&owner(&connection.name)), [connection]);
    }
    assert!(after.by_id("3").is_none() && after.owned_by(&owner("three")).is_empty());
    assert_eq!(after.shares_with(&before), ["1"], "the others are made anew");

    // What is written later shows in the new one alone where only that is told.
    after.apply(&put("1", "uno"));
    assert_eq!(before.by_id("1"), Some(connection("1", "one")));
    assert_eq!(before.by_id("2"), Some(connection("2", "two")));
}
