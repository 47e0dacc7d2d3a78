//! Errors of the administration API: their canonical codes and details, and the way back at the client.

use std::collections::HashMap;

use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::{Finding, Findings};
use hafleet_model::{NodeId, Revision};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of all ErrorInfo details (google.rpc.ErrorInfo).
const DOMAIN: &str = "hafleet";

/// Why a call was not done. Nothing was changed, unless the text says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The spec is not valid.
    #[error("the spec is not valid")]
    InvalidSpec(Findings),
    /// An argument other than the spec is wrong.
    #[error("{field}: {problem}")]
    InvalidArgument {
        /// Which field of the request.
        field: &'static str,
        /// What was found, and what is allowed.
        problem: String,
    },
    /// The caller's role does not allow the call.
    #[error(
        "{caller} may not call {method}: the role {needed} is needed, ask an administrator for a certificate of it"
    )]
    Denied {
        /// Who called.
        caller: String,
        /// What they called.
        method: &'static str,
        /// The least role that may.
        needed: &'static str,
    },
    /// No such revision is kept here.
    #[error("there is no revision {0}; `hafleet spec history` lists those that are kept")]
    UnknownRevision(Revision),
    /// There is no spec yet.
    #[error("the fleet has no spec yet; `hafleet apply FILE` gives it one")]
    NoSpec,
    /// No such node is known.
    #[error("there is no node {0}; `hafleet nodes` lists those that are known")]
    UnknownNode(NodeId),
    /// No such certificate is the fleet's.
    #[error("the fleet has no certificate {0}; `hafleet certificate list` shows those that it has")]
    UnknownCertificate(CertificateName),
    /// No live node has an issuer, or the one that was asked has none.
    #[error(
        "{0}; give an agent an issuer with `hafleet pki issuer` and the part [issuer] of its agent.toml"
    )]
    NoIssuer(String),
    /// No such join token is kept.
    #[error("there is no join token {0}; `hafleet pki token list` shows those that are good")]
    UnknownToken(String),
    /// No such list of revoked certificates is held.
    #[error("this node holds no list of revoked certificates of authority {0:?}")]
    UnknownRevocations(String),
    /// The spec uses the certificate.
    #[error(
        "the spec uses {name} ({}): take it out of the spec first, or remove it with --force where each node has a file of that name", users.join(", ")
    )]
    CertificateInUse {
        /// Which one.
        name: CertificateName,
        /// What uses it.
        users: Vec<String>,
    },
    /// The node that leads is a witness, and none that could check is there.
    #[error(
        "this node is a witness without HAProxy, and no live node with one answers, so nobody can check: {0}; try again when one is back"
    )]
    NoHaproxy(String),
    /// The node is live.
    #[error(
        "node {0} is live, and only the dead are forgotten: `hafleet node leave {0}` has it leave, or stop its agent first"
    )]
    NodeLive(NodeId),
    /// The node does not run what the fleet runs.
    #[error(
        "node {node}: {own}; `hafleet node follow-fleet {node}` has it run the fleet's spec again"
    )]
    HasOwnConfiguration {
        /// Which node.
        node: NodeId,
        /// Whose configuration it is, in words.
        own: String,
    },
    /// Nobody would be left.
    #[error(
        "no other live node would be left to go on with: stop the agent of {0} in place of having it leave"
    )]
    LastNode(NodeId),
    /// The expected revision is not the current one.
    #[error("the current revision is {}, not {expected}; look at `hafleet spec diff {expected}` and apply again with --expect {}", words(*.current), words(*.current))]
    Conflict {
        /// What the caller expected.
        expected: Revision,
        /// What is current.
        current: Option<Revision>,
    },
    /// Too few nodes are live.
    #[error(
        "{live} of {known} known nodes are live, and a write needs {needed}; missing: {}; bring nodes back, or force the write with --force-without-majority",
        named(missing)
    )]
    NoMajority {
        /// Live nodes.
        live: usize,
        /// Known nodes.
        known: usize,
        /// Nodes that a write needs.
        needed: usize,
        /// Those that are counted and not live, each with when it was last seen.
        missing: Vec<String>,
    },
    /// Nobody leads, or the leader could not be reached.
    #[error("no leader took the write: {reason}; try again in a few seconds")]
    NoLeader {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// Another agent, to which the call was forwarded, refused it; its words and details are passed on.
    #[error("{}", .0.message())]
    Answered(Box<Status>),
    /// The agent itself failed; its log has more.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// Whether another write came first, here or at the agent that answered.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict { .. } => true,
            Self::Answered(status) => has_reason(status, reason::REVISION_CONFLICT),
            _ => false,
        }
    }
}

fn has_reason(status: &Status, reason: &str) -> bool {
    status
        .get_details_error_info()
        .is_some_and(|info| info.reason == reason)
}

fn words(revision: Option<Revision>) -> String {
    revision.map_or_else(|| "none".to_owned(), |revision| revision.to_string())
}

/// How many of the missing are named; of more there is only the number.
const MAX_NAMED: usize = 10;

fn named(missing: &[String]) -> String {
    let names = missing.get(..MAX_NAMED).unwrap_or(missing).join(", ");
    match missing.len().saturating_sub(MAX_NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Reasons in ErrorInfo by which programs tell refusals apart.
pub mod reason {
    /// The expected revision is not the current one; metadata `current`.
    pub const REVISION_CONFLICT: &str = "REVISION_CONFLICT";
    /// Too few nodes are live; metadata `live`, `known`, `needed`, and `missing`, which is for people.
    pub const NO_MAJORITY: &str = "NO_MAJORITY";
    /// Nobody leads.
    pub const NO_LEADER: &str = "NO_LEADER";
    /// Only the dead are forgotten.
    pub const NODE_LIVE: &str = "NODE_LIVE";
    /// No node with HAProxy is there to check.
    pub const NO_HAPROXY: &str = "NO_HAPROXY";
    /// No other node would be left.
    pub const LAST_NODE: &str = "LAST_NODE";
    /// The spec uses the certificate that is to be removed.
    pub const CERTIFICATE_IN_USE: &str = "CERTIFICATE_IN_USE";
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::new();
        let code = match &failure {
            Failure::InvalidSpec(findings) => {
                for finding in &findings.0 {
                    details.add_bad_request_violation(&finding.path, positioned(finding));
                }
                Code::InvalidArgument
            }
            Failure::InvalidArgument { field, problem } => {
                details.add_bad_request_violation(*field, problem);
                Code::InvalidArgument
            }
            Failure::Denied { .. } => Code::PermissionDenied,
            Failure::UnknownRevision(_)
            | Failure::NoSpec
            | Failure::UnknownNode(_)
            | Failure::UnknownCertificate(_)
            | Failure::UnknownToken(_)
            | Failure::UnknownRevocations(_) => Code::NotFound,
            Failure::NoIssuer(_) | Failure::HasOwnConfiguration { .. } => Code::FailedPrecondition,
            Failure::CertificateInUse { .. } => {
                let metadata = HashMap::<String, String>::new();
                details.set_error_info(reason::CERTIFICATE_IN_USE, DOMAIN, metadata);
                Code::FailedPrecondition
            }
            Failure::NodeLive(_) | Failure::LastNode(_) | Failure::NoHaproxy(_) => {
                let reason = match failure {
                    Failure::NodeLive(_) => reason::NODE_LIVE,
                    Failure::NoHaproxy(_) => reason::NO_HAPROXY,
                    _ => reason::LAST_NODE,
                };
                details.set_error_info(reason, DOMAIN, HashMap::<String, String>::new());
                Code::FailedPrecondition
            }
            Failure::Conflict { current, .. } => {
                let metadata = HashMap::from([("current".to_owned(), words(*current))]);
                details.set_error_info(reason::REVISION_CONFLICT, DOMAIN, metadata);
                Code::Aborted
            }
            Failure::NoMajority {
                live,
                known,
                needed,
                missing,
            } => {
                let metadata = [("live", live), ("known", known), ("needed", needed)];
                let mut metadata: HashMap<_, _> = metadata
                    .map(|(key, n)| (key.to_owned(), n.to_string()))
                    .into();
                metadata.insert("missing".to_owned(), named(missing));
                details.set_error_info(reason::NO_MAJORITY, DOMAIN, metadata);
                Code::FailedPrecondition
            }
            Failure::NoLeader { .. } => {
                details.set_error_info(reason::NO_LEADER, DOMAIN, HashMap::<String, String>::new());
                Code::Unavailable
            }
            Failure::Answered(status) => {
                return Self::with_details(
                    status.code(),
                    status.message(),
                    status.details().to_vec().into(),
                );
            }
            Failure::TimedOut(_) => Code::DeadlineExceeded,
            Failure::Internal(_) => Code::Internal,
        };
        Self::with_error_details(code, failure.to_string(), details)
    }
}

/// `LINE:COLUMN: message`, or the message alone where no line is known.
fn positioned(finding: &Finding) -> String {
    match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!("{line}:{column}: {}", finding.message),
        (Some(line), None) => format!("{line}: {}", finding.message),
        (None, _) => finding.message.clone(),
    }
}

/// Whether `status` says that nobody leads, so that nothing was written and the call may be made again.
pub fn is_no_leader(status: &Status) -> bool {
    has_reason(status, reason::NO_LEADER)
}

/// The findings in a refusal of a spec, as the client got it; empty for any other status.
pub fn findings(status: &Status) -> Vec<Finding> {
    let Some(bad_request) = status.get_details_bad_request() else {
        return Vec::new();
    };
    let read = |violation: tonic_types::FieldViolation| {
        let mut finding = Finding::new(violation.field, violation.description);
        let numbers: Vec<_> = finding.message.splitn(3, ':').map(str::to_owned).collect();
        if let [line, column, message] = numbers.as_slice()
            && let (Ok(line), Ok(column)) = (line.parse(), column.parse())
        {
            (finding.line, finding.column) = (Some(line), Some(column));
            finding.message = message.trim_start().to_owned();
        }
        finding
    };
    bad_request.field_violations.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_cross_the_wire_whole() {
        let sent = vec![
            Finding {
                line: Some(12),
                column: Some(3),
                ..Finding::new("frontends[0].name", "no: use a-z")
            },
            Finding::new("", "9 lives: none left"),
        ];
        let status = Status::from(Failure::InvalidSpec(Findings(sent.clone())));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(findings(&status), sent);
    }

    #[test]
    fn refusals_are_told_apart_by_reason() {
        let status = Status::from(Failure::NoMajority {
            live: 1,
            known: 3,
            needed: 2,
            missing: (1..=12)
                .map(|number| format!("lb{number} (gone)"))
                .collect(),
        });
        assert!(
            status.message().contains("lb10 (gone) and 2 more"),
            "{status:?}"
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str()),
            (Code::FailedPrecondition, reason::NO_MAJORITY)
        );
        assert_eq!(info.metadata["needed"], "2");
    }
}
