//! The file that is written, and whether HAProxy has loaded what is in it.
//!
//! Beside `haproxy.cfg`, `haproxy.cfg.not-loaded` is there from before a new text takes its place until HAProxy runs it. Whatever
//! happens between, the next update sees that the reload is still to come.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::failure::{Exit, Failure};

/// How long `haproxy -c` may take. It resolves host names.
const CHECK_DEADLINE: Duration = Duration::from_secs(60);

/// Everyone may read a configuration that is new.
const MODE: u32 = 0o644;

/// The configuration file. While this is held no other update changes it.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    dir: PathBuf,
    _lock: File,
}

/// A text that may take the file's place.
#[derive(Debug)]
pub(super) struct Candidate(NamedTempFile);

fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let words = format!("{action} {}", path.display());
    move |error| anyhow::Error::from(error).context(words).into()
}

impl Target {
    /// Takes hold of the file at `output`, or where that link leads to; it need not be there, its directory must.
    pub(super) fn lock(output: &Path) -> Result<Self, Failure> {
        let path = fs::canonicalize(output).or_else(|_| std::path::absolute(output));
        let path = path.map_err(failed("finding", output))?;
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        // The directory itself is the lock: nothing is left behind, and nobody else has a use for its being locked.
        let lock = File::open(&dir).map_err(failed("opening", &dir))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let words = format!("another update of a file in {} is at work", dir.display());
            Failure::new(Exit::Refused, words)
        })?;
        Ok(Self {
            path,
            dir,
            _lock: lock,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; none if there is none.
    pub(super) fn text(&self) -> Result<Option<String>, Failure> {
        match fs::read(&self.path) {
            // Bytes that are no text are another text than any.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading", &self.path)(error)),
        }
    }

    /// Writes `text` beside the file, where relative paths and permissions are the same.
    pub(super) fn candidate(&self, text: &str) -> Result<Candidate, Failure> {
        let mode = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.permissions().mode() & 0o7777,
            Err(_) => MODE,
        };
        let write = || -> io::Result<NamedTempFile> {
            let mut file = tempfile::Builder::new()
                .prefix(".haproxy-")
                .suffix(".cfg")
                .tempfile_in(&self.dir)?;
            file.write_all(text.as_bytes())?;
            file.as_file()
                .set_permissions(Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        write()
            .map(Candidate)
            .map_err(failed("writing in", &self.dir))
    }

    /// Puts the candidate in the file's place, durably and in one step, and notes that it is not loaded.
    pub(super) fn replace(&self, candidate: Candidate) -> Result<(), Failure> {
        let mark = self.mark();
        let replace = || -> io::Result<()> {
            let note = "hafleet update: HAProxy has not loaded the file beside this one yet\n";
            fs::write(&mark, note)?;
            File::open(&mark)?.sync_all()?;
            self.sync()?;
            candidate
                .0
                .persist(&self.path)
                .map_err(|error| error.error)?;
            self.sync()
        };
        replace().map_err(failed("writing", &self.path))
    }

    /// Whether no reload is left to be done.
    pub(super) fn is_loaded(&self) -> bool {
        !self.mark().exists()
    }

    /// Notes that HAProxy runs it.
    pub(super) fn loaded(&self) -> Result<(), Failure> {
        let mark = self.mark();
        fs::remove_file(&mark).map_err(failed("removing", &mark))
    }

    fn mark(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".not-loaded");
        name.into()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

impl Candidate {
    /// Asks HAProxy whether it would take it.
    pub(super) async fn check(&self, binary: &Path) -> Result<(), Failure> {
        let output = Command::new(binary)
            .arg("-c")
            .arg("-f")
            .arg(self.0.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(CHECK_DEADLINE, output).await;
        let output = output.map_err(|_| {
            let words = format!(
                "{} -c did not end within {CHECK_DEADLINE:?}",
                binary.display()
            );
            Failure::new(Exit::Failed, words)
        })?;
        let output = output.map_err(failed("running", binary))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(Failure::invalid(format_args!(
            "HAProxy refuses what the template makes; nothing was changed:\n{}",
            words.trim()
        )))
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
