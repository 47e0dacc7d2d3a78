//! What the screen is about: which table, in which order, which row, and what was asked. Keys and snapshots in, state and
//! [`Effect`]s out; it does nothing itself.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::snapshot::Snapshot;
use super::table::{self, Row, Subject, View};

/// What is to be done after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing but to show the state.
    None,
    /// To end.
    Quit,
    /// To ask this of the fleet.
    Do(Action),
}

/// Something that is asked of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    /// Out of service, or back.
    pub(super) is_drain: bool,
    /// What.
    pub(super) subject: Subject,
}

impl Action {
    /// The question before it is done.
    pub(super) fn question(&self) -> String {
        match (self.is_drain, &self.subject) {
            (true, Subject::Node(node)) => format!("drain node {node}: take it out of DNS?"),
            (false, Subject::Node(node)) => format!("take the drain of node {node} back?"),
            (true, subject) => format!("drain {subject} on all nodes?"),
            (false, subject) => format!("ready {subject} on all nodes?"),
        }
    }
}

/// What keys mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Moving about.
    Browse,
    /// Typing a filter.
    Filter,
    /// Answering whether this is to be done.
    Confirm(Action),
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) view: View,
    pub(super) mode: Mode,
    /// Text that rows have to contain.
    pub(super) filter: String,
    /// The column of each view by which its rows are sorted.
    sort: BTreeMap<View, usize>,
    is_reversed: bool,
    /// The row that is chosen; it stays so when rows move.
    chosen: Option<Subject>,
    pub(super) snapshot: Option<Snapshot>,
    /// Errors in a second, since the snapshot before.
    error_rates: BTreeMap<Subject, f64>,
    /// Why the snapshot is an old one.
    pub(super) trouble: Option<String>,
    /// What came of the last thing that was asked.
    pub(super) message: String,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            view: View::Servers,
            mode: Mode::Browse,
            filter: String::new(),
            sort: BTreeMap::new(),
            is_reversed: false,
            chosen: None,
            snapshot: None,
            error_rates: BTreeMap::new(),
            trouble: None,
            message: String::new(),
        }
    }
}

impl Model {
    /// Takes what was seen, `seconds` after what was seen before, or why nothing was.
    pub(super) fn see(&mut self, seen: Result<Snapshot, String>, seconds: f64) {
        match seen {
            Ok(snapshot) => {
                if let Some(before) = &self.snapshot {
                    self.error_rates = error_rates(before, &snapshot, seconds);
                }
                self.trouble = None;
                self.snapshot = Some(snapshot);
            }
            Err(words) => self.trouble = Some(words),
        }
    }

    /// The rows of the view that pass the filter, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Some(snapshot) = &self.snapshot else {
            return Vec::new();
        };
        let mut rows = table::rows(self.view, snapshot, &self.error_rates);
        let filter = self.filter.to_lowercase();
        rows.retain(|row| row.contains(&filter));
        let column = self.sort();
        rows.sort_by(|one, other| {
            let order = one.compare(other, column);
            if self.is_reversed {
                order.reverse()
            } else {
                order
            }
        });
        rows
    }

    /// The column by which rows are sorted.
    pub(super) fn sort(&self) -> usize {
        self.sort.get(&self.view).copied().unwrap_or_default()
    }

    /// Whether the order is the other way round.
    pub(super) fn is_reversed(&self) -> bool {
        self.is_reversed
    }

    /// Which of `rows` is chosen; the first, where the one that was chosen is gone.
    pub(super) fn position(&self, rows: &[Row]) -> Option<usize> {
        let chosen = rows
            .iter()
            .position(|row| Some(&row.subject) == self.chosen.as_ref());
        chosen.or(if rows.is_empty() { None } else { Some(0) })
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Effect {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Effect::Quit;
        }
        match self.mode.clone() {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => {
                self.type_filter(key.code);
                Effect::None
            }
            Mode::Confirm(action) => {
                self.mode = Mode::Browse;
                match key.code {
                    KeyCode::Char('y' | 'Y') => Effect::Do(action),
                    _ => {
                        self.message = "nothing was asked".to_owned();
                        Effect::None
                    }
                }
            }
        }
    }

    fn browse(&mut self, code: KeyCode) -> Effect {
        match code {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Tab => self.view = self.view.next(),
            KeyCode::Char('1') => self.view = View::Nodes,
            KeyCode::Char('2') => self.view = View::Backends,
            KeyCode::Char('3') => self.view = View::Servers,
            KeyCode::Char('s') => {
                let next = (self.sort() + 1) % self.view.columns().len();
                self.sort.insert(self.view, next);
            }
            KeyCode::Char('o') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Enter => self.enter(),
            KeyCode::Char('d') => self.ask(true),
            KeyCode::Char('r') => self.ask(false),
            _ => {}
        }
        Effect::None
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Browse;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let Some(position) = self.position(&rows) else {
            return;
        };
        let position = position.saturating_add_signed(by).min(rows.len() - 1);
        self.chosen = rows.get(position).map(|row| row.subject.clone());
    }

    fn subject(&self) -> Option<Subject> {
        let rows = self.rows();
        let position = self.position(&rows)?;
        rows.get(position).map(|row| row.subject.clone())
    }

    /// From a backend to its servers.
    fn enter(&mut self) {
        if let Some(Subject::Backend(name)) = self.subject() {
            self.filter = format!("{name}/");
            self.view = View::Servers;
        }
    }

    fn ask(&mut self, is_drain: bool) {
        match self.subject() {
            Some(Subject::Backend(_)) => {
                "a backend as a whole cannot be drained: choose a server (Enter)"
                    .clone_into(&mut self.message);
            }
            Some(subject) => self.mode = Mode::Confirm(Action { is_drain, subject }),
            None => {}
        }
    }
}

fn error_rates(before: &Snapshot, now: &Snapshot, seconds: f64) -> BTreeMap<Subject, f64> {
    let before: BTreeMap<_, _> = table::errors(before).into_iter().collect();
    let rate = |(subject, errors): (Subject, u64)| {
        let earlier = before.get(&subject)?;
        // After a reload HAProxy counts from 0.
        let new = u32::try_from(errors.saturating_sub(*earlier)).unwrap_or(u32::MAX);
        Some((subject, f64::from(new) / seconds.max(0.001)))
    };
    table::errors(now).into_iter().filter_map(rate).collect()
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
