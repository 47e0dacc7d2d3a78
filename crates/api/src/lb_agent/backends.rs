//! The state of a backend's servers in ELB's words (Elastic Load Balancing API, `InstanceState`), of one load balancer or
//! as all of a fleet agree on it.
//!
//! A server is in service where HAProxy sends it new traffic. It is so for a fleet where it is on every load balancer; a
//! load balancer that does not answer leaves no answer at all.

use std::collections::BTreeMap;

use hafleet_query::statistics::{Columns, Row};
use hafleet_query::{Asked, Missing, Part, RowKind, Selection, ServerState, Wanted};
use http::StatusCode;
use serde::Serialize;

use super::answer::Refusal;

/// What is needed of each load balancer: its statistics of `backend` and of the servers in it.
pub fn wanted(backend: &str) -> Wanted {
    let mut columns = Columns::default();
    for column in ["status", "weight", "check_desc", "last_chk"] {
        columns.want(column);
    }
    Wanted {
        table: Some(Selection {
            kinds: [RowKind::Backend, RowKind::Server].into(),
            columns,
            proxies: Some([backend.to_owned()].into()),
        }),
        ..Wanted::default()
    }
}

/// A server, as lb-agent told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Instance {
    /// The server's name.
    pub(super) instance_id: String,
    /// Whether it takes traffic.
    pub(super) state: State,
    /// HAProxy's own words, and those of its check.
    pub(super) description: String,
}

/// ELB's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum State {
    /// It takes new traffic.
    InService,
    /// It does not.
    OutOfService,
    /// HAProxy says something that is not known here.
    Unknown,
}

impl From<ServerState> for State {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Up | ServerState::GoingDown | ServerState::Unchecked => Self::InService,
            ServerState::GoingUp
            | ServerState::Down
            | ServerState::Draining
            | ServerState::Stopping
            | ServerState::Maintenance => Self::OutOfService,
            ServerState::Unknown => Self::Unknown,
        }
    }
}

/// The servers of `backend`, as all that were asked agree on them; in HAProxy's order.
pub(super) fn instances(backend: &str, asked: &Asked) -> Result<Vec<Instance>, Refusal> {
    let unknown = |words: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, words);
    if !asked.missing.is_empty() {
        let missing: Vec<_> = asked.missing.iter().map(of_missing).collect();
        return Err(unknown(format!("no answer without {}", missing.join("; "))));
    }
    let seen: Vec<_> = asked
        .parts
        .iter()
        .map(|part| Seen::of(backend, part))
        .collect();
    if seen.is_empty() {
        return Err(unknown("no load balancer runs an HAProxy".to_owned()));
    }
    if seen.iter().all(|seen| !seen.has_backend) {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!(
                "HAProxy has no backend {backend:?}: name another one in lb_agent.default_backend of agent.toml, or give it a configuration that has it"
            ),
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in seen.iter().flat_map(|seen| seen.order.iter().copied()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.into_iter().map(|name| agreed(name, &seen)).collect())
}

fn of_missing(missing: &Missing) -> String {
    format!("{}: {}", missing.lb, missing.reason)
}

/// What one load balancer says.
struct Seen<'a> {
    lb: &'a str,
    has_backend: bool,
    order: Vec<&'a str>,
    servers: BTreeMap<&'a str, (State, String)>,
}

impl<'a> Seen<'a> {
    fn of(backend: &str, part: &'a Part) -> Self {
        let rows = || {
            let pages = part.table.iter();
            pages
                .flat_map(hafleet_query::Statistics::rows)
                .filter(|row| row.proxy() == backend)
        };
        let servers = || rows().filter(|row| row.kind() == RowKind::Server);
        Self {
            lb: &part.facts.id,
            has_backend: rows().any(|row| row.kind() == RowKind::Backend),
            order: servers().map(Row::service).collect(),
            servers: servers().map(|row| (row.service(), read(row))).collect(),
        }
    }
}

fn read(row: Row<'_>) -> (State, String) {
    let status = row.field("status").unwrap_or_default();
    let state = ServerState::read(status, row.field("weight"));
    let mut words = status.to_owned();
    if state == ServerState::Draining && !status.starts_with("DRAIN") {
        words.push_str(" with weight 0");
    }
    let of_check = ["check_desc", "last_chk"];
    let of_check: Vec<_> = of_check.iter().filter_map(|name| row.field(name)).collect();
    if !of_check.is_empty() {
        words = format!("{words}: {}", of_check.join(", "));
    }
    (state.into(), words)
}

/// What all say of the server `name` together.
fn agreed(name: &str, seen: &[Seen<'_>]) -> Instance {
    let absent = || (State::OutOfService, "it is not there".to_owned());
    let mut said: Vec<((State, String), Vec<&str>)> = Vec::new();
    for one in seen {
        let words = one.servers.get(name).cloned().unwrap_or_else(absent);
        match said.iter_mut().find(|(known, _)| *known == words) {
            Some((_, lbs)) => lbs.push(one.lb),
            None => said.push((words, vec![one.lb])),
        }
    }
    let is = |state: State| move |((found, _), _): &((State, String), Vec<&str>)| *found == state;
    let state = match said.as_slice() {
        all if all.iter().all(is(State::InService)) => State::InService,
        all if all.iter().any(is(State::OutOfService)) => State::OutOfService,
        _ => State::Unknown,
    };
    // What keeps it out comes first.
    said.sort_by_key(|((found, _), _)| *found == State::InService);
    let description = match said.as_slice() {
        [((_, words), _)] => words.clone(),
        all => {
            let parts: Vec<_> = all
                .iter()
                .map(|((_, words), lbs)| format!("{}: {words}", lbs.join(", ")))
                .collect();
            parts.join("; ")
        }
    };
    Instance {
        instance_id: name.to_owned(),
        state,
        description,
    }
}
