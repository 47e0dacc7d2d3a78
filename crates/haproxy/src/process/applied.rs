//! The agent's notes of what HAProxy runs, so that a restarted agent finds its HAProxy again; and the finding.

use std::fs;
use std::path::{Path, PathBuf};

use hafleet_model::{Digest, Revision};
use serde::{Deserialize, Serialize};

use super::ProcessId;
use crate::binary::Version;
use crate::files::{self, FileError, Files};
use crate::plan::Known;
use crate::render::Listener;

/// What was applied last, as it is kept on disk (`applied.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedState {
    /// The version of this form.
    pub(crate) version: u32,
    /// The spec's revision.
    pub(crate) revision: Revision,
    /// The configuration that the process was brought to.
    pub(crate) known: Known,
    /// The digest of the whole file, with its prelude.
    pub(crate) file_digest: Digest,
    /// Counted up at each start of a process.
    pub(crate) generation: u64,
    /// The process's runtime socket.
    pub(crate) socket: PathBuf,
    /// The process.
    pub(crate) process: ProcessId,
    /// The HAProxy that was started.
    pub(crate) haproxy: Version,
    /// Where it listens.
    pub(crate) listeners: Vec<Listener>,
}

impl AppliedState {
    /// The version of the form in which notes are written.
    pub(crate) const VERSION: u32 = 1;
}

/// A running process of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OurProcess {
    /// The process.
    pub(crate) process: ProcessId,
    /// Its generation.
    pub(crate) generation: u64,
}

/// What the notes say.
#[derive(Debug)]
pub(crate) enum Restored {
    /// There are none: nothing was ever applied here.
    Nothing,
    /// What was applied last.
    Applied(Box<AppliedState>),
    /// They cannot be read, and why. What runs has to be found without them.
    Unreadable(String),
}

/// Reads the notes.
pub(crate) fn read_applied(files: &Files) -> Result<Restored, FileError> {
    let Some(text) = files::read(&files.applied())? else {
        return Ok(Restored::Nothing);
    };
    Ok(match serde_json::from_str::<AppliedState>(&text) {
        Ok(state) if state.version == AppliedState::VERSION => Restored::Applied(Box::new(state)),
        Ok(state) => Restored::Unreadable(format!("their version is {}", state.version)),
        Err(error) => Restored::Unreadable(error.to_string()),
    })
}

/// Writes the notes.
pub(crate) fn write_applied(files: &Files, state: &AppliedState) -> Result<(), FileError> {
    let mut text = serde_json::to_string_pretty(state).unwrap_or_default();
    text.push('\n');
    files::write(&files.applied(), &text)
}

/// All running processes whose command line names our configuration and a pid file of ours, with their generations,
/// oldest generation first. This finds also those that an agent started and had no time to note.
pub(crate) fn find_ours(files: &Files) -> Vec<OurProcess> {
    let config = files.config();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut ours: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(ProcessId::of)
        .filter_map(|process| {
            let words = process.command_line();
            let after = |flag: &str| {
                let at = words.iter().position(|word| word == flag)?;
                words.get(at + 1).map(Path::new)
            };
            if after("-f")? != config {
                return None;
            }
            let generation = files.generation_of(after("-p")?)?;
            Some(OurProcess {
                process,
                generation,
            })
        })
        .collect();
    ours.sort_by_key(|found| found.generation);
    ours
}
