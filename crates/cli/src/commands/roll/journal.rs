//! What a roll has done so far, kept on disk so that it can be resumed: `rolls/FLEET/BACKEND/roll.json` in
//! `$XDG_STATE_HOME/hafleet`, or in `~/.local/state/hafleet`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::failure::{Exit, Failure};

/// The form of the file.
const VERSION: u32 = 1;

/// What is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// When it began.
    pub(super) begun: String,
    /// How it is done.
    pub(super) plan: Plan,
    /// Servers that are done.
    pub(super) done: Vec<String>,
    /// Servers that it has taken out of service.
    pub(super) out: Vec<String>,
}

/// The journal of one backend's roll. While it is open nobody else on this machine can open it.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    _lock: File,
    pub(super) record: Record,
}

/// What is to become of a roll that has not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// There must be none.
    Refuse,
    /// It goes on.
    Resume,
    /// It is forgotten.
    Forget,
}

impl Journal {
    /// Opens the journal; `plan` makes the plan out of that of the earlier roll, if that goes on.
    pub(super) fn open(
        (fleet, backend): (&str, &str),
        earlier: Earlier,
        plan: impl FnOnce(Option<&Plan>) -> Result<Plan, Failure>,
    ) -> Result<Self, Failure> {
        let directory = home()?.join("rolls").join(part(fleet)).join(part(backend));
        Self::open_in(directory, backend, earlier, plan)
    }

    fn open_in(
        directory: PathBuf,
        backend: &str,
        earlier: Earlier,
        plan: impl FnOnce(Option<&Plan>) -> Result<Plan, Failure>,
    ) -> Result<Self, Failure> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&directory);
        made.map_err(failed(&directory))?;
        let lock = File::open(&directory).map_err(failed(&directory))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let words = format!("another roll of {backend} is at work on this machine");
            Failure::new(Exit::Refused, words)
        })?;
        let found = read(&directory.join(FILE))?;
        let record = match (found, earlier) {
            (Some(found), Earlier::Refuse) => return Err(unfinished(backend, &found)),
            (None, Earlier::Resume) => {
                let words = format!(
                    "there is no roll of {backend} to resume: none was begun by this user on this machine, or it came to its end"
                );
                return Err(Failure::invalid(words));
            }
            (Some(found), Earlier::Resume) => Record {
                plan: plan(Some(&found.plan))?,
                ..found
            },
            (_, Earlier::Refuse | Earlier::Forget) => Record {
                version: VERSION,
                begun: format!("{:.0}", Timestamp::now()),
                plan: plan(None)?,
                done: Vec::new(),
                out: Vec::new(),
            },
        };
        Ok(Self {
            directory,
            _lock: lock,
            record,
        })
    }

    /// Changes what is written, on disk before it returns.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
        change(&mut self.record);
        let text = serde_json::to_vec_pretty(&self.record).map_err(anyhow::Error::from)?;
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(self.directory.join(FILE))?;
            Ok(())
        };
        write().map_err(failed(&self.directory))
    }

    /// Nothing is left to resume.
    pub(super) fn close(self) -> Result<(), Failure> {
        let removed = match fs::remove_file(self.directory.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir(&self.directory),
        };
        removed.map_err(failed(&self.directory))
    }
}

const FILE: &str = "roll.json";

fn unfinished(backend: &str, found: &Record) -> Failure {
    let out = match found.out.as_slice() {
        [] => String::new(),
        out => format!("; it left {} out of service", out.join(", ")),
    };
    let words = format!(
        "a roll of {backend} that began at {} has not come to its end: {} done{out}. Go on with --resume, or begin with the first server with --anew",
        found.begun,
        found.done.len()
    );
    Failure::new(Exit::Refused, words)
}

fn read(path: &Path) -> Result<Option<Record>, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let wrong = |problem: String| {
        let path = path.display();
        Failure::invalid(format!(
            "{path}: {problem}; remove it, and the roll cannot be resumed"
        ))
    };
    let record: Record = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if record.version != VERSION {
        return Err(wrong(format!("version {} is unknown", record.version)));
    }
    Ok(Some(record))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::new(Exit::Failed, format!("{path}: {error}"))
}

fn home() -> Result<PathBuf, Failure> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let is_absolute = |path: &PathBuf| path.is_absolute();
    let state = named("XDG_STATE_HOME").filter(is_absolute);
    let state = state.or_else(|| Some(named("HOME").filter(is_absolute)?.join(".local/state")));
    let state = state.ok_or_else(|| {
        Failure::invalid(
            "there is no place to note what is done: set XDG_STATE_HOME or HOME to a directory",
        )
    })?;
    Ok(state.join("hafleet"))
}

/// A name as a part of a path.
fn part(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let part = |c: char| match is_plain(c) {
        true => c.to_string(),
        false => format!("%{:x}", u32::from(c)),
    };
    name.chars().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(home: &Path, earlier: Earlier) -> Result<Journal, Failure> {
        Journal::open_in(home.join("app"), "app", earlier, |found| {
            Ok(found.cloned().unwrap_or_default())
        })
    }

    #[test]
    fn what_was_done_is_found_again_and_never_forgotten_by_itself() {
        let home = tempfile::tempdir().unwrap();
        let words = open(home.path(), Earlier::Resume).unwrap_err().to_string();
        assert!(words.contains("no roll of app to resume"), "{words}");
        let mut journal = open(home.path(), Earlier::Refuse).unwrap();
        journal
            .note(|record| record.done.push("s1".into()))
            .unwrap();
        journal.note(|record| record.out.push("s2".into())).unwrap();
        let words = open(home.path(), Earlier::Resume).unwrap_err().to_string();
        assert!(words.contains("another roll of app"), "{words}");
        drop(journal);
        let words = open(home.path(), Earlier::Refuse).unwrap_err().to_string();
        assert!(
            words.contains("1 done; it left s2 out of service"),
            "{words}"
        );
        let journal = open(home.path(), Earlier::Resume).unwrap();
        assert_eq!(journal.record.done, ["s1"]);
        journal.close().unwrap();
        let journal = open(home.path(), Earlier::Refuse).unwrap();
        assert!(journal.record.done.is_empty());
        journal.close().unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("app")).unwrap();
        for text in ["", "{}", "[1"] {
            fs::write(home.path().join("app").join(FILE), text).unwrap();
            let words = open(home.path(), Earlier::Resume).unwrap_err().to_string();
            assert!(words.contains("app/roll.json"), "{words}");
        }
    }

    #[test]
    fn names_are_parts_of_a_path() {
        assert_eq!(part("app-1_b"), "app-1_b");
        assert_eq!(part("../x"), "%2e%2e%2fx");
    }
}
