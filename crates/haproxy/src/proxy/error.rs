//! What can go wrong with one HAProxy, by what was being done.

use std::time::Duration;

use hafleet_model::spec::Findings;

use super::verify::VerifyError;
use crate::binary::BinaryError;
use crate::check::{CheckError, ToolError};
use crate::files::FileError;
use crate::handover::HandoverError;
use crate::process::{ServiceError, StartError};
use crate::runtime::RuntimeError;

/// Why a node has no HAProxy to drive. All but file errors are permanent: someone has to install or configure something.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no HAProxy that can be used.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The directories cannot be used.
    #[error(transparent)]
    Files(#[from] FileError),
    /// How HAProxy is to be started cannot be.
    #[error("process = \"{mode}\": {fault}")]
    Process {
        /// The mode.
        mode: &'static str,
        /// What is wrong with its settings.
        fault: String,
    },
    /// The time to settle does not fit into the window in which packets may be dropped.
    #[error("settle is {} ms: at most {} ms are allowed", asked.as_millis(), limit.as_millis())]
    SettleTooLong {
        /// What was asked for.
        asked: Duration,
        /// The most that can be had.
        limit: Duration,
    },
}

/// Why there is no plan: HAProxy runs but did not say what it runs. Transient.
#[derive(Debug, thiserror::Error)]
#[error("what HAProxy runs could not be asked")]
pub struct PlanError(#[from] pub RuntimeError);

/// Why HAProxy was not brought to a configuration. It runs what it ran before, and the file on disk says so.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// HAProxy refuses the configuration.
    #[error("HAProxy refuses the configuration: {0}")]
    Invalid(Findings),
    /// HAProxy could not be asked about the configuration.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// HAProxy could not be asked what it runs.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file could not be read or written.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The new process did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The new process started and does not serve; it was ended.
    #[error("the new HAProxy does not serve and was ended")]
    Verify(#[from] VerifyError),
    /// HAProxy's program is not the one that it was when the agent started, and cannot be used.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The service did not take the configuration.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The handover that was asked for cannot be had, or failed.
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

impl ApplyError {
    /// Whether the same configuration will fail again until someone changes something. The others may pass by themselves.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Invalid(_) => true,
            Self::Files(error) => matches!(error, FileError::SocketPathTooLong { .. }),
            Self::Handover(error) => matches!(error, HandoverError::Unavailable { .. }),
            Self::Tool(_)
            | Self::Plan(_)
            | Self::Start(_)
            | Self::Verify(_)
            | Self::Binary(_)
            | Self::Service(_) => false,
        }
    }
}

impl From<CheckError> for ApplyError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Invalid(findings) => Self::Invalid(findings),
            CheckError::Tool(error) => Self::Tool(error),
        }
    }
}
