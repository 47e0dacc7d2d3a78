//! Frontends that were turned off, and limits of connections that were changed.

use super::{Draft, Running, Step, Target};
use crate::render::Rendered;
use crate::runtime::FrontendState;

/// Adds the steps that have frontends serve, and as many connections as `wanted` says. What these are is no part of a
/// change at run time, so that whatever differs was changed by somebody else.
///
/// # Errors
/// Why only a new process will do.
pub(super) fn compare(
    draft: &mut Draft,
    running: &Running,
    wanted: &Rendered,
) -> Result<(), String> {
    for frontend in &running.frontends {
        let name = &frontend.name;
        match frontend.state {
            FrontendState::ShutDown => {
                return Err(format!(
                    "frontend {name} was shut down, and cannot come back while HAProxy runs"
                ));
            }
            FrontendState::Paused => {
                draft.drift.push(format!("frontend {name} was turned off"));
                draft.steps.push(Step::EnableFrontend {
                    frontend: name.clone(),
                });
            }
            FrontendState::Open => {}
        }
        let limit = wanted.frontend_limits().get(name).copied();
        if let (Some(limit), Some(now)) = (limit, frontend.limit)
            && limit != now
        {
            let words = format!("maxconn of frontend {name} was changed from {limit} to {now}");
            draft.drift.push(words);
            draft.steps.push(Step::LimitFrontend {
                frontend: name.clone(),
                maxconn: limit,
            });
        }
    }
    for server in wanted.servers() {
        let Some(limit) = server.maxconn else {
            continue;
        };
        let target = Target::of(server);
        let Some(now) = running.server_limits.get(&target).copied() else {
            continue;
        };
        if limit != now {
            let words = format!("maxconn of {target} was changed from {limit} to {now}");
            draft.drift.push(words);
            draft.steps.push(Step::LimitServer {
                target,
                maxconn: limit,
            });
        }
    }
    if let Some(now) = running.lowered_limit {
        draft.drift.push(format!("maxconn was lowered to {now}"));
        draft.steps.push(Step::LiftLimit);
    }
    Ok(())
}
