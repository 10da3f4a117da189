//! Which workspaces a token reaches. Scopes are not reach: a token may have every scope, and see nothing.

use std::collections::BTreeSet;

use super::{
    place::Place,
    scopes::Scope,
    verdict::{Accepted, NoVerdict, Reach},
};

/// Most workspaces that a status shows.
const SHOWN_MAX: usize = 100;
/// Most workspaces that a message names.
const NAMED_MAX: usize = 10;

/// Whether Bitbucket would say which workspaces the token reaches.
pub fn may_be_asked(accepted: &Accepted) -> bool {
    accepted.granted.as_ref().is_some_and(|granted| granted.contains(&Scope::read_workspace()))
}

/// How reach compares with what a spec wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All are reached, or none are wanted.
    Reached,
    /// Some are not; the text says which, and what to do.
    Missing(String),
    /// Nobody knows; the text says why.
    Unknown(String),
}

/// Compares reach with the wanted workspaces.
pub fn compare(wanted: &BTreeSet<String>, accepted: &Accepted, place: Place<'_>) -> Compared {
    if wanted.is_empty() {
        return Compared::Reached;
    }
    match &accepted.reach {
        Reach::Known(reached) => {
            let missing: Vec<_> = wanted.difference(reached).map(String::as_str).collect();
            if missing.is_empty() {
                Compared::Reached
            } else {
                Compared::Missing(missing_text(&missing, reached, place))
            }
        }
        // A scope that is missing says so already, under its own reason.
        Reach::NotAsked => Compared::Unknown("it may not be asked without read:workspace:bitbucket".to_owned()),
        Reach::Unknown(NoVerdict::Unavailable(what)) => Compared::Unknown(what.clone()),
        Reach::Unknown(NoVerdict::Forbidden) => Compared::Unknown("HTTP 403".to_owned()),
        Reach::Unknown(NoVerdict::RateLimited { .. }) => {
            Compared::Unknown("the hourly limit of the account is used up".to_owned())
        }
        Reach::Unknown(NoVerdict::NotYet { .. }) => {
            Compared::Unknown("its turn within the hourly limit of the account has not come yet".to_owned())
        }
    }
}

fn missing_text(missing: &[&str], reached: &BTreeSet<String>, place: Place<'_>) -> String {
    let (which, there) = match missing {
        [one] => (format!("the workspace {one}"), "there"),
        several => (format!("the workspaces {}", several.join(", ")), "to each"),
    };
    let named: Vec<_> = reached.iter().take(NAMED_MAX).map(String::as_str).collect();
    let reaches = match (named.is_empty(), reached.len() > NAMED_MAX) {
        (true, _) => "no workspace at all".to_owned(),
        (false, false) => format!("only {}", named.join(", ")),
        (false, true) => {
            let see = place.all_workspaces().map(|there| format!(" (see {there})")).unwrap_or_default();
            format!("{} and more{see}", named.join(", "))
        }
    };
    format!(
        "The token doesn't reach {which}; it reaches {reaches}. Have its account invited {there}, or correct {}. A token that was limited to one workspace when it was made reaches no other: then make another.",
        place.workspaces()
    )
}

/// What a status shows: of the workspaces that the token reaches those that are wanted, and others up to a limit; and
/// the wanted ones that it doesn't reach.
pub fn shown(wanted: &BTreeSet<String>, reached: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut shown: BTreeSet<_> = wanted.intersection(reached).collect();
    for slug in reached {
        if shown.len() >= SHOWN_MAX {
            break;
        }
        shown.insert(slug);
    }
    (shown.into_iter().cloned().collect(), wanted.difference(reached).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{scopes::parse_header, spec::SecretKeys};

    fn slugs(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn accepted(reach: Reach) -> Accepted {
        Accepted { reach, ..Accepted::default() }
    }

    #[test]
    fn what_is_wanted_must_be_reached() {
        use Compared::*;
        let unknown = |verdict| accepted(Reach::Unknown(verdict));
        let table = [
            (slugs(&[]), accepted(Reach::NotAsked), Reached),
            (slugs(&[]), accepted(Reach::Known(slugs(&[]))), Reached),
            (slugs(&["a"]), accepted(Reach::Known(slugs(&["a", "b"]))), Reached),
            (slugs(&["a"]), unknown(NoVerdict::Unavailable("HTTP 503".to_owned())), Unknown("HTTP 503".to_owned())),
            (slugs(&["a"]), unknown(NoVerdict::Forbidden), Unknown("HTTP 403".to_owned())),
        ];
        for (wanted, accepted, expected) in table {
            assert_eq!(compare(&wanted, &accepted, Place::CommandLine), expected, "{wanted:?} {accepted:?}");
        }
        assert!(
            matches!(compare(&slugs(&["a"]), &accepted(Reach::NotAsked), Place::CommandLine), Unknown(_)),
            "never taken for reached"
        );
    }

    #[test]
    fn what_is_not_reached_is_named_with_what_is() {
        let many: BTreeSet<String> = (10..30).map(|number| format!("w{number}")).collect();
        let table = [
            (
                slugs(&["a"]),
                slugs(&[]),
                "the workspace a; it reaches no workspace at all. Have its account invited there",
            ),
            (
                slugs(&["a", "b", "c"]),
                slugs(&["b"]),
                "the workspaces a, c; it reaches only b. Have its account invited to each",
            ),
            (slugs(&["a"]), many.clone(), "it reaches w10, w11, w12, w13, w14, w15, w16, w17, w18, w19 and more. Have"),
        ];
        for (wanted, reached, words) in table {
            let Compared::Missing(text) = compare(&wanted, &accepted(Reach::Known(reached)), Place::CommandLine) else {
                panic!("{words}")
            };
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn where_all_that_is_reached_is_shown_is_said_only_if_some_are_left_out() {
        let keys = SecretKeys {
            name: "t".to_owned(),
            email: "e".to_owned(),
            token: "t".to_owned(),
            expires_at: "x".to_owned(),
        };
        let reached = |count: usize| (10..10 + count).map(|number| format!("w{number}")).collect::<BTreeSet<_>>();
        let text = |count, place| {
            let compared = compare(&slugs(&["a"]), &accepted(Reach::Known(reached(count))), place);
            if let Compared::Missing(text) = compared { text } else { panic!("{compared:?}") }
        };
        let all = text(NAMED_MAX, Place::Connection(&keys));
        assert!(all.contains("it reaches only w10, ") && all.contains(", w19. Have"), "{all}");
        let some = text(NAMED_MAX + 1, Place::Connection(&keys));
        assert!(some.contains(", w19 and more (see status.workspaces). Have"), "{some}");
    }

    #[test]
    fn a_status_stays_small_and_shows_what_is_wanted() {
        let reached: BTreeSet<String> = (100..300).map(|number| format!("w{number}")).collect();
        let (shown, missing) = shown(&slugs(&["w299", "z"]), &reached);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (100, Some("w299")));
        assert_eq!(missing, ["z"]);
    }

    #[test]
    fn it_takes_a_scope_to_ask() {
        let granted = |header: Option<&str>| Accepted { granted: header.map(parse_header), ..Accepted::default() };
        assert!(may_be_asked(&granted(Some("read:user, read:workspace"))));
        assert!(!may_be_asked(&granted(Some("read:user, admin:workspace"))));
        assert!(!may_be_asked(&granted(None)));
    }
}
