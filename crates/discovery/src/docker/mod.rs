//! Containers of this node's Docker engine that say by labels whose servers they are.
//!
//! The engine's events are watched, and each that matters leads to a new look at all containers; they are looked at each
//! interval besides. So a lost event costs an interval at most, and an answer is never put together from events.

mod container;
mod engine;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::warn;

pub use self::engine::DockerEngine;
use crate::answer::{Answer, SourceError};
use crate::mapping::BACKEND_LABEL;
use crate::pauses::Pauses;
use crate::source::{Answers, Source, SourceSettings};

/// An engine whose events end at once, such as one behind a proxy that forbids them, is not asked more often than this.
const BETWEEN_SESSIONS: Duration = Duration::from_secs(1);
/// So long no event that matters may come before the containers are looked at.
const QUIET: Duration = Duration::from_millis(30);

/// So long is waited for that at most.
const NOISE: Duration = Duration::from_millis(300);

/// So many containers are inspected at once.
const INSPECTIONS_AT_ONCE: usize = 8;

/// Events since so long ago are asked for, so that none is lost between two streams of them.
const OVERLAP: Duration = Duration::from_secs(2);

/// Events after which another container may be a server, or one no more (Docker Engine API, `GET /events`).
const EVENTS: [&str; 9] = [
    "start",
    "die",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "health_status",
    "connect",
    "disconnect",
];

/// The running containers of one engine that have the label `hafleet.backend`.
///
/// Those that are paused are named as left out; those that are stopped are not there. One whose health check has not yet
/// succeeded, or fails, is [set aside](crate::Condition::SetAside). Each network of a container gives an address.
#[derive(Debug)]
pub struct DockerSource {
    engine: DockerEngine,
    settings: SourceSettings,
}

impl DockerSource {
    /// The source of `engine`'s containers.
    pub fn new(engine: DockerEngine, settings: SourceSettings) -> Self {
        Self { engine, settings }
    }

    async fn follow(&self, answers: &Answers) {
        let mut pauses = Pauses::new(self.settings.interval);
        loop {
            let error = self.session(answers, &mut pauses).await;
            let pause = pauses.after_error();
            if let Some(error) = error {
                answers.put(Err(error));
            }
            sleep(pause).await;
        }
    }

    /// Answers until something fails. No error is told when the events ended and all else was well: the next session says
    /// whether the engine is still there.
    async fn session(&self, answers: &Answers, pauses: &mut Pauses) -> Option<SourceError> {
        let docker = match self.engine.connect(self.limit()).await {
            Ok(docker) => docker,
            Err(error) => return Some(error),
        };
        let again = Instant::now() + BETWEEN_SESSIONS;
        let mut events = events(&docker).boxed();
        loop {
            match self.containers(&docker).await {
                Ok(answer) => answers.put(Ok(answer)),
                Err(error) => return Some(error),
            }
            let due = Instant::now() + pauses.after_answer();
            match timeout_at(due, next_change(&mut events)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(Some(error @ Error::DockerResponseServerError { .. }))) => {
                    warn!(%error, "no events of {}: it is looked at each interval only", self.engine);
                    events = stream::pending().boxed();
                    sleep_until(due).await;
                }
                Ok(Err(_)) => {
                    sleep_until(again).await;
                    return None;
                }
            }
        }
    }

    /// One that takes longer than the interval is an error then, so that there is something to say.
    fn limit(&self) -> Duration {
        self.settings.timeout.min(self.settings.interval)
    }

    async fn containers(&self, docker: &Docker) -> Result<Answer, SourceError> {
        let answer = timeout(self.limit(), look(docker)).await;
        let answer = answer.unwrap_or(Err(Error::RequestTimeoutError));
        answer.map_err(|error| self.engine.failure(&error))
    }
}

#[async_trait]
impl Source for DockerSource {
    async fn run(self: Box<Self>, answers: Answers) {
        tokio::select! {
            () = answers.stopped() => {}
            () = self.follow(&answers) => {}
        }
    }
}

fn events(docker: &Docker) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now.unwrap_or_default().saturating_sub(OVERLAP).as_secs();
    let filters = HashMap::from([
        ("type", vec!["container", "network"]),
        ("event", EVENTS.to_vec()),
    ]);
    let options = EventsOptionsBuilder::new()
        .since(&since.to_string())
        .filters(&filters)
        .build();
    docker.events(Some(options))
}

/// Resolves when events came and it has gone quiet again.
///
/// # Errors
/// When there are no more events, and why, if there is a reason.
async fn next_change<S>(events: &mut S) -> Result<(), Option<Error>>
where
    S: Stream<Item = Result<EventMessage, Error>> + Unpin,
{
    next(events).await?;
    let latest = Instant::now() + NOISE;
    while Instant::now() < latest {
        match timeout(QUIET, next(events)).await {
            Ok(event) => event?,
            Err(_) => break,
        }
    }
    Ok(())
}

async fn next<S>(events: &mut S) -> Result<(), Option<Error>>
where
    S: Stream<Item = Result<EventMessage, Error>> + Unpin,
{
    match events.next().await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(Some(error)),
        None => Err(None),
    }
}

/// All containers with the label, each inspected. One that is removed meanwhile is not there.
async fn look(docker: &Docker) -> Result<Answer, Error> {
    let filters = HashMap::from([("label", vec![BACKEND_LABEL])]);
    let options = ListContainersOptionsBuilder::new()
        .filters(&filters)
        .build();
    let listed = docker.list_containers(Some(options)).await?;
    let inspected = stream::iter(listed.into_iter().filter_map(|container| container.id))
        .map(|id| async move {
            let inspected = docker.inspect_container(&id, None::<InspectContainerOptions>);
            match inspected.await {
                Err(Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => Ok(None),
                inspected => inspected.map(Some),
            }
        })
        .buffer_unordered(INSPECTIONS_AT_ONCE);
    let mut inspected: Vec<_> = inspected.try_collect().await?;
    let mut answer = Answer::default();
    for container in inspected.drain(..).flatten() {
        match container::read(container) {
            None => {}
            Some(Ok(found)) => answer.found.push(found),
            Some(Err(left_out)) => answer.left_out.push(left_out),
        }
    }
    answer.found.sort();
    answer.left_out.sort();
    Ok(answer)
}
