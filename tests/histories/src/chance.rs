//! How histories are made: every choice with a weight, and the plainest first, so that shrinking leads to it.

mod passages;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    cast::{Instance, Place, Purse, Slot, Team},
    step::{
        Action, Deed, Deletion, Drift, Edit, Expiry, Foreign, Grants, History, InstanceEdit, Interval, Management,
        Mishap, Name, Outage, Project, Step, Text, When, Wish,
    },
    token::Kind,
};

/// Histories of up to so many steps: with mishaps and a clock in the test's hand, or without.
pub fn histories(steps: usize, mishaps: bool) -> impl Strategy<Value = History> {
    let step = if mishaps {
        prop_oneof![
            10 => deeds().prop_map(Step::Deed),
            4 => self::mishaps().prop_map(Step::Mishap),
            5 => waits().prop_map(Step::Wait),
        ]
        .boxed()
    } else {
        prop_oneof![12 => deeds().prop_map(Step::Deed), 5 => Just(Step::Pause), 1 => Just(Step::Restart)].boxed()
    };
    let one = step.prop_map(|step| vec![step]);
    let passage = if mishaps { prop_oneof![24 => one, 1 => passages::any()].boxed() } else { one.boxed() };
    // Nothing happens to what isn't there: most histories begin with connections.
    let begin = vec((slots(), wishes()).prop_map(|(slot, wish)| Step::Deed(Deed::Connect(slot, wish))), 1..4);
    (begin, vec(passage, 0..steps)).prop_map(|(mut begin, passages)| {
        begin.extend(passages.into_iter().flatten());
        History(begin)
    })
}

/// One more often than others, so that much happens to it.
fn slots() -> impl Strategy<Value = Slot> {
    prop_oneof![
        5 => Just(Slot::PaymentsA),
        2 => Just(Slot::PaymentsB),
        2 => Just(Slot::OrdersA),
        1 => Just(Slot::BillingB),
    ]
}

fn teams() -> impl Strategy<Value = Team> {
    prop_oneof![2 => Just(Team::A), 1 => Just(Team::B)]
}

fn purses() -> impl Strategy<Value = Purse> {
    (teams(), prop_oneof![3 => Just(false), 1 => Just(true)]).prop_map(|(team, spare)| Purse { team, spare })
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![4 => Just(Place::One), 1 => Just(Place::Two), 1 => Just(Place::Organization)]
}

fn names() -> impl Strategy<Value = Name> {
    select(&[Name::Payments, Name::Common][..])
}

fn rarely() -> impl Strategy<Value = bool> {
    prop_oneof![4 => Just(false), 1 => Just(true)]
}

fn wishes() -> impl Strategy<Value = Wish> {
    (rarely(), places(), rarely(), option::weighted(0.25, names()), rarely())
        .prop_map(|(own_instance, place, spare, name, adopt)| Wish { own_instance, place, spare, name, adopt })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Good),
        1 => Just(Kind::Better),
        2 => Just(Kind::Few),
        1 => Just(Kind::Broad),
        1 => Just(Kind::NoUser),
        1 => Just(Kind::Alone),
        1 => Just(Kind::Mute),
        1 => Just(Kind::Blocked),
        1 => Just(Kind::Stolen),
        1 => Just(Kind::UserName),
        1 => Just(Kind::Empty),
    ]
}

fn edits() -> impl Strategy<Value = Edit> {
    let text = prop_oneof![3 => Just(Text::Usual), 2 => Just(Text::Other), 1 => Just(Text::Emoji)];
    let management =
        prop_oneof![3 => Just(Management::Full), 1 => Just(Management::Observe), 1 => Just(Management::Suspended)];
    prop_oneof![
        4 => option::of(names()).prop_map(Edit::Name),
        2 => option::of(text).prop_map(Edit::Description),
        1 => any::<bool>().prop_map(Edit::Spare),
        1 => rarely().prop_map(Edit::WrongKey),
        1 => rarely().prop_map(Edit::Additional),
        1 => any::<bool>().prop_map(Edit::Workspace),
        1 => any::<bool>().prop_map(Edit::WarnMissing),
        1 => any::<bool>().prop_map(Edit::BlockExcess),
        1 => any::<bool>().prop_map(Edit::Adopt),
        1 => option::of(select(&[Deletion::Delete, Deletion::Retain][..])).prop_map(Edit::Deletion),
        2 => management.prop_map(Edit::Management),
        1 => prop_oneof![3 => Just(Interval::Usual), 1 => Just(Interval::Short)].prop_map(Edit::Interval),
        1 => Just(Edit::Contact),
    ]
}

fn drifts() -> impl Strategy<Value = Drift> {
    prop_oneof![
        3 => select(&[Drift::Described, Drift::Renamed, Drift::Credentials, Drift::Deleted, Drift::Stripped][..]),
        1 => select(&[Drift::MarkedTwice, Drift::Doubled][..]),
    ]
}

fn outages() -> impl Strategy<Value = Outage> {
    prop_oneof![
        Just(Outage::Down),
        Just(Outage::Broken),
        Just(Outage::Reset),
        Just(Outage::Hang),
        Just(Outage::Html),
        option::of(1_u64..200).prop_map(Outage::RateLimited),
    ]
}

fn projects() -> impl Strategy<Value = Project> {
    prop_oneof![3 => Just(Project::One), 1 => Just(Project::Two)]
}

fn instance_edits() -> impl Strategy<Value = (Instance, InstanceEdit)> {
    let instance = prop_oneof![3 => Just(Instance::Shared), 1 => teams().prop_map(Instance::Own)];
    let grants = select(&[Grants::All, Grants::OnlyA, Grants::OnlyProjectOne, Grants::NoAdoption, Grants::Nothing][..]);
    let edit = prop_oneof![
        4 => Just(InstanceEdit::Good),
        1 => Just(InstanceEdit::NoSecret),
        1 => Just(InstanceEdit::WrongSecret),
        1 => Just(InstanceEdit::ForbiddenHost),
        1 => Just(InstanceEdit::Deleted),
        3 => grants.prop_map(InstanceEdit::Grants),
    ];
    (instance, edit)
}

fn deeds() -> impl Strategy<Value = Deed> {
    let expiry = select(&[Expiry::Unsaid, Expiry::Far, Expiry::Gibberish][..]);
    let foreign = select(&[Foreign::Plain, Foreign::Long, Foreign::OtherApp, Foreign::Marked][..]);
    prop_oneof![
        6 => (slots(), wishes()).prop_map(|(slot, wish)| Deed::Connect(slot, wish)),
        10 => (slots(), edits()).prop_map(|(slot, edit)| Deed::Edit(slot, edit)),
        4 => slots().prop_map(Deed::Delete),
        1 => slots().prop_map(Deed::Request),
        8 => (purses(), kinds(), expiry).prop_map(|(purse, kind, expiry)| Deed::Issue(purse, kind, expiry)),
        1 => purses().prop_map(Deed::RollBack),
        1 => purses().prop_map(Deed::Label),
        1 => purses().prop_map(Deed::LoseKey),
        1 => purses().prop_map(Deed::DropSecret),
        1 => purses().prop_map(Deed::Revoke),
        1 => purses().prop_map(Deed::Reinstate),
        1 => slots().prop_map(Deed::Hide),
        1 => Just(Deed::Show),
        1 => projects().prop_map(Deed::DropProject),
        2 => projects().prop_map(Deed::MakeProject),
        5 => (slots(), drifts()).prop_map(|(slot, drift)| Deed::Drift(slot, drift)),
        3 => (names(), places(), foreign).prop_map(|(name, place, foreign)| Deed::Foreign(name, place, foreign)),
        1 => (names(), places()).prop_map(|(name, place)| Deed::NoForeign(name, place)),
        1 => select(&Action::ALL[..]).prop_map(Deed::Deny),
        1 => Just(Deed::Allow),
        4 => instance_edits().prop_map(|(instance, edit)| Deed::Instance(instance, edit)),
        1 => teams().prop_map(Deed::DropNamespace),
        2 => outages().prop_map(Deed::BitbucketFails),
        2 => outages().prop_map(Deed::KmsFails),
        3 => (1_usize..3).prop_map(Deed::AnswersLost),
        3 => Just(Deed::Heal),
    ]
}

fn mishaps() -> impl Strategy<Value = Mishap> {
    let point = select(&[When::Before, When::AnswerLost, When::After][..]);
    let few = || 1_usize..4;
    let turns = select(&[60, -60, 3_600, -3_600, 200_000, -200_000][..]);
    prop_oneof![
        8 => (0_usize..12, point).prop_map(|(number, point)| Mishap::Crash(number, point)),
        2 => Just(Mishap::Failover),
        1 => Just(Mishap::Kill),
        1 => Just(Mishap::Start),
        1 => turns.prop_map(Mishap::TurnClocks),
        1 => Just(Mishap::ApiDown),
        1 => few().prop_map(Mishap::Conflicts),
        1 => few().prop_map(Mishap::WritesLost),
        1 => few().prop_map(Mishap::WritesRefused),
        1 => few().prop_map(Mishap::Stale),
        1 => purses().prop_map(Mishap::StaleSecret),
        2 => Just(Mishap::HoldWatches),
        2 => (1_u64..12).prop_map(Mishap::TakenOver),
        2 => Just(Mishap::ReleaseWatches),
        1 => Just(Mishap::BreakWatches),
        1 => Just(Mishap::Gone),
        3 => Just(Mishap::HealApi),
    ]
}

/// From no time to days.
fn waits() -> impl Strategy<Value = u64> {
    let seconds = prop_oneof![4 => 1_u64..10, 3 => 10_u64..300, 2 => 300_u64..4_000, 1 => 4_000_u64..50_000];
    prop_oneof![1 => 1_u64..1_000, 2 => seconds.prop_map(|seconds| seconds * 1_000)]
}
