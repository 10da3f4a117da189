//! What a release gives to krew: archives with the plugin, and a manifest with their sums.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

#[test]
fn a_release_is_packed_for_krew() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("krew");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let program = env!("CARGO_BIN_EXE_bitbucket-connection-operator");
    // One of them is of this machine; nobody starts the other.
    for architecture in ["amd64", "arm64"] {
        // A small program in its place: packing what a debugger needs takes long.
        let stand_in =
            format!("#!/bin/sh\n# {architecture}\nexec -a \"$0\" '{program}' \"$@\"\n").replace("/bin/sh", "/bin/bash");
        fs::write(folder.join(format!("bitbucket-connection-operator-linux-{architecture}")), stand_in)
            .expect("a file");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = || {
        let output =
            Command::new(root.join("deploy/krew/fill.sh")).arg("1.2.3").arg(&folder).output().expect("a script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(folder.join("bbc.yaml")).expect("a manifest")
    };
    let text = run();
    assert!(!text.contains('@'), "nothing is left to fill in: {text}");
    assert_eq!(run(), text, "the same binaries give the same sums");
    let manifest: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!((&manifest["metadata"]["name"], &manifest["spec"]["version"]), (&json!("bbc"), &json!("v1.2.3")));
    assert!(manifest["spec"]["shortDescription"].as_str().is_some_and(|text| text.len() <= 50), "krew cuts it");
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    assert_eq!(platforms.len(), 2);
    for (platform, architecture) in platforms.iter().zip(["amd64", "arm64"]) {
        assert_eq!(platform["selector"]["matchLabels"], json!({"os": "linux", "arch": architecture}));
        let uri = platform["uri"].as_str().expect("an address");
        assert!(uri.starts_with("https://github.com/hanzoai/") && uri.contains("/v1.2.3/"), "{uri}");
        let archive = folder.join(uri.rsplit('/').next().expect("a name"));
        let sum = Command::new("sha256sum").arg(&archive).output().expect("a sum").stdout;
        assert!(String::from_utf8_lossy(&sum).starts_with(platform["sha256"].as_str().expect("a sum")));
        let unpacked = folder.join(architecture);
        fs::create_dir_all(&unpacked).expect("a folder");
        let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&unpacked).status();
        assert!(tar.expect("tar").success());
        let plugin = unpacked.join(platform["bin"].as_str().expect("a program"));
        let said = Command::new(plugin).args(["list", "--help"]).output().expect("the plugin").stdout;
        assert!(String::from_utf8_lossy(&said).contains("Usage: kubectl bbc list"));
        for file in ["LICENSE", "man/kubectl-bbc.1", "man/kubectl-bbc-list.1"] {
            assert!(unpacked.join(file).is_file(), "{file}");
        }
    }
}
