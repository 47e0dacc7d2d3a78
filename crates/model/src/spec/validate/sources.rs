//! What a spec says of sources and of how far they are believed.

use std::time::Duration;

use super::Check;
use crate::spec::{DnsRecord, DnsSource, Ec2Source, Server, Source};

/// Names of values in EC2's filters are no longer than this.
const MAX_FILTER_VALUES: usize = 200;

impl Check<'_> {
    pub(super) fn discovery(&mut self) {
        let discovery = &self.spec.discovery;
        let interval = discovery.poll_interval.duration();
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
            let message = format!("{} is not allowed: give 1s to 1h", discovery.poll_interval);
            self.fault("discovery.poll_interval", message);
        }
        if discovery.max_shrink > 100 {
            let message = format!(
                "{} is more than everything: give 0 to 100 percent",
                discovery.max_shrink
            );
            self.fault("discovery.max_shrink", message);
        }
        if discovery.shrink_confirm == 0 {
            let message = "0 would let everything through: give 1 or more";
            self.fault("discovery.shrink_confirm", message);
        }
        for (index, backend) in self.spec.backends.iter().enumerate() {
            for (source_index, source) in backend.sources.iter().enumerate() {
                let path = format!("backends[{index}].sources[{source_index}]");
                self.source(&path, source);
                let mut earlier = backend.sources.iter().take(source_index);
                if earlier.any(|other| other == source) {
                    self.fault(path, "the same source is there twice: remove one");
                }
            }
        }
    }

    fn source(&mut self, path: &str, source: &Source) {
        match source {
            Source::Ec2(ec2) => self.ec2(&format!("{path}.ec2"), ec2),
            Source::Dns(dns) => self.dns(&format!("{path}.dns"), dns),
            Source::Docker(docker) => {
                self.port_and_weight(&format!("{path}.docker"), docker.port, docker.weight);
            }
            Source::File(file) => {
                let path = format!("{path}.file");
                if !file.path.starts_with('/') {
                    let message = format!("{:?} is not a whole path: begin with /", file.path);
                    self.fault(format!("{path}.path"), message);
                }
                self.port_and_weight(&path, file.port, file.weight);
            }
            // Looked at with everything else of etcd.
            Source::Etcd(_) => {}
        }
    }

    fn ec2(&mut self, path: &str, ec2: &Ec2Source) {
        let selects = !ec2.security_groups.is_empty()
            || !ec2.tags.is_empty()
            || !ec2.auto_scaling_groups.is_empty()
            || ec2.vpc.is_some()
            || !ec2.filters.is_empty();
        if !selects {
            let message = "it would take every instance of the account: give security_groups, tags, auto_scaling_groups, vpc or filters";
            self.fault(path, message);
        }
        if ec2.port.is_none() && ec2.port_tag.is_none() {
            self.fault(
                path,
                "nobody says the servers' port: give `port` or `port_tag`",
            );
        }
        if ec2.filters.contains_key("instance-state-name") {
            let message = "only running instances are taken: remove it";
            self.fault(format!("{path}.filters.instance-state-name"), message);
        }
        for (name, values) in &ec2.filters {
            if values.is_empty() || values.len() > MAX_FILTER_VALUES {
                let message = format!("give 1 to {MAX_FILTER_VALUES} values");
                self.fault(format!("{path}.filters.{name}"), message);
            }
        }
        for (index, role) in ec2.roles.iter().enumerate() {
            if !role.starts_with("arn:") {
                let message = format!(
                    "{role:?} is not the ARN of a role: write one such as arn:aws:iam::123456789012:role/hafleet"
                );
                self.fault(format!("{path}.roles[{index}]"), message);
            }
        }
        self.port_and_weight(path, ec2.port, ec2.weight);
    }

    fn dns(&mut self, path: &str, dns: &DnsSource) {
        let is_name = |name: &str| {
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            };
            name.len() <= 253 && name.split('.').all(is_label)
        };
        if !is_name(&dns.name) {
            let message = format!("{:?} is not a name in DNS", dns.name);
            self.fault(format!("{path}.name"), message);
        }
        if dns.record != DnsRecord::Srv && dns.port.is_none() {
            let message = "addresses in DNS have no port: give `port`, or `record: srv`";
            self.fault(path, message);
        }
        self.port_and_weight(path, dns.port, dns.weight);
    }

    fn port_and_weight(&mut self, path: &str, port: Option<u16>, weight: Option<u16>) {
        if let Some(port) = port {
            self.port(&format!("{path}.port"), port);
        }
        if let Some(weight) = weight.filter(|weight| *weight > Server::MAX_WEIGHT) {
            let most = Server::MAX_WEIGHT;
            let message = format!("{weight} is too large: 0 to {most} are allowed");
            self.fault(format!("{path}.weight"), message);
        }
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
