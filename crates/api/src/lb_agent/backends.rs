//! The state of a backend's servers, of one load balancer or as all of a fleet agree on it: in HAProxy's words, as lb-agent
//! told it, or in those of ELB (Elastic Load Balancing API, `InstanceState`).
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
    /// Its state, in the words that were asked for.
    pub(super) state: String,
    /// What its check says; where load balancers differ, what each says.
    pub(super) description: String,
}

/// In whose words states are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StateWords {
    /// HAProxy's, such as `UP` and `DOWN 1/2`.
    #[default]
    Haproxy,
    /// ELB's: `InService`, `OutOfService`. HAProxy's begin the description.
    Elb,
}

/// ELB's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It takes new traffic.
    InService,
    /// It does not.
    OutOfService,
    /// HAProxy says something that is not known here.
    Unknown,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::InService => "InService",
            Self::OutOfService => "OutOfService",
            Self::Unknown => "Unknown",
        }
    }
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
pub(super) fn instances(
    backend: &str,
    asked: &Asked,
    words: StateWords,
) -> Result<Vec<Instance>, Refusal> {
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
    let names = names.into_iter();
    Ok(names.map(|name| agreed(name, &seen, words)).collect())
}

fn of_missing(missing: &Missing) -> String {
    format!("{}: {}", missing.lb, missing.reason)
}

/// What is said of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    state: State,
    /// HAProxy's word.
    status: String,
    /// What its check says.
    check: String,
}

impl Said {
    fn of(row: Row<'_>) -> Self {
        let status = row.field("status").unwrap_or_default();
        let state = ServerState::read(status, row.field("weight"));
        let mut words = status.to_owned();
        if state == ServerState::Draining && !status.starts_with("DRAIN") {
            words.push_str(" with weight 0");
        }
        let check = ["check_desc", "last_chk"];
        let check: Vec<_> = check.iter().filter_map(|name| row.field(name)).collect();
        Self {
            state: state.into(),
            status: words,
            check: check.join(", "),
        }
    }

    /// Of a server that a load balancer does not have.
    fn absent() -> Self {
        Self {
            state: State::OutOfService,
            status: "not there".to_owned(),
            check: String::new(),
        }
    }

    fn whole(&self) -> String {
        match self.check.as_str() {
            "" => self.status.clone(),
            check => format!("{}: {check}", self.status),
        }
    }
}

/// What one load balancer says.
struct Seen<'a> {
    lb: &'a str,
    has_backend: bool,
    order: Vec<&'a str>,
    servers: BTreeMap<&'a str, Said>,
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
            servers: servers()
                .map(|row| (row.service(), Said::of(row)))
                .collect(),
        }
    }
}

/// What all say of the server `name` together.
fn agreed(name: &str, seen: &[Seen<'_>], words: StateWords) -> Instance {
    let mut all: Vec<(Said, Vec<&str>)> = Vec::new();
    for one in seen {
        let said = one.servers.get(name).cloned().unwrap_or_else(Said::absent);
        match all.iter_mut().find(|(known, _)| *known == said) {
            Some((_, lbs)) => lbs.push(one.lb),
            None => all.push((said, vec![one.lb])),
        }
    }
    // What keeps it out comes first, and is what is said of the whole.
    all.sort_by_key(|(said, _)| match said.state {
        State::OutOfService => 0,
        State::Unknown => 1,
        State::InService => 2,
    });
    let (state, status) = all.first().map_or((State::Unknown, ""), |(said, _)| {
        (said.state, said.status.as_str())
    });
    let description = match (all.as_slice(), words) {
        ([(said, _)], StateWords::Haproxy) => said.check.clone(),
        ([(said, _)], StateWords::Elb) => said.whole(),
        (all, _) => {
            let parts = all.iter();
            let parts = parts.map(|(said, lbs)| format!("{}: {}", lbs.join(", "), said.whole()));
            parts.collect::<Vec<_>>().join("; ")
        }
    };
    Instance {
        instance_id: name.to_owned(),
        state: match words {
            StateWords::Haproxy => status.to_owned(),
            StateWords::Elb => state.as_str().to_owned(),
        },
        description,
    }
}
