//! What real tools make of objects: kstatus, the library behind Flux and `helm --wait`, and Argo CD's interpreter of Lua.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::building::{self, Module, Tool};
use crate::error::{Error, cannot};
use crate::programs::{Cache, required};
use crate::progress::Progress;

const GO_MOD: &str = include_str!("../../judges/go.mod");
const MAIN_GO: &str = include_str!("../../judges/main.go");

const JUDGES: Tool = Tool { name: "judges", package: ".", built_as: "judges" };

/// The key of the cache: of the library, and of our own lines, which have no version.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    (GO_MOD, MAIN_GO).hash(&mut hasher);
    let library = required(GO_MOD, "github.com/fluxcd/cli-utils").unwrap_or("unknown");
    format!("{library}-{:016x}", hasher.finish())
});

/// The program that asks them.
#[derive(Clone, Debug)]
pub struct Judges {
    program: PathBuf,
}

impl Judges {
    /// Looks for the program in the cache of this user, and builds it there; the first time this takes a minute.
    pub async fn find_or_build(mut progress: impl FnMut(Progress) + Send) -> Result<Self, Error> {
        let cache = Cache::of_user("judges", VERSION.as_str())?;
        building::build_missing(&module(), &cache, &[JUDGES], &mut progress).await?;
        Ok(Self { program: cache.path(JUDGES.name) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// What they say of objects, one in a line of JSON; so are the answers. `script` is the one for Argo CD.
    pub async fn ask(&self, script: &Path, objects: &str) -> Result<String, Error> {
        let asking = || cannot("ask kstatus and Argo CD's Lua");
        let mut command = Command::new(&self.program);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(asking())?;
        let mut input = child.stdin.take().expect("a pipe was asked for");
        let objects = objects.as_bytes().to_vec();
        // It answers while it reads: a pipe that nobody empties would stop both.
        let writing = tokio::spawn(async move { input.write_all(&objects).await });
        let output = child.wait_with_output().await.map_err(asking())?;
        // One that stops reading says why.
        let _ = writing.await;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(asking()(std::io::Error::other(said)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn module() -> Module {
    Module {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../judges"),
        go: required(GO_MOD, "go").unwrap_or("unknown"),
        ldflags: "-s -w".to_owned(),
        takes: "about a minute",
        instead: "go without: the test of health then asks Lua 5.1 and the harness' own kstatus alone",
    }
}
