//! Ends processes and removes folders when this process is gone, in whichever way it went.
//!
//! A destructor doesn't run when a process is killed. So a tiny shell waits at the other end of a pipe that only this
//! process holds: when the pipe closes, because the [`Undertaker`] was dropped or because this process is gone, the
//! shell kills what it was told of and removes the folders.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// `$pids` holds process ids, and process groups as negative numbers, between blanks; `$@` holds the folders. A killed
/// process may still be finishing a write to a folder, so a removal that fails is tried again for a while.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pids=' '
while read -r word rest; do
    case $word in
        kill) pids="$pids$rest " ;;
        forget) case $pids in *" $rest "*) pids="${pids%%" $rest "*} ${pids#*" $rest "}" ;; esac ;;
        remove) set -- "$@" "$rest" ;;
        release) pids=' '; set -- ;;
    esac
done
for pid in $pids; do kill -s KILL -- "$pid"; done
for dir; do
    tries=0
    until rm -rf -- "$dir"; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || break
        sleep 0.1
    done
done
"#;

/// Holds a program back until it is on the undertaker's list, so that there is no moment at which it would survive us.
const GATE: &str = r#"read -r go && exec "$0" "$@" </dev/null"#;

/// A helper process that kills the processes and removes the folders it was told of, as soon as this value is dropped or
/// this process is gone. It needs nothing but a POSIX `sh`.
#[derive(Debug)]
pub struct Undertaker {
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    /// Its closing is the signal. The standard library opens pipes close-on-exec: no other child holds this one open.
    orders: Option<ChildStdin>,
}

impl Undertaker {
    /// Starts the helper, in a process group of its own: a Ctrl-C in the terminal doesn't reach it.
    pub fn start() -> io::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "undertaker"])
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let orders = child.stdin.take();
        Ok(Self { shell: Mutex::new(Shell { child, orders }) })
    }

    /// A command for [`Undertaker::spawn`]. Arguments, environment, folder and output are the caller's to set; its
    /// standard input is empty.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", GATE]).arg(program).process_group(0).stdin(Stdio::piped());
        command
    }

    /// Starts a command from [`Undertaker::command`], in a process group of its own, which is killed as a whole. Once
    /// the child was waited for, call [`Undertaker::forget`] with its id.
    ///
    /// A program that cannot be executed ends with status 126 or 127, and its standard error says why.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut child = command.spawn()?;
        self.order(&format!("kill -{}", child.id()))?;
        if let Some(mut gate) = child.stdin.take() {
            // A program that is gone already is found by whoever waits for it.
            let _ = gate.write_all(b"go\n");
        }
        Ok(child)
    }

    /// Has a process killed that was started in another way. Once it was waited for, call [`Undertaker::forget`]: its
    /// id may soon belong to a stranger.
    pub fn adopt(&self, pid: u32) -> io::Result<()> {
        self.order(&format!("kill {pid}"))
    }

    /// Takes a process off the list, adopted or spawned.
    pub fn forget(&self, pid: u32) -> io::Result<()> {
        self.order(&format!("forget {pid}\nforget -{pid}"))
    }

    /// Has a folder removed, with everything in it, after the processes were killed.
    pub fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let plain = dir.to_str().filter(|dir| dir.starts_with('/') && dir.trim() == *dir && !dir.contains('\n'));
        let plain = plain.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("not a plain absolute path: {}", dir.display()))
        })?;
        self.order(&format!("remove {plain}"))
    }

    /// Empties both lists: everything stays, also when this process is gone.
    pub fn release_all(&self) -> io::Result<()> {
        self.order("release")
    }

    fn order(&self, order: &str) -> io::Result<()> {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = shell.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(format!("{order}\n").as_bytes())
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(shell.orders.take());
        let _ = shell.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const SIGKILL: i32 = 9;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null());
        command
    }

    #[test]
    fn kills_what_it_adopted_and_what_it_spawned() -> io::Result<()> {
        let undertaker = Undertaker::start()?;
        // Started after the undertaker: if they inherited its pipe, the drop below would never end.
        let mut adopted = sleeper().spawn()?;
        undertaker.adopt(adopted.id())?;
        let mut spawned = undertaker.spawn(undertaker.command("sleep").arg("600"))?;
        drop(undertaker);
        assert_eq!(adopted.wait()?.signal(), Some(SIGKILL));
        assert_eq!(spawned.wait()?.signal(), Some(SIGKILL));
        Ok(())
    }

    #[test]
    fn leaves_alone_what_was_forgotten_or_released() -> io::Result<()> {
        let (forgotten, released, mut last) = (sleeper().spawn()?, sleeper().spawn()?, sleeper().spawn()?);
        let undertaker = Undertaker::start()?;
        undertaker.adopt(released.id())?;
        undertaker.release_all()?;
        undertaker.adopt(forgotten.id())?;
        undertaker.adopt(last.id())?;
        undertaker.forget(forgotten.id())?;
        drop(undertaker);
        assert_eq!(last.wait()?.signal(), Some(SIGKILL));
        for mut survivor in [forgotten, released] {
            assert!(survivor.try_wait()?.is_none());
            survivor.kill()?;
            survivor.wait()?;
        }
        Ok(())
    }

    #[test]
    fn removes_a_folder_whose_name_needs_quoting() -> io::Result<()> {
        let dir = std::env::temp_dir().join(format!("undertaker test \\ '{}'", std::process::id()));
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("file"), "")?;
        let undertaker = Undertaker::start()?;
        undertaker.remove_dir(&dir)?;
        assert!(undertaker.remove_dir(Path::new("relative")).is_err());
        drop(undertaker);
        assert!(!dir.exists());
        Ok(())
    }

    #[test]
    fn a_program_that_cannot_run_says_so() -> io::Result<()> {
        let undertaker = Undertaker::start()?;
        let child = undertaker.spawn(undertaker.command("/no/such/program").stderr(Stdio::piped()))?;
        let output = child.wait_with_output()?;
        assert_eq!(output.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/program"));
        Ok(())
    }
}
