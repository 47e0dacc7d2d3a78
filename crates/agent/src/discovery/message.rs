//! How the engine and the sources stand, as messages of the wire.

use hafleet_api::convert::timestamp;
use hafleet_api::v1;
use hafleet_discovery::guard::{Held, Reason};
use hafleet_discovery::{BackendState, BackendStatus, SourceStatus, Status};
use tokio::time::Instant;

use super::found::left_out;

/// What `hafleet sources` shows.
pub(super) fn sources_of(status: Status) -> v1::ListSourcesResponse {
    let clock = Clock::now();
    let backends = status.backends.into_iter();
    v1::ListSourcesResponse {
        leader: String::new(),
        endpoints: None,
        sources: status
            .sources
            .into_iter()
            .map(|source| clock.source(source))
            .collect(),
        backends: backends.map(backend).collect(),
    }
}

/// Turns moments of this process into the time of day.
struct Clock {
    now: Instant,
    now_ms: i64,
}

impl Clock {
    fn now() -> Self {
        Self {
            now: Instant::now(),
            now_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }

    fn at(&self, moment: Instant) -> pbjson_types::Timestamp {
        let ago = self.now.saturating_duration_since(moment).as_millis();
        timestamp(
            self.now_ms
                .saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)),
        )
    }

    fn source(&self, source: SourceStatus) -> v1::SourceStatus {
        let node_id = match source.kind {
            "docker" => source.name.trim_start_matches("docker ").to_owned(),
            _ => String::new(),
        };
        let change = source.change.map(|change| v1::SourceChange {
            at: Some(self.at(change.at)),
            added: count(change.added),
            removed: count(change.removed),
            altered: count(change.altered),
        });
        let (failing_since, error) = source.error.unzip();
        v1::SourceStatus {
            query: source.name,
            kind: source.kind.to_owned(),
            backends: source.backends.into_iter().collect(),
            node_id,
            answered_at: source.answered.map(|at| self.at(at)),
            found: count(source.found),
            change,
            error: error.map(|error| error.to_string()).unwrap_or_default(),
            failing_since: failing_since.map(|since| self.at(since)),
            left_out: source.left_out.into_iter().map(left_out).collect(),
        }
    }
}

fn backend(status: BackendStatus) -> v1::BackendStatus {
    let (waiting, held) = match status.state {
        BackendState::Followed => (String::new(), None),
        BackendState::Waiting(sources) => {
            let words = format!("no answer yet from {}", sources.join(", "));
            (words, None)
        }
        BackendState::Held(held) => (String::new(), Some(held_back(held))),
    };
    v1::BackendStatus {
        backend: status.name,
        servers: count(status.servers),
        waiting,
        held,
    }
}

fn held_back(held: Held<String>) -> v1::HeldBack {
    let reason = match held.reason {
        Reason::Empty => "all would go at once".to_owned(),
        Reason::Shrink { going, of } => format!("{going} of {of} would go at once"),
        Reason::Flapping => "they come and go".to_owned(),
    };
    v1::HeldBack {
        reason,
        going: held.going.into_iter().collect(),
        seen: held.seen,
        needed: held.needed,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
