//! What goes into the audit log: who tried what, from where, and how it ended.

use std::net::SocketAddr;

use hafleet_identity::Caller;
use http::HeaderMap;
use tonic::{Code, Status};

use crate::convert::timestamp;
use crate::v1;
use crate::v1::audit_record::Outcome as Ended;

/// Where records go; the agent keeps them.
pub trait Recorder: Send + Sync + 'static {
    /// Takes a record. It must not block for long: a caller waits for it.
    fn record(&self, record: v1::AuditRecord);
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// The caller may not, and why.
    Denied(String),
    /// It was allowed and did not succeed, and why.
    Failed(String),
}

impl Outcome {
    /// What the headers of an answer say. A call without an answer to stream ends in them.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match Status::from_header_map(headers) {
            None => Self::Done,
            Some(status) if status.code() == Code::Ok => Self::Done,
            Some(status) if status.code() == Code::PermissionDenied => {
                Self::Denied(status.message().to_owned())
            }
            Some(status) => Self::Failed(status.message().to_owned()),
        }
    }
}

/// A call that will be in the log.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    caller: String,
    address: String,
    via: String,
    method: String,
    /// What it is about.
    pub(crate) subject: String,
    /// The revision that it made.
    pub(crate) revision: String,
}

impl Attempt {
    /// `caller` calls the method at `path`.
    pub(crate) fn new(caller: &Caller, path: &str) -> Self {
        let method = path.strip_prefix("/hafleet.v1.Admin/").unwrap_or(path);
        Self {
            caller: caller.identity.principal.to_string(),
            address: caller.remote.to_string(),
            via: caller
                .via
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            // A path is the caller's to choose.
            method: method.chars().take(120).collect(),
            subject: String::new(),
            revision: String::new(),
        }
    }

    /// Somebody at `remote`, of whom no more is known, calls `path`.
    pub(crate) fn of_stranger(remote: SocketAddr, path: &str) -> Self {
        Self {
            caller: "nobody known".to_owned(),
            address: remote.to_string(),
            via: String::new(),
            method: path.chars().take(120).collect(),
            subject: String::new(),
            revision: String::new(),
        }
    }

    pub(crate) fn ended(self, outcome: Outcome) -> v1::AuditRecord {
        let (outcome, message) = match outcome {
            Outcome::Done => (Ended::Done, String::new()),
            Outcome::Denied(why) => (Ended::Denied, why),
            Outcome::Failed(why) => (Ended::Failed, why),
        };
        v1::AuditRecord {
            at: Some(timestamp(jiff::Timestamp::now().as_millisecond())),
            node_id: String::new(),
            caller: self.caller,
            address: self.address,
            via: self.via,
            method: self.method,
            subject: self.subject.chars().take(MAX_SUBJECT_LEN).collect(),
            outcome: outcome.into(),
            message: message.chars().take(MAX_MESSAGE_LEN).collect(),
            revision: self.revision,
        }
    }
}

const MAX_SUBJECT_LEN: usize = 200;
const MAX_MESSAGE_LEN: usize = 400;
