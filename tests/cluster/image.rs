//! The image's root folder, started as in a pod: nothing but what is in it, a user without rights, a ServiceAccount.
//!
//! `make image-test` lays the folder out and runs these; they are no part of `make test`, as that takes minutes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;
use sim::{Authority, Bitbucket, Kms};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, PROJECT, SECRET, TOKEN, World, assert_condition, entrypoint, in_time,
};

const BINARY: &str = "bitbucket-connection-operator";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// A copy of the image's root folder, for one test.
fn root(test: &str) -> PathBuf {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/root");
    assert!(image.join(BINARY).is_file(), "no image in {}: image/root.sh lays it out", image.display());
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image").join(test);
    let _ = fs::remove_dir_all(&copy);
    for file in [BINARY, AUTHORITIES, "LICENSE"] {
        fs::create_dir_all(copy.join(file).parent().expect("a folder")).expect("a folder");
        // By a process of its own: of a file that this one still writes, or a child that it made meanwhile, none is started.
        let copied = std::process::Command::new("cp").arg(image.join(file)).arg(copy.join(file)).status();
        assert!(copied.is_ok_and(|status| status.success()), "a file of the image: {file}");
    }
    copy
}

/// What `check` says in this root folder about a token, to this Bitbucket.
async fn check(root: &Path, bitbucket: &str) -> (Option<i32>, String) {
    let (program, before) = entrypoint(root);
    let mut command = Command::new(program);
    command.args(before).args([
        "check",
        "--email",
        EMAIL,
        "--use-case",
        "SecretScanning",
        "--bitbucket-url",
        bitbucket,
    ]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the image's program starts");
    // One that ends at once reads nothing.
    let _ = child.stdin.take().expect("piped").write_all(TOKEN.as_bytes()).await;
    let output = in_time("`check` ended", child.wait_with_output()).await.expect("it ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
#[ignore = "needs the image's root folder: make image-test"]
fn the_image_holds_one_static_program_and_the_cas_it_trusts() {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/root");
    let mut files = Vec::new();
    let mut folders = vec![image.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the image") {
            let path = entry.expect("an entry").path();
            let kept = if path.is_dir() { &mut folders } else { &mut files };
            kept.push(path);
        }
    }
    let mut names: Vec<_> = files.iter().map(|file| file.strip_prefix(&image).expect("in it").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["LICENSE", BINARY, AUTHORITIES].map(PathBuf::from));

    let program = fs::read(image.join(BINARY)).expect("the program");
    // A program that needs a loader names it.
    let names = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!names("/lib64/ld-linux") && !names("/lib/ld-musl"), "it isn't static");
    assert!(!names(env!("CARGO_MANIFEST_DIR")), "it names the folder that it was built in");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image's root folder: make image-test"]
async fn it_runs_in_a_pod_and_trusts_the_image_s_cas() {
    let (root, authority) = (root("pod"), Authority::new("a CA of the image"));
    let bundle = fs::read_to_string(root.join(AUTHORITIES)).expect("CA certificates");
    fs::write(root.join(AUTHORITIES), bundle + authority.pem()).expect("one more");
    let world = World::builder().in_root(root).args(["--allowed-kms-hosts", "localhost"]).start().await;
    let kms = Kms::start_tls(&world.bitbucket, authority.issue()).await;
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_project(PROJECT);

    world.secret(SECRET, EMAIL, TOKEN).await;
    // By its name: that a static program finds it is not a matter of course.
    world.instance_with(json!({"host": kms.url().replace("127.0.0.1", "localhost")})).await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    assert_eq!(kms.connections().len(), 1);
    assert_eq!(world.count_events("payments", "ConnectionCreated").await, 1);
    world.delete("payments").await;
    world.until_gone("payments").await;
    assert_eq!(kms.connections().len(), 0);
    assert_eq!(world.operator.terminate().await.code(), Some(0), "{}", world.operator.tail());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image's root folder: make image-test"]
async fn the_image_as_it_is_trusts_nobody_else() {
    let world = World::builder().in_root(root("stranger")).start().await;
    let kms = Kms::start_tls(&world.bitbucket, Authority::new("a stranger").issue()).await;
    world.instance_with(json!({"host": kms.url()})).await;
    let instance = world.until_instance_says("kms", "TlsFailed").await;
    assert_condition(&instance, "Ready", "False", "TlsFailed", &["spec.tls.caRef"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image's root folder: make image-test"]
async fn check_asks_from_within_the_image() {
    let root = root("check");
    // Nobody listens on port 1: TLS could be set up, and a connection was tried.
    let (code, said) = check(&root, "https://127.0.0.1:1/2.0").await;
    assert_eq!(code, Some(3), "{said}");
    assert!(!said.contains("no trusted CA") && said.contains("BitbucketUnavailable"), "{said}");
    // The stand-in without TLS, which is let through to this machine alone.
    let bitbucket = Bitbucket::start().await;
    bitbucket.add(sim::Token::new(EMAIL, TOKEN));
    let (code, said) = check(&root, &bitbucket.url()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ScopesMissing"), "{said}");
    // And what is said where the CAs are gone.
    fs::remove_file(root.join(AUTHORITIES)).expect("a file of the image");
    let (code, said) = check(&root, "https://127.0.0.1:1/2.0").await;
    assert!(code != Some(0) && said.contains("no trusted CA certificates"), "{code:?} {said}");
}
