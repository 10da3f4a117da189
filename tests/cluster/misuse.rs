//! What people write by mistake, for each property of each kind, and what becomes of it: a refusal by the API server that
//! names the property, or a condition that does; and once it is mended, all is well. Nothing of it ends the operator, makes
//! it log an error, or lets an object hang.

mod bases;
mod play;
mod properties;
mod secrets;
mod values;

use futures::{StreamExt, future::BoxFuture, stream};
use serde_json::Value;

use self::{
    play::{Outcome, Player},
    properties::Property,
};
use crate::harness::World;

/// How many objects are played with at once.
const AT_ONCE: usize = 16;

/// What became of a case.
struct Played {
    property: String,
    case: &'static str,
    outcome: Outcome,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_property_is_misused_named_and_mended() {
    let world = bases::furnish(World::cluster_wide().await).await;
    let (mut properties, mut played) = (0, Vec::new());
    for (kind, plural) in bases::KINDS {
        let all = properties::of_kind(kind);
        properties += all.len();
        let player = Player::new(&world, kind, plural);
        let plays =
            all.iter().enumerate().flat_map(|(number, property)| plays(&world, &player, kind, number, property));
        let of_kind: Vec<Vec<Played>> = stream::iter(plays).buffer_unordered(AT_ONCE).collect().await;
        played.extend(of_kind.into_iter().flatten());
    }
    played.sort_by(|one, next| (&one.property, one.case).cmp(&(&next.property, next.case)));
    let (mut refused, mut named, mut valid, mut wrong) = (0, 0, 0, Vec::new());
    for Played { property, case, outcome } in &played {
        println!("{property}, {case}: {outcome}");
        match outcome {
            Outcome::Refused(_) => refused += 1,
            Outcome::Named(..) => named += 1,
            Outcome::Valid => valid += 1,
            Outcome::Wrong(_) => wrong.push(format!("{property}, {case}: {outcome}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases: {wrong:#?}", wrong.len(), played.len());
    println!("proof: misuse: refused by the API server, of {properties} properties | {refused}");
    println!("proof: misuse: named in a condition, and recovered | {named}");
    println!("proof: misuse: odd, but good | {valid}");
    is_unharmed(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_in_a_secret_is_named_never_shown_and_mended() {
    let world = bases::furnish(World::start().await).await;
    println!("proof: misuse: Secrets, named in a condition, and recovered | {}", secrets::play(&world).await);
    is_unharmed(&world).await;
    world.assert_silent(&[secrets::CANARY]).await;
}

/// All that is done with one property: each wrong value in an object of its own, and one object that is changed and
/// changed back.
fn plays<'a>(
    world: &'a World,
    player: &'a Player,
    kind: &'a str,
    number: usize,
    property: &'a Property,
) -> Vec<BoxFuture<'a, Vec<Played>>> {
    let good = move |name: &str| -> Value {
        let bases = bases::of_kind(world, kind, name);
        let base = bases.into_iter().find(|base| property.path.get(base).is_some());
        base.unwrap_or_else(|| panic!("{kind}: no manifest in bases.rs has a good value for {}", property.path))
    };
    let value = property.path.get(&good("x")).cloned().unwrap_or_default();
    let played = move |case, outcome| Played { property: format!("{kind} {}", property.path), case, outcome };
    let mut plays: Vec<BoxFuture<'a, Vec<Played>>> = Vec::new();
    for (at, (case, wrong)) in values::wrong(property, &value).into_iter().enumerate() {
        plays.push(Box::pin(async move {
            let good = good(&format!("m-{number}-{at}"));
            vec![played(case, player.created(property, &good, wrong.as_ref()).await)]
        }));
    }
    let changes = [vec![("unset later", None)], values::other(property, &value)].concat();
    plays.push(Box::pin(async move {
        let good = good(&format!("m-{number}"));
        if let Err(wrong) = player.make(&good).await {
            return vec![played("good", Outcome::Wrong(wrong))];
        }
        let mut all = Vec::new();
        for (case, other) in changes {
            all.push(played(case, player.changed(property, &good, other.as_ref()).await));
        }
        all
    }));
    plays
}

/// The operator runs as it was started, and has logged no error.
async fn is_unharmed(world: &World) {
    let ready = world.operator.get("health", "/readyz").await;
    assert_eq!(ready.map(|(status, _)| status), Some(200), "{}", world.operator.tail());
    let log = world.log();
    let errors: Vec<&str> =
        log.lines().filter(|line| line.contains("\"level\":\"ERROR\"") || line.contains("panicked")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    world.assert_silent(&[bases::ACCESS_TOKEN, bases::PASSWORD, "canary-of-a-signature"]).await;
}
