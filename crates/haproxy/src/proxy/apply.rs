//! Bringing HAProxy to a configuration, so that a failure at any step costs nothing.
//!
//! What a running process can be told is in `soft`, what takes a new process is in `replace`; here is what decides
//! between them, and what both need: the file, and the notes on it.

use hafleet_model::with_causes;
use std::path::Path;
use std::time::{Duration, Instant};

use hafleet_model::report::Change;
use hafleet_model::spec::{Finding, Findings};
use hafleet_model::{Digest, Revision};
use rustix::process::Signal;

use super::adopt::Current;
use super::leaving::Leaving;
use super::{ApplyError, Proxy, adopt};
use crate::plan::Plan;
use crate::process::{AppliedState, ProcessId, find_ours, write_applied};
use crate::render::Rendered;

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

impl Proxy {
    /// Finds the least that brings HAProxy to `rendered`, for [`Self::carry_out`]. Clears up first after an apply that
    /// was cut short.
    ///
    /// # Errors
    /// When HAProxy runs but does not answer, or the directory cannot be used.
    pub async fn plan(&mut self, rendered: &Rendered) -> Result<Plan, ApplyError> {
        self.mend()?;
        self.find_again().await;
        self.old.look_after();
        Ok(self.inspector.plan(rendered).await?)
    }

    /// Brings HAProxy to `rendered`, which the spec's `revision` became: [`Self::plan`] and [`Self::carry_out`].
    ///
    /// # Errors
    /// As those.
    pub async fn apply(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
    ) -> Result<Applied, ApplyError> {
        let plan = self.plan(rendered).await?;
        self.carry_out(plan, rendered, revision).await
    }

    /// Brings HAProxy to `rendered`, which the spec's `revision` became, by a `plan` that was made for it a moment ago. A
    /// process that was found dead is started.
    ///
    /// Not cancel-safe: run it to its end. What a cancelled one leaves is mended by the next.
    ///
    /// # Errors
    /// What failed. HAProxy then runs what it ran before, without a connection lost, and the file on disk is that one.
    pub async fn carry_out(
        &mut self,
        mut plan: Plan,
        rendered: &Rendered,
        revision: Revision,
    ) -> Result<Applied, ApplyError> {
        let begun = Instant::now();
        self.see_drift(&plan);
        let mut handover = None;
        if plan.change == Change::Nothing || plan.change == Change::Runtime {
            plan = self.apply_softly(rendered, revision, plan).await?;
        }
        if plan.change == Change::Reload || plan.change == Change::Start {
            let warming = self.carry_state(rendered).await;
            let replaced = self.replace(rendered, revision).await;
            self.forget_state();
            handover = replaced?;
            // The new process has none of those that were on their way out of the one before it.
            self.leaving = Leaving::default();
            self.current.send_modify(|current| {
                if let Some(current) = current {
                    current.warming = warming;
                }
            });
            self.settle(rendered).await;
        }
        self.was_applied = true;
        self.inspector.files().sweep_maps();
        self.inspector.certificates().sweep(rendered);
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

    /// Keeps what a plan found changed behind our back, and says it once.
    fn see_drift(&mut self, plan: &Plan) {
        for line in plan.drift.iter().filter(|line| !self.drift.contains(line)) {
            tracing::warn!(line, "HAProxy was changed by somebody else");
        }
        self.drift.clone_from(&plan.drift);
    }

    /// Puts the last good file back. That this fails is no reason to hide why it is needed.
    pub(super) fn restore_file(&self) {
        if let Err(error) = self.inspector.files().restore_config() {
            tracing::error!(error = %with_causes(&error), "the last good configuration could not be put back");
        }
    }

    /// The file that `rendered` becomes for the process whose runtime socket is `socket`; what it names beside it is
    /// written.
    pub(super) fn lay_out(&self, rendered: &Rendered, socket: &Path) -> Result<String, ApplyError> {
        let prelude = self.inspector.prelude(rendered, socket).map_err(|error| {
            ApplyError::Invalid(Findings::from(Finding::new("", error.to_string())))
        })?;
        self.inspector.files().write_maps(rendered)?;
        Ok(rendered.file(&prelude))
    }

    /// Removes sockets and pid files of processes that ended.
    pub(super) fn sweep(&self) {
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
        self.retire_strays();
        Ok(())
    }

    /// Tells processes of ours to finish that nobody knows of: an agent before us died while it started them.
    pub(super) fn retire_strays(&mut self) {
        if self.inspector.settings().process.is_service() {
            return;
        }
        let current = self
            .current
            .borrow()
            .as_ref()
            .map(|current| current.process);
        for found in find_ours(self.inspector.files()) {
            if Some(found.process) != current && !self.old.has(found.process) {
                let _ = found.process.signal(Signal::USR1);
                self.retire(found.process, found.generation);
            }
        }
    }

    /// Counts `process` among the old ones, for as long as its configuration allows.
    pub(super) fn retire(&mut self, process: ProcessId, generation: u64) {
        let limit = adopt::hard_stop_after(self.inspector.files());
        self.old.add(process, generation, limit);
        self.old.look_after();
    }

    pub(super) fn note(
        &self,
        current: &Current,
        revision: Revision,
        text: &str,
    ) -> Result<(), ApplyError> {
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
            haproxy: self.binary().version,
            listeners: current.listeners.clone(),
        };
        write_applied(self.inspector.files(), &state)?;
        Ok(())
    }
}
