//! `check` as a hook of Git and as a step of CI: the scripts that people copy, with the real program and a real Git.
//!
//! The stand-in for sops "decrypts" Base64: what the hook does with what it gets is what matters here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sim::{Bitbucket, Fault, State, Token};
use tokio::process::Command;

use crate::check::{EMAIL, SCANNING};

const TOKEN: &str = "ATATT3xFfGF0-t0ken-of-the-hook";
const SOPS: &str = r#"#!/bin/sh
key=$(printf %s "$3" | sed 's/.*"\(.*\)"\]$/\1/')
sed -n "s/^ *$key: ENC\[\(.*\)\]\$/\1/p" "$4" | base64 -d | grep . || { echo "no key $key" >&2; exit 1; }
"#;

/// A folder with a repository, whose hook checks tokens, and with the programs that the hook finds.
struct Place {
    folder: PathBuf,
    bitbucket: Bitbucket,
}

impl Place {
    async fn new(name: &str, token: Token) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hook").join(name);
        let _ = fs::remove_dir_all(&folder);
        let bitbucket = Bitbucket::start().await;
        bitbucket.add(token);
        let place = Self { folder, bitbucket };
        // Keeps what is on its command line, for all to see.
        let program = format!(
            "#!/bin/sh\necho \"$@\" >>'{}'\nexec '{}' \"$@\" --bitbucket-url '{}'\n",
            place.folder.join("command-lines").display(),
            env!("CARGO_BIN_EXE_bitbucket-connection-operator"),
            place.bitbucket.url()
        );
        place.script("bin/bitbucket-connection-operator", &program);
        place.script("bin/sops", SOPS);
        let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pre-commit/check-token");
        let hook = format!(
            "#!/bin/sh\ngit diff --cached --name-only --diff-filter=d | grep bitbucket-token |\n  xargs '{}' --use-case=SecretScanning --\n",
            hook.display()
        );
        place.git(&["init", "--quiet", "repository"], &place.folder).await;
        place.script("repository/.git/hooks/pre-commit", &hook);
        place
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let draft = path.with_extension("draft");
        fs::write(&draft, text).expect("a file");
        // By another process: this one forks for other tests, and what a child still has open for writing can't be run.
        let copied = std::process::Command::new("install").args(["-m", "755"]).args([&draft, &path]).status();
        assert!(copied.expect("install").success());
        fs::remove_file(draft).expect("the draft");
    }

    fn command(&self, program: &str) -> Command {
        let path = format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").expect("a PATH"));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .kill_on_drop(true);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
        }
        command
    }

    async fn git(&self, arguments: &[&str], folder: &Path) -> Output {
        self.command("git").args(arguments).current_dir(folder).output().await.expect("git")
    }

    /// Commits this Secret, and says whether that went well, and what was said.
    async fn commit(&self, manifest: &str) -> (bool, String) {
        let repository = self.folder.join("repository");
        fs::write(repository.join("bitbucket-token.yaml"), manifest).expect("a file");
        self.git(&["add", "."], &repository).await;
        let output = self.git(&["commit", "--quiet", "--message", "A token"], &repository).await;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let command_lines = fs::read_to_string(self.folder.join("command-lines")).unwrap_or_default();
        for told in [&said, &command_lines] {
            assert!(!told.contains("t0ken") && !told.contains(&STANDARD.encode(TOKEN)), "a token in: {told}");
        }
        (output.status.success(), said.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

fn good() -> Token {
    Token::new(EMAIL, TOKEN).scopes(SCANNING)
}

/// A Secret as SOPS leaves it.
fn encrypted(token: &str) -> String {
    let [email, token] = [EMAIL, token].map(|text| STANDARD.encode(text));
    format!("kind: Secret\nstringData:\n  email: ENC[{email}]\n  token: ENC[{token}]\nsops:\n  version: stand-in\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_takes_good_tokens_and_refuses_bad_ones_with_the_right_words() {
    let place = Place::new("commit", good()).await;
    let (taken, said) = place.commit(&encrypted(TOKEN)).await;
    assert!(taken && said.contains("bitbucket-token.yaml: the token is good"), "{said}");

    let change = |line: &str| encrypted(TOKEN) + line;
    place.bitbucket.set(TOKEN, State::NoBitbucketScopes);
    let (taken, said) = place.commit(&change("# no scopes\n")).await;
    assert!(!taken, "{said}");
    for words in [
        "CredentialsRejected: Bitbucket says that the token has no Bitbucket scopes",
        "create one at id.atlassian.com",
        "bitbucket-token.yaml: stopped: this token is of no use to the operator",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    place.bitbucket.set(TOKEN, State::Revoked);
    let (taken, said) = place.commit(&change("# revoked\n")).await;
    assert!(!taken && said.contains("the token itself is dead"), "{said}");
    place.bitbucket.add(good().scopes(SCANNING[..3].to_vec()));
    place.bitbucket.set(TOKEN, State::Good);
    let (taken, said) = place.commit(&change("# few scopes\n")).await;
    assert!(!taken && said.contains("ScopesMissing") && said.contains("write:webhook:bitbucket"), "{said}");

    place.bitbucket.fail(Fault::Reset);
    let (taken, said) = place.commit(&change("# an outage\n")).await;
    assert!(taken && said.contains("nobody could tell, so it is committed unchecked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_refuses_what_cannot_be_checked() {
    let place = Place::new("unchecked", good()).await;
    let (taken, said) = place.commit(&format!("stringData:\n  email: {EMAIL}\n  token: something\n")).await;
    assert!(!taken && said.contains("isn't encrypted by SOPS") && said.contains("sops encrypt --in-place"), "{said}");
    let (taken, said) = place.commit("stringData: {}\nsops:\n").await;
    assert!(!taken && said.contains("can't be decrypted, or has no stringData with email and token"), "{said}");
    assert_eq!(place.bitbucket.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_of_ci_in_the_document_does_what_it_says() {
    let place = Place::new("ci", good()).await;
    let document = include_str!("../../docs/check.md");
    let step = document.split_once("## In CI").and_then(|(_, rest)| rest.split_once("```sh\n")).expect("a step").1;
    let step = step.split_once("```").expect("its end").0;
    let run = async |ends: &str| {
        let mut command = place.command("sh");
        command.args(["-e", "-c", step]).env("BITBUCKET_TOKEN", TOKEN).env("BITBUCKET_EMAIL", EMAIL);
        let output = command.env("BITBUCKET_TOKEN_ENDS", ends).output().await.expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("t0ken"), "{said}");
        (output.status.code(), said)
    };
    let day = |days: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        at.strftime("%Y-%m-%d").to_string()
    };
    place.bitbucket.add(good().workspaces(["hanzo-payments"]));
    let (code, said) = run(&day(200)).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(run(&day(20)).await.0, Some(1), "a month before the token ends");
    place.bitbucket.set(TOKEN, State::Revoked);
    assert_eq!(run(&day(200)).await.0, Some(1), "a token that was revoked");
    place.bitbucket.fail(Fault::Reset);
    assert_eq!(run(&day(200)).await.0, Some(0), "an outage passes");
    let command_lines = fs::read_to_string(place.folder.join("command-lines")).expect("what was called");
    assert!(command_lines.contains("--email bot@example.com") && !command_lines.contains("t0ken"), "{command_lines}");
}
