//! Histories that failed once, as short as they were made then. A seed means something else as soon as the choices of
//! `histories::chance` change; these stay what they are.

use histories::{
    cast::{Instance, Place, Purse, Slot, Team},
    step::{
        Action, Deed, Edit, Expiry, Foreign, Grants, History, InstanceEdit, Management, Mishap, Name, Outage, Step,
        When, Wish,
    },
    token::Kind,
};

use super::play;

const PURSE: Purse = Purse { team: Team::A, spare: false };

fn wish() -> Wish {
    Wish { own_instance: false, place: Place::One, spare: false, name: None, adopt: false }
}

fn connect(slot: Slot) -> Step {
    Step::Deed(Deed::Connect(slot, wish()))
}

fn ends_as_it_must(steps: Vec<Step>) {
    if let Err(why) = play(&History(steps)) {
        panic!("{why}");
    }
}

#[test]
fn a_clock_that_is_set_back_in_an_outage_delays_no_attempt() {
    ends_as_it_must(vec![
        connect(Slot::PaymentsA),
        Step::Deed(Deed::BitbucketFails(Outage::Down)),
        Step::Wait(76),
        Step::Mishap(Mishap::TurnClocks(-200_000)),
    ]);
}

#[test]
fn a_start_from_before_the_clock_was_set_back_delays_no_look() {
    ends_as_it_must(vec![
        connect(Slot::PaymentsA),
        Step::Wait(1),
        Step::Deed(Deed::Issue(Purse { spare: true, ..PURSE }, Kind::Good, Expiry::Unsaid)),
        connect(Slot::PaymentsA),
        Step::Deed(Deed::Deny(Action::Read)),
        Step::Mishap(Mishap::TurnClocks(-200_000)),
        Step::Wait(125),
    ]);
}

#[test]
fn what_a_predecessor_left_through_another_instance_is_found() {
    let through_own = |slot| Step::Deed(Deed::Connect(slot, Wish { own_instance: true, ..wish() }));
    ends_as_it_must(vec![
        through_own(Slot::OrdersA),
        connect(Slot::BillingB),
        through_own(Slot::PaymentsA),
        Step::Wait(151),
        Step::Deed(Deed::Edit(Slot::PaymentsA, Edit::Management(Management::Suspended))),
        Step::Deed(Deed::Delete(Slot::PaymentsA)),
        Step::Wait(100),
        connect(Slot::PaymentsA),
    ]);
}

#[test]
fn a_clock_that_is_set_back_delays_no_look_at_an_instance() {
    ends_as_it_must(vec![
        connect(Slot::PaymentsA),
        Step::Deed(Deed::KmsFails(Outage::Down)),
        Step::Wait(26),
        Step::Mishap(Mishap::TurnClocks(-200_000)),
    ]);
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_ready() {
    ends_as_it_must(vec![
        Step::Deed(Deed::Connect(Slot::PaymentsA, Wish { place: Place::Two, ..wish() })),
        Step::Wait(101),
        Step::Deed(Deed::Issue(PURSE, Kind::Mute, Expiry::Unsaid)),
        Step::Mishap(Mishap::TurnClocks(-200_000)),
    ]);
}

#[test]
fn a_right_that_is_taken_away_leaves_alone_what_is_as_it_should_be() {
    ends_as_it_must(vec![connect(Slot::PaymentsA), Step::Deed(Deed::Deny(Action::Edit)), Step::Wait(12_781_000)]);
}

#[test]
fn a_verdict_is_shared_by_who_comes_after_the_token_was_revoked() {
    ends_as_it_must(vec![
        connect(Slot::PaymentsA),
        Step::Wait(76),
        Step::Deed(Deed::Revoke(PURSE)),
        connect(Slot::OrdersA),
    ]);
}

#[test]
fn what_changed_while_the_api_server_was_away_is_heard_of_later() {
    let edit = |edit| Step::Deed(Deed::Edit(Slot::PaymentsA, edit));
    let own =
        |name, adopt| Step::Deed(Deed::Connect(Slot::PaymentsA, Wish { own_instance: true, name, adopt, ..wish() }));
    ends_as_it_must(vec![
        connect(Slot::PaymentsA),
        Step::Wait(792),
        own(Some(Name::Payments), false),
        Step::Deed(Deed::Issue(PURSE, Kind::Broad, Expiry::Unsaid)),
        Step::Wait(5_075_000),
        Step::Mishap(Mishap::Crash(1, When::AnswerLost)),
        Step::Deed(Deed::Edit(Slot::PaymentsB, Edit::Name(Some(Name::Payments)))),
        Step::Wait(8_000),
        Step::Deed(Deed::Instance(Instance::Shared, InstanceEdit::Grants(Grants::Nothing))),
        Step::Deed(Deed::Delete(Slot::PaymentsB)),
        Step::Mishap(Mishap::ApiDown),
        Step::Wait(182_000),
        Step::Wait(956),
        own(None, true),
        Step::Deed(Deed::Issue(PURSE, Kind::Good, Expiry::Gibberish)),
        edit(Edit::BlockExcess(true)),
        Step::Wait(1_000),
        Step::Wait(228_000),
        Step::Deed(Deed::Heal),
        Step::Deed(Deed::Foreign(Name::Payments, Place::One, Foreign::Long)),
        Step::Wait(802_000),
    ]);
}
