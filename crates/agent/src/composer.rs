//! What this node's HAProxy should run: the fleet's spec with what discovery found, the certificates that both name, and
//! what operators ask of servers by hand.
//!
//! The spec is people's and counts as written. The endpoints are found, and must never be what stops a node: those that
//! HAProxy cannot have are refused, and the ones before them are taken.

use std::collections::BTreeMap;

use hafleet_haproxy::{ApplyError, Inspector, Rendered};
use hafleet_model::endpoints::effective_spec;
use hafleet_model::spec::{self, Findings, LoadedSpec};
use hafleet_model::{Document, Revision, Spec, Stamp, with_causes};
use tokio::sync::watch;

use crate::certificates::{BringError, CertificateKeeper};
use crate::endpoints::{Earlier, EndpointsKeeper, Found};
use crate::overrides::{Asked, OverridesKeeper, ServerOverrides};

/// How many revisions of the endpoints are tried at most before the node stays with what it runs.
const MAX_REFUSED: usize = 4;

/// The configuration that a node should have.
pub(crate) struct Wanted {
    /// The spec's revision.
    stamp: Stamp,
    /// The secrets whose certificates it names.
    secrets: Option<Stamp>,
    /// The endpoints whose servers it has.
    found: Found,
    /// What is asked of its servers by hand.
    overrides: ServerOverrides,
    /// What HAProxy gets.
    pub(crate) rendered: Rendered,
}

/// Why there is no configuration, in words.
pub(crate) enum Fault {
    /// It cannot be.
    Refused(String),
    /// It cannot be yet: a key lacks, and other nodes are asked for it.
    LacksKey(String),
}

impl From<BringError> for Fault {
    fn from(error: BringError) -> Self {
        let words = with_causes(&error);
        match error.lacks_key() {
            true => Self::LacksKey(words),
            false => Self::Refused(words),
        }
    }
}

/// Puts spec, endpoints, certificates and overrides together, anew only when one of them is another.
pub(crate) struct Composer {
    inspector: Inspector,
    certificates: CertificateKeeper,
    endpoints: EndpointsKeeper,
    overrides: OverridesKeeper,
    spec: Option<(Stamp, LoadedSpec)>,
    wanted: Option<Wanted>,
    /// The endpoints that HAProxy has, as far as this agent knows.
    good: Option<Found>,
    /// The newest spec, secrets and endpoints of the last attempt.
    parts: Option<(Stamp, Option<Stamp>, Option<Stamp>)>,
    /// Endpoints that HAProxy cannot have together with those, and why.
    refused: BTreeMap<Stamp, String>,
    /// Why the newest endpoints cannot be read.
    problem: Option<String>,
    /// What is asked of servers by hand.
    asked: Asked,
    /// The revision of the overrides that HAProxy has.
    laid: Option<Revision>,
}

impl Composer {
    pub(crate) fn new(
        inspector: Inspector,
        certificates: CertificateKeeper,
        endpoints: EndpointsKeeper,
        overrides: OverridesKeeper,
    ) -> Self {
        Self {
            inspector,
            certificates,
            endpoints,
            overrides,
            spec: None,
            wanted: None,
            good: None,
            parts: None,
            refused: BTreeMap::new(),
            problem: None,
            asked: Asked::default(),
            laid: None,
        }
    }

    /// Changes whenever another node has given a key of certificates.
    pub(crate) fn learned_keys(&self) -> watch::Receiver<u64> {
        self.certificates.vault().learned()
    }

    /// The configuration of the last [`Composer::compose`] that went well.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// When something that operators asked for is over, in milliseconds since 1970, as of the last
    /// [`Composer::compose`].
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.asked.next_expiry
    }

    /// Forgets which endpoints were refused, so that they are tried once more.
    pub(crate) fn try_anew(&mut self) {
        self.refused.clear();
    }

    /// Makes the configuration of `document`.
    pub(crate) fn compose(&mut self, document: &Document) -> Result<(), Fault> {
        // First of all, so that nobody waits for the end of what is over.
        self.asked = Asked::from(self.overrides.newest());
        let secrets = self.certificates.bring()?;
        let newest = self.endpoints.newest();
        self.problem = newest.problem;
        let parts = (document.stamp(), secrets, newest.found.stamp);
        if self.parts != Some(parts) {
            self.parts = Some(parts);
            self.refused.clear();
        }
        self.load(document)?;
        let mut found = newest.found;
        loop {
            found = self.bearable(found)?;
            let is_same = |wanted: &Wanted| {
                wanted.stamp == document.stamp()
                    && wanted.secrets == secrets
                    && wanted.found.stamp == found.stamp
                    && wanted.overrides == self.asked.servers
            };
            if self.wanted.as_ref().is_some_and(is_same) {
                return Ok(());
            }
            self.wanted = None;
            match self.render(&found) {
                Ok(rendered) => {
                    self.wanted = Some(Wanted {
                        stamp: document.stamp(),
                        secrets,
                        found,
                        overrides: self.asked.servers.clone(),
                        rendered,
                    });
                    return Ok(());
                }
                Err(reason) => match (found.stamp, self.render(&Found::default())) {
                    (Some(stamp), Ok(_)) => self.refuse(stamp, reason),
                    _ => return Err(Fault::Refused(reason)),
                },
            }
        }
    }

    /// HAProxy has it now.
    pub(crate) fn accept(&mut self) {
        self.good = self.wanted.as_ref().map(|wanted| wanted.found.clone());
        self.laid = self.asked.revision;
    }

    /// The revision of the overrides that HAProxy has.
    pub(crate) fn overrides(&self) -> Option<Revision> {
        self.laid
    }

    /// HAProxy did not take it. Whether that is for the endpoints, and others may do.
    pub(crate) async fn blame_endpoints(&mut self, error: &ApplyError, reason: &str) -> bool {
        let Some(wanted) = &self.wanted else {
            return false;
        };
        let (Some(stamp), Ok(alone)) = (wanted.found.stamp, self.render(&Found::default())) else {
            return false;
        };
        let is_to_blame = match error {
            ApplyError::Invalid(_) => {
                alone.digest() != wanted.rendered.digest()
                    && self.inspector.check(&alone).await.is_ok()
            }
            // A service listens where this machine has something else.
            ApplyError::Start(_) | ApplyError::Verify(_) => {
                alone.listeners() != wanted.rendered.listeners()
            }
            _ => false,
        };
        if is_to_blame {
            self.refuse(stamp, reason.to_owned());
        }
        is_to_blame
    }

    /// The endpoints that HAProxy has, and why they are not the newest.
    pub(crate) fn endpoints(&self) -> (Option<&Found>, Option<String>) {
        let refused = self.refused.iter().next_back();
        let refused = refused.map(|(stamp, reason)| format!("{}: {reason}", stamp.revision));
        (self.good.as_ref(), self.problem.clone().or(refused))
    }

    fn refuse(&mut self, stamp: Stamp, reason: String) {
        let endpoints = stamp.revision;
        tracing::error!(%endpoints, reason, "the endpoints are refused, and the ones before them stay");
        self.refused.insert(stamp, reason);
    }

    /// `found`, or the newest before it that were not refused.
    fn bearable(&self, mut found: Found) -> Result<Found, Fault> {
        while let Some(stamp) = found.stamp.filter(|stamp| self.refused.contains_key(stamp)) {
            let good = self.good.as_ref();
            let good = good.filter(|good| good.stamp < Some(stamp));
            let earlier = match good {
                Some(good) => Earlier::Found(good.clone()),
                None => self.endpoints.before(stamp),
            };
            found = match earlier {
                _ if self.refused.len() > MAX_REFUSED => return Err(self.fault()),
                Earlier::Found(earlier) => earlier,
                Earlier::Nothing => Found::default(),
                Earlier::Unknown => return Err(self.fault()),
            };
        }
        Ok(found)
    }

    fn fault(&self) -> Fault {
        let (_, reason) = self.endpoints();
        Fault::Refused(format!("endpoints {}", reason.unwrap_or_default()))
    }

    fn load(&mut self, document: &Document) -> Result<(), Fault> {
        let is_loaded = |(stamp, _): &(Stamp, LoadedSpec)| *stamp == document.stamp();
        if !self.spec.as_ref().is_some_and(is_loaded) {
            self.spec = None;
            let loaded = spec::load(document.body());
            let loaded = loaded.map_err(|error| Fault::Refused(error.to_string()))?;
            self.spec = Some((document.stamp(), loaded));
        }
        Ok(())
    }

    fn render(&self, found: &Found) -> Result<Rendered, String> {
        let Some((_, loaded)) = &self.spec else {
            return Err("there is no spec".to_owned());
        };
        let mut spec = self.effective(&loaded.spec, found);
        let overrides = &self.asked.servers;
        overrides.weigh(&mut spec);
        let rendered = self.inspector.render(&spec).map_err(|error| {
            let findings = error.0.0.into_iter().map(|finding| loaded.locate(finding));
            Findings(findings.collect()).to_string()
        });
        rendered.map(|mut rendered| {
            overrides.ask_states(&mut rendered);
            rendered
        })
    }

    fn effective(&self, spec: &Spec, found: &Found) -> Spec {
        let zone = self.inspector.node().zone.as_deref();
        effective_spec(spec, &found.endpoints, zone)
    }
}

#[cfg(test)]
#[path = "composer_tests.rs"]
mod tests;
