//! What becomes of the overrides by what an operator asks. Pure: values in, values out.

use std::time::Duration;

use hafleet_api::Failure;
use hafleet_api::fleet::Intent;
use hafleet_api::overrides::{OverrideChange, OverrideWrite};
use hafleet_model::overrides::{
    Dismissal, NodeDrain, Provenance, Removal, RemovalReason, ServerOverride, ServerPath,
    ServerState,
};
use hafleet_model::{DocumentKind, NodeId, Overrides, Revision};

use super::known::{Known, KnownServers, offer};
use super::write::Rewrite;

/// What becomes of the overrides that are `holding` at `now_ms`; none when there is nothing to take back.
///
/// # Errors
/// When there is no such node or server, or what is asked does not go with what was asked before.
pub(crate) fn rewrite(
    mut holding: Overrides,
    write: &OverrideWrite,
    known: &Known,
    now_ms: i64,
) -> Result<Option<Rewrite>, Failure> {
    let by = By {
        intent: &write.intent,
        now_ms,
    };
    let is_changed = match &write.change {
        OverrideChange::Drain { node, lasting } => {
            expect_node(&holding, node, known)?;
            let provenance = by.provenance(*lasting);
            holding.nodes.insert(node.clone(), NodeDrain { provenance });
            true
        }
        OverrideChange::Undrain { node } => {
            expect_node(&holding, node, known)?;
            holding.nodes.remove(node).is_some()
        }
        OverrideChange::State {
            server,
            state,
            lasting,
        } => {
            let asked = Asked::State(Some(*state).filter(|state| *state != ServerState::Ready));
            expect_server(&holding, server, &known.servers)?;
            by.ask(&mut holding, server, asked, *lasting)?
        }
        OverrideChange::Weight {
            server,
            weight,
            lasting,
        } => {
            expect_server(&holding, server, &known.servers)?;
            expect_weight_is_ours(server, *weight, &known.servers)?;
            by.ask(&mut holding, server, Asked::Weight(*weight), *lasting)?
        }
        OverrideChange::Forget { node } => match known.of(node) {
            _ if holding.removed.contains_key(node) => false,
            None => return Err(unknown_node(node, known)),
            Some(found) if found.is_live => return Err(Failure::NodeLive(node.clone())),
            Some(found) => {
                let removal = by.removal(found.generation, RemovalReason::Forgotten);
                holding.remove(node.clone(), removal);
                true
            }
        },
        OverrideChange::Leave { node, generation } => {
            if !known.has_another(node, &holding.removed) {
                return Err(Failure::LastNode(node.clone()));
            }
            let removal = by.removal(*generation, RemovalReason::Left);
            holding.remove(node.clone(), removal);
            true
        }
        OverrideChange::Dismiss { kind, revision } => {
            let stamps = known.conflicts.iter();
            let stamps = stamps.filter(|(of, stamp)| of == kind && stamp.revision == *revision);
            let stamps: Vec<_> = stamps.map(|(_, stamp)| *stamp).collect();
            if stamps.is_empty() {
                return Err(unknown_conflict(*kind, *revision, known));
            }
            let mut is_new = false;
            for stamp in stamps {
                if holding.dismissal(*kind, stamp).is_none() {
                    is_new = true;
                    holding.dismiss(Dismissal {
                        kind: *kind,
                        stamp,
                        provenance: by.provenance(None),
                    });
                }
            }
            is_new
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
    fn removal(&self, generation: u64, reason: RemovalReason) -> Removal {
        Removal {
            generation,
            reason,
            provenance: self.provenance(None),
        }
    }

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

fn expect_node(holding: &Overrides, node: &NodeId, known: &Known) -> Result<(), Failure> {
    if known.of(node).is_some() || holding.nodes.contains_key(node) {
        return Ok(());
    }
    Err(unknown_node(node, known))
}

fn unknown_node(node: &NodeId, known: &Known) -> Failure {
    let names = known.nodes.iter().map(|known| known.id.as_str());
    let names = offer(node.as_str(), names);
    Failure::InvalidArgument {
        field: "node_id",
        problem: format!("there is no node {node}; there are {names}"),
    }
}

fn unknown_conflict(kind: DocumentKind, revision: Revision, known: &Known) -> Failure {
    let of_kind = known.conflicts.iter().filter(|(of, _)| *of == kind);
    let revisions: Vec<_> = of_kind
        .map(|(_, stamp)| stamp.revision.to_string())
        .collect();
    let words = match revisions.is_empty() {
        true => "there are none".to_owned(),
        false => format!(
            "there are {}",
            offer(&revision.to_string(), revisions.iter().map(String::as_str))
        ),
    };
    Failure::InvalidArgument {
        field: "revision",
        problem: format!("{revision} is no conflict of {kind}; {words}"),
    }
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

fn expect_weight_is_ours(
    path: &ServerPath,
    weight: Option<u16>,
    servers: &KnownServers,
) -> Result<(), Failure> {
    if weight.is_none() || !servers.is_written(path) {
        return Ok(());
    }
    Err(Failure::InvalidArgument {
        field: "server",
        problem: format!(
            "{path} stands in raw text or a template, which gives it its weight: change it there"
        ),
    })
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
        OverrideChange::Forget { node } => format!("forget {node}"),
        OverrideChange::Leave { node, .. } => format!("{node} leaves"),
        OverrideChange::Dismiss { kind, revision } => {
            format!("dismiss the conflict {kind} {revision}")
        }
    };
    match write.intent.comment.as_str() {
        "" => done,
        words => format!("{done}: {words}"),
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
