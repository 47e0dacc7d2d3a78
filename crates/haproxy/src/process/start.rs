//! Starting a process that listens beside the one that serves, and learning why it could not.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hafleet_model::spec::{Finding, Findings};
use rustix::process::Signal;
use tokio::process::Command;

use super::{ProcessId, holder_of};
use crate::check::{Severity, findings};
use crate::render::Rendered;

/// Why HAProxy did not start. Whatever served before goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// HAProxy gave up, in its own words; a taken port is among them, with the program that has it.
    #[error("HAProxy did not start: {0}")]
    Refused(Findings),
    /// It was not done within the deadline and was killed. Transient.
    #[error("HAProxy did not start within {} s and was ended", deadline.as_secs())]
    TimedOut {
        /// How long it had.
        deadline: Duration,
    },
    /// It could not be run at all.
    #[error("{} could not be run", binary.display())]
    Run {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It started and was gone before it could be looked at.
    #[error("HAProxy started and ended at once: {words}")]
    Vanished {
        /// What it wrote before.
        words: String,
    },
}

/// What a start needs to know.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// HAProxy's program.
    pub(crate) binary: &'a Path,
    /// The configuration, which has been checked.
    pub(crate) config: &'a Path,
    /// Where the process writes its id.
    pub(crate) pid_file: &'a Path,
    /// The runtime socket of the process whose listening sockets it takes over.
    pub(crate) take_sockets_from: Option<&'a Path>,
    /// How long it may take until it listens.
    pub(crate) deadline: Duration,
    /// What the configuration was rendered from, to tie errors to the spec.
    pub(crate) rendered: &'a Rendered,
}

/// Starts HAProxy as a daemon that outlives us, and returns when it listens: when the parent of `-D` ends with 0, the
/// sockets are open. Never with `-sf`, so that a start that fails does not touch the process that serves.
pub(crate) async fn launch(launch: Launch<'_>) -> Result<ProcessId, StartError> {
    let _ = std::fs::remove_file(launch.pid_file);
    let mut command = Command::new(launch.binary);
    command.arg("-D").arg("-f").arg(launch.config);
    command.arg("-p").arg(launch.pid_file);
    if let Some(socket) = launch.take_sockets_from {
        command.arg("-x").arg(socket);
    }
    let child = command
        .current_dir(launch.config.parent().unwrap_or_else(|| Path::new("/")))
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let run = |source| StartError::Run {
        binary: launch.binary.to_owned(),
        source,
    };
    let child = child.map_err(run)?;
    let Ok(output) = tokio::time::timeout(launch.deadline, child.wait_with_output()).await else {
        if let Some(process) = started(launch.pid_file) {
            let _ = process.signal(Signal::KILL);
        }
        return Err(StartError::TimedOut {
            deadline: launch.deadline,
        });
    };
    let output = output.map_err(run)?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let found = findings(&words, launch.config, launch.rendered);
        return Err(StartError::Refused(refusals(found, &words)));
    }
    started(launch.pid_file).ok_or_else(|| StartError::Vanished {
        words: words.trim().to_owned(),
    })
}

fn started(pid_file: &Path) -> Option<ProcessId> {
    let text = std::fs::read_to_string(pid_file).ok()?;
    let process = ProcessId::of(text.lines().next()?.trim().parse().ok()?)?;
    let is_ours = process
        .command_line()
        .iter()
        .any(|word| Path::new(word) == pid_file);
    is_ours.then_some(process)
}

fn refusals(found: Vec<(Severity, Finding)>, words: &str) -> Findings {
    let alerts: Vec<_> = found
        .into_iter()
        .filter(|(severity, _)| *severity == Severity::Alert)
        .map(|(_, finding)| with_holder(finding))
        .collect();
    if alerts.is_empty() {
        return Finding::new("", words.trim()).into();
    }
    Findings(alerts)
}

/// Adds which program has the port, to a finding that one is taken.
fn with_holder(mut finding: Finding) -> Finding {
    if !finding.message.contains("Address already in use") {
        return finding;
    }
    let port = finding
        .message
        .rsplit_once(']')
        .and_then(|(head, _)| head.rsplit_once(':'))
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if let Some(port) = port {
        let holder = holder_of(port).unwrap_or_else(|| "another program".to_owned());
        finding.message = format!("{}; port {port} is taken by {holder}", finding.message);
    }
    finding
}
