//! HAProxy's own opinion of a configuration: `haproxy -c`, and its words tied back to the spec.

mod message;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hafleet_model::spec::{Finding, Findings};
use tokio::process::Command;

use crate::beside;
use crate::binary::Binary;
use crate::render::{Prelude, Rendered};
use crate::state::EMPTY;

pub(crate) use message::{Severity, findings};

/// Why there is no opinion. Transient: it says nothing about the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// This node runs no HAProxy.
    #[error("this node is a witness, and has no HAProxy to ask")]
    Absent,
    /// The candidate could not be written beside the configuration.
    #[error(
        "the configuration to check could not be written in {} (where the disk is full or read-only, make room or mend it)",
        dir.display()
    )]
    Write {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// HAProxy could not be run.
    #[error("{} -c could not be run", binary.display())]
    Run {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long; perhaps a host name in the configuration does not resolve in time.
    #[error("{} -c did not end within {} s", binary.display(), deadline.as_secs())]
    TimedOut {
        /// The program.
        binary: PathBuf,
        /// How long it had.
        deadline: Duration,
    },
}

/// A configuration without HAProxy's consent.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// HAProxy refuses it. Permanent until the spec changes.
    #[error("HAProxy refuses the configuration: {0}")]
    Invalid(Findings),
    /// HAProxy could not be asked.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Asks `binary` about `rendered`, as a process would have it whose runtime socket is `socket`. Nothing is bound. A
/// candidate with all that stands beside it is made in `dir`, and removed.
///
/// # Errors
/// With HAProxy's words, each at the spec path that its line came from, when it refuses; or when it could not be asked.
pub async fn check(
    binary: &Binary,
    rendered: &Rendered,
    socket: &Path,
    dir: &Path,
    deadline: Duration,
) -> Result<Vec<Finding>, CheckError> {
    let failed = |source| ToolError::Write {
        dir: dir.to_owned(),
        source,
    };
    let beside = tempfile::Builder::new()
        .prefix("candidate-")
        .tempdir_in(dir)
        .map_err(failed)?;
    let state = beside.path().join("server-state");
    std::fs::write(&state, EMPTY).map_err(failed)?;
    beside::lay_out(beside.path(), rendered).map_err(failed)?;
    let prelude = Prelude::new(socket, beside.path(), &state).map_err(|error| {
        CheckError::Invalid(Findings::from(Finding::new("", error.to_string())))
    })?;
    let candidate = write_candidate(dir, &rendered.file(&prelude)).map_err(failed)?;
    let output = Command::new(&binary.path)
        .arg("-c")
        .arg("-f")
        .arg(candidate.path())
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(deadline, output)
        .await
        .map_err(|_| ToolError::TimedOut {
            binary: binary.path.clone(),
            deadline,
        })?
        .map_err(|source| ToolError::Run {
            binary: binary.path.clone(),
            source,
        })?;
    let words = String::from_utf8_lossy(&output.stderr);
    let found = findings(&words, candidate.path(), rendered);
    if output.status.success() {
        return Ok(found.into_iter().map(|(_, finding)| finding).collect());
    }
    let mut alerts: Vec<_> = found
        .into_iter()
        .filter(|(severity, _)| *severity == Severity::Alert)
        .map(|(_, finding)| finding)
        .collect();
    if alerts.is_empty() {
        let message = format!("HAProxy refused it ({}): {}", output.status, words.trim());
        alerts.push(Finding::new("", message));
    }
    Err(CheckError::Invalid(Findings(alerts)))
}

fn write_candidate(dir: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix("candidate-")
        .suffix(".cfg")
        .tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file)
}
