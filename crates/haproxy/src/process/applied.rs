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

/// All running processes that were started as an agent of this directory starts them: by the command line that
/// [`super::launch`] gives, with our configuration and a pid file of ours. Oldest generation first. This finds also those
/// that an agent started and had no time to note. A container's processes, whose paths may be spelled alike, are not ours.
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
            let [_, daemon, with_config, named, with_pid_file, pid_file, ..] = words.as_slice()
            else {
                return None;
            };
            let is_shaped = daemon == "-D" && with_config == "-f" && with_pid_file == "-p";
            if !is_shaped || Path::new(named) != config || !is_in_our_namespace(process) {
                return None;
            }
            let generation = files.generation_of(Path::new(pid_file))?;
            Some(OurProcess {
                process,
                generation,
            })
        })
        .collect();
    ours.sort_by_key(|found| found.generation);
    ours
}

/// Whether the process lives among the process ids that we see as our own. What we may not look at is taken to.
pub(super) fn is_in_our_namespace(process: ProcessId) -> bool {
    let ours = fs::read_link("/proc/self/ns/pid");
    let theirs = fs::read_link(format!("/proc/{}/ns/pid", process.pid));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        _ => true,
    }
}
