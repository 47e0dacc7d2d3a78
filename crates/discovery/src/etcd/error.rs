//! What etcd and the way to it say, as errors of a source.

use etcd_client::Error;
use hafleet_model::with_causes;

use super::settings::unconfigured;
use crate::answer::SourceError;

/// Codes of gRPC (its guide "Status Codes") that etcd uses (etcd, `api/v3rpc/rpctypes/error.go`).
mod code {
    /// A wrong password, or none where one is wanted.
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    /// Authentication is not on, but a user is given.
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    /// A revision that was compacted; and, of the client's own, a message that is too large.
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// `error` of the member at `url`.
pub(super) fn source_error(url: &str, error: &Error) -> SourceError {
    let what = format!("etcd at {url}");
    let status = match error {
        Error::GRpcStatus(status) => status,
        Error::InvalidUri(_) | Error::InvalidArgs(_) => {
            return unconfigured(&what, error.to_string());
        }
        // Connecting is left to the first call, whose errors are statuses: this is about certificates that are none.
        Error::TransportError(cause) => return unconfigured(&what, with_causes(cause)),
        other => {
            let why = other.to_string();
            return SourceError::Unreachable { what, why };
        }
    };
    let message = status.message().to_owned();
    match i32::from(status.code()) {
        code::INVALID_ARGUMENT
        | code::PERMISSION_DENIED
        | code::FAILED_PRECONDITION
        | code::UNAUTHENTICATED => SourceError::Refused { what, why: message },
        code::RESOURCE_EXHAUSTED => SourceError::Throttled { what, why: message },
        code::OUT_OF_RANGE => SourceError::Malformed { what, why: message },
        _ => SourceError::Unreachable {
            what,
            why: with_causes(status),
        },
    }
}

/// Whether the revision that was read at is gone, or the page was too large for one message.
pub(super) fn is_out_of_range(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if i32::from(status.code()) == code::OUT_OF_RANGE)
}

/// The member at `url` said nothing.
pub(super) fn silent(url: &str, after: std::time::Duration) -> SourceError {
    SourceError::Unreachable {
        what: format!("etcd at {url}"),
        why: format!("no answer within {} ms", after.as_millis()),
    }
}
