//! Replacing a process by a new one: start beside, verify, note, and only then let the old one finish. Where two cannot
//! listen at once, the old one closes its sockets first, and comes back if the new one does not start.

use hafleet_model::with_causes;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hafleet_model::Revision;
use hafleet_model::spec::{Finding, Findings};
use rustix::process::Signal;

use super::adopt::Current;
use super::prepare::{Prepared, sharing_obstacle};
use super::{ApplyError, Proxy, VerifyError, verify};
use crate::binary::Binary;
use crate::handover::{self, ARMED, FirewallError, HandoverChoice, HandoverError, Strategy};
use crate::plan::Known;
use crate::process::{Launch, ProcessId, StartError, find_by_config, find_ours, launch, strangers};
use crate::render::Rendered;
use crate::warming::Warming;

/// How long an old process may take to close its listening sockets. It takes less than 1 ms unless the machine is starved.
pub(super) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a new process that failed may take to close its sockets softly, before it is killed.
const GIVE_UP_DEADLINE: Duration = Duration::from_secs(2);

/// What is to run next.
#[derive(Debug)]
pub(super) struct Next<'a> {
    pub(super) rendered: &'a Rendered,
    pub(super) revision: Revision,
    pub(super) generation: u64,
    pub(super) socket: PathBuf,
    /// The whole file.
    pub(super) text: String,
}

impl Next<'_> {
    pub(super) fn current(&self, process: ProcessId) -> Current {
        Current {
            process,
            generation: self.generation,
            socket: self.socket.clone(),
            known: Some(Known::of(self.rendered)),
            revision: Some(self.revision),
            listeners: self.rendered.listeners().to_vec(),
            warming: Warming::default(),
        }
    }
}

impl Proxy {
    /// Starts a process for `rendered` and lets the one before it finish. Returns how it handed over.
    pub(super) async fn replace(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
    ) -> Result<Option<String>, ApplyError> {
        self.look_at_binary().await?;
        self.inspector.check(rendered).await?;
        self.refuse_strangers(rendered)?;
        self.generation += 1;
        let socket = self.inspector.files().socket(self.generation);
        let next = Next {
            rendered,
            revision,
            generation: self.generation,
            text: self.lay_out(rendered, &socket)?,
            socket,
        };
        let old = self.inspector.alive();
        let replaced = if self.inspector.settings().process.is_service() {
            self.replace_by_service(&next, old).await
        } else {
            self.replace_ourselves(&next, old).await
        };
        self.sweep_firewall().await;
        self.sweep();
        replaced
    }

    /// Packages are upgraded while agents run: the program may be another by now, or none.
    async fn look_at_binary(&self) -> Result<(), ApplyError> {
        let known = self.binary();
        let found = Binary::find(Some(&known.path)).await?;
        if found.version != known.version {
            let (from, to) = (known.version, found.version);
            tracing::info!(%from, %to, "HAProxy was replaced by another version, which serves from now on");
        }
        Ok(())
    }

    async fn replace_ourselves(
        &mut self,
        next: &Next<'_>,
        old: Option<Current>,
    ) -> Result<Option<String>, ApplyError> {
        let prepared = match &old {
            Some(old) => Some(self.prepare_handover(old, &next.text, None).await?),
            None => None,
        };
        let may_stop = prepared.as_ref().is_some_and(|prepared| {
            let is_choosing = self.inspector.settings().handover == HandoverChoice::Auto;
            let is_passing = prepared.choice.strategy == Strategy::PassFds;
            is_choosing && is_passing && sharing_obstacle(&next.text).is_some()
        });
        self.inspector.files().replace_config(&next.text)?;
        let mut replaced = match (prepared, &old) {
            (Some(prepared), Some(old)) if prepared.choice.stops_first => {
                self.replace_stopped(next, old, prepared).await
            }
            (prepared, old) => self.replace_beside(next, prepared.zip(old.as_ref())).await,
        };
        // Not every socket finds its place in the new process, and here none may be opened beside.
        if let (Err(ApplyError::Start(StartError::Refused(words))), Some(old), true) =
            (&replaced, &old, may_stop)
        {
            let why = format!("the new process did not take them: {words}");
            replaced = match self.prepare_handover(old, &next.text, Some(why)).await {
                Ok(prepared) => self.replace_stopped(next, old, prepared).await,
                Err(error) => Err(error.into()),
            };
        }
        if replaced.is_err() {
            self.restore_file();
        }
        replaced
    }

    /// The new process starts while the old one serves.
    async fn replace_beside(
        &mut self,
        next: &Next<'_>,
        before: Option<(Prepared, &Current)>,
    ) -> Result<Option<String>, ApplyError> {
        let passing = before
            .as_ref()
            .filter(|(prepared, _)| prepared.choice.strategy == Strategy::PassFds)
            .map(|(_, old)| old.socket.clone());
        let process = self.start(next, passing.as_deref()).await?;
        self.verify(next, process).await?;
        self.take_over(next, process).await?;
        // From here on the new one serves, so that a failure is a remark.
        let Some((mut prepared, old)) = before else {
            return Ok(None);
        };
        let settle = self.inspector.settings().settle;
        let closed = handover::close_sockets(
            old.process,
            prepared.window.as_mut(),
            settle,
            CLOSE_DEADLINE,
            settle + ARMED + CLOSE_DEADLINE,
        )
        .await;
        let shut = prepared.close_window().await;
        self.retire(old.process, old.generation);
        Ok(Some(words(&prepared, old.process, closed, shut)))
    }

    /// The old process closes its sockets, and then the new one starts. New connections wait meanwhile, if the strategy has
    /// a way to make them.
    async fn replace_stopped(
        &mut self,
        next: &Next<'_>,
        old: &Current,
        mut prepared: Prepared,
    ) -> Result<Option<String>, ApplyError> {
        let settings = self.inspector.settings();
        let longest = settings.settle + ARMED + CLOSE_DEADLINE + settings.start_timeout;
        let closed = handover::close_sockets(
            old.process,
            prepared.window.as_mut(),
            settings.settle,
            CLOSE_DEADLINE,
            longest,
        )
        .await;
        if let Err(error @ HandoverError::Signal { .. }) = closed {
            let _ = prepared.close_window().await;
            return Err(error.into());
        }
        self.retire(old.process, old.generation);
        let started = self.start(next, None).await;
        if started.is_err() {
            self.bring_back(next, old).await;
        }
        let shut = prepared.close_window().await;
        let process = started?;
        let served = match self.verify(next, process).await {
            Ok(()) => self.take_over(next, process).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = served {
            self.bring_back(next, old).await;
            return Err(error);
        }
        Ok(Some(words(&prepared, old.process, closed, shut)))
    }

    /// Starts the last good configuration anew, whose process has closed its sockets.
    async fn bring_back(&mut self, next: &Next<'_>, old: &Current) {
        self.restore_file();
        let files = self.inspector.files();
        let (config, pid_file) = (files.config(), files.pid_file(old.generation));
        let launched = launch(Launch {
            binary: &self.binary().path,
            config: &config,
            pid_file: &pid_file,
            take_sockets_from: None,
            deadline: self.inspector.settings().start_timeout,
            rendered: next.rendered,
        });
        let current = match launched.await {
            Ok(process) => Some(Current {
                process,
                ..old.clone()
            }),
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "the last good configuration could not be started again");
                None
            }
        };
        if let (Some(current), Ok(Some(text))) = (&current, files.read_config())
            && let Some(revision) = current.revision
            && let Err(error) = self.note(current, revision, &text)
        {
            tracing::warn!(error = %with_causes(&error), "what runs could not be noted");
        }
        self.current.send_replace(current);
    }

    /// Refuses listeners on which another program listens already. The kernel would refuse most of them; but another
    /// HAProxy of the same user shares its ports (`SO_REUSEPORT`), and each would get a part of the connections.
    fn refuse_strangers(&self, rendered: &Rendered) -> Result<(), StartError> {
        let held = self.current.borrow().clone();
        let held = held.map(|current| current.listeners).unwrap_or_default();
        let mut new = rendered
            .listeners()
            .iter()
            .filter(|listener| !held.iter().any(|held| held.is_same_place(listener)))
            .peekable();
        if new.peek().is_none() {
            return Ok(());
        }
        let taken = strangers(&self.ours());
        let findings: Vec<_> = new
            .filter_map(|listener| {
                let stranger = taken
                    .iter()
                    .find(|stranger| listener.overlaps(stranger.address))?;
                let path = rendered.origin_of_listener(listener).unwrap_or_default();
                let message = format!("port {} is taken by {}", listener.port, stranger.name());
                Some(Finding::new(path, message))
            })
            .collect();
        if findings.is_empty() {
            return Ok(());
        }
        Err(StartError::Refused(Findings(findings)))
    }

    fn ours(&self) -> Vec<ProcessId> {
        let files = self.inspector.files();
        if self.inspector.settings().process.is_service() {
            return find_by_config(&self.binary().path, &files.config());
        }
        let found = find_ours(files);
        found.iter().map(|found| found.process).collect()
    }

    /// Starts the process; when it is there, it listens.
    async fn start(
        &self,
        next: &Next<'_>,
        take_sockets_from: Option<&Path>,
    ) -> Result<ProcessId, StartError> {
        let files = self.inspector.files();
        let (config, pid_file) = (files.config(), files.pid_file(next.generation));
        launch(Launch {
            binary: &self.binary().path,
            config: &config,
            pid_file: &pid_file,
            take_sockets_from,
            deadline: self.inspector.settings().start_timeout,
            rendered: next.rendered,
        })
        .await
    }

    /// Waits until the process serves; one that does not is ended.
    async fn verify(&mut self, next: &Next<'_>, process: ProcessId) -> Result<(), VerifyError> {
        let deadline = self.inspector.settings().verify_timeout;
        let listeners = next.rendered.listeners();
        let verified = verify::comes_to_serve(process, &next.socket, listeners, deadline).await;
        if verified.is_err() {
            self.give_up(process, next.generation).await;
        }
        verified
    }

    /// Notes that `process` is the one that serves, before another is told to finish: whoever dies now leaves one that
    /// serves. One that cannot be noted is ended.
    async fn take_over(&mut self, next: &Next<'_>, process: ProcessId) -> Result<(), ApplyError> {
        let current = next.current(process);
        if let Err(error) = self.note(&current, next.revision, &next.text) {
            self.give_up(process, next.generation).await;
            return Err(error);
        }
        self.current.send_replace(Some(current));
        Ok(())
    }

    /// Ends a new process that is not wanted. Softly, since it may have accepted connections already.
    async fn give_up(&mut self, process: ProcessId, generation: u64) {
        let (none, at_once) = (None, Duration::ZERO);
        let closed =
            handover::close_sockets(process, none, at_once, GIVE_UP_DEADLINE, at_once).await;
        if !matches!(closed, Ok(true)) {
            let _ = process.signal(Signal::KILL);
        }
        self.retire(process, generation);
    }
}

/// How an old process handed over, with what went wrong at it.
pub(super) fn words(
    prepared: &Prepared,
    old: ProcessId,
    closed: Result<bool, HandoverError>,
    shut: Result<(), FirewallError>,
) -> String {
    let choice = prepared.choice.to_string();
    match (closed, shut) {
        (Ok(true), Ok(())) => choice,
        (Ok(true), Err(error)) => format!("{choice}; but {}", with_causes(&error)),
        (Ok(false), _) => format!(
            "{choice}; but process {} has not closed its listeners within {} s",
            old.pid,
            CLOSE_DEADLINE.as_secs()
        ),
        (Err(error), _) => format!("{choice}; but {}", with_causes(&error)),
    }
}
