//! The health checks of a zone: made before the records that depend on them, removed after.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::decide::Act;
use super::keeper::ZoneKeeper;
use super::scene::Scene;
use crate::checks::{CheckKey, WantedCheck};
use crate::lease::Lease;
use crate::provider::ProviderError;

/// How often health checks are looked at when nothing about them changes. They cost a request for each hundred of the account.
const CHECKS_EVERY: Duration = Duration::from_secs(3600);

/// The health checks that there are, as far as is known.
pub(super) struct KeptChecks {
    wanted: Vec<WantedCheck>,
    pub(super) ids: BTreeMap<CheckKey, String>,
    at: Instant,
    has_leftovers: bool,
}

impl ZoneKeeper {
    /// Makes health checks be as wanted. Says whether decisions may be others now.
    pub(super) async fn keep_checks(&mut self, scene: &Scene) -> bool {
        let wanted = self.decisions.checks.clone();
        if let Some(checks) = &mut self.checks
            && checks.at.elapsed() < CHECKS_EVERY
            && wanted.iter().all(|check| checks.wanted.contains(check))
        {
            // Those that nobody needs any more go after the records that depend on them.
            checks.has_leftovers |= wanted.len() < checks.wanted.len();
            checks
                .ids
                .retain(|key, _| wanted.iter().any(|check| check.key == *key));
            checks.wanted = wanted;
            return false;
        }
        if self.checks.is_none() && wanted.is_empty() && !self.are_checks_published() {
            return false;
        }
        let fleet = &scene.claimant.fleet;
        match self.provider.keep_checks(fleet, &wanted).await {
            Ok(ids) => {
                self.checks_error = None;
                self.checks = Some(KeptChecks {
                    wanted,
                    ids,
                    at: Instant::now(),
                    has_leftovers: true,
                });
            }
            Err(error) => self.checks_failed(&error),
        }
        true
    }

    /// Whether records that this leader may write depend on health checks: those of an earlier leader, whose spec had some.
    fn are_checks_published(&self) -> bool {
        let mut ours = self.decisions.names.iter();
        ours.any(|decision| {
            let mut sets = decision.present.sets.iter();
            decision.lease.may_write() && sets.any(|set| set.health_check.is_some())
        })
    }

    /// Removes health checks on which no published record depends any more.
    pub(super) async fn drop_checks(&mut self, scene: &Scene) {
        let is_settled = self.decisions.names.iter().all(|decision| {
            matches!(decision.lease, Lease::Held | Lease::Free) && decision.act == Act::Rest
        });
        let leftovers = self.checks.as_mut().filter(|checks| checks.has_leftovers);
        let Some(checks) = leftovers.filter(|_| is_settled) else {
            return;
        };
        let keep = checks.ids.values().cloned().collect();
        let dropped = self.provider.drop_checks(&scene.claimant.fleet, &keep);
        match dropped.await {
            Ok(()) => {
                checks.has_leftovers = false;
                self.checks_error = None;
            }
            Err(error) => self.checks_failed(&error),
        }
    }

    /// Records do not wait for that.
    fn checks_failed(&mut self, error: &ProviderError) {
        tracing::warn!(zone = self.provider.zone(), %error, "health checks are not as wanted");
        self.checks_error = Some(format!("health checks are not as wanted: {error}"));
    }

    /// Has the health checks looked at anew: one that somebody removed may be why records are not taken.
    pub(super) fn doubt_checks(&mut self) {
        self.checks = None;
    }
}
