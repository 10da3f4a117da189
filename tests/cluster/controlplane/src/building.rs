//! Builds the programs from source with Go: into a folder next to the cache, then moved into it, by one process at a
//! time.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::error::{Error, cannot, tail};
use crate::programs::{Cache, is_executable, parse_version, version_of};
use crate::progress::Progress;
use crate::undertaker::Undertaker;

/// How often the build is looked at, and reported.
const TICK: Duration = Duration::from_millis(500);

/// A Go module without code of its own: its tools are what can be built.
pub(crate) struct Module {
    /// The folder with go.mod and go.sum.
    pub dir: &'static str,
    /// The oldest Go that it accepts, such as "1.26.0".
    pub go: &'static str,
    /// What the linker is told.
    pub ldflags: String,
    /// How long all of it takes, for people.
    pub takes: &'static str,
    /// What somebody can do who doesn't want to build, as the end of "… or …".
    pub instead: &'static str,
}

/// One tool of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The name of its file in the cache.
    pub name: &'static str,
    /// Its Go package.
    pub package: &'static str,
    /// The name of the file that `go build` makes of it.
    pub built_as: &'static str,
}

/// Builds those of `wanted` that the cache lacks.
pub(crate) async fn build_missing(
    module: &Module,
    cache: &Cache,
    wanted: &[Tool],
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
    check_go(module, &names(&missing)).await?;

    let building = cache.sibling("building");
    let moving = || cannot(format!("move the programs into {}", dir.display()));
    let preparing = || cannot(format!("prepare {}", building.display()));
    if building.exists() {
        fs::remove_dir_all(&building).map_err(preparing())?;
    }
    fs::create_dir(&building).map_err(preparing())?;
    progress(Progress::Note(format!(
        "Building {} {} from source, once: this takes {} on 2 cores",
        names(&missing),
        cache.version(),
        module.takes,
    )));
    let started = Instant::now();
    go_build(module, &missing, &building, progress).await?;
    for tool in &missing {
        fs::rename(building.join(tool.built_as), cache.path(tool.name)).map_err(moving())?;
    }
    fs::remove_dir_all(&building).map_err(moving())?;
    progress(Progress::Note(format!("Built {} in {} s", names(&missing), started.elapsed().as_secs())));
    Ok(())
}

fn lacking(cache: &Cache, wanted: &[Tool]) -> Vec<Tool> {
    wanted.iter().copied().filter(|tool| !is_executable(&cache.path(tool.name))).collect()
}

fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ")
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
                    what: "waiting for another process that builds the same".to_owned(),
                    elapsed: started.elapsed(),
                });
                tokio::time::sleep(TICK).await;
            }
            Err(TryLockError::Error(error)) => return Err(locking()(error)),
        }
    }
}

async fn check_go(module: &Module, missing: &str) -> Result<(), Error> {
    let (missing, needed, instead) = (missing.to_owned(), module.go.to_owned(), module.instead);
    match version_of("go", &["env", "GOVERSION"]).await {
        None => Err(Error::NoGo { missing, needed, instead }),
        Some((major, minor)) if Some((major, minor)) < parse_version(&needed) => {
            Err(Error::OldGo { missing, found: format!("{major}.{minor}"), needed, instead })
        }
        Some(_) => Ok(()),
    }
}

async fn go_build(
    module: &Module,
    tools: &[Tool],
    into: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<(), Error> {
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
        .arg(&module.ldflags)
        .arg("-o")
        .arg(into.join(""))
        .args(tools.iter().map(|tool| tool.package))
        .current_dir(module.dir)
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
        return Err(Error::BuildFailed { programs: names(tools), status, output, instead: module.instead });
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
