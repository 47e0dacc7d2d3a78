//! What a handover needs before anything is touched: what stands in the way of each strategy, the choice, the kernel's
//! setting, and firewall rules that do nothing yet.

use hafleet_model::with_causes;
use std::path::Path;

use super::adopt::Current;
use super::{Inspector, Proxy};
use crate::files::{self, Files};
use crate::handover::{
    self, Choice, Firewall, FirewallChoice, FirewallError, HandoverChoice, HandoverError, Manner,
    Situation, Strategy, Window,
};
use crate::process::{find_ours, listening};
use crate::runtime::RuntimeSocket;

/// A handover that can begin.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) choice: Choice,
    pub(super) window: Option<Window>,
}

impl Prepared {
    /// Lets everything through again.
    pub(super) async fn close_window(&mut self) -> Result<(), FirewallError> {
        match &mut self.window {
            Some(window) => window.close().await,
            None => Ok(()),
        }
    }
}

impl Inspector {
    /// What stands in the way of each strategy at a reload from what runs to the configuration `next`, or to one like
    /// that which runs.
    pub(super) async fn situation(&self, next: Option<&str>) -> Situation {
        let settings = self.settings();
        let firewall = handover::firewall_obstacle(settings.firewall);
        let running = self.files().read_config().ok().flatten();
        let texts = running.as_deref().into_iter().chain(next);
        let situation = Situation {
            passing: self.passing_obstacle().await,
            sharing: texts.filter_map(sharing_obstacle).next(),
            migrating: handover::migration_obstacle(),
            holding: firewall.clone(),
            dropping: firewall,
        };
        if !settings.process.is_service() {
            return situation;
        }
        let by_itself = || {
            (settings.handover == HandoverChoice::Auto)
                .then(|| "the service hands over in its own way".to_owned())
        };
        Situation {
            passing: Some("the service starts HAProxy, not the agent".to_owned()),
            sharing: None,
            holding: by_itself().or(situation.holding),
            dropping: by_itself().or(situation.dropping),
            ..situation
        }
    }

    async fn passing_obstacle(&self) -> Option<String> {
        let Some(current) = self.alive() else {
            return Some("HAProxy does not run".to_owned());
        };
        let answer = RuntimeSocket::new(&current.socket).info().await;
        answer.err().map(|error| with_causes(&error))
    }

    /// How the next reload would hand over, in words for status.
    pub(super) async fn next_handover(&self) -> String {
        if self.alive().is_none() {
            return "not needed: HAProxy does not run".to_owned();
        }
        let situation = self.situation(None).await;
        match handover::choose(self.settings().handover, &situation) {
            Ok(choice) => choice.to_string(),
            Err(error) => with_causes(&error),
        }
    }
}

impl Proxy {
    /// Chooses how `old` hands over to the configuration `next`, and prepares it. Where nobody asked for a strategy by
    /// name, one that cannot be prepared is a reason to take the next best. `not_passing` is why sockets cannot be passed,
    /// if that was tried.
    pub(super) async fn prepare_handover(
        &self,
        old: &Current,
        next: &str,
        not_passing: Option<String>,
    ) -> Result<Prepared, HandoverError> {
        let asked = self.inspector.settings().handover;
        let mut situation = self.inspector.situation(Some(next)).await;
        situation.passing = not_passing.or(situation.passing);
        loop {
            let choice = handover::choose(asked, &situation)?;
            match self.prepare(&choice, old).await {
                Ok(window) => return Ok(Prepared { choice, window }),
                Err(error) if asked == HandoverChoice::Auto => {
                    let reason = with_causes(&error);
                    tracing::warn!(strategy = %choice.strategy, reason, "a handover cannot be prepared");
                    match error {
                        HandoverError::Migrate(_) => {
                            situation.rule_out(Strategy::Migrate, reason);
                        }
                        _ => situation.rule_out(choice.strategy, reason),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn prepare(
        &self,
        choice: &Choice,
        old: &Current,
    ) -> Result<Option<Window>, HandoverError> {
        if choice.migrates {
            handover::enable_migration().map_err(HandoverError::Migrate)?;
        }
        match choice.strategy.manner() {
            Some(manner) => Ok(Some(self.prepare_window(manner, old).await?)),
            None => Ok(None),
        }
    }

    async fn prepare_window(&self, manner: Manner, old: &Current) -> Result<Window, HandoverError> {
        let chain = handover::chain_name(&self.node().id);
        let sockets = listening(old.process).unwrap_or_default();
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.address).collect();
        let mut refused = None;
        for kind in self.inspector.settings().firewall.candidates() {
            if let Err(error) = mark(self.inspector.files(), *kind) {
                return Err(HandoverError::Mark(error));
            }
            match Window::prepare(manner, *kind, &chain, &sockets).await {
                Ok(window) => return Ok(window),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let nothing = || FirewallError::Queue(std::io::ErrorKind::Unsupported.into());
        Err(refused.unwrap_or_else(nothing).into())
    }

    /// Takes away what handovers have left in the firewall.
    pub(super) async fn sweep_firewall(&self) {
        let chain = handover::chain_name(&self.node().id);
        sweep_firewall(self.inspector.files(), &chain).await;
    }
}

/// Notes that `kind` may hold rules of ours from now on.
fn mark(files: &Files, kind: FirewallChoice) -> Result<(), files::FileError> {
    let path = files.firewall_mark();
    let marked = files::read(&path)?.unwrap_or_default();
    if marked.lines().any(|line| line == kind.as_str()) {
        return Ok(());
    }
    files::write(&path, &format!("{marked}{}\n", kind.as_str()))
}

/// Takes away what the mark tells of. It stays while something is left, as when another program holds the firewall's
/// lock; what is left is not armed, and the next look goes on.
pub(super) async fn sweep_firewall(files: &Files, chain: &str) {
    let path = files.firewall_mark();
    let Ok(Some(marked)) = files::read(&path) else {
        return;
    };
    let mut is_clean = true;
    let kinds = [
        FirewallChoice::Iptables,
        FirewallChoice::IptablesLegacy,
        FirewallChoice::IptablesNft,
        FirewallChoice::Nft,
    ];
    for kind in kinds {
        // An empty mark is one of an earlier version, which knew only iptables.
        let is_old = marked.trim().is_empty() && kind == FirewallChoice::Iptables;
        if is_old || marked.lines().any(|line| line == kind.as_str()) {
            is_clean &= Firewall::remove(kind, chain).await;
        }
    }
    if is_clean {
        let _ = files::remove(&path);
    } else {
        tracing::warn!(
            "rules of a handover, which stop nothing any more, could not be removed yet"
        );
    }
}

/// Where an agent died in the middle of a handover, one of two processes is about to be ended without one: what waits in its
/// sockets goes to the other, if the kernel can be had for it.
pub(super) fn spare_strays(files: &Files, asked: HandoverChoice) {
    let may_migrate = matches!(asked, HandoverChoice::Auto | HandoverChoice::Migrate);
    if may_migrate && find_ours(files).len() > 1 {
        let _ = handover::enable_migration();
    }
}

/// Why a process of the configuration `text` cannot listen beside another on the same ports.
pub(super) fn sharing_obstacle(text: &str) -> Option<String> {
    let is_forbidden = text
        .lines()
        .any(|line| line.split_whitespace().next() == Some("noreuseport"));
    is_forbidden.then(|| "the configuration says noreuseport".to_owned())
}

/// Where the configuration that `path` names is, in whole: processes are known by it.
pub(super) fn whole(path: &Path) -> std::path::PathBuf {
    let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
    match (dir, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path.to_owned(),
    }
}
