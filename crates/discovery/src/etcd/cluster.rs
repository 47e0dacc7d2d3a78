//! One connection to one member of a cluster, for all sources that ask it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::{silent, source_error};
use super::settings::{EtcdSettings, unconfigured};
use crate::answer::SourceError;

/// The members of a cluster, and the connection to one of them while any source uses it.
#[derive(Debug)]
pub(super) struct Cluster {
    endpoints: Vec<String>,
    settings: EtcdSettings,
    link: Mutex<Link>,
}

#[derive(Debug)]
struct Link {
    /// The member that is connected to, or is to be tried next.
    index: usize,
    member: Weak<Member>,
}

/// A connection to a member. It ends with its last holder.
pub(super) struct Member {
    /// Where it is.
    pub(super) url: String,
    /// Its client, which is cheap to clone.
    pub(super) client: Client,
    /// How long it may take to answer.
    pub(super) patience: Duration,
}

impl Cluster {
    pub(super) fn new(endpoints: &BTreeSet<String>, settings: EtcdSettings) -> Self {
        let index = rand::random_range(0..endpoints.len().max(1));
        Self {
            endpoints: endpoints.iter().cloned().collect(),
            settings,
            link: Mutex::new(Link {
                index,
                member: Weak::new(),
            }),
        }
    }

    /// How many members there are to try.
    pub(super) fn size(&self) -> usize {
        self.endpoints.len()
    }

    /// The connection that there is, or else a new one. One question may take `question`; each member has its share of
    /// that, so that all can be asked within it.
    pub(super) async fn member(&self, question: Duration) -> Result<Arc<Member>, SourceError> {
        let mut link = self.link.lock().await;
        if let Some(member) = link.member.upgrade() {
            return Ok(member);
        }
        let Some(endpoint) = self.endpoints.get(link.index % self.endpoints.len().max(1)) else {
            let why = "the spec names none of its members: give `discovery.etcd.endpoints`";
            return Err(unconfigured("etcd", why.to_owned()));
        };
        let share = question / u32::try_from(self.size()).unwrap_or(u32::MAX);
        let patience = share.max(question.min(Duration::from_secs(1)));
        let connected = self.connect(endpoint, patience).await;
        match connected {
            Ok(member) => {
                let member = Arc::new(member);
                link.member = Arc::downgrade(&member);
                Ok(member)
            }
            Err(error) => {
                link.index += 1;
                Err(error)
            }
        }
    }

    /// `member` is of no use: the next connection is to another one.
    pub(super) async fn leave(&self, member: &Arc<Member>) {
        let mut link = self.link.lock().await;
        if link.member.as_ptr() == Arc::as_ptr(member) {
            link.member = Weak::new();
            link.index += 1;
        }
    }

    async fn connect(&self, endpoint: &str, patience: Duration) -> Result<Member, SourceError> {
        let loaded = self.settings.load()?;
        let url = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false if loaded.has_tls() => format!("https://{endpoint}"),
            false => format!("http://{endpoint}"),
        };
        let options = loaded.options(&url, patience)?;
        let client = timeout(patience, Client::connect([&url], Some(options)))
            .await
            .map_err(|_| silent(&url, patience))?
            .map_err(|error| source_error(&url, &error))?;
        Ok(Member {
            url,
            client,
            patience,
        })
    }
}

impl Member {
    /// What `call` gives within the member's time.
    pub(super) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        timeout(self.patience, call)
            .await
            .unwrap_or_else(|_| Err(silent(&self.url, self.patience)))
    }

    /// `error` as this member's.
    pub(super) fn error(&self, error: &etcd_client::Error) -> SourceError {
        source_error(&self.url, error)
    }
}
