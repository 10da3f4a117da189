//! Taking over connections. The KMS knows no condition on a write, so two objects that want one connection take turns:
//! who comes second finds the mark of the first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::{
    domain::{
        connection::{Changes, KmsConnection, KmsScope},
        credential::Credentials,
        limit::Priority,
    },
    kms::{Kms, KmsError, WriteTurn},
};

/// Which connections are just being taken over, by host and id.
#[derive(Default)]
pub struct Adoptions(Mutex<HashMap<(String, String), Turn>>);

type Turn = Arc<tokio::sync::Mutex<()>>;

impl Adoptions {
    /// Takes over a connection, if its description still is the one that was seen, without a mark.
    pub async fn adopt(
        &self,
        kms: &Kms,
        (scope, id): (&KmsScope, &str),
        seen: &str,
        changes: &Changes,
        credentials: &Credentials,
        turn: WriteTurn,
    ) -> Result<KmsConnection, KmsError> {
        let _turn = self.turn(kms.host(), id).await;
        match kms.connection(scope, id, Priority::First).await? {
            Some(found) if found.description == seen => kms.update(id, changes, Some(credentials), turn).await,
            Some(_) => Err(KmsError::NameTaken),
            None => Err(KmsError::NotFound),
        }
    }

    async fn turn(&self, host: &str, id: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry((host.to_owned(), id.to_owned())).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn a_connection_is_taken_over_by_one_at_a_time() {
        let adoptions = Adoptions::default();
        let first = adoptions.turn("kms", "a").now_or_never().expect("free");
        let mut second = std::pin::pin!(adoptions.turn("kms", "a"));
        assert!(poll!(&mut second).is_pending());
        let others = [("kms", "b"), ("other", "a")].map(|(host, id)| adoptions.turn(host, id).now_or_never());
        assert!(others.iter().all(Option::is_some), "another connection isn't waited for");
        assert!(poll!(&mut second).is_pending());
        drop((first, others));
        drop(second.now_or_never().expect("the first is done"));
        let _last = adoptions.turn("kms", "c").await;
        let turns = adoptions.0.lock().expect("no panic").len();
        assert_eq!(turns, 1, "nothing is kept of those who are done");
    }
}
