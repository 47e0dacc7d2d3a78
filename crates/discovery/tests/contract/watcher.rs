//! A source that runs, and all that it says.

use hafleet_discovery::source::Said;
use hafleet_discovery::{Answers, Found, Source, SourceError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::{DEADLINE, SETTINGS, World, until};

/// A running source of a world, and what it has said so far.
pub(crate) struct Watcher {
    said: watch::Receiver<Option<Said>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    tasks_before: usize,
    pub(crate) history: Vec<Said>,
}

impl Watcher {
    /// Starts the source of `world`.
    pub(crate) fn of<W: World>(world: &W) -> Self {
        Self::running(world.source(SETTINGS))
    }

    /// Starts this source.
    pub(crate) fn running(source: Box<dyn Source>) -> Self {
        let tasks_before = tasks();
        let stop = CancellationToken::new();
        let (answers, said) = Answers::new(stop.clone());
        let task = tokio::spawn(source.run(answers));
        Self {
            said,
            stop,
            task,
            tasks_before,
            history: Vec::new(),
        }
    }

    /// The next thing that it says.
    pub(crate) async fn next(&mut self) -> Said {
        let changed = timeout(DEADLINE, self.said.changed()).await;
        let last = self.history.last();
        changed
            .unwrap_or_else(|_| panic!("it says nothing more after {last:?}"))
            .unwrap();
        let said = self.said.borrow_and_update().clone().unwrap();
        assert!(last.is_none_or(|last| last.count < said.count));
        self.history.push(said.clone());
        said
    }

    /// Reads on until it says something of this kind.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Said) -> bool) -> Said {
        let found = timeout(DEADLINE, async {
            loop {
                let said = self.next().await;
                if wanted(&said) {
                    return said;
                }
            }
        });
        match found.await {
            Ok(said) => said,
            Err(_) => panic!("it last said {:?}", self.history.last()),
        }
    }

    /// Reads on until its answer is exactly these servers.
    pub(crate) async fn until_numbers<W: World>(&mut self, numbers: &[u8]) -> Vec<Found> {
        let said = self.until(|said| has::<W>(said, numbers)).await;
        said.result.unwrap().found
    }

    /// Reads on until it is an error.
    pub(crate) async fn until_error(&mut self) -> SourceError {
        let said = self.until(|said| said.result.is_err()).await;
        said.result.unwrap_err()
    }

    /// Stops it, and sees that it ends and leaves no task behind, and so no connection: all of them belong to tasks.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// The same by listening no more.
    pub(crate) async fn abandon(mut self) {
        self.said = watch::channel(None).1;
        self.ended().await;
    }

    async fn ended(self) {
        let ended = timeout(SETTINGS.interval * 2, self.task).await;
        ended.expect("it does not end").unwrap();
        // The world's own tasks may come and go.
        until("the end of all its tasks", async || {
            tasks() <= self.tasks_before
        })
        .await;
    }
}

/// Whether this is an answer of exactly these servers.
pub(crate) fn has<W: World>(said: &Said, numbers: &[u8]) -> bool {
    let answer = said.result.as_ref();
    answer.is_ok_and(|answer| W::numbers(answer) == numbers)
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
