//! How a command fails: its words, and the exit status that scripts act on.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use hafleet_api::failure::findings;
use hafleet_model::spec::Findings;
use tonic::{Code, Status};

use crate::print::note;

/// The command's exit status (`hafleet --help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: it was tried and failed.
    Failed = 1,
    /// 2: wrong usage, or an invalid file.
    Invalid = 2,
    /// 3: refused: revision conflict, no majority, not allowed.
    Refused = 3,
    /// 4: nobody was reached, or not in time.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its words.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// Wrong usage or an invalid file.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// Faults of a spec, each with the file and the line where it stands.
    pub(crate) fn spec(file: &Path, findings: &Findings) -> Self {
        let shown = if file == Path::new("-") {
            "standard input".into()
        } else {
            file.display().to_string()
        };
        Self::invalid(findings.with_file(&shown))
    }

    /// What is to be said of a write that fewer than a majority have stored: a refusal, unless that was asked for.
    pub(crate) fn not_committed(stored: usize, known: u32, is_forced: bool) -> Result<(), Self> {
        let message = format!(
            "stored by {stored} of {known} known nodes only: it holds unless the others get another write first; see `hafleet status`"
        );
        if is_forced {
            note(&message);
            return Ok(());
        }
        Err(Self::new(Exit::Refused, message))
    }

    /// A refused call that carried the spec in `file`.
    pub(crate) fn call_with_spec(status: &Status, file: &Path) -> Self {
        let found = findings(status);
        if status.code() == Code::InvalidArgument && !found.is_empty() {
            return Self::spec(file, &Findings(found));
        }
        Self::from(status)
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        let exit = match status.code() {
            Code::InvalidArgument => Exit::Invalid,
            Code::Aborted
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated => Exit::Refused,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let mut message = status.message().to_owned();
        for finding in findings(status).iter().map(ToString::to_string) {
            // The message of a call with one fault may be that fault's own words.
            if finding != message {
                message = format!("{message}\n{finding}");
            }
        }
        Self { exit, message }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
