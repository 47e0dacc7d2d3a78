//! The leader's part: asks what the spec wants asked, and says what the fleet may have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hafleet_model::{Endpoints, NodeId, Spec};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::answer::{Answer, SourceError};
use crate::book::Book;
use crate::judge::{Judge, Judgement};
use crate::query::Query;
use crate::source::{Answers, Said, Source, SourceSettings};
use crate::status::{Status, status};
use crate::wanted;

/// Makes the source for a query.
pub trait Launch: Send + Sync + 'static {
    /// A source that is ready to run.
    ///
    /// # Errors
    /// When the agent's configuration does not say enough to ask.
    fn source(
        &self,
        query: &Query,
        settings: SourceSettings,
    ) -> Result<Box<dyn Source>, SourceError>;
}

/// Asks the sources of a spec and judges what they say. Dropped, it ends them all.
pub struct Engine {
    fleet: String,
    launch: Arc<dyn Launch>,
    spec: Spec,
    judge: Judge,
    book: Book,
    running: BTreeMap<Query, Running>,
    told: Arc<Notify>,
    judgement: Judgement,
}

/// A source at work.
struct Running {
    said: watch::Receiver<Option<Said>>,
    /// The count of the last that was taken down.
    heard: u64,
    interval: Duration,
    /// Ends it when this goes.
    _stop: DropGuard,
}

impl Engine {
    /// Nothing is asked before there is a spec.
    pub fn new(fleet: impl Into<String>, launch: Arc<dyn Launch>) -> Self {
        let fleet = fleet.into();
        Self {
            judge: Judge::new(fleet.clone()),
            fleet,
            launch,
            spec: Spec::default(),
            book: Book::default(),
            running: BTreeMap::new(),
            told: Arc::new(Notify::new()),
            judgement: Judgement::default(),
        }
    }

    /// Asks what this spec wants asked from now on. What is asked already goes on as it is.
    pub fn set_spec(&mut self, spec: &Spec) {
        self.spec = spec.clone();
        self.told.notify_one();
    }

    /// Takes what a node's own engine has (Docker).
    pub fn publish(&mut self, node: NodeId, result: Result<Answer, SourceError>) {
        let page = self.book.containers.entry(node).or_default();
        page.note(Said {
            count: page.count + 1,
            at: Instant::now(),
            result,
        });
        self.told.notify_one();
    }

    /// Forgets what a node that left had published: it is as if it had nothing.
    pub fn forget(&mut self, node: &NodeId) {
        self.publish(node.clone(), Ok(Answer::default()));
    }

    /// Lets through what is held back of `name`, a backend or [`crate::judge::SERVICES`]; whether anything is.
    pub fn confirm(&mut self, name: &str) -> bool {
        let state = self.judgement.backends.get(name);
        let is_held = matches!(state, Some(crate::judge::BackendState::Held(_)));
        if is_held {
            self.judge.confirm(name);
            self.told.notify_one();
        }
        is_held
    }

    /// Resolves when there may be another judgement. Cancel-safe.
    pub async fn changed(&self) {
        self.told.notified().await;
    }

    /// What may replace `before`, the endpoints that the fleet has now. Needs a tokio runtime, for it starts and ends
    /// sources.
    pub fn decide(&mut self, before: &Endpoints) -> &Judgement {
        self.listen();
        self.ask(before);
        let now = Instant::now();
        self.judgement = self.judge.judge(&self.spec, &self.book, before, now);
        let services = self.judgement.endpoints.clone();
        self.ask(&services);
        &self.judgement
    }

    /// The sources and backends as of the last decision.
    pub fn status(&self) -> Status {
        status(&self.spec, &self.fleet, &self.book, &self.judgement)
    }

    /// Takes down what was said since.
    fn listen(&mut self) {
        for (query, running) in &mut self.running {
            let said = running.said.borrow_and_update().clone();
            let Some(said) = said.filter(|said| said.count > running.heard) else {
                continue;
            };
            running.heard = said.count;
            self.book.pages.entry(query.clone()).or_default().note(said);
        }
    }

    /// Starts what is wanted and not asked, and ends what is asked and not wanted.
    fn ask(&mut self, endpoints: &Endpoints) {
        let queries = wanted::queries(&self.spec, &endpoints.services, &self.fleet);
        let interval = self.spec.discovery.poll_interval.duration();
        let is_wanted = |query: &Query, running: &Running| {
            queries.contains(query) && running.interval == interval
        };
        self.running
            .retain(|query, running| is_wanted(query, running));
        self.book.keep(&queries);
        for query in queries {
            // Containers are not asked for but published.
            if query != Query::Docker && !self.running.contains_key(&query) {
                self.start(query, interval);
            }
        }
    }

    fn start(&mut self, query: Query, interval: Duration) {
        let stop = CancellationToken::new();
        let (answers, said) = Answers::new(stop.clone());
        let answers = answers.telling(Arc::clone(&self.told));
        let settings = SourceSettings {
            interval,
            ..SourceSettings::default()
        };
        match self.launch.source(&query, settings) {
            Ok(source) => {
                tracing::info!(source = %query, "asked from now on");
                tokio::spawn(source.run(answers));
            }
            Err(error) => answers.put(Err(error)),
        }
        let running = Running {
            said,
            heard: 0,
            interval,
            _stop: stop.drop_guard(),
        };
        self.running.insert(query, running);
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
