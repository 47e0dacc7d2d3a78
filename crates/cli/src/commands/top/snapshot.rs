//! What the screen shows: nodes, backends and servers, summed over all load balancers. Values in, values out.

use std::collections::BTreeMap;

use hafleet_query::{Evaluation, Expression, Missing};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// A fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Snapshot {
    pub(super) nodes: Vec<Node>,
    pub(super) backends: Vec<Backend>,
    pub(super) servers: Vec<Server>,
    /// Nodes that did not answer.
    pub(super) missing: Vec<Missing>,
}

/// A node that answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) leader: bool,
    pub(super) drained: bool,
    pub(super) applied_revision: String,
    pub(super) version: String,
    pub(super) problem: String,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
}

/// A backend on all nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Backend {
    pub(super) name: String,
    /// Its servers that every node sees up.
    pub(super) up: u64,
    /// All its servers.
    pub(super) total: u64,
    /// HAProxy's words for its state, and on how many nodes it is in that.
    pub(super) states: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
}

/// A server on all nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Server {
    pub(super) backend: String,
    pub(super) name: String,
    pub(super) backup: bool,
    /// HAProxy's words for its state, and on how many nodes it is in that.
    pub(super) states: BTreeMap<String, u64>,
    /// The words for its last check.
    pub(super) check: String,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
}

/// Sums over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Traffic {
    /// Sessions now; of a node, connections of clients.
    pub(super) sessions: u64,
    /// Those that wait.
    pub(super) queue: u64,
    /// New sessions in the last second.
    pub(super) rate: u64,
    /// Errors since the start: connections that failed, broken responses, responses with status 5xx.
    pub(super) errors: u64,
}

impl Traffic {
    fn add(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.queue = self.queue.saturating_add(other.queue);
        self.rate = self.rate.saturating_add(other.rate);
        self.errors = self.errors.saturating_add(other.errors);
    }

    /// Of the cells for sessions, queue, rate and errors.
    fn read(cells: [&String; 4]) -> Option<Self> {
        let [sessions, queue, rate, errors] = cells.map(|cell| cell.parse().ok());
        Some(Self {
            sessions: sessions?,
            queue: queue?,
            rate: rate?,
            errors: errors?,
        })
    }
}

/// The question whose value [`Snapshot::read`] reads.
pub(super) fn question() -> Result<Expression, Failure> {
    let or_0 = |row: &str, column: &str| format!("(has({row}.{column}) ? {row}.{column} : 0)");
    let sum = |row: &str, columns: &[&str]| {
        let columns: Vec<_> = columns.iter().map(|column| or_0(row, column)).collect();
        format!("string({})", columns.join(" + "))
    };
    let errors = ["econ", "eresp", "hrsp_5xx"];
    let text = format!(
        "lbs.map(lb, [['node', lb.id, lb.zone, lb.leader ? '1' : '', lb.drained ? '1' : '', lb.applied_revision, \
         has(lb.info.Version) ? lb.info.Version : '', lb.apply_error, {connections}]] \
         + lb.frontends.map(f, ['frontend', f.name, {f_rate}, {f_errors}]) \
         + lb.backends.map(b, ['backend', b.name, b.status, {b_sessions}, {b_queue}, {b_rate}, {b_errors}]) \
         + lb.servers.map(s, ['server', s.backend, s.name, s.backup ? '1' : '', s.status, \
         has(s.check_status) ? s.check_status : '', {s_sessions}, {s_queue}, {s_rate}, {s_errors}]))",
        connections = "string(has(lb.info.CurrConns) ? lb.info.CurrConns : 0)",
        f_rate = sum("f", &["rate"]),
        f_errors = sum("f", &["ereq", "hrsp_5xx"]),
        b_sessions = sum("b", &["scur"]),
        b_queue = sum("b", &["qcur"]),
        b_rate = sum("b", &["rate"]),
        b_errors = sum("b", &errors),
        s_sessions = sum("s", &["scur"]),
        s_queue = sum("s", &["qcur"]),
        s_rate = sum("s", &["rate"]),
        s_errors = sum("s", &errors),
    );
    Expression::compile(&text).map_err(Failure::invalid)
}

impl Snapshot {
    /// Reads the value of [`question`].
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn of(evaluation: Evaluation) -> Result<Self, String> {
        let value = evaluation.outcome.map_err(|words| {
            let missing = evaluation.missing.first();
            let reason = missing.map(|missing| format!(" ({}: {})", missing.lb, missing.reason));
            format!("{words}{}", reason.unwrap_or_default())
        })?;
        let snapshot = Self::read(value)
            .ok_or("the agent answers in a form that this command does not know")?;
        Ok(Self {
            missing: evaluation.missing,
            ..snapshot
        })
    }

    fn read(value: Value) -> Option<Self> {
        let lbs: Vec<Vec<Vec<String>>> = serde_json::from_value(value).ok()?;
        let mut nodes = Vec::new();
        let mut backends: BTreeMap<String, Backend> = BTreeMap::new();
        let mut servers: BTreeMap<(String, String), Server> = BTreeMap::new();
        for row in lbs.iter().flatten() {
            let (kind, cells) = row.split_first()?;
            match kind.as_str() {
                "node" => nodes.push(node(cells)?),
                "frontend" => {
                    let [_, rate, errors] = cells else {
                        return None;
                    };
                    let none = "0".to_owned();
                    let traffic = Traffic::read([&none, &none, rate, errors])?;
                    nodes.last_mut()?.traffic.add(traffic);
                }
                "backend" => add_backend(&mut backends, cells)?,
                "server" => add_server(&mut servers, cells)?,
                _ => return None,
            }
        }
        for server in servers.values() {
            let backend = backends.entry(server.backend.clone()).or_default();
            backend.total += 1;
            backend.up += u64::from(server.states.keys().eq(["UP"]));
        }
        nodes.sort_by(|one: &Node, other| one.id.cmp(&other.id));
        Some(Self {
            nodes,
            backends: backends.into_values().collect(),
            servers: servers.into_values().collect(),
            missing: Vec::new(),
        })
    }
}

fn node(cells: &[String]) -> Option<Node> {
    let [
        id,
        zone,
        leader,
        drained,
        revision,
        version,
        problem,
        connections,
    ] = cells
    else {
        return None;
    };
    Some(Node {
        id: id.clone(),
        zone: zone.clone(),
        leader: !leader.is_empty(),
        drained: !drained.is_empty(),
        applied_revision: revision.clone(),
        version: version.clone(),
        problem: problem.clone(),
        traffic: Traffic {
            sessions: connections.parse().ok()?,
            ..Traffic::default()
        },
    })
}

fn add_backend(backends: &mut BTreeMap<String, Backend>, cells: &[String]) -> Option<()> {
    let [name, status, sessions, queue, rate, errors] = cells else {
        return None;
    };
    let backend = backends.entry(name.clone()).or_default();
    backend.name.clone_from(name);
    *backend.states.entry(status.clone()).or_default() += 1;
    backend
        .traffic
        .add(Traffic::read([sessions, queue, rate, errors])?);
    Some(())
}

fn add_server(servers: &mut BTreeMap<(String, String), Server>, cells: &[String]) -> Option<()> {
    let [
        backend,
        name,
        backup,
        status,
        check,
        sessions,
        queue,
        rate,
        errors,
    ] = cells
    else {
        return None;
    };
    let server = servers.entry((backend.clone(), name.clone())).or_default();
    server.backend.clone_from(backend);
    server.name.clone_from(name);
    server.backup = !backup.is_empty();
    // What is wrong is worth more than what is well.
    if server.check.is_empty() || status != "UP" {
        server.check.clone_from(check);
    }
    *server.states.entry(status.clone()).or_default() += 1;
    server
        .traffic
        .add(Traffic::read([sessions, queue, rate, errors])?);
    Some(())
}

/// States in a few words: one, or each with how many nodes say so.
pub(super) fn state_words(states: &BTreeMap<String, u64>) -> String {
    match states.len() {
        1 => states.keys().cloned().collect(),
        _ => {
            let words = states
                .iter()
                .map(|(state, count)| format!("{state} on {count}"));
            words.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Two nodes, of which the second sees `s2` down; a third does not answer.
    pub(in super::super) fn snapshot() -> Snapshot {
        let lb = |id: &str, s2: &str| {
            json!([
                [
                    "node",
                    id,
                    "a",
                    if id == "n1" { "1" } else { "" },
                    "",
                    "1.1",
                    "3.2.1",
                    "",
                    "7"
                ],
                ["frontend", "web", "30", "2"],
                ["backend", "app", "UP", "3", "0", "30", "1"],
                ["server", "app", "s1", "", "UP", "L7OK", "2", "0", "20", "1"],
                ["server", "app", "s2", "", s2, "L4CON", "1", "5", "10", "0"],
            ])
        };
        let missing = Missing {
            lb: "n3".into(),
            reason: "it is not live".into(),
        };
        let evaluation = Evaluation {
            outcome: Ok(json!([lb("n1", "UP"), lb("n2", "DOWN")])),
            asked: 3,
            missing: vec![missing],
        };
        Snapshot::of(evaluation).unwrap()
    }

    #[test]
    fn figures_are_sums_and_states_are_told_apart() {
        let found = snapshot();
        assert_eq!(found.nodes.len(), 2);
        let node = &found.nodes[0];
        assert_eq!(
            (
                node.traffic.sessions,
                node.traffic.rate,
                node.traffic.errors
            ),
            (7, 30, 2)
        );
        assert!(node.leader && !found.nodes[1].leader);
        let backend = &found.backends[0];
        assert_eq!(
            (backend.up, backend.total, backend.traffic.rate),
            (1, 2, 60)
        );
        let server = &found.servers[1];
        assert_eq!(state_words(&server.states), "DOWN on 1, UP on 1");
        assert_eq!((server.traffic.sessions, server.traffic.queue), (2, 10));
        assert_eq!(found.missing[0].lb, "n3");
    }

    #[test]
    fn the_question_is_one_and_other_values_are_told_so() {
        question().unwrap();
        for value in [
            json!(1),
            json!([[["node"]]]),
            json!([[["server", "a"]]]),
            json!([[[]]]),
        ] {
            assert_eq!(Snapshot::read(value), None);
        }
        let nobody = Evaluation {
            outcome: Err("1 of 1 load balancers did not answer: n1".into()),
            asked: 1,
            missing: Vec::new(),
        };
        assert!(Snapshot::of(nobody).unwrap_err().contains("did not answer"));
    }
}
