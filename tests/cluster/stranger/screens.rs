//! What is shown: by the real kubectl, and by the program as its plugin.

use std::{env, fs, path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    document::Section,
    scene::{NAME, Scene},
    stable::Stable,
    stories::Story,
};
use crate::harness::{Plane, World, condition, in_time};

/// A screen as most are.
const COLUMNS: &str = "120";

/// kubectl with its plugin, as somebody has installed them who works with the cluster.
pub struct Plugin {
    kubectl: PathBuf,
    path: std::ffi::OsString,
    home: PathBuf,
    kubeconfig: PathBuf,
}

impl Plugin {
    /// Puts the program where kubectl finds it.
    pub fn install(plane: &Plane) -> Self {
        let home = plane.control_plane.dir().join("stranger");
        fs::create_dir_all(&home).expect("a folder");
        let program = env!("CARGO_BIN_EXE_bitbucket-connection-operator");
        std::os::unix::fs::symlink(program, home.join("kubectl-bbc")).expect("a link");
        let others = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([home.clone()].into_iter().chain(env::split_paths(&others))).expect("a PATH");
        let kubectl = plane.control_plane.kubectl().as_std().get_program().into();
        Self { kubectl, path, home, kubeconfig: plane.control_plane.kubeconfig().to_owned() }
    }

    /// What kubectl prints, on both channels.
    async fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(&self.kubectl);
        command.env_clear().env("PATH", &self.path).env("HOME", &self.home).env("KUBECONFIG", &self.kubeconfig);
        command.env("COLUMNS", COLUMNS).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl");
        let mut stdin = child.stdin.take().expect("piped");
        // What refuses its flags reads nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = in_time("kubectl ended", child.wait_with_output()).await.expect("an output");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
}

/// All that is shown of a story, in stable words.
pub async fn shown(world: &World, plugin: &Plugin, scene: &Scene, story: &Story, section: &Section) -> String {
    let namespace = scene.tenant.namespace();
    let of = ["--namespace", namespace];
    let mut screens = Vec::new();
    let mut show = |command: &str, text: &str| screens.push(format!("$ {command}\n{text}"));
    let run = async |arguments: &[&str]| plugin.kubectl(&[arguments, &of].concat(), "").await;
    show("kubectl describe bbc payments", &run(&["describe", "bbc", NAME]).await);
    show("kubectl get bbc", &run(&["get", "bbc"]).await);
    show("kubectl bbc list", &run(&["bbc", "list"]).await);
    if story.instance {
        let text = plugin.kubectl(&["describe", "clusterkmsinstance", &scene.instance], "").await;
        show("kubectl describe clusterkmsinstance default", &text);
    }
    if let Some(values) = scene.values.as_ref().filter(|_| story.check) {
        scene.fail(story);
        let text = |key: &str| values[key].as_str();
        let spec = (story.spec)();
        let mut flags = vec!["--email", text("email").unwrap_or_default(), "--use-case", "SecretScanning"];
        flags.extend(text("expiresAt").into_iter().flat_map(|ends| ["--expires-at", ends]));
        for workspace in spec["workspaces"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            flags.extend(["--workspace", workspace]);
        }
        if spec.pointer("/scopes/onExcess").is_some() {
            flags.push("--strict");
        }
        let (command, url) = (format!("kubectl bbc check {} < token.txt", flags.join(" ")), scene.bitbucket.url());
        let arguments = [&["bbc", "check"], flags.as_slice(), &["--bitbucket-url", &url]].concat();
        show(&command, &plugin.kubectl(&arguments, text("token").unwrap_or_default()).await);
    }
    let stable = Stable::of(world, scene);
    let shown = format!("{}\n\n{}", section.title, screens.join("\n"));
    assert!(!shown.contains(&scene.token), "{}: a token is shown", section.title);

    stable.screen(&shown)
}

/// What the operator says otherwise than the page, if it does.
pub async fn misquoted(world: &World, scene: &Scene, section: &Section) -> Option<String> {
    let stable = Stable::of(world, scene);
    let (_, _, said) = condition(&scene.tenant.get(NAME).await, &section.condition);
    let (said, promised) = (stable.words(&said), stable.words(&section.message));
    let differs = format!("{}: the page and the operator\n- {promised}\n+ {said}\n", section.title);
    (said != promised).then_some(differs)
}
