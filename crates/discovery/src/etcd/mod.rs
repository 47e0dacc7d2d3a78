//! Servers and services out of etcd (version 3), watched rather than polled.
//!
//! A source reads every key below its prefix at one revision, says what that comes to, and watches from the next
//! revision on ([`follow`]). What keys mean is pure: [`servers`] here, and [`crate::services`]. Sources of the same
//! cluster share one connection to one of its members, and move on together when that fails ([`cluster`]).
//!
//! A watch that ended is never taken up again at its old revision: everything is read anew. Members keep no history
//! beyond their last compaction, and one that was restored from a backup counts its revisions from an earlier one; what
//! is read anew is right in both cases, and costs one read.

mod cluster;
mod error;
mod follow;
mod keys;
pub(crate) mod place;
mod read;
mod retry;
mod servers;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::query::EtcdQuery;
use crate::services::{self, Certificates};
use crate::source::{Source, SourceSettings};
use cluster::Cluster;
use follow::Follower;

pub use keys::Keys;
pub use settings::EtcdSettings;

/// The etcd clusters that an agent asks, and how it makes itself known to them.
#[derive(Debug)]
pub struct Etcd {
    settings: EtcdSettings,
    clusters: Mutex<BTreeMap<BTreeSet<String>, Weak<Cluster>>>,
}

impl Etcd {
    /// Nothing is read or asked until a source runs. The files that `settings` name are read at each connection, so that
    /// a new password or certificate needs no restart.
    pub fn new(settings: EtcdSettings) -> Self {
        Self {
            settings,
            clusters: Mutex::default(),
        }
    }

    /// The source of the servers below a prefix: `<prefix>/<server>`, whose values are `address:port` or JSON.
    pub fn servers(&self, query: &EtcdQuery, settings: SourceSettings) -> Box<dyn Source> {
        self.source(query, settings, servers::answer)
    }

    /// The source of the services below a prefix, in the layout of [`crate::services`].
    pub fn services(
        &self,
        query: &EtcdQuery,
        settings: SourceSettings,
        certificates: Arc<dyn Certificates>,
    ) -> Box<dyn Source> {
        self.source(query, settings, move |prefix, keys| {
            services::answer(prefix, keys, certificates.as_ref())
        })
    }

    fn source(
        &self,
        query: &EtcdQuery,
        settings: SourceSettings,
        meaning: impl Fn(&str, &Keys) -> crate::Answer + Send + Sync + 'static,
    ) -> Box<dyn Source> {
        let prefix = format!("{}/", query.prefix.trim_end_matches('/'));
        let cluster = self.cluster(&query.endpoints);
        Box::new(Follower::new(cluster, prefix, settings, Box::new(meaning)))
    }

    /// The cluster of these members, the same one for as long as any source has it.
    fn cluster(&self, endpoints: &BTreeSet<String>) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.retain(|_, cluster| cluster.strong_count() > 0);
        if let Some(cluster) = clusters.get(endpoints).and_then(Weak::upgrade) {
            return cluster;
        }
        let cluster = Arc::new(Cluster::new(endpoints, self.settings.clone()));
        clusters.insert(endpoints.clone(), Arc::downgrade(&cluster));
        cluster
    }
}
