//! Health checks of Route53: found by their caller reference, which says whose they are without a request for tags.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_route53::types::{
    HealthCheck, HealthCheckConfig, HealthCheckType, Tag, TagResourceType,
};
use hafleet_model::{Digest, FleetName};

use super::zone::Route53Zone;
use crate::checks::{CheckKey, LooksAt, WantedCheck};
use crate::provider::ProviderError;

/// How many checks a page has (Amazon Route 53 API Reference, `ListHealthChecks`).
const PAGE: i32 = 100;

impl Route53Zone {
    /// Makes what is missing, updates what can be, and gives the ids of all that are wanted.
    pub(super) async fn keep(
        &self,
        fleet: &FleetName,
        wanted: &[WantedCheck],
    ) -> Result<BTreeMap<CheckKey, String>, ProviderError> {
        let there = self.ours(fleet).await?;
        let mut ids = BTreeMap::new();
        for check in wanted {
            let config = self.config(check, &ids)?;
            let subject = self.subject(fleet, &check.key);
            let same: Vec<_> = there
                .iter()
                .filter(|found| found.caller_reference().starts_with(&subject))
                .filter_map(|found| Some((found, found.health_check_config()?)))
                .collect();
            let exact = same.iter().find(|(_, found)| says_the_same(found, &config));
            let near = same.iter().find(|(_, found)| can_become(found, &config));
            let id = match (exact, near) {
                (Some((found, _)), _) => found.id().to_owned(),
                (None, Some((found, _))) => self.update(found, &config).await?,
                (None, None) => self.create(fleet, &check.key, &subject, config).await?,
            };
            ids.insert(check.key.clone(), id);
        }
        Ok(ids)
    }

    /// Removes the fleet's checks of this zone but those. Checks that depend on others go first.
    pub(super) async fn drop_all_but(
        &self,
        fleet: &FleetName,
        keep: &BTreeSet<String>,
    ) -> Result<(), ProviderError> {
        let mut gone = self.ours(fleet).await?;
        gone.retain(|check| !keep.contains(check.id()));
        gone.sort_by_key(|check| check_type(check) != Some(&HealthCheckType::Calculated));
        for check in gone {
            let request = self.api.client.delete_health_check();
            let request = request.health_check_id(check.id());
            self.api.ask("DeleteHealthCheck", request.send()).await?;
        }
        Ok(())
    }

    async fn ours(&self, fleet: &FleetName) -> Result<Vec<HealthCheck>, ProviderError> {
        let prefix = self.reference(fleet);
        let (mut checks, mut marker) = (Vec::new(), None);
        loop {
            let request = self.api.client.list_health_checks();
            let request = request.max_items(PAGE).set_marker(marker.clone());
            let answer = self.api.ask("ListHealthChecks", request.send()).await?;
            let found = answer.health_checks().iter();
            checks.extend(
                found
                    .filter(|check| check.caller_reference().starts_with(&prefix))
                    .cloned(),
            );
            if !answer.is_truncated() {
                return Ok(checks);
            }
            if answer.next_marker.is_none() || answer.next_marker == marker {
                return Err(ProviderError::Unknown {
                    what: self.api.zone.clone(),
                    why: "a page of health checks says that there are more, and not where".into(),
                });
            }
            marker = answer.next_marker;
        }
    }

    async fn create(
        &self,
        fleet: &FleetName,
        key: &CheckKey,
        subject: &str,
        config: HealthCheckConfig,
    ) -> Result<String, ProviderError> {
        // A reference is never used again: that of a check which was removed is refused for good.
        let reference = format!("{subject}{:016x}", rand::random::<u64>());
        let request = self
            .api
            .client
            .create_health_check()
            .caller_reference(reference)
            .health_check_config(config);
        let answer = self.api.ask("CreateHealthCheck", request.send()).await?;
        let id = answer.health_check().map(|check| check.id().to_owned());
        let id = id.ok_or_else(|| ProviderError::Unknown {
            what: self.api.zone.clone(),
            why: "the answer has no health check in it".into(),
        })?;
        let tags = [
            ("Name", format!("hafleet {fleet} {key}")),
            ("hafleet:fleet", fleet.to_string()),
            ("hafleet:name", key.name.clone()),
        ];
        let mut request = self
            .api
            .client
            .change_tags_for_resource()
            .resource_type(TagResourceType::Healthcheck)
            .resource_id(&id);
        for (name, value) in tags {
            let value: String = value.chars().take(256).collect();
            request = request.add_tags(Tag::builder().key(name).value(value).build());
        }
        // Tags are for people: without them the check works all the same.
        if let Err(error) = self.api.ask("ChangeTagsForResource", request.send()).await {
            tracing::warn!(%error, id, "a health check stays without tags");
        }
        Ok(id)
    }

    async fn update(
        &self,
        found: &HealthCheck,
        config: &HealthCheckConfig,
    ) -> Result<String, ProviderError> {
        let request = self
            .api
            .client
            .update_health_check()
            .health_check_id(found.id())
            .health_check_version(found.health_check_version())
            .set_ip_address(config.ip_address.clone())
            .set_port(config.port)
            .set_resource_path(config.resource_path.clone())
            .set_failure_threshold(config.failure_threshold)
            .set_health_threshold(config.health_threshold)
            .set_child_health_checks(config.child_health_checks.clone());
        self.api.ask("UpdateHealthCheck", request.send()).await?;
        Ok(found.id().to_owned())
    }

    fn config(
        &self,
        check: &WantedCheck,
        ids: &BTreeMap<CheckKey, String>,
    ) -> Result<HealthCheckConfig, ProviderError> {
        let config = HealthCheckConfig::builder();
        let config = match &check.looks_at {
            LooksAt::Port {
                address,
                port,
                path,
                interval,
                fall,
            } => config
                .r#type(match path {
                    Some(_) => HealthCheckType::Http,
                    None => HealthCheckType::Tcp,
                })
                .ip_address(address.to_string())
                .port(i32::from(*port))
                .set_resource_path(path.clone())
                .request_interval(i32::try_from(interval.as_secs()).unwrap_or(i32::MAX))
                .failure_threshold(i32::from(*fall)),
            LooksAt::AnyOf(members) => {
                let members = members.iter().filter_map(|key| ids.get(key)).cloned();
                config
                    .r#type(HealthCheckType::Calculated)
                    .health_threshold(1)
                    .set_child_health_checks(Some(members.collect()))
            }
        };
        config.build().map_err(|error| ProviderError::Rejected {
            what: self.api.zone.clone(),
            why: error.to_string(),
        })
    }

    /// What the references of a fleet's checks of this zone begin with. References have 64 characters at most.
    fn reference(&self, fleet: &FleetName) -> String {
        format!(
            "hafleet-{}{}-",
            digest(fleet.as_str(), 8),
            digest(&self.id, 16)
        )
    }

    fn subject(&self, fleet: &FleetName, key: &CheckKey) -> String {
        format!("{}{}-", self.reference(fleet), digest(&key.to_string(), 12))
    }
}

fn digest(text: &str, length: usize) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    hex.chars().take(length).collect()
}

fn check_type(check: &HealthCheck) -> Option<&HealthCheckType> {
    check.health_check_config().map(HealthCheckConfig::r#type)
}

fn says_the_same(found: &HealthCheckConfig, wanted: &HealthCheckConfig) -> bool {
    let children = |config: &HealthCheckConfig| -> BTreeSet<String> {
        config.child_health_checks().iter().cloned().collect()
    };
    can_become(found, wanted)
        && found.ip_address() == wanted.ip_address()
        && found.port() == wanted.port()
        && found.resource_path() == wanted.resource_path()
        && found.failure_threshold() == wanted.failure_threshold()
        && found.health_threshold() == wanted.health_threshold()
        && children(found) == children(wanted)
}

/// The type and the interval of a check cannot be changed (Amazon Route 53 API Reference, `UpdateHealthCheck`).
fn can_become(found: &HealthCheckConfig, wanted: &HealthCheckConfig) -> bool {
    found.r#type() == wanted.r#type() && found.request_interval() == wanted.request_interval()
}
