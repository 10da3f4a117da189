//! Builds the programs from source with Go: into a folder next to the cache, then moved into it, by one process at a
//! time.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::error::{Error, cannot, tail};
use crate::programs::{Cache, Program, go_version, is_executable, kubernetes_version, parse_version, version_of};
use crate::progress::Progress;
use crate::undertaker::Undertaker;

/// The folder with go.mod and go.sum.
const MODULE: &str = env!("CARGO_MANIFEST_DIR");

/// How often the build is looked at, and reported.
const TICK: Duration = Duration::from_millis(500);

impl Program {
    /// The Go package of the program, and the name of the file that `go build` makes of it.
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Etcd => ("go.etcd.io/etcd/server/v3", "server"),
            Self::ApiServer => ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            Self::ControllerManager => ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            Self::Kubectl => ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        }
    }
}

/// Builds those of `wanted` that the cache lacks.
pub(crate) async fn build_missing(
    cache: &Cache,
    wanted: &[Program],
    progress: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    if lacking(cache, wanted).is_empty() {
        return Ok(());
    }
    let dir = cache.dir();
    fs::create_dir_all(&dir).map_err(cannot(format!("create {}", dir.display())))?;
    let _lock = lock(&cache.sibling("lock"), progress).await?;
    // Another process may have built them while this one waited.
    let missing = lacking(cache, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    check_go(&names(&missing)).await?;

    let building = cache.sibling("building");
    let moving = || cannot(format!("move the programs into {}", dir.display()));
    let preparing = || cannot(format!("prepare {}", building.display()));
    if building.exists() {
        fs::remove_dir_all(&building).map_err(preparing())?;
    }
    fs::create_dir(&building).map_err(preparing())?;
    progress(Progress::Note(format!(
        "Building {} {} from source, once: this takes about 10 minutes on 2 cores",
        names(&missing),
        kubernetes_version()
    )));
    let started = Instant::now();
    go_build(&missing, &building, progress).await?;
    for program in &missing {
        fs::rename(building.join(program.source().1), cache.path(*program)).map_err(moving())?;
    }
    fs::remove_dir_all(&building).map_err(moving())?;
    progress(Progress::Note(format!("Built {} in {} s", names(&missing), started.elapsed().as_secs())));
    Ok(())
}

fn lacking(cache: &Cache, wanted: &[Program]) -> Vec<Program> {
    wanted.iter().copied().filter(|program| !is_executable(&cache.path(*program))).collect()
}

fn names(programs: &[Program]) -> String {
    programs.iter().map(|program| program.name()).collect::<Vec<_>>().join(", ")
}

/// Waits until no other process builds. The lock ends with the file, also when this process is killed.
async fn lock(path: &Path, progress: &mut impl FnMut(Progress)) -> Result<File, Error> {
    let locking = || cannot(format!("lock {}", path.display()));
    let file = File::create(path).map_err(locking())?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Working {
                    what: "waiting for another process that builds the control plane".to_owned(),
                    elapsed: started.elapsed(),
                });
                tokio::time::sleep(TICK).await;
            }
            Err(TryLockError::Error(error)) => return Err(locking()(error)),
        }
    }
}

async fn check_go(missing: &str) -> Result<(), Error> {
    let needed = go_version().to_owned();
    let missing = missing.to_owned();
    match version_of("go", &["env", "GOVERSION"]).await {
        None => Err(Error::NoGo { missing, needed }),
        Some((major, minor)) if Some((major, minor)) < parse_version(&needed) => {
            Err(Error::OldGo { missing, found: format!("{major}.{minor}"), needed })
        }
        Some(_) => Ok(()),
    }
}

async fn go_build(programs: &[Program], into: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
    let log = into.join("build.log");
    let logging = || cannot(format!("write {}", log.display()));
    let output = File::create(&log).map_err(logging())?;
    let starting = || cannot("start `go build`");
    // The build goes when this process goes, and takes its folder with it.
    let undertaker = Undertaker::start().map_err(starting())?;
    undertaker.remove_dir(into).map_err(starting())?;
    let mut command = undertaker.command("go");
    command
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-ldflags"])
        .arg(format!("-s -w -X k8s.io/component-base/version.gitVersion={}", kubernetes_version()))
        .arg("-o")
        .arg(into.join(""))
        .args(programs.iter().map(|program| program.source().0))
        .current_dir(MODULE)
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        // Where its gigabyte of temporary files is removed, too, when it is killed.
        .env("GOTMPDIR", into)
        .stdout(Stdio::null())
        .stderr(output);
    let mut child = undertaker.spawn(&mut command).map_err(starting())?;

    let mut reader = File::open(&log).map_err(logging())?;
    let mut said = Vec::new();
    let started = Instant::now();
    let status = loop {
        let ended = child.try_wait().map_err(cannot("wait for `go build`"))?;
        reader.read_to_end(&mut said).map_err(logging())?;
        match ended {
            Some(status) => break status,
            None => {
                let what = describe(&String::from_utf8_lossy(&said));
                progress(Progress::Working { what, elapsed: started.elapsed() });
                tokio::time::sleep(TICK).await;
            }
        }
    };
    undertaker.forget(child.id()).map_err(cannot("finish the build"))?;
    if !status.success() {
        let output = tail(&String::from_utf8_lossy(&said));
        return Err(Error::BuildFailed { programs: names(programs), status, output });
    }
    // The folder is still needed.
    undertaker.release_all().map_err(cannot("finish the build"))
}

/// What `go build -v` is doing: it names each package that it compiles and each module that it downloads, and nothing
/// that was cached.
fn describe(said: &str) -> String {
    let compiled = said.lines().filter(|line| !line.starts_with("go: ")).count();
    match said.lines().last() {
        None => "reading packages, or linking cached ones".to_owned(),
        Some(line) => match line.strip_prefix("go: ") {
            Some(news) => news.to_owned(),
            None => format!("{compiled} packages compiled, now {line}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_described_by_its_last_line() {
        assert_eq!(describe("go: downloading k8s.io/api v0.36.3\n"), "downloading k8s.io/api v0.36.3");
        assert_eq!(describe("go: downloading a v1\nbytes\nnet/http\n"), "2 packages compiled, now net/http");
        assert!(describe("").contains("linking"));
    }
}
