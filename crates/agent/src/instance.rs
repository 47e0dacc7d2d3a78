//! Which instance of EC2 this node is, where its metadata service has to be asked: before the node first speaks of itself,
//! and again until it answers.

use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::Cluster;
use hafleet_ec2::Metadata;
use hafleet_model::report::InstanceName;

use crate::config::InstanceSource;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// An instance stays the one that it is.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(3_600),
    first_pause: Duration::from_secs(5),
    longest_pause: Duration::from_secs(300),
};

/// How long the start of an agent waits for the metadata service.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has this node say which instance it is.
pub(crate) struct InstanceLoop {
    source: Option<InstanceSource>,
    known: Option<InstanceName>,
    metadata: Metadata,
    cluster: Option<Cluster>,
}

impl InstanceLoop {
    /// One that knows what can be known at the start.
    pub(crate) async fn at_start(source: Option<InstanceSource>) -> Self {
        let mut instance = Self {
            known: match &source {
                Some(InstanceSource::Given(name)) => Some(name.clone()),
                Some(InstanceSource::Metadata) | None => None,
            },
            source,
            metadata: Metadata::new(),
            cluster: None,
        };
        if instance.is_unknown() {
            match tokio::time::timeout(PATIENCE, instance.ask()).await {
                Ok(Ok(name)) => instance.known = Some(name),
                Ok(Err(error)) => tracing::error!(error, "the own instance is not known yet"),
                Err(_) => tracing::error!("the instance metadata service is slow"),
            }
        }
        instance
    }

    pub(crate) fn known(&self) -> Option<InstanceName> {
        self.known.clone()
    }

    /// To be run beside `cluster`, whom it tells.
    pub(crate) fn beside(self, cluster: Cluster) -> Self {
        Self {
            cluster: Some(cluster),
            ..self
        }
    }

    fn is_unknown(&self) -> bool {
        self.source == Some(InstanceSource::Metadata) && self.known.is_none()
    }

    async fn ask(&self) -> Result<InstanceName, String> {
        let asked = self.metadata.instance().await;
        let (region, id) = asked.map_err(|error| error.to_string())?;
        let name = format!("{region}/{id}").parse();
        name.map_err(|error: hafleet_model::report::InstanceNameError| error.to_string())
    }
}

#[async_trait]
impl Reconcile for InstanceLoop {
    const NAME: &'static str = "instance";

    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        if !self.is_unknown() {
            return Outcome::Inert("the own instance is known, or nobody asked for it");
        }
        match self.ask().await {
            Ok(name) => {
                tracing::info!(%name, "this node's instance");
                self.known = Some(name.clone());
                if let Some(cluster) = &self.cluster {
                    cluster.report(|report| report.instance = Some(name));
                }
                Outcome::Done
            }
            Err(error) => Outcome::Failed(error),
        }
    }
}
