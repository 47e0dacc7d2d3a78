//! The section `limits` of the agent's file: how much anybody may ask of its port.

use std::num::NonZeroU32;

use hafleet_identity::ConnectionLimits;
use hafleet_model::spec::TimeSpan;
use serde::Deserialize;

use crate::limits::RequestLimits;

/// How much of the agent's port anybody may have, and ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Connections and handshakes.
    pub connections: ConnectionLimits,
    /// Calls.
    pub requests: RequestLimits,
}

/// The section as written; what is absent is as usual.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    handshakes: Option<NonZeroU32>,
    handshakes_per_address: Option<NonZeroU32>,
    handshakes_per_second: Option<NonZeroU32>,
    connections: Option<NonZeroU32>,
    connections_per_address: Option<NonZeroU32>,
    connections_per_identity: Option<NonZeroU32>,
    streams_per_connection: Option<NonZeroU32>,
    requests_per_second: Option<NonZeroU32>,
    message_deadline: Option<TimeSpan>,
}

/// With fewer calls at once two agents could not gossip and hand over documents at the same time.
const MIN_STREAMS: u32 = 8;

impl LimitsSection {
    pub(super) fn read(&self, faults: &mut Vec<String>) -> LimitsConfig {
        let usual = LimitsConfig::default();
        let count = |given: Option<NonZeroU32>, usual: usize| {
            given.map_or(usual, |given| {
                usize::try_from(given.get()).unwrap_or(usize::MAX)
            })
        };
        let (connections, requests) = (usual.connections, usual.requests);
        let streams = self.streams_per_connection.map(NonZeroU32::get);
        let streams_per_connection = streams.unwrap_or(requests.streams_per_connection);
        if streams_per_connection < MIN_STREAMS {
            faults.push(format!(
                "limits.streams_per_connection: {streams_per_connection} is too few for two agents: {MIN_STREAMS} or more"
            ));
        }
        LimitsConfig {
            connections: ConnectionLimits {
                handshakes: count(self.handshakes, connections.handshakes),
                handshakes_per_address: count(
                    self.handshakes_per_address,
                    connections.handshakes_per_address,
                ),
                handshakes_per_second: self
                    .handshakes_per_second
                    .unwrap_or(connections.handshakes_per_second),
                connections: count(self.connections, connections.connections),
                connections_per_address: count(
                    self.connections_per_address,
                    connections.connections_per_address,
                ),
                connections_per_identity: count(
                    self.connections_per_identity,
                    connections.connections_per_identity,
                ),
            },
            requests: RequestLimits {
                streams_per_connection,
                requests_per_second: self
                    .requests_per_second
                    .unwrap_or(requests.requests_per_second),
                message_deadline: self
                    .message_deadline
                    .map_or(requests.message_deadline, TimeSpan::duration),
                ..requests
            },
        }
    }
}
