//! Makes sources with what the agent's file says of how to reach them.

use std::sync::Arc;

use hafleet_discovery::dns::DnsSource;
use hafleet_discovery::ec2::Ec2Source;
use hafleet_discovery::etcd::{Etcd, EtcdSettings};
use hafleet_discovery::file::FileSource;
use hafleet_discovery::{Launch, Query, Source, SourceError, SourceSettings};
use hafleet_ec2::{Ec2, Ec2Settings};

use super::certificates::FleetCertificates;
use crate::certificates::CertificateKeeper;

/// This agent's way to all sources.
pub(crate) struct Launcher {
    ec2: Ec2,
    etcd: Etcd,
    certificates: Arc<FleetCertificates>,
}

impl Launcher {
    pub(crate) fn new(etcd: EtcdSettings, certificates: CertificateKeeper) -> Self {
        Self {
            ec2: Ec2::new(Ec2Settings::default()),
            etcd: Etcd::new(etcd),
            certificates: Arc::new(FleetCertificates::new(certificates)),
        }
    }
}

impl Launch for Launcher {
    fn source(
        &self,
        query: &Query,
        settings: SourceSettings,
    ) -> Result<Box<dyn Source>, SourceError> {
        Ok(match query {
            Query::Ec2(query) => {
                Box::new(Ec2Source::new(self.ec2.clone(), query.clone(), settings))
            }
            Query::Dns(query) => Box::new(DnsSource::new(query.clone(), settings)),
            Query::Etcd(query) => self.etcd.servers(query, settings),
            Query::Services(query) => {
                let certificates = Arc::clone(&self.certificates);
                self.etcd.services(query, settings, certificates)
            }
            Query::File(path) => Box::new(FileSource::new(path, settings)),
            Query::Docker => {
                return Err(SourceError::Unconfigured {
                    what: query.to_string(),
                    why: "every node publishes its own containers, and nobody asks for them"
                        .to_owned(),
                });
            }
        })
    }
}
