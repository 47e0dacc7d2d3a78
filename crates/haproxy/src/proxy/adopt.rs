//! Finding the HAProxy that an agent before us left running.

use std::path::PathBuf;
use std::time::Duration;

use hafleet_model::{Digest, Revision};
use rustix::process::Signal;

use super::old::{self, OldProcesses};
use crate::files::{FileError, Files};
use crate::plan::Known;
use crate::process::{AppliedState, OurProcess, ProcessId, Restored, find_ours, read_applied};
use crate::render::Listener;
use crate::runtime::RuntimeSocket;
use crate::warming::Warming;

/// The process that serves.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) process: ProcessId,
    pub(super) generation: u64,
    pub(super) socket: PathBuf,
    /// What it was brought to; none when the notes on it were lost.
    pub(super) known: Option<Known>,
    pub(super) revision: Option<Revision>,
    pub(super) listeners: Vec<Listener>,
    /// Servers in a slow start that began under the process before it.
    pub(super) warming: Warming,
}

impl Current {
    fn noted(state: &AppliedState) -> Self {
        Self {
            process: state.process,
            generation: state.generation,
            socket: state.socket.clone(),
            known: Some(state.known.clone()),
            revision: Some(state.revision),
            listeners: state.listeners.clone(),
            warming: Warming::default(),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) current: Option<Current>,
    pub(super) old: OldProcesses,
    /// The highest generation that was ever started here.
    pub(super) generation: u64,
    pub(super) was_applied: bool,
}

/// Finds our processes. The one in the notes serves; if it is gone, or there are no notes, the newest that answers does.
/// All others are told to finish, which also mends what an agent that died in the middle of a reload left.
pub(super) async fn adopt(files: &Files) -> Result<Adopted, FileError> {
    let ours = find_ours(files);
    let notes = match read_applied(files)? {
        Restored::Applied(state) => Some(state),
        Restored::Nothing => None,
        Restored::Unreadable(why) => {
            tracing::warn!(
                why,
                "the notes on what HAProxy runs cannot be read; looking for it without them"
            );
            None
        }
    };
    let current = match &notes {
        Some(state) if is_ours(state, &ours).await => {
            restore_file(files, state)?;
            Some(Current::noted(state))
        }
        _ => newest_serving(files, &ours).await,
    };
    let mut old = OldProcesses::default();
    for found in &ours {
        if current
            .as_ref()
            .is_none_or(|current| current.process != found.process)
        {
            let _ = found.process.signal(Signal::USR1);
            old.add(found.process, found.generation, hard_stop_after(files));
        }
    }
    let generations = ours.iter().map(|found| found.generation);
    let noted = notes.as_ref().map(|state| state.generation);
    let mut kept: Vec<_> = generations.clone().collect();
    kept.extend(current.as_ref().map(|current| current.generation));
    files.sweep(&kept);
    Ok(Adopted {
        generation: generations.chain(noted).max().unwrap_or(0),
        was_applied: notes.is_some() || current.is_some(),
        current,
        old,
    })
}

/// Whether the noted process is among ours, and is not contradicted by its own socket. A socket that does not answer
/// does not make it a stranger: it may hang, or its socket's file may have been removed.
async fn is_ours(state: &AppliedState, ours: &[OurProcess]) -> bool {
    if !ours.iter().any(|found| found.process == state.process) {
        return false;
    }
    match RuntimeSocket::new(&state.socket).info().await {
        // One that was told to finish is not the one that serves: an agent died between stopping it and starting the next.
        Ok(info) => info.pid == state.process.pid && !info.is_stopping,
        Err(_) => true,
    }
}

/// Finds what was noted of a HAProxy that a service starts. Which process it is by now, its socket tells.
pub(super) fn adopt_service(files: &Files) -> Result<Adopted, FileError> {
    let noted = match read_applied(files)? {
        Restored::Applied(state) => Some(state),
        Restored::Nothing | Restored::Unreadable(_) => None,
    };
    if let Some(state) = &noted {
        restore_file(files, state)?;
    }
    Ok(Adopted {
        generation: noted.as_ref().map_or(0, |state| state.generation),
        was_applied: noted.is_some(),
        current: noted.as_deref().map(Current::noted),
        old: OldProcesses::default(),
    })
}

/// How long a process of the last two configurations may finish: `hard-stop-after`, the longer of both.
pub(super) fn hard_stop_after(files: &Files) -> Option<Duration> {
    let texts = [files.read_config(), files.read_previous()];
    let texts = texts.into_iter().filter_map(|text| text.ok().flatten());
    let limits: Option<Vec<_>> = texts.map(|text| old::hard_stop_after(&text)).collect();
    limits?.into_iter().max()
}

async fn newest_serving(files: &Files, ours: &[OurProcess]) -> Option<Current> {
    for found in ours.iter().rev() {
        let socket = files.socket(found.generation);
        let Ok(info) = RuntimeSocket::new(&socket).info().await else {
            continue;
        };
        if info.pid == found.process.pid && !info.is_stopping {
            return Some(Current {
                process: found.process,
                generation: found.generation,
                socket,
                known: None,
                revision: None,
                listeners: Vec::new(),
                warming: Warming::default(),
            });
        }
    }
    None
}

/// Puts the file back that the notes speak of, where an apply that was cut short left another.
pub(super) fn mend_file(files: &Files) -> Result<(), FileError> {
    match read_applied(files)? {
        Restored::Applied(state) => restore_file(files, &state),
        Restored::Nothing | Restored::Unreadable(_) => Ok(()),
    }
}

/// After a death between writing a new configuration and starting it, the file is ahead of what runs.
fn restore_file(files: &Files, state: &AppliedState) -> Result<(), FileError> {
    let is_noted = |text: Option<String>| {
        text.is_some_and(|text| Digest::of(text.as_bytes()) == state.file_digest)
    };
    if is_noted(files.read_config()?) || !is_noted(files.read_previous()?) {
        return Ok(());
    }
    files.restore_config()
}
