//! Record sets of the API to ours and back.

use aws_sdk_route53::error::BuildError;
use aws_sdk_route53::types::{
    AliasTarget, Change as ApiChange, ChangeAction, ResourceRecord, ResourceRecordSet,
    ResourceRecordSetFailover, RrType,
};

use crate::provider::Change;
use crate::record::{Policy, RecordData, RecordKey, RecordSet, RecordType, normal};

/// A record set that the API gave. Aliases that lead elsewhere or otherwise than ours do have [`Policy::Other`].
pub(super) fn read(set: &ResourceRecordSet, zone: &str) -> RecordSet {
    let record_type = RecordType::named(set.r#type().as_str());
    let (data, is_usual) = match set.alias_target() {
        Some(alias) => {
            let is_usual = alias.hosted_zone_id() == zone && alias.evaluate_target_health();
            let data = RecordData::Alias {
                zone: alias.hosted_zone_id().to_owned(),
                target: normal(alias.dns_name()),
            };
            (data, is_usual)
        }
        None => {
            let values = set.resource_records().iter().map(ResourceRecord::value);
            let value = |value: &str| match record_type {
                RecordType::Cname => normal(value),
                _ => value.to_owned(),
            };
            let data = RecordData::Values {
                ttl: set
                    .ttl()
                    .and_then(|ttl| u32::try_from(ttl).ok())
                    .unwrap_or(0),
                values: values.map(value).collect(),
            };
            (data, true)
        }
    };
    let key = RecordKey::new(set.name(), record_type);
    RecordSet {
        key: match set.set_identifier() {
            Some(identifier) => key.with_identifier(identifier),
            None => key,
        },
        data,
        policy: if is_usual { policy(set) } else { Policy::Other },
        health_check: set.health_check_id().map(str::to_owned),
    }
}

fn policy(set: &ResourceRecordSet) -> Policy {
    let is_unused_here = set.region().is_some()
        || set.geo_location().is_some()
        || set.cidr_routing_config().is_some()
        || set.geo_proximity_location().is_some()
        || set.traffic_policy_instance_id().is_some();
    let weight = set.weight().map(u8::try_from);
    match (set.failover(), weight, set.multi_value_answer()) {
        _ if is_unused_here => Policy::Other,
        (Some(ResourceRecordSetFailover::Primary), None, None) => Policy::Primary,
        (Some(ResourceRecordSetFailover::Secondary), None, None) => Policy::Secondary,
        (None, Some(Ok(weight)), None) => Policy::Weighted(weight),
        (None, None, Some(true)) => Policy::Multivalue,
        (None, None, None) if set.set_identifier().is_none() => Policy::Simple,
        _ => Policy::Other,
    }
}

/// A change for the API.
pub(super) fn change(change: &Change) -> Result<ApiChange, BuildError> {
    let action = match change {
        Change::Delete(_) => ChangeAction::Delete,
        Change::Create(_) => ChangeAction::Create,
        Change::Upsert(_) => ChangeAction::Upsert,
    };
    ApiChange::builder()
        .action(action)
        .resource_record_set(write(change.record())?)
        .build()
}

fn write(set: &RecordSet) -> Result<ResourceRecordSet, BuildError> {
    let mut api = ResourceRecordSet::builder()
        .name(&set.key.name)
        .r#type(RrType::from(set.key.record_type.as_str()))
        .set_set_identifier(set.key.identifier.clone())
        .set_health_check_id(set.health_check.clone());
    api = match &set.data {
        RecordData::Values { ttl, values } => {
            for value in values {
                let record = ResourceRecord::builder().value(value).build()?;
                api = api.resource_records(record);
            }
            api.ttl(i64::from(*ttl))
        }
        RecordData::Alias { zone, target } => {
            let target = AliasTarget::builder()
                .hosted_zone_id(zone)
                .dns_name(target)
                .evaluate_target_health(true)
                .build()?;
            api.alias_target(target)
        }
    };
    api = match set.policy {
        Policy::Simple | Policy::Other => api,
        Policy::Multivalue => api.multi_value_answer(true),
        Policy::Weighted(weight) => api.weight(i64::from(weight)),
        Policy::Primary => api.failover(ResourceRecordSetFailover::Primary),
        Policy::Secondary => api.failover(ResourceRecordSetFailover::Secondary),
    };
    api.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> Vec<RecordSet> {
        let simple = |name: &str, record_type, value: &str| {
            RecordSet::simple(name, record_type, 30, [value.to_owned()])
        };
        let with = |policy: Policy| RecordSet {
            key: RecordKey::new("w.test", RecordType::A).with_identifier("hafleet-shop-a"),
            policy,
            health_check: Some("hc".into()),
            ..simple("w.test", RecordType::A, "192.0.2.1")
        };
        vec![
            simple("*.w.test", RecordType::Aaaa, "2001:db8::1"),
            simple("_hafleet.w.test", RecordType::Txt, "\"a b\""),
            simple("c.test", RecordType::Cname, "w.test"),
            with(Policy::Multivalue),
            with(Policy::Weighted(0)),
            with(Policy::Weighted(255)),
            with(Policy::Primary),
            with(Policy::Secondary),
            RecordSet {
                data: RecordData::Alias {
                    zone: "Z1".into(),
                    target: "w.test".into(),
                },
                ..simple("test", RecordType::A, "")
            },
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        for set in sets() {
            assert_eq!(read(&write(&set).unwrap(), "Z1"), set);
        }
    }

    #[test]
    fn sets_of_other_kinds_are_never_taken_for_ours() {
        let builder = || {
            ResourceRecordSet::builder()
                .name("\\052.w.test.")
                .r#type(RrType::A)
                .set_identifier("x")
        };
        let by_region = builder().region("eu-west-1".into()).weight(1).build();
        let of_no_kind = builder().build();
        for set in [by_region, of_no_kind] {
            let found = read(&set.unwrap(), "Z1");
            assert_eq!(
                (found.policy, found.key.name.as_str()),
                (Policy::Other, "*.w.test")
            );
        }
        let elsewhere = sets().into_iter().last().unwrap();
        let found = read(&write(&elsewhere).unwrap(), "Z2");
        assert_eq!(found.policy, Policy::Other);
    }
}
