//! This agent's own certificate, key and authorities: read again whenever their files change, so that a renewed
//! certificate is in use without a restart.
//!
//! Files that are wrong change nothing: what was in use before stays in use, and status says what is wrong with them. That
//! is also what is seen for a moment while the files are replaced one after the other.
//!
//! A certificate that an issuer has made, for a node that joined by a token, is renewed by itself when it ends soon.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::select_all;
use hafleet_cluster::Cluster;
use hafleet_discovery::DirectoryWatch;
use hafleet_identity::{Credentials, IdentityFiles, KeyRequest};
use hafleet_model::report::CertificateState;
use hafleet_model::{Digest, NodeId, with_causes};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::Config;
use crate::forward::Forward;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// Where the kernel reports no changes, the files are still read at this interval.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(60),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
};

/// Between two warnings that the certificate ends soon.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Between two renewals: what an issuer makes may end soon too, because its own end is near.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps credentials as their files are.
pub(crate) struct RenewalLoop {
    config: Config,
    credentials: Arc<Credentials>,
    cluster: Cluster,
    watches: Vec<DirectoryWatch>,
    /// What the files were when they were last found good.
    in_use: Option<[Digest; 3]>,
    warned: Option<Instant>,
    /// When an issuer last renewed it.
    renewed: Option<Instant>,
}

impl RenewalLoop {
    /// For `credentials`, which were just read from the files of `config`.
    pub(crate) fn new(config: Config, credentials: Arc<Credentials>, cluster: Cluster) -> Self {
        let files = &config.tls;
        let mut directories: Vec<&Path> = Vec::new();
        let mut watches = Vec::new();
        for file in [&files.ca, &files.certificate, &files.key] {
            let directory = file.parent().unwrap_or(file);
            if !directories.contains(&directory) {
                directories.push(directory);
                watches.push(DirectoryWatch::of(file));
            }
        }
        Self {
            in_use: None,
            config,
            credentials,
            cluster,
            watches,
            warned: None,
            renewed: None,
        }
    }

    /// Takes the files if they are others than those in use.
    fn take(&mut self) -> Result<(), String> {
        let digests = digests(&self.config.tls).map_err(|error| error.to_string())?;
        if self.in_use == Some(digests) {
            return Ok(());
        }
        let before = self.credentials.facts();
        match crate::run::credentials(&self.config) {
            Ok(renewed) => {
                let renewing = self.credentials.replace(&renewed);
                renewing.map_err(|error| error.to_string())?;
            }
            Err(error) => return Err(with_causes(&error)),
        }
        self.in_use = Some(digests);
        let after = self.credentials.facts();
        if after.serial != before.serial {
            tracing::info!(
                serial = %after.serial,
                until = %after.not_after,
                "this node's certificate was replaced; new connections use it"
            );
        }
        Ok(())
    }

    fn state(&self, error: Option<&str>) -> CertificateState {
        let facts = self.credentials.facts();
        let revoked = self.credentials.revocations().is_revoked(&facts.serial);
        let revoked = revoked.then_some("it has been revoked: issue another one");
        CertificateState {
            serial: facts.serial.to_string(),
            not_before_ms: facts.not_before.as_millisecond(),
            not_after_ms: facts.not_after.as_millisecond(),
            error: revoked.or(error).map(str::to_owned),
        }
    }

    fn warn(&mut self, state: &CertificateState) {
        let is_due = self
            .warned
            .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
        if !state.is_ending(Timestamp::now().as_millisecond()) {
            self.warned = None;
        } else if is_due {
            self.warned = Some(Instant::now());
            let until = self.credentials.facts().not_after;
            tracing::warn!(
                %until,
                "this node's certificate ends soon, and then nobody takes its connections: renew it with `hafleet pki renew`"
            );
        }
    }

    /// Has an issuer of the fleet certify a new key, and puts both in place of the files.
    async fn renew(&self) -> Result<(), String> {
        let view = self.cluster.view();
        let issuers: Vec<NodeId> = {
            let view = view.borrow();
            let live = view
                .members
                .iter()
                .filter(|member| member.liveness.is_live());
            let issuers = live.filter(|member| member.report.join_address.is_some());
            issuers.map(|member| member.report.id.clone()).collect()
        };
        let mut failure = "no live node has an issuer".to_owned();
        for issuer in issuers {
            let key = KeyRequest::make().map_err(|error| error.to_string())?;
            let asked = match Forward::to(&self.cluster, &issuer) {
                Ok(forward) => forward.renew(key.request().to_vec()).await,
                Err(error) => Err(error.to_string()),
            };
            match asked {
                Ok(certificate) => {
                    let issued = key.certified(certificate);
                    let replaced = issued.replace(&self.config.tls);
                    return replaced.map_err(|error| error.to_string());
                }
                Err(error) => failure = format!("{issuer}: {error}"),
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl Reconcile for RenewalLoop {
    const NAME: &'static str = "certificate";

    async fn changed(&mut self) {
        if self.watches.is_empty() {
            return std::future::pending().await;
        }
        let changes = self.watches.iter().map(|watch| Box::pin(watch.changed()));
        select_all(changes).await;
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        for watch in &mut self.watches {
            watch.renew();
        }
        let mut taken = self.take();
        let is_ending = self
            .state(None)
            .is_ending(Timestamp::now().as_millisecond());
        let is_due = self
            .renewed
            .is_none_or(|at| at.elapsed() >= RENEWAL_INTERVAL);
        if taken.is_ok() && is_ending && is_due && self.credentials.is_by_issuer() {
            taken = match self.renew().await {
                Ok(()) => {
                    self.renewed = Some(Instant::now());
                    self.take()
                }
                Err(error) => Err(format!("it ends soon and could not be renewed: {error}")),
            };
        }
        let state = self.state(taken.as_ref().err().map(String::as_str));
        self.warn(&state);
        self.cluster.report(|report| {
            if report.certificate.as_ref() != Some(&state) {
                report.certificate = Some(state.clone());
            }
        });
        match taken {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(format!("{error}; what was in use before stays in use")),
        }
    }
}

fn digests(files: &IdentityFiles) -> std::io::Result<[Digest; 3]> {
    let digest = |path: &Path| {
        std::fs::read(path)
            .map(|bytes| Digest::of(&bytes))
            .map_err(|error| {
                std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
    };
    Ok([
        digest(&files.ca)?,
        digest(&files.certificate)?,
        digest(&files.key)?,
    ])
}
