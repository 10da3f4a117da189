//! Where the programs are.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::building::{self, Module, Tool};
use crate::error::Error;
use crate::progress::Progress;

/// The module file says what is built; its version of Kubernetes is the key of the cache.
const GO_MOD: &str = include_str!("../go.mod");

/// A program that merely has to print its version gets this long.
const VERSION_TIMEOUT: Duration = Duration::from_mins(1);

/// One program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers: here those for namespaces, garbage collection and aggregated cluster roles.
    ControllerManager,
    /// The command line.
    Kubectl,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Kubectl];

    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
        }
    }

    /// The oldest version (major, minor) that is taken when it is found outside of the cache.
    fn oldest(self) -> (u32, u32) {
        match self {
            Self::Etcd => (3, 5),
            Self::ApiServer | Self::ControllerManager | Self::Kubectl => (1, 30),
        }
    }

    /// How it is built.
    fn tool(self) -> Tool {
        let (package, built_as) = match self {
            Self::Etcd => ("go.etcd.io/etcd/server/v3", "server"),
            Self::ApiServer => ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            Self::ControllerManager => ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            Self::Kubectl => ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        };
        Tool { name: self.name(), package, built_as }
    }

    fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["version", "--client"],
            Self::Etcd | Self::ApiServer | Self::ControllerManager => &["--version"],
        }
    }
}

/// The four programs, each at a place where it can be run.
#[derive(Clone, Debug)]
pub struct Programs {
    paths: [PathBuf; 4],
}

impl Programs {
    /// Looks for each program in `KUBEBUILDER_ASSETS`, in `PATH` and in the cache of this user, and builds what is
    /// missing into that cache; the first time this takes minutes.
    pub async fn find_or_build(mut progress: impl FnMut(Progress) + Send) -> Result<Self, Error> {
        let mut paths: [Option<PathBuf>; 4] = Default::default();
        for (path, program) in paths.iter_mut().zip(Program::ALL) {
            *path = find_outside(program.name(), program.oldest(), program.version_arguments(), &mut progress).await;
        }
        let missing: Vec<Program> = Program::ALL
            .into_iter()
            .zip(&paths)
            .filter(|(_, path)| path.is_none())
            .map(|(program, _)| program)
            .collect();
        if missing.is_empty() {
            return Ok(Self { paths: paths.map(Option::unwrap_or_default) });
        }
        let cache = Cache::of_user("controlplane", kubernetes_version())?;
        let tools: Vec<Tool> = missing.into_iter().map(Program::tool).collect();
        building::build_missing(&module(), &cache, &tools, &mut progress).await?;
        let mut programs = Program::ALL.into_iter();
        Ok(Self {
            paths: paths.map(|path| {
                let cached = programs.next().map(|program| cache.path(program.name())).unwrap_or_default();
                path.unwrap_or(cached)
            }),
        })
    }

    /// Where a program is.
    pub fn path(&self, program: Program) -> &Path {
        &self.paths[program as usize]
    }
}

/// The module in this folder.
fn module() -> Module {
    Module {
        dir: env!("CARGO_MANIFEST_DIR"),
        go: go_version(),
        ldflags: format!("-s -w -X k8s.io/component-base/version.gitVersion={}", kubernetes_version()),
        takes: "about 10 minutes",
        instead: "name a folder with the programs in KUBEBUILDER_ASSETS",
    }
}

/// The folder with the programs that were built for this user, one for each version.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    parent: PathBuf,
    version: &'static str,
}

impl Cache {
    /// What is built of `module` in this version.
    pub(crate) fn of_user(module: &str, version: &'static str) -> Result<Self, Error> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let caches = caches.ok_or(Error::NoCacheFolder)?;
        Ok(Self { parent: caches.join("bitbucket-connection-operator").join(module), version })
    }

    /// The version of all programs in it.
    pub(crate) fn version(&self) -> &'static str {
        self.version
    }

    /// The folder of this version's programs.
    pub(crate) fn dir(&self) -> PathBuf {
        self.parent.join(self.version)
    }

    /// A sibling of that folder, so that a rename between the two is atomic.
    pub(crate) fn sibling(&self, suffix: &str) -> PathBuf {
        self.parent.join(format!("{}.{suffix}", self.version))
    }

    /// Where a program of this version is, or will be.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.dir().join(program)
    }
}

/// The version of Kubernetes in the Go module, such as "v1.36.3".
pub(crate) fn kubernetes_version() -> &'static str {
    required(GO_MOD, "k8s.io/kubernetes").unwrap_or("unknown")
}

/// The oldest Go that the module accepts, such as "1.26.0".
pub(crate) fn go_version() -> &'static str {
    required(GO_MOD, "go").unwrap_or("unknown")
}

/// The word after `name` on its line in a module file.
pub(crate) fn required(go_mod: &'static str, name: &str) -> Option<&'static str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()).flatten()
    })
}

/// Whether there is a file at this path that may be run.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The "major.minor" of the first word that looks like a version: "etcd Version: 3.6.8" is (3, 6).
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches("go").trim_start_matches('v').split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some((major, minor[..digits].parse().ok()?))
    })
}

/// A program in `KUBEBUILDER_ASSETS` or in `PATH` that isn't older than this.
pub(crate) async fn find_outside(
    name: &str,
    oldest: (u32, u32),
    version_arguments: &[&str],
    progress: &mut impl FnMut(Progress),
) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    for dir in assets.into_iter().chain(std::env::split_paths(&path)) {
        let candidate = dir.join(name);
        if !is_executable(&candidate) {
            continue;
        }
        // A relative folder would lose its meaning for a program that is started in another folder.
        let Ok(candidate) = std::path::absolute(&candidate) else { continue };
        let (major, minor) = oldest;
        match version_of(&candidate, version_arguments).await {
            Some(version) if version >= (major, minor) => return Some(candidate),
            Some((old_major, old_minor)) => progress(Progress::Note(format!(
                "Not using {}: its version {old_major}.{old_minor} is older than {major}.{minor}",
                candidate.display()
            ))),
            None => progress(Progress::Note(format!("Not using {}: it doesn't tell its version", candidate.display()))),
        }
    }
    None
}

/// The version that a program prints, if it runs.
pub(crate) async fn version_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<(u32, u32)> {
    let output = Command::new(program)
        .args(arguments)
        // Where no go.mod asks for another Go, as that would be downloaded.
        .current_dir("/")
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, output).await.ok()?.ok()?;
    output.status.success().then(|| parse_version(&String::from_utf8_lossy(&output.stdout))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(parse_version("Kubernetes v1.36.3\n"), Some((1, 36)));
        assert_eq!(parse_version("Client Version: v1.32.4\nKustomize Version: v5.5.0\n"), Some((1, 32)));
        assert_eq!(parse_version("etcd Version: 3.6.8\nGit SHA: Not provided\n"), Some((3, 6)));
        assert_eq!(parse_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_version("devel"), None);
    }

    #[test]
    fn the_module_names_its_versions() {
        assert!(parse_version(kubernetes_version()).is_some_and(|version| version >= Program::ApiServer.oldest()));
        assert!(parse_version(go_version()).is_some());
    }

    #[test]
    fn programs_are_indexed_in_their_order() {
        for (index, program) in Program::ALL.into_iter().enumerate() {
            assert_eq!(program as usize, index);
        }
    }
}
