//! Lets a control plane run on after this process has ended.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, cannot};
use crate::start::ControlPlane;

/// A control plane that runs on, and how to stop it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The folder with everything that belongs to it.
    pub dir: PathBuf,
    /// The kubeconfig of the admin.
    pub kubeconfig: PathBuf,
    /// The processes that go on.
    pub pids: Vec<u32>,
    /// A script that stops them and removes the folder.
    pub stop: PathBuf,
}

impl ControlPlane {
    /// Leaves everything running and in place when this process ends: the control plane, the processes in `also`, and
    /// whatever else its [undertaker](Self::undertaker) was given. The script that it writes stops the control plane and
    /// the processes in `also`.
    pub fn keep(self, also: &[u32]) -> Result<Kept, Error> {
        let mut pids = self.processes().as_ref().ok_or_else(|| self.stopped())?.pids();
        pids.extend(also);
        let stop = self.dir.join("stop.sh");
        let writing = || cannot(format!("write {}", stop.display()));
        fs::write(&stop, script(&pids, &self.dir)).map_err(writing())?;
        fs::set_permissions(&stop, fs::Permissions::from_mode(0o700)).map_err(writing())?;
        self.undertaker.release_all().map_err(cannot("keep the control plane"))?;
        if let Some(mut processes) = self.processes().take() {
            processes.release();
        }
        Ok(Kept { dir: self.dir.clone(), kubeconfig: self.kubeconfig.clone(), pids, stop })
    }
}

/// Kills each process that still has the name it has now, as its id may belong to a stranger by then.
fn script(pids: &[u32], dir: &Path) -> String {
    let mut script = "#!/bin/sh\n# Stops what was left running, and removes this folder.\nstop() {\n    \
        [ \"$(ps -o comm= -p \"$1\")\" = \"$2\" ] && kill -s KILL \"$1\"\n}\n"
        .to_owned();
    for pid in pids {
        // Writing to a String can't fail.
        let _ = match name(*pid) {
            Some(name) => writeln!(script, "stop {pid} {}", quote(&name)),
            None => writeln!(script, "kill -s KILL {pid}"),
        };
    }
    let dir = quote(&dir.display().to_string());
    let _ = writeln!(script, "cd /\nuntil rm -rf -- {dir}; do sleep 0.1; done");
    script
}

/// The name of a process, empty if there is no such process; nothing where there is no `ps` to tell.
fn name(pid: u32) -> Option<String> {
    let output = Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
