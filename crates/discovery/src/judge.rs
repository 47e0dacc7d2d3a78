//! From what sources said to the endpoints that the fleet may have. Pure but for its memory; the time comes in.
//!
//! The rules, in their order: a source that failed is taken to say what it said last. A backend is left as it is until
//! all its sources have said something once. What appears is believed, what disappears is [guarded](crate::guard).

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::endpoints::{Endpoint, Service, unplaced};
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::{Endpoints, Spec};
use tokio::time::Instant;

use crate::answer::LeftOut;
use crate::book::{Book, Page};
use crate::guard::{Guard, Held, Limits};
use crate::mapping::{self, merged};
use crate::query::Query;
use crate::wanted::{self, Part};

/// What the services are called where they are guarded like the servers of a backend.
pub const SERVICES: &str = "services";

/// What the fleet may have, and what is held back.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    /// The endpoints to write.
    pub endpoints: Endpoints,
    /// Certificates that came with services.
    pub certificates: BTreeMap<CertificateName, Confidential>,
    /// Every backend that has sources, and the services as one, by name.
    pub backends: BTreeMap<String, BackendState>,
    /// What could not be used, by the source that has it.
    pub left_out: BTreeMap<String, BTreeSet<LeftOut>>,
}

/// How far a backend follows its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendState {
    /// It has what they say.
    Followed,
    /// It is as it was: these sources have not answered yet.
    Waiting(Vec<String>),
    /// It keeps what its sources do not have any more.
    Held(Held<String>),
}

/// The memory of what was said before.
#[derive(Debug)]
pub(crate) struct Judge {
    fleet: String,
    wards: BTreeMap<String, Ward>,
}

/// One thing that is guarded.
#[derive(Debug)]
struct Ward {
    guard: Guard<String>,
    /// How often each source had spoken at the last poll that was counted.
    counted: BTreeMap<Query, u64>,
}

/// What a backend's sources have for it.
enum Wanted {
    Servers(Vec<Endpoint>),
    NotYet(Vec<String>),
}

impl Judge {
    pub(crate) fn new(fleet: impl Into<String>) -> Self {
        Self {
            fleet: fleet.into(),
            wards: BTreeMap::new(),
        }
    }

    /// Lets through what is held back of `name`, a backend or [`SERVICES`], at the next judgement.
    pub(crate) fn confirm(&mut self, name: &str) {
        if let Some(ward) = self.wards.get_mut(name) {
            ward.guard.confirm();
        }
    }

    /// What may replace `before`, the endpoints that the fleet has.
    pub(crate) fn judge(
        &mut self,
        spec: &Spec,
        book: &Book,
        before: &Endpoints,
        now: Instant,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        self.services(spec, book, before, now, &mut judgement);
        let services = judgement.endpoints.services.clone();
        let mut by_backend: BTreeMap<String, Vec<Part>> = BTreeMap::new();
        for part in wanted::parts(spec, &services, &self.fleet) {
            by_backend
                .entry(part.backend.clone())
                .or_default()
                .push(part);
        }
        for service in wanted::used(spec, &services) {
            by_backend.entry(service.name.clone()).or_default();
        }
        for (name, parts) in &by_backend {
            let service = services.iter().find(|service| service.name == *name);
            let present = present(before.of(name), parts, service);
            let servers = match wanted_servers(book, parts, service, &present, &mut judgement) {
                Wanted::NotYet(waiting) => {
                    judgement.note(name, BackendState::Waiting(waiting));
                    present
                }
                Wanted::Servers(found) => {
                    let names = |list: &[Endpoint]| list.iter().map(|e| e.name.clone()).collect();
                    let queries: Vec<_> = parts.iter().map(|part| &part.query).collect();
                    let (old, new) = (names(&present), names(&found));
                    let ward = self.ward(name, spec);
                    let kept = ward.rule(book, &queries, &old, &new, now);
                    let kept = judgement.rule(name, kept);
                    merged(found.into_iter().chain(keep(present, &kept)))
                }
            };
            judgement.endpoints.backends.insert(name.clone(), servers);
        }
        self.wards
            .retain(|name, _| name == SERVICES || by_backend.contains_key(name));
        judgement
    }

    /// The services that the fleet may have.
    fn services(
        &mut self,
        spec: &Spec,
        book: &Book,
        before: &Endpoints,
        now: Instant,
        judgement: &mut Judgement,
    ) {
        let Some(query) = Query::of_services(spec) else {
            self.wards.remove(SERVICES);
            return;
        };
        let Some(answer) = book.pages.get(&query).and_then(Page::answer) else {
            judgement.note(SERVICES, BackendState::Waiting(vec![query.to_string()]));
            judgement.endpoints.services.clone_from(&before.services);
            return;
        };
        judgement.certificates.clone_from(&answer.certificates);
        judgement.leave_out(&query.to_string(), answer.left_out.iter().cloned());
        let names = |list: &[Service]| list.iter().map(|service| service.name.clone()).collect();
        let (old, new) = (names(&before.services), names(&answer.services));
        let held = self
            .ward(SERVICES, spec)
            .rule(book, &[&query], &old, &new, now);
        let kept = judgement.rule(SERVICES, held);
        let mut services = answer.services.clone();
        let is_kept = |service: &&Service| kept.contains(&service.name);
        services.extend(before.services.iter().filter(is_kept).cloned());
        services.sort();
        let unplaced = unplaced(spec, &services).into_iter().map(|item| LeftOut {
            what: item.service,
            why: item.why,
        });
        judgement.leave_out(&query.to_string(), unplaced);
        judgement.endpoints.services = services;
    }

    fn ward(&mut self, name: &str, spec: &Spec) -> &mut Ward {
        let limits = Limits {
            max_shrink: spec.discovery.max_shrink,
            confirm: spec.discovery.shrink_confirm,
            interval: spec.discovery.poll_interval.duration(),
        };
        let ward = self.wards.entry(name.to_owned()).or_insert_with(|| Ward {
            guard: Guard::new(limits),
            counted: BTreeMap::new(),
        });
        ward.guard.set_limits(limits);
        ward
    }
}

impl Ward {
    fn rule(
        &mut self,
        book: &Book,
        queries: &[&Query],
        old: &BTreeSet<String>,
        new: &BTreeSet<String>,
        now: Instant,
    ) -> crate::guard::Ruling<String> {
        let mut is_poll = true;
        for query in queries {
            let (count, has_failed) = spoken(book, query);
            if has_failed {
                self.guard.interrupt();
                is_poll = false;
            }
            is_poll &= self
                .counted
                .get(*query)
                .is_none_or(|counted| count > *counted);
        }
        if is_poll {
            let counts = queries
                .iter()
                .map(|query| ((*query).clone(), spoken(book, query).0));
            self.counted = counts.collect();
        }
        self.guard.rule(old, new, is_poll, now)
    }
}

/// How often a source has spoken, and whether the last was an error.
fn spoken(book: &Book, query: &Query) -> (u64, bool) {
    let of = |page: &Page| (page.count, page.error.is_some());
    if *query == Query::Docker {
        let pages = book.containers.values().map(of);
        return pages.fold((0, false), |sum, page| (sum.0 + page.0, sum.1 || page.1));
    }
    book.pages.get(query).map(of).unwrap_or_default()
}

impl Judgement {
    fn note(&mut self, name: &str, state: BackendState) {
        self.backends.insert(name.to_owned(), state);
    }

    fn rule(&mut self, name: &str, ruling: crate::guard::Ruling<String>) -> BTreeSet<String> {
        let state = ruling
            .held
            .map_or(BackendState::Followed, BackendState::Held);
        self.note(name, state);
        ruling.kept
    }

    fn leave_out(&mut self, source: &str, items: impl IntoIterator<Item = LeftOut>) {
        self.left_out
            .entry(source.to_owned())
            .or_default()
            .extend(items);
    }
}

fn keep(present: Vec<Endpoint>, kept: &BTreeSet<String>) -> Vec<Endpoint> {
    present
        .into_iter()
        .filter(|endpoint| kept.contains(&endpoint.name))
        .collect()
}

/// The servers that a backend has from sources that it still names. What people took out of the spec goes at once.
fn present(before: &[Endpoint], parts: &[Part], service: Option<&Service>) -> Vec<Endpoint> {
    let is_named = |endpoint: &&Endpoint| {
        let is_of = |part: &Part| is_from(endpoint, &part.query);
        parts.iter().any(is_of) || service.is_some_and(|_| endpoint.source == SERVICES)
    };
    before.iter().filter(is_named).cloned().collect()
}

fn is_from(endpoint: &Endpoint, query: &Query) -> bool {
    if *query == Query::Docker {
        return endpoint.source.starts_with("docker ");
    }
    endpoint.source == query.to_string()
}

/// All that a backend's sources have for it, or which of them have said nothing yet.
fn wanted_servers(
    book: &Book,
    parts: &[Part],
    service: Option<&Service>,
    present: &[Endpoint],
    judgement: &mut Judgement,
) -> Wanted {
    let (mut servers, mut waiting) = (Vec::new(), Vec::new());
    for upstream in service
        .map(|service| service.upstreams.as_slice())
        .unwrap_or_default()
    {
        servers.push(Endpoint {
            name: mapping::name_of(&upstream.to_string()),
            address: upstream.ip(),
            port: upstream.port(),
            weight: 100,
            zone: None,
            source: SERVICES.to_owned(),
        });
    }
    for part in parts {
        let label = part.query.to_string();
        let mut map = |label: &str, page: &Page| {
            let answer = page.answer()?;
            judgement.leave_out(label, answer.left_out.iter().cloned());
            let mapped = mapping::endpoints(&part.source, &part.backend, label, &answer.found);
            judgement.leave_out(label, mapped.left_out);
            Some(mapped.endpoints)
        };
        if part.query == Query::Docker {
            servers.extend(containers(book, present, map));
            continue;
        }
        let page = book.pages.get(&part.query);
        let known = || {
            present
                .iter()
                .filter(|endpoint| endpoint.source == label)
                .cloned()
        };
        match page.and_then(|page| map(&label, page)) {
            Some(mapped) => servers.extend(mapped),
            // It failed from the start, but an earlier leader had an answer: that stands.
            None if page.is_some_and(|page| page.error.is_some()) && known().next().is_some() => {
                servers.extend(known());
            }
            None => waiting.push(label),
        }
    }
    if waiting.is_empty() {
        Wanted::Servers(merged(servers))
    } else {
        Wanted::NotYet(waiting)
    }
}

/// The containers of all nodes. Those of a node that has said nothing to this leader stand as they are.
fn containers(
    book: &Book,
    present: &[Endpoint],
    mut map: impl FnMut(&str, &Page) -> Option<Vec<Endpoint>>,
) -> Vec<Endpoint> {
    let mut servers = Vec::new();
    let mut labels = BTreeSet::new();
    for (node, page) in &book.containers {
        let label = format!("docker {node}");
        if let Some(mapped) = map(&label, page) {
            servers.extend(mapped);
            labels.insert(label);
        }
    }
    let is_silent = |endpoint: &&Endpoint| {
        endpoint.source.starts_with("docker ") && !labels.contains(&endpoint.source)
    };
    servers.extend(present.iter().filter(is_silent).cloned());
    servers
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
