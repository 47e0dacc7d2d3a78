//! What all sources have said so far. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::NodeId;
use hafleet_model::endpoints::Service;
use tokio::time::Instant;

use crate::answer::{Answer, Found, SourceError};
use crate::query::Query;
use crate::source::Said;

/// The sources, and what they said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// Those that the leader asks.
    pub(crate) pages: BTreeMap<Query, Page>,
    /// Containers, by the node whose engine has them.
    pub(crate) containers: BTreeMap<NodeId, Page>,
}

/// What one source said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// How many answers and errors.
    pub(crate) count: u64,
    /// The last answer, and when; errors after it do not touch it.
    pub(crate) answer: Option<(Instant, Answer)>,
    /// The last error, and since when there are nothing but errors.
    pub(crate) error: Option<(Instant, SourceError)>,
    /// The last difference between two answers.
    pub(crate) change: Option<Change>,
}

/// A difference between two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When it was seen.
    pub at: Instant,
    /// Servers and services that are new.
    pub added: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those that are not as before.
    pub altered: usize,
}

impl Page {
    /// Takes down what was said.
    pub(crate) fn note(&mut self, said: Said) {
        self.count += 1;
        match said.result {
            Ok(answer) => {
                self.error = None;
                let before = self.answer.take().map(|(_, answer)| answer);
                let change = change(&before.unwrap_or_default(), &answer, said.at);
                self.change = change.or(self.change);
                self.answer = Some((said.at, answer));
            }
            Err(error) => {
                let since = self.error.as_ref().map_or(said.at, |(since, _)| *since);
                self.error = Some((since, error));
            }
        }
    }

    /// The last answer, if there ever was one.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref().map(|(_, answer)| answer)
    }
}

fn change(before: &Answer, after: &Answer, at: Instant) -> Option<Change> {
    let (old, new) = (items(before), items(after));
    let added = new.keys().filter(|key| !old.contains_key(*key)).count();
    let removed = old.keys().filter(|key| !new.contains_key(*key)).count();
    let altered = new
        .iter()
        .filter(|(key, item)| old.get(*key).is_some_and(|was| was != *item));
    let change = Change {
        at,
        added,
        removed,
        altered: altered.count(),
    };
    (change.added + change.removed + change.altered > 0).then_some(change)
}

/// Something in an answer that can come, go and change.
#[derive(PartialEq)]
enum Item<'a> {
    Server(&'a Found),
    Service(&'a Service),
}

/// What is in an answer, by kind and name.
fn items(answer: &Answer) -> BTreeMap<(bool, &str), Item<'_>> {
    let servers = answer.found.iter();
    let servers = servers.map(|found| ((false, found.id.as_str()), Item::Server(found)));
    let mut items: BTreeMap<_, _> = servers.collect();
    let services = answer.services.iter();
    items.extend(services.map(|service| ((true, service.name.as_str()), Item::Service(service))));
    items
}

impl Book {
    /// Forgets all sources but these.
    pub(crate) fn keep(&mut self, queries: &BTreeSet<Query>) {
        self.pages.retain(|query, _| queries.contains(query));
    }
}
