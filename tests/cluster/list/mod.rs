//! `list`, by the real program on a real API server: as who it asks, what it says where there is nothing to list, and
//! what it prints for people and programs. `places` where it finds its cluster · `plugin` under the name of kubectl's
//! plugin.

mod places;
mod plugin;

use std::{ffi::OsStr, path::Path, sync::Arc};

use bitbucket_connection_operator::api::BitbucketConnection;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Plane, in_time, merge, rights::make_namespace};

/// The program, without anything of the developer's own environment.
pub fn program() -> Command {
    clean(env!("CARGO_BIN_EXE_bitbucket-connection-operator"))
}

fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
    command
}

/// What a command left behind.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub async fn by(command: &mut Command) -> Self {
        let output = in_time("`list` ended", command.output()).await.expect("a program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Standard output of a command that did what it was asked to.
    pub fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// Standard error of a command that failed, in which all of these words are.
    pub fn refused(self, words: &[&str]) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word} isn't in: {}", self.stderr);
        }
        self.stderr
    }
}

async fn list(kubeconfig: &Path, flags: &[&str]) -> Said {
    Said::by(program().arg("list").args(flags).env("KUBECONFIG", kubeconfig).env("COLUMNS", "160")).await
}

/// A namespace of its own, with these connections: name, days from today until the token ends, differences.
async fn connections(plane: &Plane, of: &[(&str, i64, Value)]) -> String {
    let client = plane.client().await;
    let namespace = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    make_namespace(&client, &namespace).await;
    let api: Api<BitbucketConnection> = Api::namespaced(client, &namespace);
    for (name, days, change) in of {
        let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let mut object = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": format!("{name}-token")},
                "scopes": {"useCases": ["SecretScanning"]}, "contact": "#team-a",
            },
            "status": {
                "observedGeneration": 1,
                "token": {"expiresAt": ends.strftime("%Y-%m-%dT00:00:00Z").to_string(), "expirySource": "Secret"},
                "account": {"username": "hanzo-bot"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Succeeded", "message": "The connection is as it should be.",
                    "lastTransitionTime": "2026-11-01T00:00:00Z", "observedGeneration": 1,
                }],
            },
        });
        merge(&mut object, change.clone());
        let apply = PatchParams::apply("tests").force();
        let applied = api.patch(name, &apply, &Patch::Apply(&object)).await;
        applied.unwrap_or_else(|error| panic!("cannot apply {name}: {error}"));
        let told = api.patch_status(name, &apply, &Patch::Apply(&object)).await;
        told.unwrap_or_else(|error| panic!("cannot apply the status of {name}: {error}"));
    }
    namespace
}

/// Three of them: one that ends soon, one with time, one in trouble.
async fn three(plane: &Plane) -> String {
    let trouble = json!({"status": {"conditions": [{
        "type": "Ready", "status": "False", "reason": "ScopesMissing", "message": "The token lacks read:user:bitbucket.",
        "lastTransitionTime": "2026-11-01T00:00:00Z", "observedGeneration": 1,
    }]}});
    connections(plane, &[("web", 300, json!({})), ("payments", 9, json!({})), ("data", 200, trouble)]).await
}

async fn shared() -> (Arc<Plane>, String) {
    let plane = Plane::shared().await;
    let namespace = three(&plane).await;
    (plane, namespace)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_a_table_and_programs_all_of_it() {
    let (plane, namespace) = shared().await;
    let kubeconfig = plane.control_plane.kubeconfig();
    let of = ["-n", namespace.as_str()];
    let text = list(kubeconfig, &of).await.done();
    let names: Vec<_> = text.lines().skip(1).map_while(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["payments", "data", "web"], "{text}");
    for words in ["Put a new token into the Secret payments-token", "ScopesMissing: The token lacks read:user"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Midnight may have passed meanwhile.
    assert!(["9 days", "8 days"].iter().any(|days| text.contains(days)), "{text}");
    assert!(text.ends_with("3 connections: 1 token ends soon, 1 connection is not Ready.\n"), "{text}");

    let json = list(kubeconfig, &[&of[..], &["-o", "json"]].concat()).await.done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let yaml = list(kubeconfig, &[&of[..], &["-o", "yaml"]].concat()).await.done();
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).expect("YAML"), json);
    let first = &json["items"][0];
    assert_eq!((&first["name"], &first["urgency"]), (&json!("payments"), &json!("Soon")));
    assert!([json!(9), json!(8)].contains(&first["daysLeft"]), "{first}");
    let document = include_str!("../../../docs/command-line.md");
    for name in first.as_object().expect("fields").keys() {
        let documented = [format!("`{name}`"), format!("`{name}[]`")].iter().any(|word| document.contains(word));
        assert!(documented, "docs/command-line.md lacks {name}");
    }

    let ics = list(kubeconfig, &[&of[..], &["-o", "ics"]].concat()).await.done();
    let calendar: icalendar::Calendar = ics.parse().expect("a calendar");
    assert_eq!(calendar.components.len(), 3);
    let html = list(kubeconfig, &[&of[..], &["-o", "html"]].concat()).await.done();
    assert!(html.starts_with("<!DOCTYPE html>") && html.matches("<tr ").count() == 4, "{html}");
    assert!(html.contains(&format!("Bitbucket tokens in the namespace {namespace}")), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn less_can_be_asked_for() {
    let (plane, namespace) = shared().await;
    let kubeconfig = plane.control_plane.kubeconfig();
    let names = async |flags: &[&str]| {
        let json = list(kubeconfig, &[&["-n", namespace.as_str(), "-o", "json"], flags].concat()).await.done();
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let items = json["items"].as_array().expect("items");
        items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--ends-within", "14d"]).await, ["payments"]);
    assert_eq!(names(&["--ends-within", "250d"]).await, ["payments", "data"]);
    assert_eq!(names(&["-l", "app in (web,data)"]).await, ["data", "web"]);
    assert_eq!(names(&["-l", "app=nothing"]).await, [""; 0]);
    let all = list(kubeconfig, &["-A"]).await.done();
    assert_eq!(all.lines().filter(|line| line.starts_with(&namespace)).count(), 3, "{all}");
    let refused = list(kubeconfig, &["-n", &namespace, "-l", "=="]).await;
    refused.refused(&["error: the API server refuses: ", "found '=='"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replaced_as_a_whole() {
    let (plane, namespace) = shared().await;
    let folder = plane.control_plane.dir().join(format!("site-{namespace}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("tokens.ics");
    std::fs::write(&file, "old").expect("a file");
    let before = std::fs::File::open(&file).expect("a reader of the old one");
    let flags = ["-n", &namespace, "-o", "ics", "--output-file", file.to_str().expect("UTF-8")];
    assert_eq!(list(plane.control_plane.kubeconfig(), &flags).await.done(), "");
    assert!(std::fs::read_to_string(&file).expect("a file").ends_with("END:VCALENDAR\r\n"));
    assert_eq!(std::io::read_to_string(before).expect("the old one"), "old", "who reads it reads on");
    let names: Vec<_> = std::fs::read_dir(&folder).expect("a folder").collect();
    assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    let flags = ["-n", &namespace, "--output-file", "/nonexistent/tokens.txt"];
    let said = list(plane.control_plane.kubeconfig(), &flags).await;
    said.refused(&["can't write /nonexistent/tokens.txt", "--output-file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_calendar_is_taken_by_an_api_server() {
    let plane = Plane::shared().await;
    let client = plane.client().await;
    let text = include_str!("../../../examples/calendar/cronjob.yaml");
    for object in serde_saphyr::from_multiple::<Value>(text).expect("YAML") {
        crate::harness::rights::apply(&client, object.clone()).await;
        let template = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        for container in template["containers"].as_array().into_iter().flatten() {
            // What it is started with is a command line of ours.
            let arguments = container["args"].as_array().expect("arguments").iter().filter_map(Value::as_str);
            let help = Said::by(program().args(arguments).arg("--help")).await.done();
            assert!(help.contains("Usage: bitbucket-connection-operator list"), "{help}");
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_read_in_pages() {
    let plane = Plane::shared().await;
    let client = plane.client().await;
    let namespace = connections(&plane, &[("first", 10, json!({}))]).await;
    let api: Api<BitbucketConnection> = Api::namespaced(client, &namespace);
    // One more than a page.
    let make = |index: usize| {
        let api = api.clone();
        async move {
            let spec = json!({
                "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "token"},
                "scopes": {"useCases": ["SecretScanning"]},
            });
            let object = json!({"metadata": {"name": format!("many-{index}")}, "spec": spec});
            let object = serde_json::from_value(object).expect("an object");
            api.create(&kube::api::PostParams::default(), &object).await.expect("an object that can be made");
        }
    };
    futures::StreamExt::for_each_concurrent(futures::stream::iter(0..500), 50, make).await;
    let json = list(plane.control_plane.kubeconfig(), &["-n", &namespace, "-o", "json"]).await.done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["items"].as_array().map(Vec::len), Some(501));
    assert_eq!(json["items"][0]["name"], "first");
    assert_eq!(json["items"][500]["reason"], "NotSeen", "nobody has looked at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_lines_are_as_wide_as_they_may_be() {
    let (plane, namespace) = shared().await;
    let run = async |environment: &[(&str, &str)]| {
        let mut command = program();
        command.args(["list", "-n", &namespace]).env("KUBECONFIG", plane.control_plane.kubeconfig());
        Said::by(command.envs(environment.iter().copied())).await.done()
    };
    assert!(!run(&[]).await.contains('\u{1b}'), "no terminal, no colours");
    let forced = run(&[("CLICOLOR_FORCE", "1")]).await;
    assert!(forced.contains("\u{1b}[38;5;1m") || forced.contains("\u{1b}[31m"), "{forced:?}");
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await.contains('\u{1b}'));
    for columns in ["60", "80", "100", "160"] {
        let text = run(&[("COLUMNS", columns)]).await;
        let width: usize = columns.parse().expect("a number");
        assert!(text.lines().all(|line| line.chars().count() <= width), "{columns}:\n{text}");
        // Names and days stay whole, so that they can be copied.
        let words: Vec<_> = text.split_whitespace().collect();
        assert!(words.contains(&"payments") && words.contains(&namespace.as_str()), "{columns}:\n{text}");
        assert!(words.iter().any(|word| word.parse::<jiff::civil::Date>().is_ok()), "{columns}:\n{text}");
    }
}
