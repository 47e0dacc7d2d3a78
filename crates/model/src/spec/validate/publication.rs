//! What a spec says of names in DNS: what a zone can hold, and what a provider can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Check;
use crate::spec::{DnsAlias, DnsAliasType, DnsHealthCheck, DnsProvider, PublishedName, Routing};

/// The longest name, in characters: RFC 1035 section 2.3.4, less what the name of the ownership record has before it
/// (`_hafleet.`, and `wildcard` for `*`).
const MAX_NAME: usize = 253 - 16;

/// The longest time that resolvers are asked to keep an answer: a week (RFC 2181 section 8 allows more, and many cap it there).
const MAX_TTL_SECS: u64 = 604_800;

/// The longest path of a health check (Amazon Route 53 API Reference, `HealthCheckConfig`, `ResourcePath`).
const MAX_PATH: usize = 255;

/// Below, one slow request would lose the lease; above, a fleet that lost its majority would be stuck for too long.
const LEASE_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(20)..=Duration::from_secs(600);

impl Check<'_> {
    pub(super) fn publication(&mut self) {
        let dns = &self.spec.dns;
        if !LEASE_TTL.contains(&dns.lease_ttl.duration()) {
            let message = format!("{} is not allowed: give 20s to 10m", dns.lease_ttl);
            self.fault("dns.lease_ttl", message);
        }
        if dns.requests_per_second == 0 {
            self.fault(
                "dns.requests_per_second",
                "0 is not allowed: nothing could be asked; the default is 5",
            );
        }
        let mut taken = BTreeMap::new();
        for (index, record) in dns.records.iter().enumerate() {
            let path = format!("dns.records[{index}]");
            self.published(&path, record);
            let aliases = record.aliases.iter().enumerate();
            let names = aliases
                .map(|(alias, found)| (format!("{path}.aliases[{alias}].name"), &found.name));
            for (path, name) in [(format!("{path}.name"), &record.name)]
                .into_iter()
                .chain(names)
            {
                let key = (zone_key(record), normal(name));
                if let Some(first) = taken.get(&key) {
                    let message = format!("{name:?} of that zone is already at {first}");
                    self.fault(path, message);
                } else {
                    taken.insert(key, path);
                }
            }
        }
    }

    fn published(&mut self, path: &str, record: &PublishedName) {
        self.zone(&format!("{path}.zone"), record);
        self.name_in_zone(&format!("{path}.name"), record, &record.name);
        let ttl = record.ttl.duration();
        if ttl.subsec_nanos() != 0 || !(1..=MAX_TTL_SECS).contains(&ttl.as_secs()) {
            let message = format!("{} is not a TTL: give whole seconds, 1s to 7d", record.ttl);
            self.fault(format!("{path}.ttl"), message);
        }
        let kinds: BTreeSet<_> = record.addresses.iter().collect();
        if kinds.is_empty() || kinds.len() != record.addresses.len() {
            self.fault(
                format!("{path}.addresses"),
                "give at least one of public, private and ipv6, and none twice",
            );
        }
        if record.min_published == 0 {
            self.fault(
                format!("{path}.min_published"),
                "0 is not allowed: the last node always stays published",
            );
        }
        self.routing(path, record);
        if let Some(check) = &record.health_check {
            self.dns_health_check(&format!("{path}.health_check"), record, check);
        }
        for (index, alias) in record.aliases.iter().enumerate() {
            self.alias(&format!("{path}.aliases[{index}]"), record, alias);
        }
    }

    fn zone(&mut self, path: &str, record: &PublishedName) {
        if zone_name(record).is_some_and(|zone| !is_name(zone) || zone.starts_with('*')) {
            let message = format!(
                "{:?} is neither a zone's name nor an id of Route53, such as Z0123456789ABC",
                record.zone
            );
            self.fault(path, message);
        }
        if let DnsProvider::Rfc2136(server) = &record.provider {
            if server.server.port() == 0 {
                self.fault(path, "0 is not a port: name servers have 53");
            }
            if let Some(key) = server.key.as_ref().filter(|key| !is_name(key)) {
                let message = format!("{key:?} is not the name of a key");
                self.fault(path.replace("zone", "provider.rfc2136.key"), message);
            }
        }
    }

    fn name_in_zone(&mut self, path: &str, record: &PublishedName, name: &str) {
        let first = name.split('.').next().unwrap_or_default();
        if !is_name(name) {
            let message = format!(
                "{name:?} is not a name: give labels of A-Z, a-z, 0-9, '-' and '_' with dots between, {MAX_NAME} characters at most; the first may be *"
            );
            self.fault(path, message);
        } else if ["wildcard", "_hafleet"].contains(&first.to_ascii_lowercase().as_str()) {
            let message = format!(
                "{first:?} is where hafleet notes whom a name belongs to: use another first label"
            );
            self.fault(path, message);
        } else if let Some(zone) =
            zone_name(record).filter(|zone| is_name(zone) && !is_inside(name, zone))
        {
            let message = format!("{name:?} is not in the zone {zone:?}");
            self.fault(path, message);
        }
    }

    fn routing(&mut self, path: &str, record: &PublishedName) {
        let routing_path = format!("{path}.routing");
        let is_route53 = record.provider == DnsProvider::Route53;
        if !is_route53 && record.routing != Routing::Simple {
            self.fault(
                routing_path,
                "only Route53 can do that: with rfc2136, use simple",
            );
            return;
        }
        let Routing::Failover { primary } = &record.routing else {
            return;
        };
        if primary.is_empty() {
            self.fault(
                format!("{routing_path}.failover.primary"),
                "empty: name the nodes that serve while they can",
            );
        }
        if record.health_check.is_none() {
            self.fault(
                routing_path,
                "failover needs `health_check`: by it Route53 decides who answers",
            );
        }
    }

    fn dns_health_check(&mut self, path: &str, record: &PublishedName, check: &DnsHealthCheck) {
        if record.provider != DnsProvider::Route53 {
            self.fault(path, "only Route53 has health checks");
        } else if record.routing == Routing::Simple {
            self.fault(
                path,
                "with routing simple it would decide nothing: use multivalue, weighted or failover",
            );
        }
        self.port(&format!("{path}.port"), check.port);
        if let Some(asked) = &check.path {
            let path = format!("{path}.path");
            if !asked.starts_with('/') || asked.len() > MAX_PATH {
                self.fault(
                    path,
                    format!("a path begins with / and has {MAX_PATH} characters at most"),
                );
            } else {
                self.word(&path, asked);
            }
        }
        if ![10, 30]
            .map(Duration::from_secs)
            .contains(&check.interval.duration())
        {
            let message = format!("{} is not allowed: 10s and 30s are", check.interval);
            self.fault(format!("{path}.interval"), message);
        }
        if !(1..=10).contains(&check.fall) {
            let message = format!("{} is not allowed: 1 to 10 are", check.fall);
            self.fault(format!("{path}.fall"), message);
        }
    }

    fn alias(&mut self, path: &str, record: &PublishedName, alias: &DnsAlias) {
        self.name_in_zone(&format!("{path}.name"), record, &alias.name);
        match alias.alias_type {
            DnsAliasType::Alias if record.provider != DnsProvider::Route53 => {
                self.fault(
                    format!("{path}.type"),
                    "only Route53 has alias records: use cname",
                );
            }
            DnsAliasType::Cname
                if zone_name(record).is_some_and(|zone| normal(zone) == normal(&alias.name)) =>
            {
                self.fault(
                    format!("{path}.type"),
                    "a CNAME cannot be at the top of its zone (RFC 1034 section 3.6.2): use alias",
                );
            }
            DnsAliasType::Alias | DnsAliasType::Cname => {}
        }
    }
}

/// The zone's name; none if it is an id of Route53.
fn zone_name(record: &PublishedName) -> Option<&str> {
    let zone = record.zone.as_str();
    record.provider.zone_id(zone).is_none().then_some(zone)
}

/// What tells zones apart: who has them, and their name or id.
fn zone_key(record: &PublishedName) -> (Option<std::net::SocketAddr>, String) {
    let server = match &record.provider {
        DnsProvider::Route53 => None,
        DnsProvider::Rfc2136(server) => Some(server.server),
    };
    let id = record.provider.zone_id(&record.zone);
    (
        server,
        id.map_or_else(|| normal(&record.zone), str::to_owned),
    )
}

fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name_without_star = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    name.len() <= MAX_NAME && name_without_star.split('.').all(is_label)
}

fn is_inside(name: &str, zone: &str) -> bool {
    let (name, zone) = (normal(name), normal(zone));
    name == zone || name.ends_with(&format!(".{zone}"))
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
#[path = "publication_tests.rs"]
mod tests;
