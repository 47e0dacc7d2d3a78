//! All providers of a spec's zones.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hafleet_model::spec::DnsProvider;

use crate::provider::{Provider, ProviderError, Zones};
use crate::rfc2136::{NameServer, UpdateKey};
use crate::route53::Route53;

/// Route53, and name servers that take dynamic updates with the keys of the agent's file.
#[derive(Debug, Clone)]
pub struct Providers {
    route53: Route53,
    keys: BTreeMap<String, UpdateKey>,
}

impl Providers {
    /// All that a spec can name. `keys` are the agent's own, by their names.
    pub fn new(route53: Route53, keys: BTreeMap<String, UpdateKey>) -> Self {
        Self { route53, keys }
    }
}

#[async_trait]
impl Zones for Providers {
    async fn open(
        &self,
        provider: &DnsProvider,
        zone: &str,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let server = match provider {
            DnsProvider::Route53 => return Ok(Arc::new(self.route53.zone(zone).await?)),
            DnsProvider::Rfc2136(server) => server,
        };
        let key = server.key.as_ref().map(|name| {
            self.keys
                .get(name)
                .cloned()
                .ok_or_else(|| ProviderError::Refused {
                    what: zone.to_owned(),
                    why: format!("the agent's file has no key {name:?}"),
                })
        });
        let opened = NameServer::new(server.server, zone, key.transpose()?)?;
        Ok(Arc::new(opened))
    }
}
