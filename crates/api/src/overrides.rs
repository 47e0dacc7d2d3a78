//! What operators do by hand: to nodes and servers, for a while or until they take it back.

use std::time::Duration;

use hafleet_model::overrides::{Provenance, ServerPath, ServerState};
use hafleet_model::{DocumentKind, NodeId, Revision};

use crate::convert::timestamp;
use crate::fleet::Intent;
use crate::service::{optional, required};
use crate::{Failure, v1};

/// The longest time that something may be asked for: what is to hold longer holds until it is taken back.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The heaviest weight of a server (HAProxy's Configuration Manual, section 5.2, `weight`).
const MAX_WEIGHT: u32 = 256;

/// Something to do by hand, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideWrite {
    /// What is done.
    pub change: OverrideChange,
    /// Conditions and words; the expected revision is not used.
    pub intent: Intent,
}

/// What is done by hand. What is asked for without a time holds until somebody takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideChange {
    /// The node leaves DNS.
    Drain {
        /// Which one.
        node: NodeId,
        /// For how long.
        lasting: Option<Duration>,
    },
    /// The node comes back.
    Undrain {
        /// Which one.
        node: NodeId,
    },
    /// The server is in this state. `Ready` takes back what was asked before.
    State {
        /// Which one.
        server: ServerPath,
        /// Which state.
        state: ServerState,
        /// For how long.
        lasting: Option<Duration>,
    },
    /// The server has this weight.
    Weight {
        /// Which one.
        server: ServerPath,
        /// 0 to 256; none takes back what was asked before.
        weight: Option<u16>,
        /// For how long.
        lasting: Option<Duration>,
    },
    /// The fleet goes on without the node, which is dead.
    Forget {
        /// Which one.
        node: NodeId,
    },
    /// The fleet goes on without the node, which asks for it itself.
    Leave {
        /// Which one.
        node: NodeId,
        /// Which run of it ends.
        generation: u64,
    },
    /// Nothing more is to be done about a conflict.
    Dismiss {
        /// Of which document.
        kind: DocumentKind,
        /// Which revision.
        revision: Revision,
    },
}

/// A node that is to leave, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// Which node; the one that answers if none is named.
    pub node: Option<NodeId>,
    /// Whether its HAProxy ends as well.
    pub stop_haproxy: bool,
    /// Conditions and words; the expected revision is not used.
    pub intent: Intent,
}

impl Leave {
    pub(crate) fn read(author: Author, request: v1::LeaveFleetRequest) -> Result<Self, Failure> {
        Ok(Self {
            node: optional("node_id", &request.node_id)?,
            stop_haproxy: request.stop_haproxy,
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }
}

/// Who asks, and whether another agent has forwarded it.
type Author = (String, bool);

impl OverrideWrite {
    pub(crate) fn drain(author: Author, request: v1::DrainNodeRequest) -> Result<Self, Failure> {
        Ok(Self {
            change: OverrideChange::Drain {
                node: required("node_id", &request.node_id)?,
                lasting: lasting(request.lasting)?,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }

    pub(crate) fn undrain(
        author: Author,
        request: v1::UndrainNodeRequest,
    ) -> Result<Self, Failure> {
        Ok(Self {
            change: OverrideChange::Undrain {
                node: required("node_id", &request.node_id)?,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }

    pub(crate) fn state(
        author: Author,
        request: v1::SetServerStateRequest,
    ) -> Result<Self, Failure> {
        let state = match request.state() {
            v1::ServerState::Unspecified => {
                return Err(wrong("state", "it is missing: ready, drain or maint"));
            }
            v1::ServerState::Ready => ServerState::Ready,
            v1::ServerState::Drain => ServerState::Drain,
            v1::ServerState::Maint => ServerState::Maint,
        };
        let lasting = lasting(request.lasting)?;
        if state == ServerState::Ready && lasting.is_some() {
            let words = "ready takes back what was asked, which is not for a while";
            return Err(wrong("lasting", words));
        }
        Ok(Self {
            change: OverrideChange::State {
                server: path(&request.backend, &request.server)?,
                state,
                lasting,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }

    pub(crate) fn weight(
        author: Author,
        request: v1::SetServerWeightRequest,
    ) -> Result<Self, Failure> {
        let heavy = |weight| wrong("weight", format!("{weight} is too much: 0 to {MAX_WEIGHT}"));
        let weight = request.weight.map(|weight| match u16::try_from(weight) {
            Ok(small) if weight <= MAX_WEIGHT => Ok(small),
            _ => Err(heavy(weight)),
        });
        let (weight, lasting) = (weight.transpose()?, lasting(request.lasting)?);
        if weight.is_none() && lasting.is_some() {
            let words = "without a weight, what was asked is taken back, which is not for a while";
            return Err(wrong("lasting", words));
        }
        Ok(Self {
            change: OverrideChange::Weight {
                server: path(&request.backend, &request.server)?,
                weight,
                lasting,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }
}

impl OverrideWrite {
    pub(crate) fn forget(author: Author, request: v1::ForgetNodeRequest) -> Result<Self, Failure> {
        Ok(Self {
            change: OverrideChange::Forget {
                node: required("node_id", &request.node_id)?,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }

    pub(crate) fn leave(author: Author, node: NodeId, request: v1::AcceptLeaveRequest) -> Self {
        let generation = request.generation;
        Self {
            change: OverrideChange::Leave { node, generation },
            intent: intent(author, request.comment, request.force_without_majority),
        }
    }

    pub(crate) fn dismiss(
        author: Author,
        request: v1::DismissConflictRequest,
    ) -> Result<Self, Failure> {
        let kind: Option<DocumentKind> = optional("document", &request.document)?;
        let kind = kind.unwrap_or(DocumentKind::Spec);
        if kind.is_observed() {
            return Err(wrong(
                "document",
                format!("{kind} have no conflicts: spec, overrides and secrets have"),
            ));
        }
        Ok(Self {
            change: OverrideChange::Dismiss {
                kind,
                revision: required("revision", &request.revision)?,
            },
            intent: intent(author, request.comment, request.force_without_majority),
        })
    }
}

fn wrong(field: &'static str, problem: impl Into<String>) -> Failure {
    Failure::InvalidArgument {
        field,
        problem: problem.into(),
    }
}

fn path(backend: &str, server: &str) -> Result<ServerPath, Failure> {
    required("server", &format!("{backend}/{server}"))
}

fn intent((author, is_forwarded): Author, comment: String, force: bool) -> Intent {
    Intent {
        author,
        comment,
        expect: None,
        force,
        is_forwarded,
    }
}

fn lasting(lasting: Option<pbjson_types::Duration>) -> Result<Option<Duration>, Failure> {
    let Some(lasting) = lasting else {
        return Ok(None);
    };
    let parts = (
        u64::try_from(lasting.seconds),
        u32::try_from(lasting.nanos).map(|nanos| nanos.min(999_999_999)),
    );
    match parts {
        (Ok(secs), Ok(nanos)) => Some(Duration::new(secs, nanos)),
        _ => None,
    }
    .filter(|lasting| *lasting >= Duration::from_millis(1) && *lasting <= LONGEST)
    .map(Some)
    .ok_or_else(|| {
        wrong(
            "lasting",
            "it has to be more than nothing, and at most 366 days",
        )
    })
}

/// A length of time as protobuf has it.
pub fn duration(lasting: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(lasting.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(lasting.subsec_nanos()).unwrap_or_default(),
    }
}

/// A state as it is sent.
pub fn state_message(state: ServerState) -> v1::ServerState {
    match state {
        ServerState::Ready => v1::ServerState::Ready,
        ServerState::Drain => v1::ServerState::Drain,
        ServerState::Maint => v1::ServerState::Maint,
    }
}

impl From<Provenance> for v1::Provenance {
    fn from(provenance: Provenance) -> Self {
        Self {
            author: provenance.author,
            comment: provenance.comment,
            since: Some(timestamp(provenance.since_ms)),
            until: provenance.until_ms.map(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author() -> Author {
        ("ada (operator)".to_owned(), false)
    }

    fn seconds(seconds: i64) -> Option<pbjson_types::Duration> {
        Some(pbjson_types::Duration { seconds, nanos: 0 })
    }

    fn weight(
        weight: Option<u32>,
        lasting: Option<pbjson_types::Duration>,
    ) -> Result<OverrideWrite, Failure> {
        let request = v1::SetServerWeightRequest {
            backend: "app".into(),
            server: "s1".into(),
            weight,
            lasting,
            ..Default::default()
        };
        OverrideWrite::weight(author(), request)
    }

    #[test]
    fn what_is_sent_is_read_or_refused() {
        let write = weight(Some(256), seconds(90)).unwrap();
        let expected = OverrideChange::Weight {
            server: "app/s1".parse().unwrap(),
            weight: Some(256),
            lasting: Some(Duration::from_secs(90)),
        };
        assert_eq!(write.change, expected);
        assert_eq!(duration(Duration::from_secs(90)), seconds(90).unwrap());
        for refused in [
            weight(Some(257), None),
            weight(Some(70_000), None),
            weight(Some(1), seconds(0)),
            weight(Some(1), seconds(-1)),
            weight(Some(1), seconds(i64::MAX)),
            weight(None, seconds(1)),
        ] {
            assert!(refused.is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_state_is_named_and_ready_has_no_end() {
        let state = |state: v1::ServerState, server: &str, lasting| {
            let request = v1::SetServerStateRequest {
                backend: "app".into(),
                server: server.into(),
                state: state.into(),
                lasting,
                ..Default::default()
            };
            OverrideWrite::state(author(), request)
        };
        assert!(state(v1::ServerState::Ready, "s1", None).is_ok());
        assert!(state(v1::ServerState::Maint, "s1", seconds(1)).is_ok());
        assert!(state(v1::ServerState::Ready, "s1", seconds(1)).is_err());
        assert!(state(v1::ServerState::Unspecified, "s1", None).is_err());
        assert!(state(v1::ServerState::Drain, "", None).is_err());
        assert!(state(v1::ServerState::Drain, "s 1", None).is_err());
    }
}
