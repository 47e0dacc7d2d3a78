//! One hosted zone.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_route53::types::{ChangeBatch, ChangeStatus as ApiStatus, RrType};
use hafleet_model::FleetName;

use super::call::Api;
use super::convert;
use crate::checks::{CheckKey, WantedCheck};
use crate::provider::{Change, ChangeId, ChangeStatus, Provider, ProviderError};
use crate::record::RecordSet;

/// A hosted zone.
#[derive(Debug, Clone)]
pub struct Route53Zone {
    pub(super) api: Api,
    pub(super) id: String,
    page_size: u16,
}

/// Where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Page {
    name: Option<String>,
    record_type: Option<RrType>,
    identifier: Option<String>,
}

impl Route53Zone {
    pub(super) fn new(api: Api, id: String, page_size: u16) -> Self {
        Self { api, id, page_size }
    }

    fn unknown(&self, why: &str) -> ProviderError {
        ProviderError::Unknown {
            what: self.api.zone.clone(),
            why: why.to_owned(),
        }
    }
}

#[async_trait]
impl Provider for Route53Zone {
    fn zone(&self) -> &str {
        &self.id
    }

    async fn records(&self) -> Result<Vec<RecordSet>, ProviderError> {
        // A set that a page begins with is not always new: sets may have come and gone in between.
        let (mut records, mut page) = (BTreeMap::new(), Page::default());
        loop {
            let request = self
                .api
                .client
                .list_resource_record_sets()
                .hosted_zone_id(&self.id)
                .max_items(i32::from(self.page_size.clamp(1, 300)))
                .set_start_record_name(page.name.clone())
                .set_start_record_type(page.record_type.clone())
                .set_start_record_identifier(page.identifier.clone());
            let answer = self
                .api
                .ask("ListResourceRecordSets", request.send())
                .await?;
            let sets = answer.resource_record_sets().iter();
            let sets = sets.map(|set| convert::read(set, &self.id));
            records.extend(sets.map(|set| (set.key.clone(), set)));
            if !answer.is_truncated() {
                return Ok(records.into_values().collect());
            }
            let next = Page {
                name: answer.next_record_name,
                record_type: answer.next_record_type,
                identifier: answer.next_record_identifier,
            };
            if next.name.is_none() || next == page {
                return Err(self.unknown("a page says that there are more, and not where"));
            }
            page = next;
        }
    }

    async fn change(&self, batch: &[Change]) -> Result<ChangeId, ProviderError> {
        let changes: Result<Vec<_>, _> = batch.iter().map(convert::change).collect();
        let built = changes.and_then(|changes| {
            ChangeBatch::builder()
                .comment("hafleet")
                .set_changes(Some(changes))
                .build()
        });
        let built = built.map_err(|error| ProviderError::Rejected {
            what: self.api.zone.clone(),
            why: error.to_string(),
        })?;
        let request = self
            .api
            .client
            .change_resource_record_sets()
            .hosted_zone_id(&self.id)
            .change_batch(built);
        let answer = self
            .api
            .ask("ChangeResourceRecordSets", request.send())
            .await?;
        let id = answer.change_info().map(|info| info.id().to_owned());
        id.map(ChangeId)
            .ok_or_else(|| self.unknown("the answer has no change in it"))
    }

    async fn status(&self, change: &ChangeId) -> Result<ChangeStatus, ProviderError> {
        let request = self.api.client.get_change().id(&change.0);
        let answer = self.api.ask("GetChange", request.send()).await?;
        let status = answer.change_info().map(|info| info.status().clone());
        Ok(match status {
            Some(ApiStatus::Insync) => ChangeStatus::InSync,
            _ => ChangeStatus::Pending,
        })
    }

    fn max_changes(&self) -> usize {
        1000
    }

    fn max_characters(&self) -> usize {
        32_000
    }

    async fn keep_checks(
        &self,
        fleet: &FleetName,
        wanted: &[WantedCheck],
    ) -> Result<BTreeMap<CheckKey, String>, ProviderError> {
        self.keep(fleet, wanted).await
    }

    async fn drop_checks(
        &self,
        fleet: &FleetName,
        keep: &BTreeSet<String>,
    ) -> Result<(), ProviderError> {
        self.drop_all_but(fleet, keep).await
    }
}
