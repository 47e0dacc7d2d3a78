//! The three tables: their columns, and a snapshot's rows. Values in, values out.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::snapshot::{Backend, Node, Server, Snapshot, Traffic, state_words};
use crate::print::Tone;

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum View {
    Nodes,
    Backends,
    Servers,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Node(String),
    Backend(String),
    Server { backend: String, server: String },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) | Self::Backend(name) => f.write_str(name),
            Self::Server { backend, server } => write!(f, "{backend}/{server}"),
        }
    }
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: u16,
    /// On a narrow terminal the columns with the highest go first; the first column never does.
    pub(super) rank: u8,
}

const fn column(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank }
}

const NODES: [Column; 8] = [
    column("node", 12, 0),
    column("state", 12, 1),
    column("conns", 8, 2),
    column("rate/s", 8, 3),
    column("err/s", 8, 4),
    column("revision", 8, 5),
    column("zone", 10, 7),
    column("haproxy", 10, 6),
];

const BACKENDS: [Column; 7] = [
    column("backend", 16, 0),
    column("state", 14, 2),
    column("up", 9, 1),
    column("sessions", 9, 3),
    column("queue", 7, 6),
    column("rate/s", 8, 4),
    column("err/s", 8, 5),
];

const SERVERS: [Column; 7] = [
    column("server", 18, 0),
    column("state", 14, 1),
    column("sessions", 9, 2),
    column("queue", 7, 5),
    column("rate/s", 8, 3),
    column("err/s", 8, 4),
    column("check", 9, 6),
];

impl View {
    /// All, in the order of their keys.
    pub(super) const ALL: [Self; 3] = [Self::Nodes, Self::Backends, Self::Servers];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nodes => "Nodes",
            Self::Backends => "Backends",
            Self::Servers => "Servers",
        }
    }

    pub(super) fn next(self) -> Self {
        match self {
            Self::Nodes => Self::Backends,
            Self::Backends => Self::Servers,
            Self::Servers => Self::Nodes,
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Nodes => &NODES,
            Self::Backends => &BACKENDS,
            Self::Servers => &SERVERS,
        }
    }

    /// The columns that have room side by side in `width`, as positions in [`View::columns`].
    pub(super) fn fitting(self, width: u16) -> Vec<usize> {
        let columns = self.columns();
        let mut ranked: Vec<_> = (0..columns.len()).collect();
        ranked.sort_by_key(|position| columns[*position].rank);
        let mut left = width;
        let mut fitting = Vec::new();
        for position in ranked {
            let needed = columns[position].width + u16::from(!fitting.is_empty());
            if needed > left && !fitting.is_empty() {
                break;
            }
            left = left.saturating_sub(needed);
            fitting.push(position);
        }
        fitting.sort_unstable();
        fitting
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) subject: Subject,
    pub(super) cells: Vec<Cell>,
    pub(super) tone: Tone,
}

/// A cell. Figures are sorted from the largest down, words by the alphabet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Words(String),
    Figure(f64, String),
}

impl Cell {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Words(text) | Self::Figure(_, text) => text,
        }
    }
}

impl Row {
    /// Whether `filter`, in small letters, is in one of its words.
    pub(super) fn contains(&self, filter: &str) -> bool {
        self.cells
            .iter()
            .any(|cell| cell.text().to_lowercase().contains(filter))
    }

    /// How it is ordered by a column; rows that are alike there, by their names.
    pub(super) fn compare(&self, other: &Self, column: usize) -> Ordering {
        let order = match (self.cells.get(column), other.cells.get(column)) {
            (Some(Cell::Figure(one, _)), Some(Cell::Figure(other, _))) => other.total_cmp(one),
            (Some(one), Some(other)) => one.text().cmp(other.text()),
            _ => Ordering::Equal,
        };
        order.then_with(|| self.subject.cmp(&other.subject))
    }
}

/// All rows of a view.
pub(super) fn rows(
    view: View,
    snapshot: &Snapshot,
    error_rates: &BTreeMap<Subject, f64>,
) -> Vec<Row> {
    let rate = |subject: &Subject| error_rates.get(subject).copied();
    match view {
        View::Nodes => {
            let silent = snapshot.missing.iter().map(|missing| Row {
                subject: Subject::Node(missing.lb.clone()),
                cells: vec![words(&missing.lb), words("no answer")],
                tone: Tone::Bad,
            });
            let nodes = snapshot.nodes.iter().map(|node| {
                let subject = Subject::Node(node.id.clone());
                node_row(node, rate(&subject), subject)
            });
            nodes.chain(silent).collect()
        }
        View::Backends => {
            let backends = snapshot.backends.iter().map(|backend| {
                let subject = Subject::Backend(backend.name.clone());
                backend_row(backend, rate(&subject), subject)
            });
            backends.collect()
        }
        View::Servers => {
            let servers = snapshot.servers.iter().map(|server| {
                let subject = of_server(server);
                server_row(server, rate(&subject), subject)
            });
            servers.collect()
        }
    }
}

/// Everything's errors since the start.
pub(super) fn errors(snapshot: &Snapshot) -> Vec<(Subject, u64)> {
    let nodes = snapshot.nodes.iter();
    let nodes = nodes.map(|node| (Subject::Node(node.id.clone()), node.traffic.errors));
    let backends = snapshot.backends.iter().map(|backend| {
        let subject = Subject::Backend(backend.name.clone());
        (subject, backend.traffic.errors)
    });
    let servers = snapshot.servers.iter();
    let servers = servers.map(|server| (of_server(server), server.traffic.errors));
    nodes.chain(backends).chain(servers).collect()
}

fn of_server(server: &Server) -> Subject {
    Subject::Server {
        backend: server.backend.clone(),
        server: server.name.clone(),
    }
}

fn words(text: impl Into<String>) -> Cell {
    Cell::Words(text.into())
}

fn count(count: u64) -> Cell {
    let figure = u32::try_from(count).unwrap_or(u32::MAX);
    Cell::Figure(f64::from(figure), count.to_string())
}

fn per_second(rate: Option<f64>) -> Cell {
    match rate {
        None => Cell::Figure(0.0, "-".to_owned()),
        Some(rate) => Cell::Figure(rate, format!("{rate:.1}")),
    }
}

fn node_row(node: &Node, error_rate: Option<f64>, subject: Subject) -> Row {
    let Traffic { sessions, rate, .. } = node.traffic;
    let (state, tone) = match (&*node.problem, node.drained, node.leader) {
        ("", false, true) => ("leads", Tone::Good),
        ("", false, false) => ("serves", Tone::Good),
        ("", true, _) => ("drained", Tone::Warning),
        (problem, ..) => (problem, Tone::Bad),
    };
    let cells = vec![
        words(&node.id),
        words(state),
        count(sessions),
        count(rate),
        per_second(error_rate),
        words(&node.applied_revision),
        words(&node.zone),
        words(&node.version),
    ];
    Row {
        subject,
        cells,
        tone,
    }
}

fn backend_row(backend: &Backend, error_rate: Option<f64>, subject: Subject) -> Row {
    let Traffic {
        sessions,
        queue,
        rate,
        ..
    } = backend.traffic;
    let cells = vec![
        words(&backend.name),
        words(state_words(&backend.states)),
        words(format!("{} of {}", backend.up, backend.total)),
        count(sessions),
        count(queue),
        count(rate),
        per_second(error_rate),
    ];
    let tone = match tone(&backend.states) {
        Tone::Good if backend.up < backend.total => Tone::Warning,
        tone => tone,
    };
    Row {
        subject,
        cells,
        tone,
    }
}

fn server_row(server: &Server, error_rate: Option<f64>, subject: Subject) -> Row {
    let Traffic {
        sessions,
        queue,
        rate,
        ..
    } = server.traffic;
    let state = state_words(&server.states);
    let state = if server.backup {
        format!("{state} (backup)")
    } else {
        state
    };
    let cells = vec![
        words(subject.to_string()),
        words(state),
        count(sessions),
        count(queue),
        count(rate),
        per_second(error_rate),
        words(&server.check),
    ];
    Row {
        subject,
        cells,
        tone: tone(&server.states),
    }
}

/// Good where all nodes say `UP`, bad where one says `DOWN`.
fn tone(states: &BTreeMap<String, u64>) -> Tone {
    if states.keys().any(|state| state.starts_with("DOWN")) {
        Tone::Bad
    } else if states.keys().all(|state| state == "UP" || state == "OPEN") {
        Tone::Good
    } else {
        Tone::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_terminals_lose_the_least_columns_first_and_never_the_name() {
        let titles = |width| -> Vec<_> {
            let view = View::Servers;
            let fitting = view.fitting(width).into_iter();
            fitting
                .map(|position| view.columns()[position].title)
                .collect()
        };
        assert_eq!(titles(80).len(), 7);
        assert_eq!(titles(60), ["server", "state", "sessions", "rate/s"]);
        assert_eq!(titles(33), ["server", "state"]);
        assert_eq!(titles(5), ["server"]);
        assert_eq!(titles(0), ["server"]);
    }
}
