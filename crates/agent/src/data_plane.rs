//! The loop that brings this node's HAProxy to the fleet's spec with what discovery found and what operators ask of
//! servers, and says how that goes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::Cluster;
use hafleet_haproxy::{Applied, ApplyError, OldProcess, Plan, ProcessId, Proxy};
use hafleet_model::report::{ApplyState, Change, DataPlane, DataPlaneHealth, EndpointsState};
use hafleet_model::{Document, DocumentKind, Revision};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::composer::{Composer, Fault};
use crate::compute::compute;
use crate::endpoints::Found;
use crate::overrides::wait_until;
use crate::own::{Own, OwnKeeper};
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};
use crate::reloads::{Reload, ReloadLog, ReloadPace};
use hafleet_model::with_causes;

/// HAProxy is asked for its health at this pace; a spec that it refused is tried again after the pauses.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(1),
    first_pause: Duration::from_secs(15),
    longest_pause: Duration::from_secs(300),
};

/// What HAProxy runs is compared with the spec at every so many rounds, though neither is known to have changed.
const ROUNDS_BETWEEN_COMPARISONS: u32 = 10;

/// How long a key may take to come from another node before its lack is reported.
const KEY_PATIENCE: Duration = Duration::from_secs(10);

/// The longest reason that is published, in bytes; gossip carries it.
const MAX_REASON_BYTES: usize = 800;

/// One HAProxy and the spec that it should run.
pub(crate) struct DataPlaneLoop {
    proxy: Proxy,
    cluster: Cluster,
    spec: watch::Receiver<Option<Arc<Document>>>,
    secrets: watch::Receiver<Option<Arc<Document>>>,
    endpoints: watch::Receiver<Option<Arc<Document>>>,
    overrides: watch::Receiver<Option<Arc<Document>>>,
    /// What this node runs in place of the fleet's spec.
    own: OwnKeeper,
    own_changes: watch::Receiver<Option<Arc<Own>>>,
    /// Changes whenever another node has given a key.
    keys: watch::Receiver<u64>,
    lacking_key_since: Option<Instant>,
    composer: Composer,
    state: ApplyState,
    endpoints_state: EndpointsState,
    pace: ReloadPace,
    reloads: ReloadLog,
    last_seen: watch::Sender<LastSeen>,
    rounds: u32,
    /// The process that ran when HAProxy was last looked at.
    served_by: Option<ProcessId>,
    /// It ended since.
    has_ended: bool,
}

/// What only the node itself knows of its HAProxy: too much, and changing too fast, for gossip.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastSeen {
    /// Processes that are still finishing, oldest first.
    pub(crate) old_processes: Vec<OldProcess>,
    /// What was found changed behind the agent's back and was put right.
    pub(crate) drift: Vec<String>,
    /// The overrides that it has.
    pub(crate) overrides: Option<Revision>,
}

impl DataPlaneLoop {
    /// What was last seen, and its successors.
    pub(crate) fn last_seen(&self) -> watch::Receiver<LastSeen> {
        self.last_seen.subscribe()
    }

    pub(crate) fn new(
        proxy: Proxy,
        cluster: Cluster,
        composer: Composer,
        own: OwnKeeper,
        pace: ReloadPace,
        reloads: ReloadLog,
    ) -> Self {
        let mut spec = cluster.document(DocumentKind::Spec);
        spec.mark_changed();
        let secrets = cluster.document(DocumentKind::Secrets);
        let endpoints = cluster.document(DocumentKind::Endpoints);
        let overrides = cluster.document(DocumentKind::Overrides);
        let state = proxy
            .applied_revision()
            .map_or(ApplyState::Waiting, |revision| ApplyState::Applied {
                revision,
                change: Change::Nothing,
            });
        let adopted = told(&state);
        let own_report = own.newest().map(|own| own.report(None));
        cluster.report(|report| {
            report.apply = adopted;
            report.own_configuration = own_report;
        });
        Self {
            own_changes: own.watch(),
            own,
            proxy,
            cluster,
            spec,
            secrets,
            endpoints,
            overrides,
            keys: composer.learned_keys(),
            lacking_key_since: None,
            composer,
            state,
            endpoints_state: EndpointsState::default(),
            pace,
            reloads,
            last_seen: watch::Sender::default(),
            rounds: 0,
            served_by: None,
            has_ended: false,
        }
    }

    /// Brings HAProxy to `document`, with the newest endpoints that it can have.
    async fn bring(&mut self, document: &Document) -> Outcome {
        loop {
            if let Some(outcome) = self.try_bring(document).await {
                return outcome;
            }
        }
    }

    /// None when the endpoints were refused, and it should be tried with the ones before them.
    async fn try_bring(&mut self, document: &Document) -> Option<Outcome> {
        let revision = document.revision();
        match compute(|| self.composer.compose(document)) {
            Ok(()) => self.lacking_key_since = None,
            Err(Fault::Refused(reason)) => return Some(self.refuse(revision, &reason)),
            Err(Fault::LacksKey(reason)) => return Some(self.wait_for_key(revision, &reason)),
        }
        if self.state.running() != Some(revision) {
            self.publish(ApplyState::Applying { revision });
        }
        let wanted = self.composer.wanted()?;
        let plan = match self.proxy.plan(&wanted.rendered).await {
            Ok(plan) => plan,
            Err(error) => return Some(self.refuse(revision, &with_causes(&error))),
        };
        match self.pace.wait(Instant::now()) {
            Some(until) if plan.change >= Change::Reload => Some(Outcome::Deferred {
                until,
                reason: "the last reload was a moment ago",
            }),
            _ => self.apply(revision, plan).await,
        }
    }

    async fn apply(&mut self, revision: Revision, plan: Plan) -> Option<Outcome> {
        let wanted = self.composer.wanted()?;
        let begun = Instant::now();
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let reason = plan.reason.clone();
        let carried_out = self.proxy.carry_out(plan, &wanted.rendered, revision);
        let outcome = carried_out.await;
        if was_reload(&outcome) {
            self.pace.reloaded(begun, rand::random());
            let applied = outcome.as_ref().ok();
            self.reloads.add(Reload {
                id: 0,
                at_ms,
                revision,
                reason: applied.map_or(reason, |applied| applied.plan.reason.clone()),
                handover: applied.and_then(|applied| applied.handover.clone()),
                took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                outcome: match &outcome {
                    Ok(applied) => Ok(applied.pid),
                    Err(error) => Err(shorten(&with_causes(error))),
                },
            });
        }
        match outcome {
            Ok(applied) => Some(self.accept(revision, &applied)),
            Err(error) => {
                let reason = with_causes(&error);
                match self.composer.blame_endpoints(&error, &reason).await {
                    true => None,
                    false => Some(self.refuse(revision, &reason)),
                }
            }
        }
    }

    /// A node that has just joined is given the key within moments, and that is nothing to report.
    fn wait_for_key(&mut self, revision: Revision, reason: &str) -> Outcome {
        let since = *self.lacking_key_since.get_or_insert_with(Instant::now);
        if since.elapsed() > KEY_PATIENCE {
            return self.refuse(revision, reason);
        }
        Outcome::Deferred {
            until: since + KEY_PATIENCE + Duration::from_millis(1),
            reason: "the key of the fleet's certificates is being asked for",
        }
    }

    /// HAProxy runs it. That it has older endpoints than there are is a failure, to be tried again.
    fn accept(&mut self, revision: Revision, applied: &Applied) -> Outcome {
        self.composer.accept();
        self.tell(revision, applied);
        match self.publish_endpoints() {
            Some(error) => Outcome::Failed(format!("endpoints {error}")),
            None => Outcome::Done,
        }
    }

    fn tell(&mut self, revision: Revision, applied: &Applied) {
        let change = applied.change;
        let is_same = matches!(self.state, ApplyState::Applied { revision: running, .. } if running == revision);
        if change == Change::Nothing && is_same {
            return;
        }
        tracing::info!(
            %revision,
            endpoints = ?self.composer.endpoints().0.and_then(Found::revision),
            change = change.as_str(),
            reason = applied.plan.reason,
            handover = applied.handover,
            took = ?applied.duration,
            pid = applied.pid,
            "applied"
        );
        self.publish(ApplyState::Applied { revision, change });
    }

    fn refuse(&mut self, revision: Revision, reason: &str) -> Outcome {
        self.publish_endpoints();
        let error = shorten(reason);
        let running = self.proxy.applied_revision();
        self.publish(ApplyState::Failed {
            revision,
            error: error.clone(),
            running,
        });
        Outcome::Failed(error)
    }

    fn publish(&mut self, state: ApplyState) {
        if self.state == state {
            return;
        }
        let reported = told(&state);
        self.state = state;
        self.cluster.report(|report| report.apply = reported);
    }

    /// Says which configuration of its own this node has, and why HAProxy does not run it.
    fn publish_own(&self, own: Option<&Own>, outcome: &Outcome) {
        let error = match outcome {
            Outcome::Failed(error) => Some(error.clone()),
            _ => None,
        };
        let reported = own.map(|own| own.report(error));
        self.cluster
            .report(|report| report.own_configuration = reported);
    }

    /// What this node should run, and its own configuration if it is that.
    fn wanted(&mut self) -> (Option<Arc<Document>>, Option<Arc<Own>>) {
        let spec = self.spec.borrow_and_update().clone();
        let own = self.own_changes.borrow_and_update().clone();
        match own.as_ref().and_then(|own| own.document()) {
            Some(document) => (Some(Arc::new(document)), own),
            None => (spec, None),
        }
    }

    /// Says which endpoints HAProxy has, and returns why they are not the newest.
    fn publish_endpoints(&mut self) -> Option<String> {
        let (found, error) = self.composer.endpoints();
        let state = EndpointsState {
            applied: found.and_then(Found::revision),
            error: error.as_deref().map(shorten),
        };
        if self.endpoints_state != state {
            self.endpoints_state = state.clone();
            self.cluster.report(|report| report.endpoints = state);
        }
        error
    }

    /// What HAProxy goes on running is to have the newest certificates all the same.
    async fn refresh_certificates(&mut self) {
        match self.proxy.refresh_certificates().await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => tracing::info!(certificates = names.join(", "), "replaced in what runs"),
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "certificates could not be replaced in what runs");
            }
        }
    }

    async fn observe(&mut self) -> DataPlane {
        let data_plane = self.proxy.observe().await;
        self.served_by = data_plane.pid.and_then(|_| self.proxy.process());
        self.last_seen.send_replace(LastSeen {
            old_processes: self.proxy.old_processes(),
            drift: self.proxy.drift(),
            overrides: self.composer.overrides(),
        });
        let observed = data_plane.clone();
        self.cluster
            .report(move |report| report.data_plane = observed);
        data_plane
    }
}

#[async_trait]
impl Reconcile for DataPlaneLoop {
    const NAME: &'static str = "haproxy";

    async fn changed(&mut self) {
        let served_by = self.served_by;
        let ended = async move {
            match served_by {
                Some(process) => process.ended().await,
                None => std::future::pending().await,
            }
        };
        let (changed, has_ended) = tokio::select! {
            changed = self.spec.changed() => (changed, false),
            changed = self.secrets.changed() => (changed, false),
            changed = self.endpoints.changed() => (changed, false),
            changed = self.overrides.changed() => (changed, false),
            changed = self.own_changes.changed() => (changed, false),
            changed = self.keys.changed() => (changed, false),
            () = wait_until(self.composer.next_expiry()) => (Ok(()), false),
            () = ended => (Ok(()), true),
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
        self.has_ended = has_ended;
    }

    async fn reconcile(&mut self, activation: Activation) -> Outcome {
        self.secrets.mark_unchanged();
        self.endpoints.mark_unchanged();
        self.overrides.mark_unchanged();
        self.keys.mark_unchanged();
        if activation == Activation::Retry {
            self.composer.try_anew();
        }
        let (document, own) = self.wanted();
        let Some(document) = document else {
            self.publish_own(None, &Outcome::Done);
            self.observe().await;
            return Outcome::Inert("the fleet has no spec yet");
        };
        // That HAProxy is gone is said before it is started again, which may take long, or fail.
        let has_ended = std::mem::take(&mut self.has_ended);
        if activation == Activation::Timer || has_ended {
            self.rounds = self.rounds.wrapping_add(1);
            let is_up = self.observe().await.health == DataPlaneHealth::Up;
            if is_up && !self.rounds.is_multiple_of(ROUNDS_BETWEEN_COMPARISONS) {
                return Outcome::Done;
            }
        }
        let outcome = self.bring(&document).await;
        self.publish_own(own.as_deref(), &outcome);
        if own.is_some() {
            let digest = document.stamp().digest;
            match &outcome {
                Outcome::Done => self.own.tell(digest, Ok(())),
                Outcome::Failed(reason) => self.own.tell(digest, Err(reason.clone())),
                Outcome::Deferred { .. } | Outcome::Inert(_) => {}
            }
        }
        if matches!(outcome, Outcome::Failed(_)) {
            self.refresh_certificates().await;
        }
        self.observe().await;
        outcome
    }
}

/// What others are told of `state`: a node that runs a configuration of its own has applied no revision.
fn told(state: &ApplyState) -> ApplyState {
    let known = |revision: &Revision| *revision != Revision::OWN;
    match state {
        ApplyState::Applying { revision }
        | ApplyState::Applied { revision, .. }
        | ApplyState::Failed { revision, .. }
            if !known(revision) =>
        {
            ApplyState::Waiting
        }
        ApplyState::Failed {
            revision,
            error,
            running,
        } => ApplyState::Failed {
            revision: *revision,
            error: error.clone(),
            running: running.filter(known),
        },
        other => other.clone(),
    }
}

/// Whether a new process was started, or tried. A configuration that was refused on paper is none.
fn was_reload(outcome: &Result<Applied, ApplyError>) -> bool {
    match outcome {
        Ok(applied) => applied.change >= Change::Reload,
        Err(error) => matches!(
            error,
            ApplyError::Start(_) | ApplyError::Verify(_) | ApplyError::Handover(_)
        ),
    }
}

/// The beginning of `reason` in one line, short enough to be published.
fn shorten(reason: &str) -> String {
    let line = reason
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    if line.len() <= MAX_REASON_BYTES {
        return line;
    }
    let end = (0..=MAX_REASON_BYTES)
        .rev()
        .find(|end| line.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}…", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_its_own_is_no_revision_that_a_node_runs() {
        let spec = "2.5".parse().unwrap();
        let applied = |revision| ApplyState::Applied {
            revision,
            change: Change::Reload,
        };
        let failed = |revision, running| ApplyState::Failed {
            revision,
            error: "no".into(),
            running,
        };
        assert_eq!(told(&applied(spec)), applied(spec));
        assert_eq!(told(&applied(Revision::OWN)), ApplyState::Waiting);
        assert_eq!(
            told(&failed(Revision::OWN, Some(spec))),
            ApplyState::Waiting
        );
        assert_eq!(told(&failed(spec, Some(Revision::OWN))), failed(spec, None));
    }

    #[test]
    fn a_published_reason_is_one_short_line() {
        assert_eq!(shorten("a\n  b\n"), "a; b");
        let long = shorten(&"ü".repeat(1_000));
        assert!(long.len() <= MAX_REASON_BYTES + '…'.len_utf8() && long.ends_with('…'));
    }
}
