//! One HAProxy as its agent drives it: find or adopt it, bring it to a configuration, look after it.
//!
//! [`Proxy`] has one owner and its methods take `&mut self`, so that there is one change at a time by construction.
//! [`Inspector`] looks and never touches, so that a candidate can be checked and planned while a change is under way.
//! It decides nothing about when: queueing, rate limits and retries are the agent's.

mod adopt;
mod apply;
mod carry;
mod certificates;
mod error;
mod fit;
mod inspector;
mod leaving;
mod old;
mod prepare;
mod replace;
mod running;
mod service;
mod settings;
mod soft;
mod verify;

use hafleet_model::with_causes;
use std::time::{Duration, Instant};

use hafleet_model::report::{DataPlane, DataPlaneHealth, NodeContext};
use hafleet_model::spec::Finding;
use hafleet_model::{Revision, Spec};
use rustix::process::Signal;
use tokio::sync::watch;

use crate::binary::Binary;
use crate::certificates::Certificates;
use crate::check::CheckError;
use crate::files::{self, FileError};
use crate::handover;
use crate::process::ProcessId;
use crate::render::{RenderError, Rendered};

pub use crate::handover::{FirewallChoice, HandoverChoice};
pub use apply::Applied;
pub use error::{ApplyError, OpenError, PlanError};
pub use inspector::{Inspector, ProcessWords};
pub use old::OldProcess;
pub use settings::Settings;
pub use verify::VerifyError;

use adopt::Current;
use leaving::Leaving;
use old::OldProcesses;

/// How long the agent before this one may take to be gone.
const HOLD_DEADLINE: Duration = Duration::from_secs(3);
/// Between two attempts to take hold of the directory.
const HOLD_PAUSE: Duration = Duration::from_millis(20);

/// One HAProxy. Dropping it leaves HAProxy as it is.
#[derive(Debug)]
pub struct Proxy {
    inspector: Inspector,
    binary: Binary,
    current: watch::Sender<Option<Current>>,
    old: OldProcesses,
    generation: u64,
    was_applied: bool,
    leaving: Leaving,
    drift: Vec<String>,
}

impl Proxy {
    /// Finds HAProxy's program, takes hold of the directory, removes the firewall chain of a former run if there was one, and
    /// adopts the process that an agent before us started, if it is still there.
    ///
    /// # Errors
    /// When there is no HAProxy to use, or the directory cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        settings.validate()?;
        let binary = Binary::find(settings.binary.as_deref()).await?;
        let config = settings.config_file.as_deref().map(prepare::whole);
        let files = take_hold(&settings).await?.with_config(config.as_deref());
        let chain = handover::chain_name(&settings.node.id);
        prepare::sweep_firewall(&files, &chain).await;
        let adopted = match settings.process.is_service() {
            true => adopt::adopt_service(&files)?,
            false => {
                prepare::spare_strays(&files, settings.handover);
                adopt::adopt(&files).await?
            }
        };
        let usual = files.dir().join("certificates");
        let secrets_dir = settings.secrets_dir.as_deref().map(prepare::whole);
        let certificates = match secrets_dir {
            Some(dir) => Certificates::open_instead_of(usual, &dir.join("certificates"))?,
            None => Certificates::open(&usual)?,
        };
        let (current, watched) = watch::channel(adopted.current);
        let mut proxy = Self {
            inspector: Inspector::new(settings, Some(binary.clone()), files, certificates, watched),
            binary,
            current,
            old: adopted.old,
            generation: adopted.generation,
            was_applied: adopted.was_applied,
            leaving: Leaving::default(),
            drift: Vec::new(),
        };
        proxy.find_again().await;
        Ok(proxy)
    }

    /// A handle that looks and never touches; it stays valid while changes are under way.
    pub fn inspector(&self) -> Inspector {
        self.inspector.clone()
    }

    /// HAProxy's program and version.
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// The node that configurations are rendered for.
    pub fn node(&self) -> &NodeContext {
        self.inspector.node()
    }

    /// As [`Inspector::render`].
    ///
    /// # Errors
    /// As there.
    pub fn render(&self, spec: &Spec) -> Result<Rendered, RenderError> {
        self.inspector.render(spec)
    }

    /// As [`Inspector::check`].
    ///
    /// # Errors
    /// As there.
    pub async fn check(&self, rendered: &Rendered) -> Result<Vec<Finding>, CheckError> {
        self.inspector.check(rendered).await
    }

    /// The revision that HAProxy was last brought to; none when it does not run, or nobody knows.
    pub fn applied_revision(&self) -> Option<Revision> {
        let current = self.current.borrow();
        let alive = current
            .as_ref()
            .filter(|current| current.process.is_alive());
        alive.and_then(|current| current.revision)
    }

    /// The process that serves, or did when it was last looked at; none when there was none.
    pub fn process(&self) -> Option<ProcessId> {
        let current = self.current.borrow();
        current.as_ref().map(|current| current.process)
    }

    /// What the last apply found changed behind hafleet's back, a line each, for people. It was put right then.
    pub fn drift(&self) -> Vec<String> {
        self.drift.clone()
    }

    /// Looks at HAProxy: whether it answers on its runtime socket and accepts connections on every listener. Restarts nothing;
    /// old processes beyond the limit are ended.
    pub async fn observe(&mut self) -> DataPlane {
        self.old.look_after();
        self.find_again().await;
        self.retire_strays();
        self.warm().await;
        let current = self.current.borrow().clone();
        let mut report = DataPlane {
            health: if self.was_applied {
                DataPlaneHealth::Down
            } else {
                DataPlaneHealth::Idle
            },
            pid: None,
            version: Some(self.binary().version.to_string()),
            old_processes: self.old.count(),
            handover: self.inspector.next_handover().await,
        };
        let Some(current) = current else {
            return report;
        };
        if !current.process.is_alive() {
            current.process.take_remains();
            return report;
        }
        report.pid = Some(current.process.pid);
        let served = verify::serves(current.process, &current.socket, &current.listeners);
        match served.await {
            Ok(info) => {
                report.health = DataPlaneHealth::Up;
                report.version = Some(info.version);
            }
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "HAProxy does not serve");
                report.health = DataPlaneHealth::Down;
            }
        }
        report
    }

    /// The processes that were told to finish and are still finishing, oldest first.
    pub fn old_processes(&self) -> Vec<OldProcess> {
        self.old.list()
    }

    /// Ends all processes that are ours: softly, and by force after `grace`. For demonstrations and tests; an agent that
    /// stops leaves HAProxy running. What a service started is the service's to stop, and stays.
    pub async fn stop(&mut self, grace: Duration) {
        if self.inspector.settings().process.is_service() {
            return;
        }
        if let Some(current) = self.current.send_replace(None) {
            let _ = current.process.signal(Signal::USR1);
            self.retire(current.process, current.generation);
        }
        self.old.end(grace).await;
        self.sweep_firewall().await;
        let files = self.inspector.files();
        files.sweep(&[]);
        let _ = files::remove(&files.applied());
        self.was_applied = false;
    }
}

/// Takes hold of the directories. An agent that was killed a moment ago may still be on its way out.
async fn take_hold(settings: &Settings) -> Result<files::Files, FileError> {
    let deadline = Instant::now() + HOLD_DEADLINE;
    loop {
        match files::Files::open(&settings.config_dir, &settings.runtime_dir) {
            Err(FileError::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(HOLD_PAUSE).await;
            }
            held => return held,
        }
    }
}
