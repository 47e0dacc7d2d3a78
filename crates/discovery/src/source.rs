//! The contract of all sources. `tests/contract` holds every one of them to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, SourceError};

/// Something that can be asked for servers, over and over or by watching it.
///
/// - It gives whole answers or errors, never a part of an answer; what came before an error stands until the next answer.
/// - It gives one of both at once when it starts, whenever something changes, and at least once in each
///   [`SourceSettings::interval`] and a tenth, also when nothing changed.
/// - After an error it goes on by itself, with growing pauses and jitter; it ends only when it is told to stop, and then
///   soon, leaving no task and no connection behind.
#[async_trait]
pub trait Source: Send + 'static {
    /// Runs until `answers` is [stopped](Answers::stopped) or nobody listens.
    async fn run(self: Box<Self>, answers: Answers);
}

/// What all sources are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceSettings {
    /// Time between two questions, or between two answers of one that is watched.
    pub interval: Duration,
    /// How long one question may take.
    pub timeout: Duration,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
        }
    }
}

/// The newest that a source said. `count` grows with each, so that equal answers can be told apart.
#[derive(Debug, Clone)]
pub struct Said {
    /// How many answers and errors there have been, this one too.
    pub count: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub result: Result<Answer, SourceError>,
}

/// Where a source puts what it says.
#[derive(Debug, Clone)]
pub struct Answers {
    newest: watch::Sender<Option<Said>>,
    stop: CancellationToken,
    /// Told at each answer, besides those who watch.
    told: Option<Arc<Notify>>,
}

impl Answers {
    /// A place for answers, and where they are read. Cancel `stop` to end the source.
    pub fn new(stop: CancellationToken) -> (Self, watch::Receiver<Option<Said>>) {
        let (newest, said) = watch::channel(None);
        (
            Self {
                newest,
                stop,
                told: None,
            },
            said,
        )
    }

    /// The same, and `told` is notified whenever the source says something.
    pub(crate) fn telling(self, told: Arc<Notify>) -> Self {
        Self {
            told: Some(told),
            ..self
        }
    }

    /// Says something.
    pub fn put(&self, result: Result<Answer, SourceError>) {
        self.newest.send_modify(|said| {
            let count = said.as_ref().map_or(0, |said| said.count) + 1;
            *said = Some(Said {
                count,
                at: Instant::now(),
                result,
            });
        });
        if let Some(told) = &self.told {
            told.notify_one();
        }
    }

    /// Resolves when the source should end.
    pub async fn stopped(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.newest.closed() => {}
        }
    }
}
