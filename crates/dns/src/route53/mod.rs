//! Amazon Route 53 as a provider.
//!
//! A client finds zones ([`Route53::zone`]); each zone is a [`Provider`](crate::Provider). The SDK retries nothing: the publisher
//! pauses, looks again, and decides anew. Every request spends a token of the [`Budget`].

mod call;
mod checks;
mod convert;
mod error;
mod whole;
mod zone;

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_route53::Client;
use aws_sdk_route53::config::Credentials;
use aws_sdk_route53::types::HostedZoneConfig;
use hafleet_ec2::StaticKey;
use hafleet_model::spec::DnsProvider;
use tokio::sync::OnceCell;

use crate::budget::Budget;
use crate::provider::ProviderError;
use crate::record::normal;
use call::Api;
use whole::Whole;
use zone::Route53Zone;

/// The region whose endpoint answers for all of the `aws` partition (AWS General Reference, "Amazon Route 53 endpoints").
const REGION: &str = "us-east-1";

/// How Route53 is asked. The default leaves all to the SDK's own sources, as for EC2.
#[derive(Debug, Clone)]
pub struct Route53Settings {
    /// How long one request may take.
    pub timeout: Duration,
    /// Where Route53 is, in place of the SDK's `AWS_ENDPOINT_URL` and of AWS itself.
    pub endpoint: Option<String>,
    /// Says which partition of AWS is asked; only fleets in China and in GovCloud give one.
    pub region: Option<String>,
    /// A key in place of the SDK's own sources.
    pub key: Option<StaticKey>,
    /// Record sets on a page, 1 to 300 (Amazon Route 53 API Reference, `ListResourceRecordSets`, `MaxItems`).
    pub page_size: u16,
}

impl Default for Route53Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            endpoint: None,
            region: None,
            key: None,
            page_size: 300,
        }
    }
}

/// A client of Route53. Cheap to clone; clones share connections, credentials and the budget.
#[derive(Debug, Clone)]
pub struct Route53 {
    settings: Route53Settings,
    budget: Budget,
    client: Arc<OnceCell<Client>>,
}

impl Route53 {
    /// One that has asked nothing yet.
    pub fn new(settings: Route53Settings, budget: Budget) -> Self {
        Self {
            settings,
            budget,
            client: Arc::default(),
        }
    }

    /// The zone of that id or name.
    ///
    /// # Errors
    /// When there is none of that name, or more than one: then its id has to be given. That there is none of an id shows when it
    /// is read.
    pub async fn zone(&self, zone: &str) -> Result<Route53Zone, ProviderError> {
        let id = match DnsProvider::Route53.zone_id(zone) {
            Some(id) => id.to_owned(),
            None => self.zone_named(zone).await?,
        };
        let api = self.api(zone).await;
        Ok(Route53Zone::new(api, id, self.settings.page_size))
    }

    async fn zone_named(&self, name: &str) -> Result<String, ProviderError> {
        let api = self.api(name).await;
        let request = api
            .client
            .list_hosted_zones_by_name()
            .dns_name(normal(name));
        let found = api.ask("ListHostedZonesByName", request.send()).await?;
        // They begin at the name, in the order of names.
        let zones: Vec<_> = found
            .hosted_zones()
            .iter()
            .filter(|zone| normal(zone.name()) == normal(name))
            .collect();
        let id = |id: &str| id.trim_start_matches("/hostedzone/").to_owned();
        match zones.as_slice() {
            [zone] => Ok(id(zone.id())),
            [] => Err(ProviderError::Zone {
                what: name.to_owned(),
                why: "Route53 has no zone of that name".to_owned(),
            }),
            several => {
                let ids: Vec<_> = several
                    .iter()
                    .map(|zone| {
                        let is_private = zone.config().is_some_and(HostedZoneConfig::private_zone);
                        let kind = if is_private { "private" } else { "public" };
                        format!("{} ({kind})", id(zone.id()))
                    })
                    .collect();
                Err(ProviderError::Zone {
                    what: name.to_owned(),
                    why: format!(
                        "several zones have that name: give the id of one of {}",
                        ids.join(", ")
                    ),
                })
            }
        }
    }

    async fn api(&self, zone: &str) -> Api {
        let client = self.client.get_or_init(|| Box::pin(self.connect())).await;
        Api {
            client: client.clone(),
            budget: self.budget.clone(),
            zone: zone.to_owned(),
        }
    }

    async fn connect(&self) -> Client {
        let settings = &self.settings;
        let region = settings.region.clone().unwrap_or_else(|| REGION.to_owned());
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(settings.timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled());
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(key) = &settings.key {
            let key = Credentials::new(&key.id, &key.secret, None, None, "settings");
            loader = loader.credentials_provider(key);
        }
        let base = Box::pin(loader.load()).await;
        let config = aws_sdk_route53::config::Builder::from(&base).interceptor(Whole);
        Client::from_conf(config.build())
    }
}
