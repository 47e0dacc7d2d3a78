//! Bringing HAProxy to a configuration, so that a failure at any step costs nothing.

use std::time::{Duration, Instant};

use hafleet_model::report::Change;
use hafleet_model::spec::{Finding, Findings};
use hafleet_model::{Digest, Revision};
use rustix::process::Signal;

use super::adopt::Current;
use super::{ApplyError, Proxy, adopt, error_chain, verify};
use crate::files;
use crate::handover::{self, Choice, DropSyn, HandoverChoice, HandoverError, Strategy};
use crate::plan::{Known, Plan, Step};
use crate::process::{
    AppliedState, Launch, ProcessId, StartError, find_ours, launch, listening, strangers,
    write_applied,
};
use crate::render::{Prelude, Rendered};
use crate::runtime::{RuntimeError, RuntimeSocket};

/// How long an old process may take to close its listening sockets. It takes less than 1 ms unless the machine is starved.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a new process that failed may take to close its sockets softly, before it is killed.
const GIVE_UP_DEADLINE: Duration = Duration::from_secs(2);

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// How deep the change went; deeper than planned where HAProxy refused a command.
    pub change: Change,
    /// The plan that was carried out.
    pub plan: Plan,
    /// How long it took in all.
    pub duration: Duration,
    /// How the old process handed over, and why so; none when none had to.
    pub handover: Option<String>,
    /// The process that serves now.
    pub pid: u32,
}

/// How the process before a new one that serves is to hand over.
struct Handover {
    choice: Option<Choice>,
    firewall: Option<DropSyn>,
}

impl Proxy {
    /// Brings HAProxy to `rendered`, which the spec's `revision` became. A process that was found dead is started.
    ///
    /// Not cancel-safe: run it to its end. What a cancelled one leaves is mended by the next.
    ///
    /// # Errors
    /// What failed. HAProxy then runs what it ran before, without a connection lost, and the file on disk is that one.
    pub async fn apply(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
    ) -> Result<Applied, ApplyError> {
        let begun = Instant::now();
        self.mend()?;
        self.old.look_after();
        let mut plan = self.inspector.plan(rendered).await?;
        let mut handover = None;
        if plan.change == Change::Nothing || plan.change == Change::Runtime {
            plan = self.apply_softly(rendered, revision, plan).await?;
        }
        if plan.change == Change::Reload || plan.change == Change::Start {
            handover = self.replace(rendered, revision).await?;
        }
        self.was_applied = true;
        let pid = self
            .current
            .borrow()
            .as_ref()
            .map(|current| current.process.pid);
        Ok(Applied {
            change: plan.change,
            plan,
            duration: begun.elapsed(),
            handover,
            pid: pid.unwrap_or_default(),
        })
    }

    /// Carries out a plan that keeps the process. Returns the plan that was carried out, or one to reload where HAProxy
    /// would not have it.
    async fn apply_softly(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
        plan: Plan,
    ) -> Result<Plan, ApplyError> {
        let Some(current) = self.current.borrow().clone() else {
            return Ok(Plan::whole(Change::Start, "HAProxy does not run"));
        };
        let prelude = prelude(&current.socket)?;
        let text = rendered.file(&prelude);
        let is_on_disk = self.inspector.files().read_config()?.as_ref() == Some(&text);
        if !is_on_disk {
            self.inspector.check(rendered).await?;
        }
        if !is_on_disk {
            self.inspector.files().replace_config(&text)?;
        }
        if let Err(error) = self.run_steps(&current, rendered, &plan.steps).await {
            if !is_on_disk {
                self.restore_file();
            }
            let reason = format!("{}: {}", plan.reason, error_chain(&error));
            return Ok(Plan::whole(Change::Reload, reason));
        }
        let noted = Current {
            known: Some(known(rendered)),
            revision: Some(revision),
            ..current.clone()
        };
        if noted.known != current.known || noted.revision != current.revision || !is_on_disk {
            self.note(&noted, revision, &text)?;
        }
        self.current.send_replace(Some(noted));
        Ok(plan)
    }

    /// Runs the commands and asks HAProxy whether it is now as it should be.
    async fn run_steps(
        &self,
        current: &Current,
        rendered: &Rendered,
        steps: &[Step],
    ) -> Result<(), RuntimeError> {
        if steps.is_empty() {
            return Ok(());
        }
        let socket = RuntimeSocket::new(&current.socket);
        for step in steps {
            let command = step.command().map_err(|error| RuntimeError::Refused {
                command: step.to_string(),
                words: error.to_string(),
            })?;
            socket.tell(&command).await?;
        }
        let after = crate::plan::Running {
            applied: Some(known(rendered)),
            servers: socket.servers_state().await?,
        };
        let left = crate::plan::plan(Some(&after), rendered);
        match left.steps.first() {
            None => Ok(()),
            Some(step) => Err(RuntimeError::Refused {
                command: step.to_string(),
                words: "it was accepted and had no effect".to_owned(),
            }),
        }
    }

    /// Starts a process for `rendered` and lets the one before it finish. Returns how it handed over.
    async fn replace(
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
                    known: Some(known(rendered)),
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

    /// Puts the last good file back. That this fails is no reason to hide why it is needed.
    fn restore_file(&self) {
        if let Err(error) = self.inspector.files().restore_config() {
            tracing::error!(error = %error_chain(&error), "the last good configuration could not be put back");
        }
    }

    /// Removes sockets and pid files of processes that ended.
    fn sweep(&self) {
        let mut kept: Vec<_> = self.old.generations().collect();
        kept.extend(
            self.current
                .borrow()
                .as_ref()
                .map(|current| current.generation),
        );
        self.inspector.files().sweep(&kept);
    }

    /// Clears up after an apply that was cut short: processes of ours that nobody knows of are told to finish, and the file
    /// is again the one that runs.
    fn mend(&mut self) -> Result<(), ApplyError> {
        adopt::mend_file(self.inspector.files())?;
        let current = self
            .current
            .borrow()
            .as_ref()
            .map(|current| current.process);
        for found in find_ours(self.inspector.files()) {
            if Some(found.process) != current && !self.old.has(found.process) {
                let _ = found.process.signal(Signal::USR1);
                self.old.add(found.process, found.generation);
            }
        }
        Ok(())
    }

    fn note(&self, current: &Current, revision: Revision, text: &str) -> Result<(), ApplyError> {
        let Some(known) = current.known.clone() else {
            return Ok(());
        };
        let state = AppliedState {
            version: AppliedState::VERSION,
            revision,
            known,
            file_digest: Digest::of(text.as_bytes()),
            generation: current.generation,
            socket: current.socket.clone(),
            process: current.process,
            haproxy: self.inspector.binary().version,
            listeners: current.listeners.clone(),
        };
        write_applied(self.inspector.files(), &state)?;
        Ok(())
    }
}

fn known(rendered: &Rendered) -> Known {
    Known {
        digest: rendered.digest(),
        skeleton: rendered.skeleton().clone(),
    }
}

fn prelude(socket: &std::path::Path) -> Result<Prelude, ApplyError> {
    Prelude::new(socket)
        .map_err(|error| ApplyError::Invalid(Findings::from(Finding::new("", error.to_string()))))
}
