use super::*;
use crate::domain::{
    credential::Credentials,
    ownership::OwnerId,
    verdict::{Accepted, NoVerdict, Refusal, Verdict},
};
use serde_json::json;

mod shown;
mod times;

const INTERVAL: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn spec() -> ConnectionSpec {
    let raw = json!({
        "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
        "secretRef": {"name": "bitbucket-token"},
        "scopes": {"additional": ["read:repository:bitbucket"]},
        "contact": "#team-a",
    });
    crate::domain::spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
}

fn token(word: &str, verdict: Verdict) -> Token {
    let credentials = Credentials::parse("bot@example.com", word).expect("good values");
    let fingerprint = credentials.fingerprint(&OwnerId::new("cluster").expect("good id"));
    Token::Asked { verdict, fingerprint, email: "bot@example.com".to_owned() }
}

fn good(word: &str) -> Token {
    let granted = Some(crate::domain::scopes::parse_header("read:user, read:repository"));
    token(word, Verdict::Accepted(Accepted { granted, ..Accepted::default() }))
}

fn down(word: &str) -> Token {
    token(word, Verdict::Unknown(NoVerdict::Unavailable("HTTP 503".to_owned())))
}

fn synced(reason: Reason) -> Judgement {
    Judgement::new(reason, "words")
}

/// A pass that looks at everything, `second` seconds after the beginning.
struct World {
    status: BitbucketConnectionStatus,
    generation: i64,
    /// The interval that holds, if it isn't the spec's.
    forced: Option<Span>,
    /// `spec.workspaces`.
    workspaces: &'static [&'static str],
}

impl World {
    fn new() -> Self {
        Self { status: BitbucketConnectionStatus::default(), generation: 1, forced: None, workspaces: &[] }
    }

    /// A world that is Ready since the beginning, with a token that was declared to end then.
    fn ready(expires: &str) -> Self {
        let mut world = Self::new();
        world.looks(0, &good("one"), "1", Some(expires), synced(Reason::InSync));
        world
    }

    fn looks(&mut self, second: i64, token: &Token, version: &str, expires: Option<&str>, synced: Judgement) -> Report {
        let verdict = matches!(token, Token::Asked { verdict: Verdict::Accepted(_) | Verdict::Refused(_), .. });
        self.looks_with(verdict.then(|| at(second)), second, token, version, expires, synced)
    }

    /// A look whose verdict is of another time.
    fn looks_with(
        &mut self,
        verified_at: Option<Timestamp>,
        second: i64,
        token: &Token,
        version: &str,
        expires: Option<&str>,
        synced: Judgement,
    ) -> Report {
        self.passes(
            second,
            Some(Findings {
                token: Some(token),
                secret_version: (!matches!(token, Token::NoSecret)).then_some(version),
                declared: Declared { secret: expires, ..Declared::default() },
                synced,
                connection: Some(ConnectionStatus::default()),
                tells: &[],
                pending: &[],
                verified_at,
                requested: None,
                release: false,
            }),
        )
    }

    fn waits(&mut self, second: i64) -> Report {
        self.passes(second, None)
    }

    fn rests(&mut self, second: i64) -> Report {
        let (spec, before) = (spec(), self.status.clone());
        let generation = Some(self.generation);
        let pass = Pass {
            now: at(second),
            uid: "uid",
            generation,
            before: &before,
            spec: Some(&spec),
            interval: spec.interval,
            started: Timestamp::MIN,
            findings: None,
        };
        let report = suspended(&pass);
        self.status = report.status.clone();
        report
    }

    fn passes(&mut self, second: i64, findings: Option<Findings<'_>>) -> Report {
        let mut spec = spec();
        spec.workspaces = self.workspaces.iter().map(|slug| (*slug).to_owned()).collect();
        let before = self.status.clone();
        let pass = Pass {
            now: at(second),
            uid: "uid",
            generation: Some(self.generation),
            before: &before,
            spec: Some(&spec),
            interval: self.forced.unwrap_or(spec.interval),
            started: Timestamp::MIN,
            findings,
        };
        let report = report(&pass);
        self.status = report.status.clone();
        report
    }

    fn reason(&self, kind: &str) -> &str {
        conditions::find(&self.status.conditions, kind).map_or("", |condition| condition.reason.as_str())
    }

    fn has(&self, kind: &str) -> bool {
        conditions::find(&self.status.conditions, kind).is_some()
    }
}

fn told(report: &Report) -> Vec<&'static str> {
    report.announcements.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn nothing_new_writes_nothing() {
    let mut world = World::ready("2027-06-01");
    let before = world.status.clone();
    let report = world.waits(100);
    assert_eq!((world.status.clone(), told(&report)), (before.clone(), vec![]), "time alone changes nothing");
    // The verdict of then, shared with another object, and an instance that was looked at again.
    let report = world.looks(0, &good("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!((world.status, told(&report)), (before, vec![]));
}

#[test]
fn another_key_of_the_same_secret_is_another_token() {
    let refused = |word: &str| token(word, Verdict::Refused(Refusal::InvalidOrExpired));
    let missing = Token::NoKey("other".to_owned());
    for wrong in [refused("a-password"), down("a-password"), missing] {
        let mut world = World::ready("2027-06-01");
        assert!(world.status.token.as_ref().is_some_and(|token| token.fingerprint.is_some()));
        let first_seen = world.status.token.as_ref().and_then(|token| token.first_seen_time.clone());
        // The Secret is as it was.
        world.looks(10, &wrong, "1", Some("2027-06-01"), synced(Reason::InSync));
        let now = world.status.token.clone().expect("a token in the status");
        assert_eq!(now.fingerprint, None, "{wrong:?}: it isn't the one that was accepted, nor is its own published");
        assert_ne!(now.first_seen_time, first_seen, "{wrong:?}");
        assert!(world.status.account.is_none(), "{wrong:?}: whose it is isn't known");
        let mut same = World::ready("2027-06-01");
        same.looks(10, &down("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
        assert!(same.status.token.is_some_and(|token| token.fingerprint.is_some()), "an outage changes nothing");
    }
}

#[test]
fn where_there_is_no_token_none_ends() {
    let missing = Token::NoKey("token".to_owned());
    let expiry = |world: &World| {
        let says = conditions::recorded(&world.status.conditions, types::EXPIRING_SOON).expect("a condition");
        let token = world.status.token.as_ref();
        (says.reason, token.is_some_and(|token| token.expires_at.is_some() || token.expiry_source.is_some()))
    };
    let mut never = World::new();
    never.looks(0, &missing, "1", None, synced(Reason::InSync));
    assert_eq!(expiry(&never), (Reason::NotEvaluated, false));
    never.looks(10, &good("one"), "2", None, synced(Reason::InSync));
    assert_eq!(expiry(&never), (Reason::OutsideWindow, true));
    never.looks(20, &missing, "3", None, synced(Reason::InSync));
    assert_eq!(expiry(&never), (Reason::NotEvaluated, false), "what was said of the token before is not repeated");
    // A date is what somebody wrote, whatever stands beside it.
    never.looks(30, &missing, "4", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(expiry(&never), (Reason::OutsideWindow, true));
}

#[test]
fn a_verification_costs_one_status_and_no_event() {
    let mut world = World::ready("2027-06-01");
    let report = world.looks(INTERVAL, &good("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(world.status.last_verified_time, Some(Time(at(INTERVAL))));
    assert!(world.status.next_verification_time.as_ref().is_some_and(|next| next.0 >= at(2 * INTERVAL)));
    assert_eq!(told(&report), Vec::<&str>::new());
}

#[test]
fn an_outage_leaves_ready_alone_until_it_is_stale() {
    let mut world = World::ready("2027-06-01");
    let report = world.looks(INTERVAL, &down("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!((world.reason(types::READY), report.class), ("Succeeded", Some(Class::Transient)));
    assert_eq!(world.reason(types::CREDENTIALS_VALID), "BitbucketUnavailable");
    assert!(!world.has(types::RECONCILING) && !world.has(types::STALLED));
    assert_eq!(world.status.next_verification_time, None, "a restart tries again at once");
    assert_eq!(report.wake_at, Some(at(3 * INTERVAL)), "and it is looked at when it turns stale");
    let before = world.status.clone();
    world.looks(INTERVAL + 60, &down("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(world.status, before, "further attempts write nothing");
    world.looks(3 * INTERVAL, &down("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(world.reason(types::READY), "VerificationStale");
    let report = world.looks(3 * INTERVAL + 60, &good("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!((world.reason(types::READY), told(&report)), ("Succeeded", vec!["Recovered"]));
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_ready_for_longer() {
    let mut world = World::ready("2027-03-01");
    let days = -2 * 86_400;
    world.looks(days, &down("one"), "1", None, synced(Reason::InSync));
    assert_eq!(world.reason(types::READY), "Succeeded");
    let report = world.looks(days + 60, &down("one"), "1", None, synced(Reason::InSync));
    assert_eq!(report.wake_at, Some(at(days + 3 * INTERVAL)), "not when the clock of then has come again");
    world.looks(days + 3 * INTERVAL, &down("one"), "1", None, synced(Reason::InSync));
    assert_eq!(world.reason(types::READY), "VerificationStale");

    // Nor does a verdict that others got before put off the next.
    let mut world = World::ready("2027-03-01");
    let report = world.looks_with(Some(at(0)), days, &good("one"), "1", None, synced(Reason::KmsPermissionDenied));
    assert!(report.wake_at.is_some_and(|at_last| at_last <= at(days + INTERVAL * 11 / 10)), "{:?}", report.wake_at);

    // Nor is it looked at later, where nobody needs to be asked.
    let mut world = World::ready("2027-03-01");
    let report = world.looks(days, &Token::NoSecret, "1", None, synced(Reason::InSync));
    assert!(report.wake_at.is_some_and(|at_last| at_last <= at(days + INTERVAL * 11 / 10)), "{:?}", report.wake_at);

    let mut world = World::ready("2027-03-01");
    world.status.connection = Some(written());
    world.rests(days);
    assert_eq!(world.reason(types::READY), "Succeeded");
    world.rests(days + 3 * INTERVAL);
    assert_eq!(world.reason(types::READY), "Suspended");
}

#[test]
fn an_outage_of_what_was_never_ready_is_in_progress() {
    let mut world = World::new();
    world.looks(0, &down("one"), "1", None, Judgement::not_evaluated("later"));
    assert_eq!(world.reason(types::READY), "BitbucketUnavailable");
    assert!(world.has(types::RECONCILING));
    // Nor was a changed spec ever Ready.
    let mut world = World::ready("2027-06-01");
    world.generation = 2;
    world.looks(60, &good("one"), "1", Some("2027-06-01"), synced(Reason::KmsUnavailable));
    assert_eq!(world.reason(types::READY), "KmsUnavailable");
}

#[test]
fn a_rotation_during_an_outage_keeps_ready_and_publishes_nothing() {
    let mut world = World::ready("2027-06-01");
    let fingerprint = world.status.token.as_ref().and_then(|token| token.fingerprint.clone());
    let report = world.looks(60, &down("two"), "2", Some("2027-06-01"), synced(Reason::CredentialsNotVerified));
    assert_eq!(world.reason(types::READY), "Succeeded");
    assert_eq!(told(&report), ["ExpiryNotUpdated"]);
    let token = world.status.token.clone().expect("a token");
    assert!(fingerprint.is_some());
    assert_eq!((token.fingerprint, token.secret_version.as_deref()), (None, Some("2")), "nobody accepted it yet");
    let report = world.looks(120, &good("two"), "2", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(told(&report), Vec::<&str>::new(), "it was told already");
}

#[test]
fn whose_a_token_is_stands_in_the_status_even_if_its_email_is_wrong() {
    use crate::domain::verdict::Account;
    let account = Account { username: Some("ada".to_owned()), ..Account::default() };
    let wrong_email = token("two", Verdict::Refused(Refusal::WrongEmail(Some(account))));
    let mut world = World::ready("2027-06-01");
    world.looks(60, &wrong_email, "2", Some("2027-05-01"), synced(Reason::CredentialsNotPushed));
    let told = |world: &World| world.status.account.clone().and_then(|account| account.username);
    assert_eq!(told(&world).as_deref(), Some("ada"));
    assert!(world.status.conditions.iter().all(|condition| !condition.message.contains("ada")), "but in no message");
    world.waits(120);
    assert_eq!(told(&world).as_deref(), Some("ada"));
    world.looks(180, &token("three", Verdict::Refused(Refusal::Dead)), "3", None, synced(Reason::CredentialsNotPushed));
    assert_eq!(told(&world), None, "of another token nothing is known");
}

#[test]
fn a_refused_token_is_told_once() {
    let mut world = World::ready("2027-06-01");
    let refused = || token("one", Verdict::Refused(Refusal::InvalidOrExpired));
    let report = world.looks(60, &refused(), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(told(&report), ["CredentialsRejected"]);
    assert!(world.has(types::STALLED));
    let report = world.looks(INTERVAL + 60, &refused(), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(told(&report), Vec::<&str>::new());
    let report = world.looks(INTERVAL + 120, &good("two"), "2", Some("2027-05-01"), synced(Reason::InSync));
    assert_eq!(told(&report), ["Recovered"]);
}

#[test]
fn the_end_of_a_token_is_told_threshold_by_threshold() {
    let end = at(20 * 86_400).to_string();
    let mut world = World::new();
    let report = world.looks(0, &good("one"), "1", Some(&end), synced(Reason::InSync));
    assert_eq!(told(&report), ["TokenExpiring"], "30 days are passed already");
    assert_eq!(report.wake_at, world.status.next_verification_time.as_ref().map(|time| time.0));
    assert_eq!(told(&world.waits(86_400)), Vec::<&str>::new());
    let report = world.waits(19 * 86_400);
    assert_eq!(told(&report), ["TokenExpiring"], "14, 7, 3 and 1 days were passed at once: one event");
    assert_eq!(report.wake_at.min(Some(at(20 * 86_400))), report.wake_at);
    let report = world.waits(20 * 86_400);
    assert_eq!((told(&report), world.reason(types::EXPIRING_SOON)), (vec!["TokenExpired"], "Expired"));
    assert_eq!(world.reason(types::READY), "Succeeded", "what is observed outranks what is declared");
    assert_eq!(told(&world.waits(21 * 86_400)), Vec::<&str>::new());
}

#[test]
fn a_refused_token_past_its_end_has_expired_and_is_told_once() {
    let end = at(60).to_string();
    let mut world = World::new();
    world.looks(0, &good("one"), "1", Some(&end), synced(Reason::InSync));
    let refused = token("one", Verdict::Refused(Refusal::InvalidOrExpired));
    let report = world.looks(120, &refused, "1", Some(&end), synced(Reason::InSync));
    assert_eq!((world.reason(types::CREDENTIALS_VALID), told(&report)), ("TokenExpired", vec!["TokenExpired"]));
}

#[test]
fn dates_that_cannot_be_right_are_told() {
    let mut world = World::ready("2027-06-01");
    let report = world.looks(60, &good("two"), "2", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(told(&report), ["ExpiryNotUpdated"]);
    let report = world.looks(120, &good("two"), "3", Some("2040-01-01"), synced(Reason::InSync));
    assert_eq!(told(&report), ["ExpiryImplausible"]);
    assert_eq!(
        told(&world.looks(180, &good("two"), "3", Some("2040-01-01"), synced(Reason::InSync))),
        Vec::<&str>::new()
    );
    let report = world.looks(240, &good("two"), "4", Some("next spring"), synced(Reason::InSync));
    assert_eq!((told(&report), world.reason(types::EXPIRING_SOON)), (vec!["ExpiryInvalid"], "ExpiryInvalid"));
    assert_eq!(world.status.token.as_ref().and_then(|token| token.expires_at.clone()), None, "no silent fallback");
    let report = world.looks(300, &good("three"), "5", None, synced(Reason::InSync));
    let token = world.status.token.clone().expect("a token");
    assert_eq!((told(&report), token.expiry_source.as_deref()), (vec![], Some("Inferred")));
    assert_eq!(token.expires_at, Some(Time(at(300 + 365 * 86_400))));
}

#[test]
fn a_secret_that_is_gone_leaves_what_is_known() {
    let mut world = World::ready("2027-06-01");
    let report = world.looks(60, &Token::NoSecret, "", None, synced(Reason::InSync));
    assert_eq!((world.reason(types::READY), told(&report)), ("SecretNotFound", vec![]));
    assert!(world.has(types::RECONCILING), "it is waited for");
    let token = world.status.token.clone().expect("a token");
    assert_eq!((token.secret_version, token.expires_at.is_some()), (None, true));
    let report = world.looks(120, &good("one"), "9", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!(told(&report), Vec::<&str>::new(), "the same token is no rotation");
    assert_eq!(world.status.token.and_then(|token| token.first_seen_time), Some(Time(at(0))));
}

#[test]
fn letting_go_is_no_recovery() {
    let mut world = World::ready("2027-06-01");
    world.looks(10, &good("one"), "1", Some("2027-06-01"), synced(Reason::NameConflict));
    let report = world.passes(
        20,
        Some(Findings {
            token: None,
            secret_version: None,
            declared: Declared::default(),
            synced: Judgement::not_evaluated("the object is being deleted"),
            connection: None,
            tells: &[],
            pending: &[],
            verified_at: None,
            requested: None,
            release: true,
        }),
    );
    assert_eq!(told(&report), Vec::<&str>::new());
}

/// What was written once: by it is known that the object was Ready.
fn written() -> ConnectionStatus {
    ConnectionStatus { token_fingerprint: Some("one".to_owned()), ..ConnectionStatus::default() }
}

#[test]
fn a_suspended_object_stays_as_it_was_for_three_intervals() {
    let mut world = World::ready("2027-06-01");
    let before = world.status.clone();
    world.generation = 2;
    let report = world.rests(60);
    assert_eq!((told(&report), report.class, report.wake_at.is_some()), (vec![], None, true));
    assert_eq!(world.status.observed_generation, Some(2));
    assert_eq!(world.status.conditions[..4], before.conditions[..4], "with the generation that they were judged at");
    assert_eq!(world.status.next_verification_time, None);
    let quiet = world.status.clone();
    world.rests(3 * INTERVAL - 1);
    assert_eq!(world.status, quiet, "time alone writes nothing");
    let report = world.rests(3 * INTERVAL);
    assert_eq!((world.reason(types::READY), told(&report)), ("Suspended", vec![]));
    assert_eq!(world.reason(types::SYNCED), "InSync");
    assert!(!world.has(types::RECONCILING) && !world.has(types::STALLED));
    world.generation = 3;
    let report = world.looks(4 * INTERVAL, &good("one"), "1", Some("2027-06-01"), synced(Reason::InSync));
    assert_eq!((world.reason(types::READY), told(&report)), ("Succeeded", vec![]), "to go on is no recovery");
}

#[test]
fn a_suspended_object_is_woken_when_its_ready_becomes_a_guess() {
    // No expiry that changes anything before.
    let mut world = World::ready("2099-01-01");
    assert_eq!(world.rests(60).wake_at, Some(at(3 * INTERVAL)));
    assert_ne!(world.rests(3 * INTERVAL).wake_at, Some(at(3 * INTERVAL)), "once");
}

#[test]
fn suspended_is_told_at_once_of_what_never_was_ready() {
    let mut world = World::new();
    world.status.observed_generation = Some(crate::api::UNPROCESSED);
    let report = world.rests(0);
    assert_eq!((world.reason(types::READY), world.reason(types::SYNCED)), ("Suspended", "NotEvaluated"));
    assert_eq!((world.status.observed_generation, told(&report)), (Some(1), vec![]));
    assert!(!world.has(types::RECONCILING) && !world.has(types::STALLED));
    assert_eq!(report.wake_at, None);
    // Refused from the beginning.
    let refused = || token("one", Verdict::Refused(Refusal::InvalidOrExpired));
    let mut world = World::new();
    world.looks(0, &refused(), "1", None, Judgement::not_evaluated("later"));
    world.rests(60);
    assert_eq!(world.reason(types::READY), "Suspended");
    assert!(!world.has(types::STALLED));
    assert_eq!(world.reason(types::CREDENTIALS_VALID), "CredentialsRejected");
    // Refused after a while in which it was Ready.
    let mut world = World::ready("2027-06-01");
    world.looks(60, &refused(), "1", Some("2027-06-01"), synced(Reason::InSync));
    world.status.connection = Some(written());
    world.rests(120);
    assert_eq!(world.reason(types::READY), "CredentialsRejected");
    assert!(world.has(types::STALLED));
    world.rests(60 + 3 * INTERVAL);
    assert_eq!(world.reason(types::READY), "Suspended");
    assert!(!world.has(types::STALLED));
}

#[test]
fn the_end_of_a_token_draws_near_while_its_object_is_suspended() {
    let end = at(20 * 86_400).to_string();
    let mut world = World::new();
    world.looks(0, &good("one"), "1", Some(&end), synced(Reason::InSync));
    assert_eq!(told(&world.rests(60)), Vec::<&str>::new(), "30 days were told before");
    world.rests(3 * INTERVAL);
    let report = world.rests(86_400);
    assert_eq!((told(&report), report.wake_at), (vec![], Some(at(6 * 86_400))));
    assert_eq!(told(&world.rests(6 * 86_400)), ["TokenExpiring"]);
    let report = world.rests(20 * 86_400);
    assert_eq!((told(&report), world.reason(types::EXPIRING_SOON)), (vec!["TokenExpired"], "Expired"));
    assert_eq!(told(&world.rests(21 * 86_400)), Vec::<&str>::new());
}
