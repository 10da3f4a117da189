//! messages.txt: all words in one file, so that each change of one shows.

use super::{Example, events, instances, keep, of_connections};
use crate::domain::{
    conditions::{Reason, types},
    events::EventReason,
    instance::InstanceReason,
};

const FILE: &str = "src/controller/words/messages.txt";

const HEAD: &str = "\
All that the operator says in conditions, events and plans, made by the code that says it. Written by `make docs`; read the
difference. Each line is a case, and what is said of it. The examples are a BitbucketConnection payments with the Secret
bitbucket-token in the namespace team-a, a ClusterKmsInstance default, and a KmsInstance kms with the Secret or ServiceAccount
kms-login. Today is 2026-03-01.
";

fn conditions(title: &str, examples: &[Example], reasons: &[&str], kinds: &[&str]) -> String {
    let mut text = format!("\n\n==== Conditions of {title}\n");
    for kind in kinds {
        for reason in reasons {
            let mut of = examples.iter().filter(|it| it.condition == *kind && it.reason == *reason).peekable();
            if let Some(first) = of.peek() {
                text.push_str(&format!("\n{kind}={} {reason}\n", first.status.as_str()));
            }
            of.for_each(|it| text.push_str(&format!("- {}: {}\n", it.case, it.message)));
        }
    }
    text
}

fn messages() -> String {
    let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let kinds = [types::CREDENTIALS_VALID, types::SCOPES_SUFFICIENT, types::SYNCED, types::READY, types::EXPIRING_SOON];
    let mut text = HEAD.to_owned();
    text.push_str(&conditions("BitbucketConnection", &of_connections(), &words, &kinds));
    let words: Vec<_> = InstanceReason::ALL.iter().map(|reason| reason.as_str()).chain(["InUse"]).collect();
    let kinds = [types::READY, types::DELETION_WAITING];
    text.push_str(&conditions("KmsInstance and ClusterKmsInstance", &instances::all(), &words, &kinds));
    text.push_str("\n\n==== Events of BitbucketConnection\n");
    let (told, turned) = (events::told(), events::turned());
    for reason in EventReason::ALL {
        for (case, event) in told.iter().filter(|(_, event)| event.reason == *reason) {
            let kind = if event.warning { "Warning" } else { "Normal" };
            text.push_str(&format!("\n{kind} {}\n- {case}: {}\n", reason.as_str(), event.note));
        }
        let repeated: Vec<_> = turned.iter().filter(|(_, event)| event.reason == *reason).collect();
        if let Some((_, event)) = repeated.first() {
            let kind = if event.warning { "Warning" } else { "Normal" };
            let cases = repeated.iter().map(|(case, _)| format!("- {case}: as the condition\n"));
            text.push_str(&format!("\n{kind} {}\n{}", reason.as_str(), cases.collect::<String>()));
        }
    }
    text.push_str("\n\n==== Steps of status.plan\n\n");
    for (case, step) in events::planned() {
        text.push_str(&format!("- {case}: {step}\n"));
    }
    text
}

fn all() -> Vec<Example> {
    of_connections().into_iter().chain(instances::all()).collect()
}

#[test]
fn all_words_are_in_one_file() {
    keep(FILE, &messages());
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut cases: Vec<_> = all().iter().map(|example| example.case).collect();
    cases.sort_unstable();
    let count = cases.len();
    cases.dedup();
    assert_eq!(cases.len(), count);
}

#[test]
fn every_reason_is_told_by_its_conditions() {
    let examples = of_connections();
    for reason in Reason::ALL {
        for condition in reason.conditions() {
            let told = examples.iter().any(|it| it.reason == reason.as_str() && it.condition == *condition);
            assert!(told, "there is no example of {condition} {}", reason.as_str());
        }
        let says = examples.iter().filter(|it| it.reason == reason.as_str());
        says.for_each(|it| {
            assert!(
                reason.conditions().contains(&it.condition),
                "{}: {} is no reason of {}",
                it.case,
                it.reason,
                it.condition
            );
        });
    }
    let examples = instances::all();
    for reason in InstanceReason::ALL {
        assert!(examples.iter().any(|it| it.reason == reason.as_str()), "there is no example of {}", reason.as_str());
    }
}

#[test]
fn messages_are_sentences() {
    for Example { case, message, .. } in all() {
        for sentence in message.split(". ") {
            let lower = sentence.starts_with(char::is_lowercase) && !sentence.starts_with("spec");
            assert!(!lower, "{case} has a sentence that begins so: {sentence}");
        }
        // A command is not ended, because it is copied.
        assert!(message.ends_with('.') || message.contains("kubectl -n"), "{case} ends in the middle: {message}");
        for slip in ["  ", "..", "?.", " ,", " .", "the the", "no the", "Spec."] {
            assert!(!message.contains(slip), "{case} has {slip:?}: {message}");
        }
    }
}
