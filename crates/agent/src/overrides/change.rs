//! What becomes of the overrides by what an operator asks. Pure: values in, values out.

use std::time::Duration;

use hafleet_api::Failure;
use hafleet_api::fleet::Intent;
use hafleet_api::overrides::{OverrideChange, OverrideWrite};
use hafleet_model::overrides::{NodeDrain, Provenance, ServerOverride, ServerPath, ServerState};
use hafleet_model::{NodeId, Overrides};

use super::known::{KnownServers, offer};
use super::write::Rewrite;

/// What becomes of the overrides that are `holding` at `now_ms`; none when there is nothing to take back.
///
/// # Errors
/// When there is no such node or server, or what is asked does not go with what was asked before.
pub(crate) fn rewrite(
    mut holding: Overrides,
    write: &OverrideWrite,
    nodes: &[NodeId],
    servers: &KnownServers,
    now_ms: i64,
) -> Result<Option<Rewrite>, Failure> {
    let by = By {
        intent: &write.intent,
        now_ms,
    };
    let is_changed = match &write.change {
        OverrideChange::Drain { node, lasting } => {
            expect_node(&holding, node, nodes)?;
            let provenance = by.provenance(*lasting);
            holding.nodes.insert(node.clone(), NodeDrain { provenance });
            true
        }
        OverrideChange::Undrain { node } => {
            expect_node(&holding, node, nodes)?;
            holding.nodes.remove(node).is_some()
        }
        OverrideChange::State {
            server,
            state,
            lasting,
        } => {
            let asked = Asked::State(Some(*state).filter(|state| *state != ServerState::Ready));
            expect_server(&holding, server, servers)?;
            by.ask(&mut holding, server, asked, *lasting)?
        }
        OverrideChange::Weight {
            server,
            weight,
            lasting,
        } => {
            expect_server(&holding, server, servers)?;
            by.ask(&mut holding, server, Asked::Weight(*weight), *lasting)?
        }
    };
    Ok(is_changed.then(|| Rewrite {
        overrides: holding,
        comment: comment(write),
    }))
}

/// One of the things that can be asked of a server; none takes it back.
#[derive(Debug, Clone, Copy)]
enum Asked {
    State(Option<ServerState>),
    Weight(Option<u16>),
}

/// Who asks, and when.
struct By<'a> {
    intent: &'a Intent,
    now_ms: i64,
}

impl By<'_> {
    fn provenance(&self, lasting: Option<Duration>) -> Provenance {
        let end = |lasting: Duration| {
            let ms = i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX);
            self.now_ms.saturating_add(ms)
        };
        Provenance {
            author: self.intent.author.clone(),
            comment: self.intent.comment.clone(),
            since_ms: self.now_ms,
            until_ms: lasting.map(end),
        }
    }

    /// Asks something of a server, beside what is asked of it already. Returns whether that is anything new.
    ///
    /// State and weight have one end. Otherwise a weight for ten minutes would bring back a server that somebody took
    /// out of service for good, or a weight for good would keep one out.
    fn ask(
        &self,
        holding: &mut Overrides,
        path: &ServerPath,
        asked: Asked,
        lasting: Option<Duration>,
    ) -> Result<bool, Failure> {
        let before = holding.servers.remove(path);
        let (state, weight) = match &before {
            Some(before) => (before.state, before.weight),
            None => (None, None),
        };
        let (was_asked, other, is_asked) = match asked {
            Asked::State(state) => (
                before.as_ref().is_some_and(|before| before.state.is_some()),
                weight.map(|weight| format!("weight {weight}")),
                state.is_some(),
            ),
            Asked::Weight(weight) => (
                before
                    .as_ref()
                    .is_some_and(|before| before.weight.is_some()),
                state.map(|state| state_word(state).to_owned()),
                weight.is_some(),
            ),
        };
        let mut provenance = self.provenance(lasting);
        if let (Some(other), Some(before)) = (&other, &before) {
            if lasting.is_some() {
                return Err(two_ends(path, other));
            }
            provenance.until_ms = before.provenance.until_ms;
            if !is_asked {
                provenance = before.provenance.clone();
            } else if provenance.comment.is_empty() {
                provenance.comment.clone_from(&before.provenance.comment);
            }
        }
        let (state, weight) = match asked {
            Asked::State(state) => (state, weight),
            Asked::Weight(weight) => (state, weight),
        };
        if state.is_some() || weight.is_some() {
            let server = ServerOverride {
                state,
                weight,
                provenance,
            };
            holding.servers.insert(path.clone(), server);
        }
        Ok(is_asked || was_asked)
    }
}

fn two_ends(path: &ServerPath, other: &str) -> Failure {
    Failure::InvalidArgument {
        field: "lasting",
        problem: format!(
            "{path} has {other} by hand too, and both end together: leave the time out, or take {other} back first"
        ),
    }
}

fn expect_node(holding: &Overrides, node: &NodeId, nodes: &[NodeId]) -> Result<(), Failure> {
    if nodes.contains(node) || holding.nodes.contains_key(node) {
        return Ok(());
    }
    let names = offer(node.as_str(), nodes.iter().map(NodeId::as_str));
    Err(Failure::InvalidArgument {
        field: "node_id",
        problem: format!("there is no node {node}; there are {names}"),
    })
}

fn expect_server(
    holding: &Overrides,
    path: &ServerPath,
    servers: &KnownServers,
) -> Result<(), Failure> {
    match servers.lack_of(path) {
        Some(problem) if !holding.servers.contains_key(path) => Err(Failure::InvalidArgument {
            field: "server",
            problem,
        }),
        _ => Ok(()),
    }
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Ready => "ready",
        ServerState::Drain => "drain",
        ServerState::Maint => "maint",
    }
}

/// What was done, for the history.
fn comment(write: &OverrideWrite) -> String {
    let done = match &write.change {
        OverrideChange::Drain { node, .. } => format!("drain {node}"),
        OverrideChange::Undrain { node } => format!("undrain {node}"),
        OverrideChange::State { server, state, .. } => format!("{} {server}", state_word(*state)),
        OverrideChange::Weight { server, weight, .. } => match weight {
            Some(weight) => format!("weight {weight} {server}"),
            None => format!("no weight {server}"),
        },
    };
    match write.intent.comment.as_str() {
        "" => done,
        words => format!("{done}: {words}"),
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
