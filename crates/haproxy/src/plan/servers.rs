//! Servers that differ from what is wanted.

use super::checks::Checks;
use super::{DYNAMIC_SERVERS, Draft, Known, Running, Step, Target};
use crate::render::{Rendered, RenderedBackend, RenderedServer, WrittenServer};
use crate::runtime::{AdminState, ServerState};

/// Adds the steps that make the servers those of `wanted`.
///
/// # Errors
/// Why only a new process will do.
pub(super) fn compare(
    draft: &mut Draft,
    running: &Running,
    known: &Known,
    wanted: &Rendered,
) -> Result<(), String> {
    let is_same = wanted.digest() == known.digest;
    for backend in wanted.backends() {
        let forms = known.servers.forms(&backend.name);
        let checks = Checks::of(known, backend)?;
        for server in &backend.servers {
            let form = forms.get(server.name.as_str()).copied();
            match running.servers.get(&server.backend, &server.name) {
                None => add(draft, running, server, form.is_some())?,
                Some(state) if form == Some(server.form.as_str()) => {
                    let before = Before {
                        is_same,
                        is_warming: running.warming.has(server),
                        admin: known.admin(server),
                    };
                    change(draft, server, state, before);
                    checks.compare(draft, server, state)?;
                }
                Some(_) if form.is_some() => {
                    return Err(format!("{} changed beyond its address", Target::of(server)));
                }
                Some(_) => {
                    let target = Target::of(server);
                    return Err(format!(
                        "a server {target} is there already, and not known to be as it should"
                    ));
                }
            }
        }
        let is_known = |name: &str| forms.contains_key(name);
        remove(draft, running, backend, is_known)?;
    }
    for server in wanted.written() {
        ask_written(draft, running, known, server);
    }
    Ok(())
}

/// Asks of a server that stands in text what an operator asks of it, and takes it back when they do no more. Nothing else
/// of it is ours.
fn ask_written(draft: &mut Draft, running: &Running, known: &Known, server: &WrittenServer) {
    let before = known.asked_of_written(server);
    // Its backend or itself may stand under a condition that is not met here.
    let state = running.servers.get(&server.backend, &server.name);
    let (Some(state), Some(wanted)) = (state, server.asked.or(before.map(|_| server.own))) else {
        return;
    };
    let now = state.admin();
    if now == wanted {
        return;
    }
    let target = Target::new(&server.backend, &server.name);
    if before == server.asked {
        let now = now.as_str();
        draft.drift.push(format!("{target} is in state {now}"));
    }
    draft.steps.push(Step::SetState {
        target,
        state: wanted,
    });
}

fn add(
    draft: &mut Draft,
    running: &Running,
    server: &RenderedServer,
    is_known: bool,
) -> Result<(), String> {
    let target = Target::of(server);
    let words = server
        .words()
        .filter(|_| running.version >= DYNAMIC_SERVERS);
    let Some(words) = words else {
        return Err(format!(
            "server {target} is missing, and cannot be added while HAProxy {} runs",
            running.version
        ));
    };
    if is_known {
        draft.drift.push(format!("server {target} was removed"));
    }
    draft.steps.push(Step::AddServer {
        target: target.clone(),
        words,
        is_checked: server.is_checked,
    });
    if server.admin != AdminState::Maint {
        draft.steps.push(Step::SetState {
            target,
            state: server.admin,
        });
    }
    Ok(())
}

/// What is known of a server besides what HAProxy says of it.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// Whether the whole configuration is the one before.
    is_same: bool,
    /// Whether its weight grows by itself.
    is_warming: bool,
    /// The admin state that was asked of it.
    admin: AdminState,
}

fn change(draft: &mut Draft, server: &RenderedServer, state: &ServerState, before: Before) {
    let target = || Target::of(server);
    let moved = server
        .address
        .filter(|wanted| state.address != Some(*wanted) || state.port != server.port);
    if let Some(address) = moved {
        if before.is_same {
            let now = state.address.map_or("-".to_owned(), |now| now.to_string());
            draft.drift.push(format!(
                "{} was sent to {now} port {}",
                target(),
                state.port
            ));
        }
        draft.steps.push(Step::SetAddress {
            target: target(),
            address,
            port: server.port,
        });
    }
    if server.is_weight_ours && !before.is_warming && state.weight != server.weight {
        if before.is_same {
            let (was, now) = (server.weight, state.weight);
            draft.drift.push(format!(
                "the weight of {} was changed from {was} to {now}",
                target()
            ));
        }
        draft.steps.push(Step::SetWeight {
            target: target(),
            weight: server.weight,
        });
    }
    if state.admin() != server.admin {
        if before.admin == server.admin {
            let now = state.admin().as_str();
            draft.drift.push(format!("{} is in state {now}", target()));
        }
        draft.steps.push(Step::SetState {
            target: target(),
            state: server.admin,
        });
    }
}

/// Removes what nobody wants, where the backend has no servers but the spec's.
fn remove(
    draft: &mut Draft,
    running: &Running,
    backend: &RenderedBackend,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), String> {
    if !backend.is_dynamic {
        return Ok(());
    }
    for state in running.servers.of_backend(&backend.name) {
        let wanted = backend
            .servers
            .binary_search_by(|server| server.name.as_str().cmp(&state.name));
        if wanted.is_ok() {
            continue;
        }
        let target = Target::new(&backend.name, &state.name);
        if running.version < DYNAMIC_SERVERS {
            return Err(format!(
                "server {target} is to go, and cannot be removed while HAProxy {} runs",
                running.version
            ));
        }
        // One in maintenance is on its way out, from a round before this.
        if !is_known(&state.name) && state.admin() != AdminState::Maint {
            draft.drift.push(format!("server {target} was added"));
        }
        draft.steps.push(Step::RemoveServer(target));
    }
    Ok(())
}
