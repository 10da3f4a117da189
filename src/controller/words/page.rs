//! docs/conditions.md: what each word means, written from what stands next to the enums.

use super::{Example, events, instances, keep, of_connections};
use crate::domain::{
    conditions::{About, Class, Reason, Status, types},
    events::EventReason,
    instance::{InUse, InstanceReason},
};

const FILE: &str = "docs/conditions.md";

const HEAD: &str = "\
# Conditions and events

<!-- Written by `make docs` from the words next to the enums in src/domain; do not edit. -->

Each reason has an anchor of its own, its word in lower case, such as [`conditions.md#tokenexpired`](#tokenexpired): link to
it from alerts. [troubleshooting.md](troubleshooting.md) goes the other way, from what one sees in Bitbucket and in the KMS.

A BitbucketConnection has five conditions. Ready is made of the first three: it is False with the reason and the message of
the first that is False, else Unknown with those of the first that is Unknown, else True.

| condition | asks |
|---|---|
| [CredentialsValid](#credentialsvalid) | does Bitbucket take the token? |
| [ScopesSufficient](#scopessufficient) | may it do what is needed, and does it reach the workspaces? |
| [Synced](#synced) | is the connection in the KMS as the object wants it? |
| [Ready](#ready) | is all of that so? |
| [ExpiringSoon](#expiringsoon) | does the token end soon? True is bad here, and no part of Ready |

Two more are there only while they are true, for tools that know kstatus, such as Flux and `helm --wait`: `Reconciling` and
`Stalled`, with the reason and the message of Ready.

Each reason that is bad news has a class, which says what becomes of the object:

| class | what it asks | kstatus | when it is tried again |
|---|---|---|---|
| waiting | something has to appear | InProgress | when it appears, and every interval |
| stalled | a person has to act | Failed | when the object, its Secret or its instance changes, and every interval: cures happen outside the cluster too |
| transient | nothing; an outage passes | Current if the object was Ready with this spec, until nothing could be verified for three intervals; else InProgress | after 5 seconds, then less and less often up to every 5 minutes, or when the server says |

The interval is `spec.interval`, an hour unless it is set. To have everything looked at now:

```sh
kubectl annotate bbc payments --overwrite connections.kms.hanzo.ai/reconcile-requested-at=\"$(date +%s)\"
```
";

const CONDITIONS: [(&str, &str); 5] = [
    (types::CREDENTIALS_VALID, "Does Bitbucket take the e-mail and the token in the Secret?"),
    (types::SCOPES_SUFFICIENT, "Has the token what the spec requires?"),
    (
        types::SYNCED,
        "Is the connection in the KMS as the object wants it? Of several reasons the first of this table is told.",
    ),
    (types::READY, "All of the three. Of its own it says only what stands here; else it repeats them."),
    (types::EXPIRING_SOON, "Does the token end soon? True is bad, and Ready is not touched by it."),
];

const SEVERAL: &str = "## Reasons of several conditions";

const INSTANCES: &str = "\
## KmsInstance and ClusterKmsInstance

Their condition Ready says whether the operator can log in to the KMS. While it can't, the connections that use the instance
say so in Synced: `KmsUnavailable` where the instance is transient, `KmsInstanceNotReady` otherwise. They go on by themselves.
";

const DELETION: &str = "\
The condition DeletionWaiting is there only while an instance is being deleted that connections still use.
";

const EVENTS: &str = "\
## Events

Events are sent when something changes, once, and never again for the same change, not even after a restart. Their notes end
at 1,024 characters.

| event | type | when |
|---|---|---|
";

const fn class(class: Option<Class>) -> &'static str {
    match class {
        None => "–",
        Some(Class::Waiting) => "waiting",
        Some(Class::Stalled) => "stalled",
        Some(Class::Transient) => "transient",
    }
}

/// What kstatus makes of an object of that reason.
fn kstatus(reason: Reason) -> &'static str {
    match (reason, reason.class()) {
        // Whatever else an object says that is being deleted.
        (Reason::DeletionBlocked, _) => "Terminating",
        (Reason::VerificationStale | Reason::Suspended, _) => "InProgress",
        (_, Some(Class::Waiting)) => "InProgress",
        (_, Some(Class::Stalled)) => "Failed",
        (_, Some(Class::Transient)) => "Current or InProgress",
        (Reason::NotEvaluated, None) => "–",
        (_, None) if reason.conditions() == [types::EXPIRING_SOON] => "–",
        (_, None) => "Current",
    }
}

/// When an object of that reason is looked at again.
fn again(reason: Reason) -> &'static str {
    match (reason, reason.class()) {
        (Reason::VerificationStale, _) => "5 s to 5 min",
        (Reason::Suspended, _) => "when it is resumed",
        (Reason::NotEvaluated, _) => "with what it waits for",
        (_, Some(Class::Waiting)) => "when it is there; interval",
        (_, Some(Class::Stalled)) => "on a change; interval",
        (_, Some(Class::Transient)) => "5 s to 5 min",
        (_, None) if reason.conditions() == [types::EXPIRING_SOON] => "by itself, in time",
        (_, None) => "interval",
    }
}

/// When an instance of that reason is looked at again.
fn instance_again(reason: InstanceReason) -> &'static str {
    match reason.class() {
        None => "on a change",
        Some(Class::Waiting) => "when it is there",
        Some(Class::Stalled) => "on a change; 5 min",
        Some(Class::Transient) => "5 s to 5 min",
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

fn table(rows: impl Iterator<Item = [String; 5]>) -> String {
    let head = "\n| reason | status | class | kstatus | tried again |\n|---|---|---|---|---|\n";
    rows.fold(head.to_owned(), |table, row| table + &format!("| {} |\n", row.join(" | ")))
}

fn row(heading: &str, word: &str, status: Status, of: Option<Class>, kstatus: &str, again: &str) -> [String; 5] {
    let link = format!("[{word}](#{})", anchor(heading));
    [link, status.as_str().to_owned(), class(of).to_owned(), kstatus.to_owned(), again.to_owned()]
}

fn told(heading: &str, where_it_is: &str, about: About, message: &str) -> String {
    let About { meaning, cause, cure } = about;
    // What stands between angle brackets would be taken for HTML.
    let message = message.replace('<', "\\<");
    format!("\n### {heading}\n\n{where_it_is}: {meaning}\n\n- **Cause:** {cause}\n- **Next:** {cure}\n\n> {message}\n")
}

fn example<'a>(examples: &'a [Example], condition: &str, reason: &str) -> &'a Example {
    let of = examples.iter().find(|example| example.condition == condition && example.reason == reason);
    of.unwrap_or_else(|| panic!("there is no example of {condition} {reason}"))
}

fn of_reason(reason: Reason, examples: &[Example]) -> String {
    let (word, status) = (reason.as_str(), reason.status().as_str());
    let places: Vec<_> = reason.conditions().iter().map(|condition| format!("`{condition}={status}`")).collect();
    let message = &example(examples, reason.conditions()[0], word).message;
    told(word, &places.join(", "), reason.about(), message)
}

fn connections() -> String {
    let examples = of_connections();
    let mut text = String::new();
    for (condition, asks) in CONDITIONS {
        let of = Reason::ALL.iter().copied().filter(|reason| reason.conditions().contains(&condition));
        let (own, shared): (Vec<_>, Vec<_>) = of.partition(|reason| reason.conditions().len() == 1);
        let rows = own.iter().chain(&shared).copied();
        let rows = rows.map(|it| row(it.as_str(), it.as_str(), it.status(), it.class(), kstatus(it), again(it)));
        text.push_str(&format!("\n## {condition}\n\n{asks}\n{}", table(rows)));
        own.iter().for_each(|reason| text.push_str(&of_reason(*reason, &examples)));
    }
    text.push_str(&format!("\n{SEVERAL}\n"));
    let shared = Reason::ALL.iter().filter(|reason| reason.conditions().len() > 1);
    shared.for_each(|reason| text.push_str(&of_reason(*reason, &examples)));
    text
}

fn of_instances() -> String {
    let examples = instances::all();
    let heading = |word: &str| format!("Instance: {word}");
    let rows = InstanceReason::ALL.iter().map(|it| {
        let kstatus = match it.class() {
            None => "Current",
            Some(Class::Stalled) => "Failed",
            Some(Class::Waiting | Class::Transient) => "InProgress",
        };
        row(&heading(it.as_str()), it.as_str(), it.status(), it.class(), kstatus, instance_again(*it))
    });
    let mut text = format!("\n{INSTANCES}{}", table(rows));
    for reason in InstanceReason::ALL {
        let Example { status, reason: word, message, .. } = example(&examples, types::READY, reason.as_str());
        text.push_str(&told(&heading(word), &format!("`Ready={}`", status.as_str()), reason.about(), message));
    }
    let Example { condition, status, reason, message, .. } = example(&examples, types::DELETION_WAITING, "InUse");
    let where_it_is = format!("`{condition}={}`", status.as_str());
    text.push_str(&told(&heading(reason), &where_it_is, InUse::about(), message).replacen(
        '\n',
        &format!("\n{DELETION}\n"),
        1,
    ));
    text
}

fn of_events() -> String {
    let all: Vec<_> = events::told().into_iter().chain(events::turned()).map(|(_, event)| event).collect();
    let mut text = format!("\n{EVENTS}");
    for reason in EventReason::ALL {
        let warnings: Vec<_> = all.iter().filter(|event| event.reason == *reason).map(|event| event.warning).collect();
        let kind = match (warnings.contains(&false), warnings.contains(&true)) {
            (true, true) => "Normal, Warning",
            (true, false) => "Normal",
            (false, _) => "Warning",
        };
        let word = reason.as_str();
        let named = format!("<a id=\"event-{}\"></a>{word}", word.to_lowercase());
        text.push_str(&format!("| {named} | {kind} | {} |\n", reason.when()));
    }
    text
}

#[test]
fn the_page_of_conditions_has_the_words_of_the_code() {
    keep(FILE, &(HEAD.to_owned() + &connections() + &of_instances() + &of_events()));
}

#[test]
fn every_link_of_the_page_leads_somewhere() {
    let page = HEAD.to_owned() + &connections() + &of_instances();
    let anchors: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches(['#', ' '])))
        .collect();
    let count = |target: &str| anchors.iter().filter(|anchor| *anchor == target).count();
    for link in page.split("](#").skip(1) {
        let target = link.split(')').next().unwrap_or_default();
        assert_eq!(count(target), 1, "#{target}");
    }
    for reason in Reason::ALL {
        assert_eq!(count(&reason.as_str().to_lowercase()), 1, "{} has one anchor", reason.as_str());
    }
}

/// What the page says of kstatus follows from what the conditions make of it.
#[test]
fn kstatus_is_as_the_conditions_make_it() {
    use crate::domain::conditions::{Children, History, Judgement, readiness};
    let good = |reason| Judgement::new(reason, "");
    for &reason in Reason::ALL.iter().filter(|reason| reason.conditions().contains(&types::SYNCED)) {
        let children = |synced| Children {
            credentials: good(Reason::Authenticated),
            scopes: good(Reason::AllGranted),
            synced: good(synced),
        };
        let it = readiness(&children(reason), History { was_ready: true, stale: false });
        let made = match (it.stalled, it.reconciling, it.ready.reason.status()) {
            _ if reason == Reason::DeletionBlocked => "Terminating",
            _ if reason == Reason::NotEvaluated => "–",
            (true, ..) => "Failed",
            (_, true, _) => "InProgress",
            (_, _, Status::True) if reason.class().is_some() => "Current or InProgress",
            (_, _, Status::True) => "Current",
            (_, _, Status::False | Status::Unknown) => "InProgress",
        };
        assert_eq!(kstatus(reason), made, "{}", reason.as_str());
    }
}
