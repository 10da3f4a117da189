//! What the status shows of the token.

use super::*;

const ENDS: Option<&str> = Some("2027-06-01");

#[test]
fn scopes_are_shown_as_they_were_until_there_is_a_verdict() {
    let required = ["read:repository:bitbucket", "read:user:bitbucket"].map(str::to_owned);
    let mut world = World::new();
    world.looks(0, &down("one"), "1", ENDS, synced(Reason::InSync));
    let known = ScopesStatus { required: required.to_vec(), ..ScopesStatus::default() };
    assert_eq!(world.status.scopes, Some(known.clone()), "what is required is known without a verdict");
    world.looks(60, &good("one"), "1", ENDS, synced(Reason::InSync));
    let granted = ScopesStatus { granted: required.to_vec(), ..known };
    assert_eq!(world.status.scopes, Some(granted.clone()));
    world.looks(120, &down("one"), "1", ENDS, synced(Reason::InSync));
    assert_eq!(world.status.scopes, Some(granted));
}

#[test]
fn workspaces_are_shown_if_some_are_wanted() {
    let reaches = |reach| token("one", Verdict::Accepted(Accepted { reach, ..Accepted::default() }));
    let hanzo = || reaches(Reach::Known(["hanzo".to_owned()].into()));
    let shown = |world: &World| world.status.workspaces.clone().map(|it| (it.reachable, it.missing));
    let mut world = World { workspaces: &["hanzo", "zen"], ..World::new() };
    world.looks(0, &hanzo(), "1", ENDS, synced(Reason::InSync));
    let expected = Some((vec!["hanzo".to_owned()], vec!["zen".to_owned()]));
    assert_eq!(shown(&world), expected);
    let unknown = Reach::Unknown(NoVerdict::Forbidden);
    for second in [60, 120] {
        let nothing_new = if second == 60 { down("one") } else { reaches(unknown.clone()) };
        world.looks(second, &nothing_new, "1", ENDS, synced(Reason::InSync));
        assert_eq!(shown(&world), expected, "{second}: what was known stays");
    }
    world.looks(180, &reaches(Reach::NotAsked), "1", ENDS, synced(Reason::InSync));
    assert_eq!(shown(&world), None, "it may not be asked any more");
    world.workspaces = &[];
    world.looks(240, &hanzo(), "1", ENDS, synced(Reason::InSync));
    assert_eq!(shown(&world), None, "nobody wants to know");
}

#[test]
fn the_threshold_that_was_told_stays_with_its_token() {
    let soon = "2027-01-20";
    let mut world = World::ready(soon);
    let threshold = |world: &World| world.status.token.clone().and_then(|token| token.last_notified_threshold);
    let notified = threshold(&world);
    assert!(notified.is_some());
    for (second, token) in [(60, good("one")), (120, down("one"))] {
        let report = world.looks(second, &token, "1", Some(soon), synced(Reason::InSync));
        assert_eq!((threshold(&world), told(&report)), (notified.clone(), vec![]), "{second}");
    }
    world.looks(180, &good("two"), "2", ENDS, synced(Reason::InSync));
    assert_eq!(threshold(&world), None, "of another token nothing was told");
}
