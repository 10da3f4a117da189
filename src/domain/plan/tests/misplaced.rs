//! Connections of the whole organization where a project is wanted.

use super::*;
use crate::domain::connection::KmsScope;

fn misplaced() -> KmsConnection {
    KmsConnection { project_id: None, ..held() }
}

#[test]
fn a_connection_is_misplaced_where_a_project_is_wanted_and_none_is_on_record() {
    let project = spec().scope;
    let other = || KmsScope::Project("another".to_owned());
    let on_record = |project_id: Option<&str>, id: &str| ConnectionStatus {
        id: id.to_owned(),
        project_id: project_id.map(str::to_owned),
        ..ConnectionStatus::default()
    };
    let here = project.project_id();
    for (connection, wanted, recorded, expected) in [
        (held(), &project, None, false),
        (misplaced(), &KmsScope::Organization, None, false),
        (misplaced(), &project, None, true),
        (misplaced(), &project, Some(on_record(None, ID)), true),
        // It was in the project: the server has only ceased to say so.
        (misplaced(), &project, Some(on_record(here, ID)), false),
        (misplaced(), &other(), Some(on_record(here, ID)), true),
        (misplaced(), &project, Some(on_record(here, "another")), true),
    ] {
        assert_eq!(is_misplaced(&connection, wanted, recorded.as_ref()), expected, "{wanted} {recorded:?}");
    }
}

#[test]
fn what_is_misplaced_is_deleted_without_a_word_and_not_made_again() {
    let recorded = recorded();
    for recorded in [None, Some(&recorded)] {
        let (steps, tells, reason) = planned(&good("one"), recorded, &Remote::Misplaced(misplaced()));
        assert_eq!((steps, tells), (vec!["delete connection".to_owned()], vec![]));
        assert_eq!(reason, Reason::KmsRejected);
        let (steps, tells, reason) = planned(&good("one"), recorded, &Remote::NoProjects);
        assert_eq!((steps.len(), tells.len(), reason), (0, 0, Reason::KmsRejected));
    }
    for policy in [None, Some(DeletionPolicy::Delete), Some(DeletionPolicy::Retain)] {
        let plan = deletion(policy, None, &Remote::Misplaced(misplaced()));
        assert_eq!((shown(&plan).0, plan.release), (vec!["delete connection".to_owned()], true), "{policy:?}");
        let plan = deletion(policy, None, &Remote::NoProjects);
        assert_eq!((plan.stages.len(), plan.release), (0, true), "{policy:?}");
    }
}

#[test]
fn the_words_name_both_ways_out() {
    let judgement = no_projects(&spec());
    for word in ["too old", "whole organization", "reconcile-requested-at", "organizationScope: true"] {
        assert!(judgement.message.contains(word), "{}", judgement.message);
    }
    let denied = Judgement::new(Reason::KmsPermissionDenied, "It may not delete.");
    let left = left_behind(&denied);
    assert_eq!(left.reason, denied.reason);
    assert!(left.message.contains("whole organization") && left.message.ends_with(&denied.message), "{left:?}");
}
