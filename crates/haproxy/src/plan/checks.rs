//! Health checks that are on or off where they should not be.

use super::{Draft, Known, Step, Target};
use crate::render::{RenderedBackend, RenderedServer};
use crate::runtime::ServerState;

/// How the servers of a backend should be checked, and were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    /// Whether the configuration before this one checked them, in whichever way.
    were_on: bool,
    /// Whether the Runtime API can turn them on and off.
    are_apart: bool,
}

impl Checks {
    /// Those of `backend` in a process that is `known`.
    ///
    /// # Errors
    /// Why only a new process will do: one has to have loaded a check before it can be turned on.
    pub(super) fn of(known: &Known, backend: &RenderedBackend) -> Result<Self, String> {
        let is_loaded = known.loaded_checks.get(&backend.name) == backend.check.as_ref();
        if backend.is_check_apart && backend.check.is_some() && !is_loaded {
            let name = &backend.name;
            return Err(format!(
                "HAProxy has not loaded the health check of backend {name}"
            ));
        }
        Ok(Self {
            were_on: known.checks.contains_key(&backend.name),
            are_apart: backend.is_check_apart,
        })
    }

    /// Adds the steps that have `server`, which is in `state`, checked or not checked.
    ///
    /// # Errors
    /// Why only a new process will do.
    pub(super) fn compare(
        self,
        draft: &mut Draft,
        server: &RenderedServer,
        state: &ServerState,
    ) -> Result<(), String> {
        let target = Target::of(server);
        if server.is_checked {
            if self.are_apart && state.has_check() == Some(false) {
                return Err(format!(
                    "HAProxy has not loaded the health check of {target}"
                ));
            }
            if state.is_check_off() {
                if self.were_on {
                    let words = format!("the health check of {target} was turned off");
                    draft.drift.push(words);
                }
                draft.steps.push(Step::EnableCheck {
                    target: target.clone(),
                });
            }
            if self.are_apart {
                compare_place(draft, server, state, target);
            }
            return Ok(());
        }
        if !self.are_apart {
            return Ok(());
        }
        if state.check_state.is_none() && self.were_on {
            return Err(format!("HAProxy does not say whether it checks {target}"));
        }
        if state.is_check_on() {
            if !self.were_on {
                let words = format!("the health check of {target} was turned on");
                draft.drift.push(words);
            }
            draft.steps.push(Step::DisableCheck {
                target: target.clone(),
            });
        }
        if state.is_held_down() {
            if !self.were_on {
                let words = format!("{target} was marked down, and nothing checks it");
                draft.drift.push(words);
            }
            draft.steps.push(Step::MarkUp { target });
        }
        Ok(())
    }
}

/// Adds the steps that have `server` checked where it should be. Commands change nothing of that but by hand.
fn compare_place(draft: &mut Draft, server: &RenderedServer, state: &ServerState, target: Target) {
    if state.check_port != server.check_port {
        let now = state.check_port.unwrap_or(server.port);
        let words = format!("the health check of {target} was sent to port {now}");
        draft.drift.push(words);
        draft.steps.push(Step::SetCheckPort {
            target: target.clone(),
            port: server.check_port,
        });
    }
    if let Some(now) = state.check_address {
        let words = format!("the health check of {target} was sent to {now}");
        draft.drift.push(words);
        draft.steps.push(Step::ResetCheckAddress { target });
    }
}
