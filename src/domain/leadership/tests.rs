use super::*;

const ME: &str = "me";
const OTHER: &str = "other";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(second: u64) -> Moment {
    Moment::since_boot(seconds(second))
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn terms() -> Terms {
    Terms::new(seconds(30), seconds(10), seconds(2)).expect("good terms")
}

fn candidate() -> Candidate {
    Candidate::new(ME.to_owned(), terms())
}

/// A Lease in a version, with a holder, as a leader writes it.
#[allow(clippy::unnecessary_wraps, reason = "in tables it stands beside None")]
fn held(version: u32, holder: &str) -> Option<Seen> {
    Some(Seen {
        version: Version { uid: "lease".to_owned(), resource_version: version.to_string() },
        holder: Some(holder.to_owned()),
        duration: Some(seconds(30)),
        renewed: Some(time(i64::from(version))),
    })
}

fn with(lease: Option<Seen>, change: impl FnOnce(&mut Seen)) -> Option<Seen> {
    lease.map(|mut lease| {
        change(&mut lease);
        lease
    })
}

fn let_go(version: u32) -> Option<Seen> {
    with(held(version, OTHER), |lease| (lease.holder, lease.duration) = (None, Some(LET_GO)))
}

fn new(version: u32) -> Option<Seen> {
    with(held(version, OTHER), |lease| (lease.holder, lease.duration, lease.renewed) = (None, None, None))
}

#[test]
fn requests_are_spread_over_the_terms() {
    assert_eq!((terms().look(), terms().patience()), (seconds(1), seconds(5)));
}

#[test]
fn what_anybody_wrote_into_a_lease_makes_it_no_new_one() {
    type Change = fn(&mut Seen);
    let table: [(Change, bool); 4] = [
        (|_| (), true),
        (|lease| lease.holder = Some(OTHER.to_owned()), false),
        (|lease| lease.duration = Some(LET_GO), false),
        (|lease| lease.renewed = Some(time(1)), false),
    ];
    for (change, is_new) in table {
        let lease = with(new(1), change);
        assert_eq!(lease.as_ref().map(Seen::is_new), Some(is_new), "{lease:?}");
    }
}

#[test]
fn who_does_not_lead_waits_for_as_long_as_another_may_write() {
    use Step::{Create, Take, Wait};
    // What is seen at which second, and what is done then.
    type Look = (u64, Option<Seen>, Step);
    let table: [(&str, Vec<Look>); 13] = [
        ("the holder renews", vec![(0, held(1, OTHER), Wait(at(30))), (29, held(2, OTHER), Wait(at(59)))]),
        (
            "the holder is gone",
            vec![(5, held(1, OTHER), Wait(at(35))), (34, held(1, OTHER), Wait(at(35))), (35, held(1, OTHER), Take)],
        ),
        ("it was let go", vec![(0, held(1, OTHER), Wait(at(30))), (1, let_go(2), Take)]),
        ("it was let go before this one came", vec![(0, let_go(2), Take)]),
        ("it was made anew by hand before this one came", vec![(0, new(1), Wait(at(30))), (30, new(1), Take)]),
        (
            "it was made anew by hand while somebody held it",
            vec![(0, held(1, OTHER), Wait(at(30))), (10, new(2), Wait(at(40))), (40, new(2), Take)],
        ),
        ("there is none", vec![(3, None, Create), (3, new(1), Wait(at(33))), (33, new(1), Take)]),
        (
            "it is deleted by hand, and the holder makes it anew",
            vec![(0, held(1, OTHER), Wait(at(30))), (20, None, Create), (21, held(3, OTHER), Wait(at(51)))],
        ),
        (
            "it is deleted by hand, and the holder is gone",
            vec![(0, held(1, OTHER), Wait(at(30))), (31, None, Create), (31, new(2), Wait(at(61))), (61, new(2), Take)],
        ),
        (
            "it is stolen by hand, for nobody",
            vec![
                (0, held(1, OTHER), Wait(at(30))),
                (29, with(held(2, OTHER), |lease| lease.holder = None), Wait(at(59))),
                (59, with(held(2, OTHER), |lease| lease.holder = None), Take),
            ],
        ),
        (
            "it is stolen by hand, for this one",
            vec![
                (0, held(1, OTHER), Wait(at(30))),
                (29, with(held(2, ME), |lease| lease.renewed = Some(time(1))), Wait(at(59))),
            ],
        ),
        (
            "its duration is shortened by hand",
            vec![(0, with(held(1, OTHER), |lease| lease.duration = Some(LET_GO)), Wait(at(30)))],
        ),
        (
            "its holder was told a longer duration than this one",
            vec![(0, with(held(1, OTHER), |lease| lease.duration = Some(seconds(60))), Wait(at(60)))],
        ),
    ];
    for (name, looks) in table {
        let mut candidate = candidate();
        for (second, seen, step) in looks {
            assert_eq!(candidate.look(seen.as_ref(), at(second)), step, "{name}, at {second} s");
        }
    }
}

#[test]
fn times_in_the_lease_decide_nothing() {
    for renewed in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        let lease = with(held(1, OTHER), |lease| lease.renewed = Some(renewed));
        assert_eq!(candidate().look(lease.as_ref(), at(0)), Step::Wait(at(30)), "{renewed}");
    }
}

#[test]
fn a_lease_of_the_same_name_and_version_is_another_one() {
    let mut candidate = candidate();
    candidate.look(held(1, OTHER).as_ref(), at(0));
    let again = with(held(1, OTHER), |lease| lease.version.uid = "another".to_owned());
    assert_eq!(candidate.look(again.as_ref(), at(29)), Step::Wait(at(59)));
}

#[test]
fn a_take_whose_answer_was_lost_is_taken_up() {
    let mut candidate = candidate();
    candidate.look(let_go(1).as_ref(), at(0));
    candidate.asks(time(2));
    assert_eq!(candidate.look(held(2, ME).as_ref(), at(1)), Step::Take);
    candidate.asks(time(9));
    assert_eq!(candidate.look(held(3, ME).as_ref(), at(1)), Step::Wait(at(31)), "of another time, it is no answer");
}

#[test]
fn who_leads_gives_way_to_any_other_name() {
    let table = [
        (held(7, ME), Claim::Mine),
        (None, Claim::Gone),
        (held(7, OTHER), Claim::Lost(Some(OTHER.to_owned()))),
        (let_go(7), Claim::Lost(None)),
        (new(7), Claim::Mine),
    ];
    for (seen, expected) in table {
        assert_eq!(claim(ME, seen.as_ref()), expected, "{seen:?}");
    }
}

#[test]
fn terms_that_would_let_two_lead_are_refused() {
    let table = [
        ((30, 10, 2), Ok(true)),
        ((29, 10, 2), Ok(false)),
        ((2, 1, 0), Err(BadTerms::DeadlineTooShort)),
        ((15, 15, 2), Err(BadTerms::LeaseTooShort)),
        ((10, 15, 2), Err(BadTerms::LeaseTooShort)),
        ((15, 3, 2), Err(BadTerms::DeadlineTooShort)),
        ((15, 4, 2), Ok(false)),
    ];
    for ((lease, deadline, retry), expected) in table {
        let terms = Terms::new(seconds(lease), seconds(deadline), seconds(retry));
        assert_eq!(terms.map(|terms| terms.covers_requests()), expected, "{lease} {deadline} {retry}");
    }
}

/// All of the rules together: whatever is done to the Lease by hand, and however the two are stopped and continued, no
/// moment comes in which both may write.
mod together {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Happening {
        /// Time passes, of which this much is spent by replica 0 or 1 alone.
        Runs(usize),
        Passes(u64),
        Delete,
        Steal(Option<usize>),
        MakeNew,
        Restart(usize),
        LetGo(usize),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            8 => (0..2_usize).prop_map(Happening::Runs),
            4 => (0..12_u64).prop_map(Happening::Passes),
            1 => Just(Happening::Passes(100)),
            1 => Just(Happening::Delete),
            1 => proptest::option::of(0..2_usize).prop_map(Happening::Steal),
            1 => Just(Happening::MakeNew),
            1 => (0..2_usize).prop_map(Happening::Restart),
            1 => (0..2_usize).prop_map(Happening::LetGo),
        ]
    }

    enum Replica {
        Follows(Candidate),
        Leads { until: Moment, version: Version },
    }

    struct Play {
        lease: Option<Seen>,
        replicas: [Replica; 2],
        /// Names are never used twice.
        names: [String; 2],
        version: u32,
        now: Moment,
    }

    impl Play {
        fn new() -> Self {
            let names = ["0-0".to_owned(), "1-0".to_owned()];
            let replicas = names.clone().map(|name| Replica::Follows(Candidate::new(name, terms())));
            Self { lease: None, replicas, names, version: 0, now: at(0) }
        }

        fn write(&mut self, holder: Option<String>, duration: Duration) -> Version {
            self.version += 1;
            let uid = self.lease.as_ref().map_or_else(|| self.version.to_string(), |lease| lease.version.uid.clone());
            let version = Version { uid, resource_version: self.version.to_string() };
            let renewed = Some(time(i64::from(self.version)));
            self.lease = Some(Seen { version: version.clone(), holder, duration: Some(duration), renewed });
            version
        }

        fn restart(&mut self, which: usize) {
            self.version += 1;
            self.names[which] = format!("{which}-{}", self.version);
            self.replicas[which] = Replica::Follows(Candidate::new(self.names[which].clone(), terms()));
        }

        fn run(&mut self, which: usize) {
            let (now, name) = (self.now, self.names[which].clone());
            let lead = match &mut self.replicas[which] {
                Replica::Follows(candidate) => match candidate.look(self.lease.as_ref(), now) {
                    Step::Wait(_) => return,
                    Step::Create => {
                        self.version += 1;
                        self.lease = new(self.version);
                        return;
                    }
                    Step::Take => true,
                },
                Replica::Leads { until, .. } if now >= *until => false,
                Replica::Leads { version, .. } => {
                    let same = self.lease.as_ref().is_some_and(|lease| lease.version == *version);
                    same || !matches!(claim(&name, self.lease.as_ref()), Claim::Lost(_))
                }
            };
            if lead {
                let version = self.write(Some(name), terms().lease());
                self.replicas[which] = Replica::Leads { until: now.after(terms().renew_deadline()), version };
            } else {
                self.restart(which);
            }
        }

        fn happens(&mut self, happening: Happening) {
            match happening {
                Happening::Runs(which) => self.run(which),
                Happening::Passes(time) => self.now = self.now.after(seconds(time)),
                Happening::Delete => self.lease = None,
                Happening::Steal(whom) if self.lease.is_some() => {
                    let renewed = self.lease.as_ref().and_then(|lease| lease.renewed);
                    self.write(whom.map(|whom| self.names[whom].clone()), terms().lease());
                    self.lease = with(self.lease.take(), |lease| lease.renewed = renewed);
                }
                Happening::MakeNew if self.lease.is_none() => {
                    self.version += 1;
                    self.lease = new(self.version);
                }
                Happening::Steal(_) | Happening::MakeNew => {}
                Happening::Restart(which) => self.restart(which),
                Happening::LetGo(which) => {
                    if let Replica::Leads { version, .. } = &self.replicas[which]
                        && self.lease.as_ref().is_some_and(|lease| lease.version == *version)
                    {
                        self.write(None, LET_GO);
                        self.restart(which);
                    }
                }
            }
        }

        fn writers(&self) -> usize {
            let may_write = |replica: &&Replica| matches!(replica, Replica::Leads { until, .. } if self.now < *until);
            self.replicas.iter().filter(may_write).count()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_two_write(happenings in proptest::collection::vec(happening(), 0..60)) {
            let mut play = Play::new();
            for happening in happenings {
                play.happens(happening.clone());
                prop_assert!(play.writers() < 2, "after {happening:?}, at {:?}", play.now);
            }
        }
    }
}
