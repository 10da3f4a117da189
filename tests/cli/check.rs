//! `check`, by the real binary, against the stand-in Bitbucket.

use std::process::Stdio;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sim::{Bitbucket, Fault, Match, Operation, State, Token};
use tokio::{io::AsyncWriteExt as _, process::Command};

pub const EMAIL: &str = "bot@example.com";
const TOKEN: &str = "ATATT3xFfGF0-t0ken/with+signs=";
/// The scopes of the use case SecretScanning.
pub const SCANNING: [&str; 6] = [
    "read:user:bitbucket",
    "read:workspace:bitbucket",
    "read:repository:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
];
/// What most tests want of a token.
const WANTED: [&str; 2] = ["--use-case", "SecretScanning"];

/// A token with just the scopes of the use case SecretScanning, which reaches one workspace.
fn good() -> Token {
    Token::new(EMAIL, TOKEN).scopes(SCANNING).account("example-bot", "Example Bot", "{1}").workspaces(["hanzo"])
}

async fn bitbucket_with(token: Token) -> Bitbucket {
    let bitbucket = Bitbucket::start().await;
    bitbucket.add(token);
    bitbucket
}

/// What a run of `check` left behind.
struct Checked {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Checked {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// What it says, without its line breaks.
    fn words(&self) -> String {
        self.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A run of `check` that is to come.
struct Check<'a> {
    bitbucket: &'a str,
    email: &'a str,
    input: &'a [u8],
    environment: Vec<(&'a str, &'a str)>,
}

impl<'a> Check<'a> {
    fn of(bitbucket: &'a str) -> Self {
        Self { bitbucket, email: EMAIL, input: TOKEN.as_bytes(), environment: Vec::new() }
    }

    fn email(self, email: &'a str) -> Self {
        Self { email, ..self }
    }

    fn input(self, input: &'a [u8]) -> Self {
        Self { input, ..self }
    }

    fn env(mut self, name: &'a str, value: &'a str) -> Self {
        self.environment.push((name, value));
        self
    }

    async fn run(self, flags: &[&str]) -> Checked {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitbucket-connection-operator"));
        let variables = ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
        for name in variables {
            command.env_remove(name);
        }
        command.args(["check", "--email", self.email, "--bitbucket-url", self.bitbucket]).args(flags);
        command.envs(self.environment).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A program that refuses its flags reads nothing.
        let _ = stdin.write_all(self.input).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Checked {
            code: output.status.code().expect("no signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_bitbucket_has_a_diagnosis_and_an_exit_code() {
    let state = |state| good().state(state);
    let kind = |kind: &str| good().credential_type(kind);
    let dead = "with its e-mail and without it: the token itself is dead";
    let app_password = "Bitbucket says that this is an app password; those ended on 2026-07-28";
    let table = [
        ("good", good(), 0, "AllGranted", "Fine: the operator would use this token."),
        (
            "no read:user",
            good().scopes(SCANNING[1..].to_vec()),
            1,
            "ScopesMissing",
            "Missing: read:user:bitbucket (to identify",
        ),
        (
            "few scopes",
            good().scopes(SCANNING[..4].to_vec()),
            1,
            "ScopesMissing",
            "write:webhook:bitbucket (to create and",
        ),
        (
            "a look-alike",
            good().scopes_header("read:account, read:workspace, read:repository"),
            1,
            "ScopesMissing",
            "read:user:bitbucket (to identify the account), which read:account:bitbucket does not include",
        ),
        ("excess", good().scopes([&SCANNING[..], &["read:issue"]].concat()), 0, "WarnOnly", "Fine, with a warning"),
        ("no header", good().hide_scopes(true), 3, "ScopesNotReported", "see whether a proxy removes the header"),
        ("revoked", state(State::Revoked), 2, "CredentialsRejected", dead),
        ("revoked, bare", state(State::RevokedBareString), 2, "CredentialsRejected", dead),
        ("an alias", state(State::NotRegisteredEmail), 2, "CredentialsRejected", "--email is no registered Atlassian"),
        ("wrong button", state(State::NoBitbucketScopes), 2, "CredentialsRejected", "\"Create API token with scopes\""),
        (
            "another account's",
            state(State::BearerOnly),
            2,
            "CredentialsRejected",
            "belongs to the account example-bot (Example Bot), whose e-mail address is not the one in --email",
        ),
        ("an access token", state(State::WrongMechanism), 2, "CredentialsRejected", "probably an access token of a"),
        (
            "a repository's",
            kind("repo_access_token").state(State::BearerOnly),
            2,
            "CredentialsRejected",
            "it is an access token of a repository (repo_access_token)",
        ),
        ("of a kind", kind("workspace_access_token"), 0, "Authenticated", "calls it an access token of a workspace"),
        ("401 app password", state(State::AppPassword(401)), 2, "CredentialsRejected", app_password),
        ("403 app password", state(State::AppPassword(403)), 2, "CredentialsRejected", app_password),
        ("410 app password", state(State::AppPassword(410)), 2, "CredentialsRejected", app_password),
        ("an allow list", state(State::IpBlocked), 3, "BitbucketForbidden", "allow list of the workspace"),
        ("forbidden", state(State::Forbidden), 3, "BitbucketForbidden", "Then check again."),
        ("gone", state(State::EndpointGone), 3, "BitbucketUnavailable", "(HTTP 410). Check again;"),
    ];
    for (what, token, code, reason, words) in table {
        let bitbucket = bitbucket_with(token).await;
        let checked = Check::of(&bitbucket.url()).run(&WANTED).await;
        assert_eq!(checked.code, code, "{what}: {}{}", checked.stdout, checked.stderr);
        assert!(checked.words().contains(&format!("{reason}: ")), "{what}: {}", checked.stdout);
        assert!(checked.words().contains(words), "{what}: {}", checked.stdout);
        assert_eq!(checked.stderr, "", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_says_nothing_against_a_token() {
    for (fault, words) in [
        (
            Fault::RateLimited { retry_after: Some(7) },
            "RateLimited: Bitbucket's hourly limit for this account is used up",
        ),
        (Fault::RateLimited { retry_after: None }, "Check again within the hour"),
        (Fault::status(503), "BitbucketUnavailable: Bitbucket gave no answer about the token (HTTP 503)"),
        (Fault::Html, "(an answer that is no JSON)"),
        (Fault::Reset, "(an answer that breaks off)"),
        (Fault::Redirect("https://evil.example.com/".to_owned()), "(HTTP 307)"),
    ] {
        let bitbucket = bitbucket_with(good()).await;
        bitbucket.fail(fault);
        let checked = Check::of(&bitbucket.url()).run(&WANTED).await;
        assert_eq!(checked.code, 3, "{}", checked.stdout);
        assert!(checked.words().contains(words), "{words}: {}", checked.stdout);
        assert!(
            checked.words().ends_with("nothing is known against this token; check it again."),
            "{}",
            checked.stdout
        );
    }
    // Nobody listens there: ports below 1024 are not given to tests.
    let checked = Check::of("http://127.0.0.1:1/2.0").run(&WANTED).await;
    assert_eq!((checked.code, checked.words().contains("(no connection)")), (3, true), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_to_tick_are_told_where_a_token_has_to_be_made_and_nowhere_else() {
    for (state, needed) in [
        (State::Revoked, true),
        (State::NoBitbucketScopes, true),
        (State::WrongMechanism, true),
        (State::AppPassword(401), true),
        // Another address is all that is wanted.
        (State::NotRegisteredEmail, false),
        (State::BearerOnly, false),
        (State::IpBlocked, false),
        (State::Good, false),
    ] {
        let bitbucket = bitbucket_with(good().state(state.clone())).await;
        let checked = Check::of(&bitbucket.url()).run(&WANTED).await;
        assert_eq!(checked.words().contains("What to tick for a new token"), needed, "{state:?}: {}", checked.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_credentials_is_sent_to_nobody() {
    let bitbucket = bitbucket_with(good()).await;
    let url = bitbucket.url();
    let long = "t".repeat(256);
    for (email, input, code, words) in [
        ("bot", TOKEN.as_bytes(), 2, "--email is no e-mail address"),
        ("x-bitbucket-api-token-auth", TOKEN.as_bytes(), 2, "--email holds a Git user name"),
        (EMAIL, b"Bearer ATATT3x".as_slice(), 2, "The token on standard input holds white space"),
        (EMAIL, b"ATATT3x\xff".as_slice(), 2, "control characters inside the token"),
        (EMAIL, long.as_bytes(), 2, "is longer than the 255 characters that the KMS takes"),
        (EMAIL, b"".as_slice(), 64, "there is no token on standard input"),
        (EMAIL, b" \r\n".as_slice(), 64, "base64 -d | bitbucket-connection-operator check"),
    ] {
        let checked = Check::of(&url).email(email).input(input).run(&WANTED).await;
        assert_eq!(checked.code, code, "{words}: {}{}", checked.stdout, checked.stderr);
        assert!((checked.words() + &checked.stderr).contains(words), "{words}: {}{}", checked.stdout, checked.stderr);
        assert!(!checked.words().contains("new token"), "it may be good: {}", checked.stdout);
    }
    assert_eq!(bitbucket.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn white_space_around_a_token_does_no_harm() {
    let bitbucket = bitbucket_with(good()).await;
    let input = format!("\t{TOKEN}\r\n");
    let checked = Check::of(&bitbucket.url()).email(" bot@example.com ").input(input.as_bytes()).run(&WANTED).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_and_dates_are_checked_as_scopes_are() {
    let past = ["--expires-at", "2026-01-01"];
    let far = ["--expires-at", "2999-01-01"];
    let table: [(&str, Token, &[&str], i32, &str); 7] = [
        ("reached", good(), &["--workspace", "hanzo"], 0, "Workspaces reached: hanzo"),
        ("out of reach", good(), &["--workspace", "hanzo,other"], 1, "WorkspacesMissing: The token doesn't reach the"),
        ("no workspace", good().workspaces([""; 0]), &["--workspace", "hanzo"], 1, "correct --workspace"),
        (
            "past, and works",
            good(),
            &past,
            1,
            "Expired: The token was declared to end on 2026-01-01 (--expires-at). Create",
        ),
        ("past, and refused", good().state(State::Revoked), &past, 2, "TokenExpired: Bitbucket refuses the token"),
        ("too far", good(), &far, 1, "ExpiryImplausible: The declared end of the token, 2999-01-01, is more than"),
        ("undeclared", good(), &[], 0, "Give the real date with --expires-at"),
    ];
    for (what, token, flags, code, words) in table {
        let bitbucket = bitbucket_with(token).await;
        let checked = Check::of(&bitbucket.url()).run(&[&WANTED[..], flags].concat()).await;
        assert_eq!(checked.code, code, "{what}: {}", checked.stdout);
        assert!(checked.words().contains(words), "{what}: {}", checked.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_reach_matters_to_those_who_want_it() {
    let bitbucket = bitbucket_with(good()).await;
    bitbucket.fail_when(Match::op(Operation::Workspaces), Fault::status(503));
    let wanting = Check::of(&bitbucket.url()).run(&["--use-case", "SecretScanning", "--workspace", "hanzo"]).await;
    assert_eq!(wanting.code, 3, "{}", wanting.stdout);
    assert!(wanting.words().contains("did not say which workspaces it reaches (HTTP 503). Check again."));
    let not_wanting = Check::of(&bitbucket.url()).run(&WANTED).await;
    assert_eq!(not_wanting.code, 0, "{}", not_wanting.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn strictness_makes_warnings_findings() {
    let strict = ["--strict", "--use-case", "SecretScanning"];
    let excess = good().scopes([&SCANNING[..], &["read:issue:bitbucket"]].concat());
    let bitbucket = bitbucket_with(excess).await;
    let checked = Check::of(&bitbucket.url()).run(&strict).await;
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(checked.words().contains("read:issue:bitbucket"));
    let named = Check::of(&bitbucket.url()).run(&[&strict[..], &["--scope", "read:issue"]].concat()).await;
    assert_eq!(named.code, 0, "{}", named.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_use_case_it_tells_what_a_token_is_good_for() {
    let bitbucket = bitbucket_with(good()).await;
    let checked = Check::of(&bitbucket.url()).run(&[]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.words().contains("Suffices for SecretScanning"), "{}", checked.stdout);
    assert!(!checked.stdout.contains("excess"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_has_the_documented_shape() {
    let scopes = ["read:user:bitbucket", "read:workspace:bitbucket", "new:thing:bitbucket"];
    let bitbucket = bitbucket_with(good().scopes(scopes)).await;
    let flags = ["-o", "json", "--scope", "read:issue", "--workspace", "hanzo,other", "--expires-at", "2999-01-01"];
    let checked = Check::of(&bitbucket.url()).run(&flags).await;
    let mut report = checked.json();
    assert!(report["expiry"]["daysLeft"].as_i64().is_some_and(|days| days > 300_000), "{report:#}");
    report["expiry"]["daysLeft"] = json!("many");
    for said in report["messages"].as_array_mut().expect("a list") {
        assert!(said["message"].as_str().is_some_and(|text| text.ends_with('.')), "{said}");
        said["message"] = json!("…");
    }
    let scope = |scope: &str, status: &str, buys: Option<&str>, by: &[&str]| json!({"scope": format!("{scope}:bitbucket"), "status": status, "buys": buys, "neededBy": by});
    let expected = json!({
        "outcome": "Findings",
        "exitCode": 1,
        "accepted": true,
        "account": {"uuid": "{1}", "username": "example-bot", "displayName": "Example Bot"},
        "scopes": [
            scope("read:issue", "Missing", Some("read the issue tracker"), &["--scope"]),
            scope("read:user", "Granted", Some("identify the account"), &[]),
            scope("read:workspace", "Granted", Some("list workspaces, projects and members"), &["--workspace"]),
            scope("new:thing", "Excess", None, &[]),
        ],
        "sufficesFor": [],
        "workspaces": {"reached": ["hanzo"], "missing": ["other"]},
        "expiry": {"at": "2999-01-01T00:00:00Z", "daysLeft": "many", "source": "Declared"},
        "messages": [
            {"level": "Good", "reason": "Authenticated", "message": "…"},
            {"level": "Finding", "reason": "ScopesMissing", "message": "…"},
            {"level": "Finding", "reason": "ExpiryImplausible", "message": "…"},
        ],
    });
    assert_eq!(report, expected);
    assert_eq!(checked.code, 1);

    bitbucket.set(TOKEN, State::Revoked);
    let report = Check::of(&bitbucket.url()).run(&["-o", "json", "--scope", "read:issue"]).await.json();
    assert_eq!(
        (&report["outcome"], &report["exitCode"], &report["accepted"]),
        (&json!("Rejected"), &json!(2), &json!(false))
    );
    for nothing in ["account", "sufficesFor", "workspaces"] {
        assert!(report[nothing].is_null() && report.as_object().is_some_and(|fields| fields.contains_key(nothing)));
    }
    assert_eq!(report["scopes"][0]["status"], "Unknown");
    assert_eq!(report["expiry"]["source"], "Inferred");
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_never_for_those_who_want_none() {
    let bitbucket = bitbucket_with(good()).await;
    let url = bitbucket.url();
    for (environment, coloured) in
        [(&[][..], false), (&[("CLICOLOR_FORCE", "1")], true), (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false)]
    {
        let check = environment.iter().fold(Check::of(&url), |check, (name, value)| check.env(name, value));
        let checked = check.run(&WANTED).await;
        assert_eq!(checked.stdout.contains('\u{1b}'), coloured, "{environment:?}: {:?}", checked.stdout);
        let json = Check::of(&url).env("CLICOLOR_FORCE", "1").run(&["-o", "json"]).await;
        assert!(!json.stdout.contains('\u{1b}'), "{}", json.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_terminal_is_enough() {
    let bitbucket = bitbucket_with(good().scopes(SCANNING[..3].to_vec())).await;
    for columns in ["60", "80", "200"] {
        let checked = Check::of(&bitbucket.url()).env("COLUMNS", columns).run(&WANTED).await;
        let width: usize = columns.parse().expect("a number");
        let longest = checked.stdout.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(longest <= width && longest > width / 2, "{columns}: {longest}\n{}", checked.stdout);
        assert!(checked.words().contains("delete:webhook:bitbucket missing without it nobody can remove webhooks"));
    }
}

/// Whatever gives the token away.
fn disguises() -> Vec<String> {
    let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = TOKEN.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    vec![TOKEN.to_owned(), STANDARD.encode(TOKEN), STANDARD.encode(format!("{EMAIL}:{TOKEN}")), percent, url]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_output_whatever_a_server_sends_back() {
    let mut outputs = Vec::new();
    let mut run = async |bitbucket: &Bitbucket, flags: &[&str]| {
        for form in ["text", "json"] {
            let checked = Check::of(&bitbucket.url()).run(&[flags, &["-o", form]].concat()).await;
            assert!(!checked.stdout.is_empty(), "{}", checked.stderr);
            outputs.push(checked.stdout + &checked.stderr);
        }
    };
    for status in [200, 400, 401, 403, 404, 410, 429, 500] {
        let bitbucket = bitbucket_with(good()).await;
        bitbucket.fail(Fault::Echo(status));
        run(&bitbucket, &WANTED).await;
        let bitbucket = bitbucket_with(good()).await;
        bitbucket.fail_when(Match::op(Operation::Workspaces), Fault::Echo(status));
        run(&bitbucket, &["--workspace", "hanzo"]).await;
    }
    for disguise in disguises() {
        let named = good().account(&disguise, &disguise, &disguise);
        let spoken = named.credential_type(&disguise).workspaces([disguise.as_str()]);
        let spoken = spoken.scopes_header(&format!("read:user, read:workspace, {disguise}, read:{disguise}"));
        run(&bitbucket_with(spoken.clone()).await, &WANTED).await;
        run(&bitbucket_with(spoken.state(State::BearerOnly)).await, &WANTED).await;
    }
    for output in &outputs {
        for disguise in disguises() {
            assert!(!output.contains(&disguise), "{disguise} in {output}");
        }
        // Nor a good part of it.
        assert!(!output.contains("t0ken"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_on_the_command_line_is_refused_and_not_repeated() {
    let bitbucket = bitbucket_with(good()).await;
    let by_name = format!("--token={TOKEN}");
    for flags in [&[TOKEN][..], &["--token", TOKEN], &[&by_name], &["--use-case", TOKEN], &["--expires-at", TOKEN]] {
        let checked = Check::of(&bitbucket.url()).run(flags).await;
        assert_eq!(checked.code, 64, "{}", checked.stderr);
        assert!(!(checked.stdout + &checked.stderr).contains("t0ken"), "{}", checked.stderr);
    }
    assert_eq!(bitbucket.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_costs_few_requests() {
    let bitbucket = bitbucket_with(good()).await;
    Check::of(&bitbucket.url()).run(&WANTED).await;
    assert_eq!((bitbucket.calls(), bitbucket.count(&Match::op(Operation::Workspaces))), (1, 1));
    bitbucket.set(TOKEN, State::Revoked);
    Check::of(&bitbucket.url()).run(&WANTED).await;
    assert_eq!(bitbucket.calls(), 3, "one more, and one without the e-mail");
}

/// The document about this command.
const DOC: &str = include_str!("../../docs/check.md");
const README: &str = include_str!("../../README.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_show_what_is_printed() {
    let few = good().scopes(["read:user:bitbucket", "read:repository:bitbucket"]);
    let bitbucket = bitbucket_with(few).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(98 * 24 + 12);
    let declared = soon.to_string();
    let flags = [&WANTED[..], &["--expires-at", &declared]].concat();
    let checked = Check::of(&bitbucket.url()).run(&flags).await;
    let day = soon.strftime("%Y-%m-%d").to_string();
    let shown = checked.stdout.replace(&day, "2027-03-01");
    assert!(DOC.contains(&shown), "docs/check.md lacks this output:\n{shown}");

    bitbucket.set(TOKEN, State::NoBitbucketScopes);
    let shown = Check::of(&bitbucket.url()).run(&WANTED).await.stdout;
    assert!(README.contains(&shown), "README.md lacks this output:\n{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_json_is_documented() {
    fn names(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.push(name.clone());
                names(value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let bitbucket = bitbucket_with(good()).await;
    let mut found = Vec::new();
    names(&Check::of(&bitbucket.url()).run(&["-o", "json"]).await.json(), &mut found);
    for name in found {
        assert!(
            DOC.contains(&format!("`{name}`")) || DOC.contains(&format!("`{name}[]`")),
            "docs/check.md lacks {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_cas_is_told_what_it_lacks() {
    let empty = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-cas");
    std::fs::create_dir_all(&empty).expect("a folder");
    let (bundle, folder) = (empty.join("bundle.pem"), empty.join("folder"));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(&bundle, "").expect("a file");
    let [bundle, folder] = [&bundle, &folder].map(|path| path.to_str().expect("UTF-8"));
    let check = Check::of("https://127.0.0.1:1/2.0").env("SSL_CERT_FILE", bundle).env("SSL_CERT_DIR", folder);
    let checked = check.run(&WANTED).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (3, ""), "{}", checked.stderr);
    for words in ["no trusted CA certificates", "Install them", "ca-certificates", "SSL_CERT_FILE"] {
        assert!(checked.stderr.contains(words), "{words}: {}", checked.stderr);
    }
}
