//! A source that runs, and what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use hafleet_discovery::etcd::Etcd;
use hafleet_discovery::source::Said;
use hafleet_discovery::{Answer, Answers, Source, SourceError, SourceSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::{DEADLINE, EtcdWorld, PREFIX};

/// Short, so that tests are.
pub(crate) const SETTINGS: SourceSettings = SourceSettings {
    interval: Duration::from_millis(500),
    timeout: Duration::from_secs(2),
};

/// A source that runs until it is stopped.
pub(crate) struct Following {
    said: watch::Receiver<Option<Said>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    /// Follows the servers of `world`.
    pub(crate) fn servers(world: &EtcdWorld) -> Self {
        let etcd = Etcd::new(world.settings());
        Self::of(etcd.servers(&world.query(PREFIX), SETTINGS))
    }

    pub(crate) fn of(source: Box<dyn Source>) -> Self {
        let stop = CancellationToken::new();
        let (answers, said) = Answers::new(stop.clone());
        let task = tokio::spawn(source.run(answers));
        Self { said, stop, task }
    }

    /// The first thing from now on, what was said last too, that `is_it`.
    pub(crate) async fn until(
        &mut self,
        is_it: impl Fn(&Result<Answer, SourceError>) -> bool,
    ) -> Said {
        let is_said = |said: &Option<Said>| said.as_ref().is_some_and(|said| is_it(&said.result));
        if let Ok(said) = timeout(DEADLINE, self.said.wait_for(is_said)).await {
            return said.unwrap().clone().unwrap();
        }
        panic!("it says {:?}", self.said.borrow());
    }

    /// Waits for exactly these servers, as `name=address:port`.
    pub(crate) async fn servers_are(&mut self, wanted: &[&str]) -> Said {
        let wanted: Vec<_> = wanted.iter().map(|&text| text.to_owned()).collect();
        self.until(|result| {
            result
                .as_ref()
                .is_ok_and(|answer| servers(answer) == wanted)
        })
        .await
    }

    /// Waits for this server among others.
    pub(crate) async fn has(&mut self, wanted: &str) -> Said {
        let has = |answer: &Answer| servers(answer).iter().any(|server| server == wanted);
        self.until(|result| result.as_ref().is_ok_and(has)).await
    }

    /// The next thing that is said after the `count`th.
    pub(crate) async fn next_after(&mut self, count: u64) -> Said {
        let said = self
            .said
            .wait_for(|said| said.as_ref().is_some_and(|said| said.count > count));
        let said = timeout(DEADLINE, said).await.expect("it says nothing more");
        said.unwrap().clone().unwrap()
    }

    pub(crate) async fn error(&mut self) -> SourceError {
        self.until(Result::is_err).await.result.unwrap_err()
    }

    /// What was said last.
    pub(crate) fn last(&self) -> Said {
        self.said.borrow().clone().unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task)
            .await
            .expect("it does not stop")
            .unwrap();
    }
}

/// The servers of an answer, by name.
pub(crate) fn servers(answer: &Answer) -> Vec<String> {
    let servers = answer.found.iter().map(|found| {
        let port = found.port.unwrap_or_default();
        (
            found.id.clone(),
            format!("{}={}:{port}", found.id, found.addresses[0].ip),
        )
    });
    servers.collect::<BTreeMap<_, _>>().into_values().collect()
}
