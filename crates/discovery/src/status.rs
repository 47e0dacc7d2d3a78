//! What `hafleet sources` shows.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::Spec;
use tokio::time::Instant;

use crate::answer::{LeftOut, SourceError};
use crate::book::{Book, Change, Page};
use crate::judge::{BackendState, Judgement, SERVICES};
use crate::query::Query;
use crate::wanted;

/// All sources and the backends that follow them.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// By name.
    pub sources: Vec<SourceStatus>,
    /// By name; [`SERVICES`] stands for all services.
    pub backends: Vec<BackendStatus>,
}

/// One source.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    /// The question, as the endpoints document names it.
    pub name: String,
    /// Its kind, as in the spec.
    pub kind: &'static str,
    /// Who gets servers from it.
    pub backends: BTreeSet<String>,
    /// When it last answered; none if it never did.
    pub answered: Option<Instant>,
    /// How many servers and services that answer had.
    pub found: usize,
    /// The last change, if there was any.
    pub change: Option<Change>,
    /// What is wrong, and since when.
    pub error: Option<(Instant, SourceError)>,
    /// What it has that cannot be used.
    pub left_out: BTreeSet<LeftOut>,
}

/// One backend.
#[derive(Debug, Clone)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// How many servers it has from sources.
    pub servers: usize,
    /// Whether it has what its sources say.
    pub state: BackendState,
}

pub(crate) fn status(spec: &Spec, fleet: &str, book: &Book, judgement: &Judgement) -> Status {
    let parts = wanted::parts(spec, &judgement.endpoints.services, fleet);
    let mut users: BTreeMap<&Query, BTreeSet<String>> = BTreeMap::new();
    for part in &parts {
        users
            .entry(&part.query)
            .or_default()
            .insert(part.backend.clone());
    }
    let services = Query::of_services(spec);
    if let Some(query) = &services {
        users.entry(query).or_default().insert(SERVICES.to_owned());
    }
    let silent = Page::default();
    let mut sources = Vec::new();
    for (query, backends) in users {
        if *query == Query::Docker {
            let of_nodes = book.containers.iter().map(|(node, page)| {
                source(
                    format!("docker {node}"),
                    query,
                    backends.clone(),
                    page,
                    judgement,
                )
            });
            sources.extend(of_nodes);
            continue;
        }
        let page = book.pages.get(query).unwrap_or(&silent);
        sources.push(source(query.to_string(), query, backends, page, judgement));
    }
    let backends = judgement
        .backends
        .iter()
        .map(|(name, state)| BackendStatus {
            name: name.clone(),
            servers: if name == SERVICES {
                judgement.endpoints.services.len()
            } else {
                judgement.endpoints.of(name).len()
            },
            state: state.clone(),
        });
    Status {
        sources,
        backends: backends.collect(),
    }
}

fn source(
    name: String,
    query: &Query,
    backends: BTreeSet<String>,
    page: &Page,
    judgement: &Judgement,
) -> SourceStatus {
    let answer = page.answer();
    SourceStatus {
        kind: query.kind(),
        backends,
        answered: page.answer.as_ref().map(|(at, _)| *at),
        found: answer.map_or(0, |answer| answer.found.len() + answer.services.len()),
        change: page.change,
        error: page.error.clone(),
        left_out: judgement.left_out.get(&name).cloned().unwrap_or_default(),
        name,
    }
}
