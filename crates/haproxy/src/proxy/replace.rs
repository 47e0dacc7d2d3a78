//! Replacing a process by a new one: start beside, verify, note, and only then let the old one finish.

use std::time::Duration;

use hafleet_model::Revision;
use hafleet_model::spec::{Finding, Findings};
use rustix::process::Signal;

use super::adopt::Current;
use super::apply::prelude;
use super::{ApplyError, Proxy, error_chain, verify};
use crate::files;
use crate::handover::{self, Choice, DropSyn, HandoverChoice, HandoverError, Strategy};
use crate::plan::Known;
use crate::process::{Launch, ProcessId, StartError, find_ours, launch, listening, strangers};
use crate::render::Rendered;

/// How long an old process may take to close its listening sockets. It takes less than 1 ms unless the machine is starved.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a new process that failed may take to close its sockets softly, before it is killed.
const GIVE_UP_DEADLINE: Duration = Duration::from_secs(2);

/// How the process before a new one that serves is to hand over.
struct Handover {
    choice: Option<Choice>,
    firewall: Option<DropSyn>,
}

impl Proxy {
    /// Starts a process for `rendered` and lets the one before it finish. Returns how it handed over.
    pub(super) async fn replace(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
    ) -> Result<Option<String>, ApplyError> {
        self.inspector.check(rendered).await?;
        self.refuse_strangers(rendered)?;
        self.generation += 1;
        let generation = self.generation;
        let socket = self.inspector.files().socket(generation);
        let text = rendered.file(&prelude(&socket)?);
        let old = self.current.borrow().clone();
        let old = old.filter(|old| old.process.is_alive());
        let choice = match &old {
            Some(_) => Some(self.inspector.choose_handover().await?),
            None => None,
        };
        let (choice, firewall) = self.prepare_firewall(choice, old.as_ref()).await?;
        if let Err(error) = self.inspector.files().replace_config(&text) {
            self.remove_firewall(firewall.is_some()).await;
            return Err(error.into());
        }
        let started = self
            .start(rendered, generation, choice.as_ref(), old.as_ref())
            .await;
        let noted = match started {
            Ok(process) => {
                let current = Current {
                    process,
                    generation,
                    socket,
                    known: Some(Known::of(rendered)),
                    revision: Some(revision),
                    listeners: rendered.listeners().to_vec(),
                };
                // Noted before the old process is told to finish: whoever dies now leaves one that serves.
                match self.note(&current, revision, &text) {
                    Ok(()) => Ok(current),
                    Err(error) => {
                        self.give_up(process, generation).await;
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        };
        let current = match noted {
            Ok(current) => current,
            Err(error) => {
                self.remove_firewall(firewall.is_some()).await;
                self.restore_file();
                self.sweep();
                return Err(error);
            }
        };
        self.current.send_replace(Some(current));
        let handover = Handover { choice, firewall };
        Ok(self.finish_old(handover, old).await)
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
        let ours = find_ours(self.inspector.files());
        let ours: Vec<_> = ours.iter().map(|found| found.process).collect();
        let taken = strangers(&ours);
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

    /// Puts unarmed rules in place if SYNs are to be dropped. Where nobody asked for it by name, a firewall that refuses
    /// is a reason to do without.
    async fn prepare_firewall(
        &self,
        choice: Option<Choice>,
        old: Option<&Current>,
    ) -> Result<(Option<Choice>, Option<DropSyn>), ApplyError> {
        let (Some(chosen), Some(old)) = (&choice, old) else {
            return Ok((choice, None));
        };
        if chosen.strategy != Strategy::DropSyn {
            return Ok((choice, None));
        }
        let sockets = listening(old.process).unwrap_or_default();
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.address).collect();
        let node = &self.inspector.node().id;
        files::write(&self.inspector.files().firewall_mark(), "")?;
        match DropSyn::install(&handover::chain_name(node), &sockets).await {
            Ok(firewall) => Ok((choice, Some(firewall))),
            Err(error) => {
                self.remove_firewall(true).await;
                if self.inspector.settings().handover == HandoverChoice::DropSyn {
                    return Err(HandoverError::from(error).into());
                }
                let reason = format!("{}, and {}", chosen.reason, error_chain(&error));
                let strategy = Strategy::None;
                Ok((Some(Choice { strategy, reason }), None))
            }
        }
    }

    async fn remove_firewall(&self, is_there: bool) {
        if is_there {
            DropSyn::remove(&handover::chain_name(&self.inspector.node().id)).await;
            let _ = files::remove(&self.inspector.files().firewall_mark());
        }
    }

    /// Starts the process and waits until it serves; one that does not is ended.
    async fn start(
        &mut self,
        rendered: &Rendered,
        generation: u64,
        choice: Option<&Choice>,
        old: Option<&Current>,
    ) -> Result<ProcessId, ApplyError> {
        let settings = self.inspector.settings();
        let files = self.inspector.files();
        let is_passing = choice.is_some_and(|choice| choice.strategy == Strategy::PassFds);
        let (config, pid_file) = (files.config(), files.pid_file(generation));
        let launched = launch(Launch {
            binary: &self.inspector.binary().path,
            config: &config,
            pid_file: &pid_file,
            take_sockets_from: old.filter(|_| is_passing).map(|old| old.socket.as_path()),
            deadline: settings.start_timeout,
            rendered,
        });
        let process = launched.await?;
        let socket = files.socket(generation);
        let verified = verify::comes_to_serve(
            process,
            &socket,
            rendered.listeners(),
            settings.verify_timeout,
        );
        if let Err(error) = verified.await {
            self.give_up(process, generation).await;
            return Err(error.into());
        }
        Ok(process)
    }

    /// Ends a new process that is not wanted. Softly, since it may have accepted connections already.
    async fn give_up(&mut self, process: ProcessId, generation: u64) {
        let closed = handover::finish(process, None, Duration::ZERO, GIVE_UP_DEADLINE).await;
        if !matches!(closed, Ok(true)) {
            let _ = process.signal(Signal::KILL);
        }
        self.old.add(process, generation);
    }

    /// Lets the old process finish. From here on the new one serves, so that a failure is a remark.
    async fn finish_old(&mut self, handover: Handover, old: Option<Current>) -> Option<String> {
        let old = old?;
        let settle = self.inspector.settings().settle;
        let finished = handover::finish(
            old.process,
            handover.firewall.as_ref(),
            settle,
            CLOSE_DEADLINE,
        )
        .await;
        self.remove_firewall(handover.firewall.is_some()).await;
        self.old.add(old.process, old.generation);
        self.old.look_after();
        self.sweep();
        let words = handover.choice.map(|choice| choice.to_string())?;
        Some(match finished {
            Ok(true) => words,
            Ok(false) => {
                let pid = old.process.pid;
                format!(
                    "{words}; but process {pid} has not closed its listeners within {} s",
                    CLOSE_DEADLINE.as_secs()
                )
            }
            Err(error) => format!("{words}; but {}", error_chain(&error)),
        })
    }
}
