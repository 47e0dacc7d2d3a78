//! From what runs and what is wanted to the least that makes them equal. Pure: values in, values out.
//!
//! What runs is what HAProxy says of itself, not what was last asked of it; the notes ([`Known`]) only tell what it does
//! not say. Where it differs from the notes, somebody changed it behind hafleet's back: that is put right, and shown as
//! drift.

mod certificates;
mod checks;
mod known;
mod limits;
mod maps;
mod servers;
mod step;

use std::collections::BTreeMap;

use hafleet_model::report::Change;

use crate::binary::Version;
use crate::render::Rendered;
use crate::runtime::{FrontendState, MapEntry, ServersState};
use crate::warming::Warming;

pub use known::{Known, KnownServers};
pub use step::{MapName, Step, Target};

/// The oldest version in which servers come and go while HAProxy runs. In 2.4 and 2.5 `add server` is experimental, and
/// what was added that way is not relied on.
pub const DYNAMIC_SERVERS: Version = Version {
    major: 2,
    minor: 6,
    patch: 0,
};

/// A process that serves, as far as a plan needs to know it.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its version.
    pub version: Version,
    /// What it was last brought to; none when nobody knows, as after a loss of the agent's notes.
    pub applied: Option<Known>,
    /// Its servers as they are now.
    pub servers: ServersState,
    /// Its maps of routes, by name.
    pub maps: BTreeMap<String, RunningMap>,
    /// Its frontends.
    pub frontends: Vec<RunningFrontend>,
    /// The limits of connections of servers that have one, as far as it was asked for them.
    pub server_limits: BTreeMap<Target, u32>,
    /// The limit of all its connections, where somebody lowered it.
    pub lowered_limit: Option<u64>,
    /// Servers whose weight grows to what it should be.
    pub(crate) warming: Warming,
    /// The SHA-1 of the certificates that it serves, by file; none for a file that it has not loaded. Only for files
    /// of the fleet's certificates that it could be asked for.
    pub certificates: BTreeMap<String, Option<String>>,
}

impl Running {
    /// A process that was not asked, since the notes alone tell that only a new one will do.
    pub(crate) fn unasked(version: Version, applied: Option<Known>) -> Self {
        Self {
            version,
            applied,
            servers: ServersState::default(),
            maps: BTreeMap::new(),
            frontends: Vec::new(),
            server_limits: BTreeMap::new(),
            lowered_limit: None,
            warming: Warming::default(),
            certificates: BTreeMap::new(),
        }
    }
}

/// A frontend of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningFrontend {
    /// Its name.
    pub name: String,
    /// Whether it serves.
    pub state: FrontendState,
    /// Most connections at once.
    pub limit: Option<u32>,
}

/// A map of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningMap {
    /// How commands name it, for as long as the process lives.
    pub id: u32,
    /// What is in it, in HAProxy's order.
    pub entries: Vec<MapEntry>,
}

/// What it takes to bring HAProxy to a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How deep the change goes.
    pub change: Change,
    /// The commands, for [`Change::Runtime`]; otherwise none.
    pub steps: Vec<Step>,
    /// Why it is so, for people.
    pub reason: String,
    /// What was changed behind hafleet's back, a line each, for people.
    pub drift: Vec<String>,
}

impl Plan {
    /// A plan without commands.
    pub(crate) fn whole(change: Change, reason: impl Into<String>) -> Self {
        Self {
            change,
            steps: Vec::new(),
            reason: reason.into(),
            drift: Vec::new(),
        }
    }
}

/// Steps under way to a plan.
#[derive(Debug, Default)]
struct Draft {
    steps: Vec<Step>,
    drift: Vec<String>,
}

/// The least that brings what runs (none when HAProxy does not) to `wanted`.
pub fn plan(running: Option<&Running>, wanted: &Rendered) -> Plan {
    let Some(running) = running else {
        return Plan::whole(Change::Start, "HAProxy does not run");
    };
    let Some(known) = &running.applied else {
        return Plan::whole(Change::Reload, "what HAProxy runs is not known");
    };
    if let Some(difference) = wanted.skeleton().difference_from(&known.skeleton) {
        return Plan::whole(Change::Reload, difference);
    }
    let is_same = wanted.digest() == known.digest;
    let draft = match draft(running, known, wanted) {
        Ok(draft) => draft,
        Err(reason) => return Plan::whole(Change::Reload, reason),
    };
    let (change, reason) = match (draft.steps.as_slice(), is_same) {
        ([], true) => (Change::Nothing, "HAProxy runs it already".to_owned()),
        ([], false) => (Change::Nothing, "HAProxy is like that already".to_owned()),
        (steps, _) => {
            // What an operator asks of a server need not be in the text, and is no drift.
            let is_drift = is_same && !draft.drift.is_empty();
            (Change::Runtime, reason(steps, is_drift))
        }
    };
    Plan {
        change,
        steps: draft.steps,
        reason,
        drift: draft.drift,
    }
}

/// All steps, or why only a new process will do.
fn draft(running: &Running, known: &Known, wanted: &Rendered) -> Result<Draft, String> {
    let is_same = wanted.digest() == known.digest;
    let mut draft = Draft::default();
    limits::compare(&mut draft, running, wanted)?;
    servers::compare(&mut draft, running, known, wanted)?;
    maps::compare(&mut draft, running, wanted, is_same)?;
    for certificate in wanted.certificates() {
        let step = certificates::certificate_step(running, known, certificate)?;
        draft.steps.extend(step);
    }
    // Last, so that what takes their place is there before.
    let (removals, others): (Vec<_>, Vec<_>) = draft
        .steps
        .into_iter()
        .partition(|step| matches!(step, Step::RemoveServer(_)));
    draft.steps = others.into_iter().chain(removals).collect();
    for step in &draft.steps {
        step.command()
            .map_err(|error| format!("{step} cannot be said over the runtime socket: {error}"))?;
    }
    Ok(draft)
}

/// What the steps are about, in words for people.
fn reason(steps: &[Step], is_drift: bool) -> String {
    let mut kinds: Vec<_> = steps.iter().map(Step::subject).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let subjects = kinds.join(", ");
    if is_drift {
        return format!("changed behind hafleet's back: {subjects}");
    }
    format!("only these differ: {subjects}")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
