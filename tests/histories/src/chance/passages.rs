//! Steps that belong together: what chance alone hardly ever brings about in the order, and within the seconds, in which it
//! is dangerous. Each step may be left out, so that what fails shrinks to what it takes.

use proptest::{option, prelude::*};

use super::{names, slots, waits, wishes};
use crate::{
    cast::{Purse, Slot},
    step::{Deed, Drift, Edit, Expiry, Management, Mishap, Step, When, Wish},
    token::Kind,
};

/// One of them.
pub fn any() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        creation_in_doubt(),
        creation_cut_short(),
        left_behind(),
        older_again(),
        drift_under_watch(),
        out_of_sight_and_back()
    ]
}

/// Nobody learns that a connection was created, and what it is to be called changes before the next attempt.
fn creation_in_doubt() -> BoxedStrategy<Vec<Step>> {
    let lost = prop_oneof![
        Just(Step::Deed(Deed::AnswersLost(1))),
        (1_usize..8).prop_map(|number| Step::Mishap(Mishap::Crash(number, When::AnswerLost))),
    ];
    let renamed = |slot| option::of(names()).prop_map(move |name| Step::Deed(Deed::Edit(slot, Edit::Name(name))));
    slots()
        .prop_flat_map(move |slot| {
            let anew = vec![
                Just(Step::Deed(Deed::Delete(slot))).boxed(),
                moments().boxed(),
                token(slot).boxed(),
                lost.clone().boxed(),
                connected(slot).boxed(),
                moments().boxed(),
                renamed(slot).boxed(),
                waits().prop_map(Step::Wait).boxed(),
            ];
            together(anew)
        })
        .boxed()
}

/// It is deleted while, or right after, its connection is created.
fn creation_cut_short() -> BoxedStrategy<Vec<Step>> {
    let refused = (1_usize..4).prop_map(|count| Step::Mishap(Mishap::WritesRefused(count)));
    let blink = (10_u64..600).prop_map(Step::Wait);
    slots()
        .prop_flat_map(move |slot| {
            let steps = vec![
                Just(Step::Deed(Deed::Delete(slot))).boxed(),
                moments().boxed(),
                token(slot).boxed(),
                refused.clone().boxed(),
                connected(slot).boxed(),
                blink.clone().boxed(),
                Just(Step::Deed(Deed::Delete(slot))).boxed(),
            ];
            together(steps)
        })
        .boxed()
}

/// Its connection is left in the KMS, and another object of the same name comes.
fn left_behind() -> BoxedStrategy<Vec<Step>> {
    slots()
        .prop_flat_map(|slot| {
            let steps = vec![
                token(slot).boxed(),
                connected(slot).boxed(),
                moments().boxed(),
                Just(Step::Deed(Deed::Edit(slot, Edit::Management(Management::Suspended)))).boxed(),
                Just(Step::Deed(Deed::Delete(slot))).boxed(),
                moments().boxed(),
                connected(slot).boxed(),
                waits().prop_map(Step::Wait).boxed(),
            ];
            together(steps)
        })
        .boxed()
}

/// A token is replaced, and what is read next is the one before.
fn older_again() -> BoxedStrategy<Vec<Step>> {
    slots()
        .prop_flat_map(|slot| {
            let purse = Purse { team: slot.team(), spare: false };
            let steps = vec![
                token(slot).boxed(),
                connected(slot).boxed(),
                moments().boxed(),
                token(slot).boxed(),
                moments().boxed(),
                Just(Step::Mishap(Mishap::StaleSecret(purse))).boxed(),
                Just(Step::Deed(Deed::Request(slot))).boxed(),
                waits().prop_map(Step::Wait).boxed(),
            ];
            together(steps)
        })
        .boxed()
}

/// Somebody changes what may only be looked at.
fn drift_under_watch() -> BoxedStrategy<Vec<Step>> {
    let drift = prop_oneof![Just(Drift::Renamed), Just(Drift::Described), Just(Drift::Credentials)];
    slots()
        .prop_flat_map(move |slot| {
            let steps = vec![
                token(slot).boxed(),
                connected(slot).boxed(),
                moments().boxed(),
                Just(Step::Deed(Deed::Edit(slot, Edit::Management(Management::Observe)))).boxed(),
                drift.clone().prop_map(move |drift| Step::Deed(Deed::Drift(slot, drift))).boxed(),
                (130_u64..8_000).prop_map(|seconds| Step::Wait(seconds * 1_000)).boxed(),
            ];
            together(steps)
        })
        .boxed()
}

/// What the KMS holds is not to be seen for a while, or bears its mark twice.
fn out_of_sight_and_back() -> BoxedStrategy<Vec<Step>> {
    let while_it_lasts = || (130_u64..8_000).prop_map(|seconds| Step::Wait(seconds * 1_000)).boxed();
    (slots(), super::projects())
        .prop_flat_map(move |(slot, project)| {
            let (away, back) = [
                (Deed::Hide(slot), Deed::Show),
                (Deed::DropProject(project), Deed::MakeProject(project)),
                (Deed::Drift(slot, Drift::MarkedTwice), Deed::Request(slot)),
            ]
            .map(|(away, back)| (Step::Deed(away), Step::Deed(back)))
            .into_iter()
            .unzip::<_, _, Vec<_>, Vec<_>>();
            let chosen = 0..away.len();
            chosen
                .prop_flat_map(move |at| {
                    let steps = vec![
                        token(slot).boxed(),
                        connected(slot).boxed(),
                        moments().boxed(),
                        Just(away[at].clone()).boxed(),
                        while_it_lasts(),
                        Just(back[at].clone()).boxed(),
                        waits().prop_map(Step::Wait).boxed(),
                    ];
                    together(steps)
                })
                .boxed()
        })
        .boxed()
}

/// The steps, of which some are left out.
fn together(steps: Vec<BoxedStrategy<Step>>) -> impl Strategy<Value = Vec<Step>> {
    let steps: Vec<_> = steps.into_iter().map(|step| option::weighted(0.97, step)).collect();
    steps.prop_map(|steps| steps.into_iter().flatten().collect())
}

/// From within an attempt to after the next one.
fn moments() -> impl Strategy<Value = Step> {
    prop_oneof![2 => 100_u64..5_000, 1 => 5_000_u64..60_000].prop_map(Step::Wait)
}

fn connected(slot: Slot) -> impl Strategy<Value = Step> {
    let plainly = |wish| Wish { spare: false, ..wish };
    wishes().prop_map(move |wish| Step::Deed(Deed::Connect(slot, plainly(wish))))
}

/// A good token where the connections of a slot look for it.
fn token(slot: Slot) -> impl Strategy<Value = Step> {
    let purse = Purse { team: slot.team(), spare: false };
    Just(Step::Deed(Deed::Issue(purse, Kind::Good, Expiry::Far)))
}
