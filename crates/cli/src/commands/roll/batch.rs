//! The servers that are out of service at once, from drain to up.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use hafleet_api::v1::ServerState;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Roll;
use super::command::{self, Subject};
use super::events::Event;
use super::sighting::Sighting;
use crate::failure::{Exit, Failure};

/// Between two looks at the servers.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why a roll stops before its end.
pub(super) enum Stopped {
    /// Servers failed, each with why.
    Failed(Vec<(String, String)>),
    /// The backend would not stand more.
    Refused(Failure),
    /// Somebody wanted it to.
    Asked,
    /// The fleet did not do what was asked.
    Broken(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Broken(failure)
    }
}

impl Stopped {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) | Self::Asked => Exit::Failed,
            Self::Refused(failure) | Self::Broken(failure) => failure.exit,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failed) => {
                let words: Vec<_> = failed
                    .iter()
                    .map(|(server, reason)| format!("{server}: {reason}"))
                    .collect();
                f.write_str(&words.join("\n"))
            }
            Self::Refused(failure) | Self::Broken(failure) => failure.fmt(f),
            Self::Asked => f.write_str("stopped, as was asked"),
        }
    }
}

/// How a wait for servers ended.
enum Waited {
    /// All are as they should be.
    All,
    /// The time is over, and of these servers this is not so.
    Late(Vec<(String, String)>),
    /// Somebody wants it to stop.
    Asked,
}

impl Roll<'_> {
    /// Takes `batch` out of service, runs the command for each, and brings them back.
    pub(super) async fn batch(&mut self, batch: &[String]) -> Result<(), Stopped> {
        for server in batch {
            // Noted before it is done: better a server that is readied in vain than one that is forgotten.
            let is_new = !self.journal.record.out.contains(server);
            if is_new {
                self.journal
                    .note(|record| record.out.push(server.clone()))?;
            }
            self.set(server, ServerState::Drain).await?;
            self.events.tell(&Event::Draining { server })?;
        }
        if let Some(stopped) = self.drained(batch).await? {
            self.put_back(batch).await?;
            return Err(stopped);
        }
        let mut failed = Vec::new();
        let ran = self.commands(batch, &mut failed).await?;
        let sound = self.sound(&ran, &mut failed).await?;
        self.ready(&sound, &mut failed).await?;
        for (server, reason) in &failed {
            self.events.tell(&Event::Failed { server, reason })?;
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Stopped::Failed(failed)),
        }
    }

    /// Waits until nobody sends the servers anything and their sessions are over or out of time; or tells why it cannot
    /// go on.
    async fn drained(&mut self, batch: &[String]) -> Result<Option<Stopped>, Failure> {
        let timeout = self.journal.record.plan.drain_timeout;
        let waited = self
            .wait(
                "waiting for sessions to end",
                batch,
                timeout,
                true,
                |seen, server| match seen.sessions(server) {
                    _ if !seen.is_out(server) => Some(format!(
                        "{} still send it traffic",
                        seen.sending(server).join(", ")
                    )),
                    0 => None,
                    sessions => Some(format!("{sessions} sessions")),
                },
            )
            .await;
        if matches!(waited, Waited::Asked) {
            return Ok(Some(Stopped::Asked));
        }
        // Its time may be over while a load balancer does not answer, or does not do what it was told.
        let seen = match self.hands.see().await {
            Ok(seen) => seen,
            Err(failure) => return Ok(Some(Stopped::Broken(failure))),
        };
        let busy: Vec<_> = batch.iter().filter(|server| !seen.is_out(server)).collect();
        if let Some(server) = busy.first() {
            let lbs = seen.sending(server).join(", ");
            let words =
                format!("{server} drains, but after {timeout:?} {lbs} still send it traffic");
            let failure = Failure::new(Exit::Unreachable, words);
            return Ok(Some(Stopped::Broken(failure)));
        }
        for server in batch {
            let sessions = seen.sessions(server);
            self.events.tell(&Event::Drained { server, sessions })?;
        }
        Ok(None)
    }

    /// Brings servers back of which nothing was run.
    async fn put_back(&mut self, batch: &[String]) -> Result<(), Failure> {
        for server in batch {
            self.set(server, ServerState::Ready).await?;
            self.journal
                .note(|record| record.out.retain(|out| out != server))?;
            self.events.tell(&Event::PutBack { server })?;
        }
        Ok(())
    }

    /// Runs the command for all of `batch` at once, and returns those for which it did its work.
    async fn commands(
        &mut self,
        batch: &[String],
        failed: &mut Vec<(String, String)>,
    ) -> Result<Vec<String>, Failure> {
        let seen = self.hands.see().await?;
        let plan = self.journal.record.plan.clone();
        let subjects: Vec<_> = batch
            .iter()
            .map(|server| self.subject(server, &seen))
            .collect();
        for subject in &subjects {
            self.events.tell(&Event::Running {
                server: &subject.server,
                command: &subject.fill(&plan.command),
            })?;
        }
        let (output, mut lines) = mpsc::channel::<command::Line>(64);
        let events = self.events;
        let printing = tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                events.tell(&Event::Output {
                    server: &line.server,
                    stream: line.stream,
                    line: &line.text,
                })?;
            }
            Ok::<(), Failure>(())
        });
        let runs = subjects.iter().map(|subject| {
            let (output, kill) = (output.clone(), self.interrupt.kills());
            let begun = Instant::now();
            let limit = plan.command_timeout;
            let words = &plan.command;
            async move {
                let ended = command::run(subject, words, limit, output, kill).await;
                (ended, begun.elapsed().as_secs_f64())
            }
        });
        let ends = join_all(runs).await;
        drop(output);
        let _ = printing.await;
        let mut ran = Vec::new();
        for (server, (ended, seconds)) in batch.iter().zip(ends) {
            match ended {
                Ok(()) => {
                    self.events.tell(&Event::Ran { server, seconds })?;
                    ran.push(server.clone());
                }
                Err(reason) => failed.push((server.clone(), reason)),
            }
        }
        Ok(ran)
    }

    fn subject(&self, server: &str, seen: &Sighting) -> Subject {
        let (address, port) = seen.address(server);
        Subject {
            server: server.to_owned(),
            address,
            port,
            backend: self.backend.to_owned(),
        }
    }

    /// Waits, while they are still out of service, until the checks of the servers have had time to notice what the
    /// command did, and pass. Returns those of which that is so.
    async fn sound(
        &mut self,
        servers: &[String],
        failed: &mut Vec<(String, String)>,
    ) -> Result<Vec<String>, Failure> {
        if servers.is_empty() {
            return Ok(Vec::new());
        }
        let plan = &self.journal.record.plan;
        let (settle, timeout) = (plan.settle, plan.up_timeout);
        tokio::time::sleep(settle).await;
        let waited = self
            .wait(
                "waiting for health checks to pass",
                servers,
                timeout,
                false,
                |seen, server| match seen.failing(server).as_slice() {
                    [] => None,
                    lbs => Some(format!("its checks do not pass on {}", lbs.join(", "))),
                },
            )
            .await;
        Ok(split(servers, waited, failed))
    }

    /// Makes servers ready, and waits until every load balancer sees them up. One that does not come up drains again.
    async fn ready(
        &mut self,
        servers: &[String],
        failed: &mut Vec<(String, String)>,
    ) -> Result<(), Failure> {
        if servers.is_empty() {
            return Ok(());
        }
        for server in servers {
            self.set(server, ServerState::Ready).await?;
        }
        let timeout = self.journal.record.plan.up_timeout;
        let waited = self
            .wait(
                "waiting for every load balancer",
                servers,
                timeout,
                false,
                |seen, server| {
                    let up = seen.up(server).join(", ");
                    (!seen.is_up(server)).then(|| match up.as_str() {
                        "" => "no load balancer sees it up".to_owned(),
                        up => format!("only {up} see it up"),
                    })
                },
            )
            .await;
        let mut late = Vec::new();
        for server in split(servers, waited, &mut late) {
            self.journal.note(|record| {
                record.out.retain(|out| *out != server);
                record.done.push(server.clone());
            })?;
            self.events.tell(&Event::Up { server: &server })?;
        }
        for (server, _) in &late {
            self.set(server, ServerState::Drain).await?;
        }
        failed.append(&mut late);
        Ok(())
    }

    /// Looks until `missing` says nothing of any of `servers`.
    async fn wait(
        &mut self,
        what: &str,
        servers: &[String],
        timeout: Duration,
        may_be_stopped: bool,
        missing: impl Fn(&Sighting, &str) -> Option<String>,
    ) -> Waited {
        let deadline = Instant::now() + timeout;
        let mut progress = self.events.wait(format!("{}: {what}", servers.join(", ")));
        loop {
            let late: Vec<_> = match tokio::time::timeout_at(deadline, self.hands.see()).await {
                Ok(Ok(seen)) => servers
                    .iter()
                    .filter_map(|server| Some((server.clone(), missing(&seen, server)?)))
                    .collect(),
                Ok(Err(failure)) => every(servers, &failure.to_string()),
                Err(_) => every(servers, "no answer came in that time"),
            };
            if late.is_empty() {
                return Waited::All;
            }
            if may_be_stopped && self.interrupt.is_asked() {
                return Waited::Asked;
            }
            if Instant::now() + LOOK_AGAIN >= deadline {
                return Waited::Late(late);
            }
            let words = late
                .iter()
                .map(|(server, words)| format!("{server}: {words}"));
            progress.say(words.collect::<Vec<_>>().join("; "));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn every(servers: &[String], words: &str) -> Vec<(String, String)> {
    let pairs = servers
        .iter()
        .map(|server| (server.clone(), words.to_owned()));
    pairs.collect()
}

/// Those of `servers` for which a wait ended well; the others go to `failed`.
fn split(servers: &[String], waited: Waited, failed: &mut Vec<(String, String)>) -> Vec<String> {
    let late = match waited {
        Waited::All | Waited::Asked => Vec::new(),
        Waited::Late(late) => late,
    };
    let is_late = |server: &&String| late.iter().any(|(name, _)| name == *server);
    let good = servers
        .iter()
        .filter(|server| !is_late(server))
        .cloned()
        .collect();
    failed.extend(late);
    good
}
