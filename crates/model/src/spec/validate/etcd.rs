//! What a spec says of etcd: the cluster, the servers and the services in it.

use super::Check;
use crate::spec::{EtcdSource, Mode, Server, ServicesSource, Source};

impl Check<'_> {
    pub(super) fn etcd(&mut self) {
        let discovery = &self.spec.discovery;
        if let Some(etcd) = &discovery.etcd {
            if etcd.endpoints.is_empty() {
                let path = "discovery.etcd.endpoints";
                self.fault(path, "empty: give the members' client URLs");
            }
            for (index, endpoint) in etcd.endpoints.iter().enumerate() {
                self.endpoint(&format!("discovery.etcd.endpoints[{index}]"), endpoint);
            }
            self.prefix("discovery.etcd.prefix", etcd.prefix.as_deref());
        }
        if let Some(services) = &discovery.services {
            self.services("discovery.services", services);
        }
        for (index, backend) in self.spec.backends.iter().enumerate() {
            for (source_index, source) in backend.sources.iter().enumerate() {
                if let Source::Etcd(source) = source {
                    let path = format!("backends[{index}].sources[{source_index}].etcd");
                    self.etcd_source(&path, source);
                }
            }
        }
    }

    fn etcd_source(&mut self, path: &str, source: &EtcdSource) {
        self.needs_etcd(path);
        self.prefix(&format!("{path}.prefix"), source.prefix.as_deref());
        if let Some(port) = source.port {
            self.port(&format!("{path}.port"), port);
        }
        if let Some(weight) = source.weight.filter(|weight| *weight > Server::MAX_WEIGHT) {
            let most = Server::MAX_WEIGHT;
            let message = format!("{weight} is too large: 0 to {most} are allowed");
            self.fault(format!("{path}.weight"), message);
        }
    }

    fn services(&mut self, path: &str, services: &ServicesSource) {
        self.needs_etcd(path);
        self.prefix(&format!("{path}.prefix"), Some(&services.prefix));
        for (field, name) in [
            ("frontend", &services.frontend),
            ("tls_frontend", &services.tls_frontend),
        ] {
            if let Some(name) = name {
                self.http_frontend(&format!("{path}.{field}"), name);
            }
        }
        if let Some(suffix) = &services.domain_suffix {
            self.word(&format!("{path}.domain_suffix"), suffix);
        }
    }

    fn http_frontend(&mut self, path: &str, name: &str) {
        let mut frontends = self.spec.frontends.iter();
        match frontends.find(|frontend| frontend.name == name) {
            None => {
                let message = format!("there is no frontend {name:?}; define it under `frontends`");
                self.fault(path, message);
            }
            Some(frontend) if frontend.mode == Mode::Tcp => {
                let message =
                    format!("frontend {name:?} has mode tcp, which has no routes: use mode http");
                self.fault(path, message);
            }
            Some(_) => {}
        }
    }

    fn needs_etcd(&mut self, path: &str) {
        if self.spec.discovery.etcd.is_none() {
            self.fault(
                path,
                "the spec has no etcd: give `discovery.etcd.endpoints`",
            );
        }
    }

    fn endpoint(&mut self, path: &str, endpoint: &str) {
        let rest = endpoint
            .strip_prefix("http://")
            .or_else(|| endpoint.strip_prefix("https://"));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        let is_url = rest.is_some_and(|rest| {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            !rest.is_empty() && rest.chars().all(allowed)
        });
        if !is_url {
            let message = format!(
                "{endpoint:?} is not the URL of a member: write one such as https://192.0.2.10:2379"
            );
            self.fault(path, message);
        }
    }

    fn prefix(&mut self, path: &str, prefix: Option<&str>) {
        let is_prefix = |prefix: &str| {
            prefix.starts_with('/')
                && !prefix.trim_matches('/').is_empty()
                && !prefix.chars().any(char::is_control)
        };
        if let Some(prefix) = prefix.filter(|prefix| !is_prefix(prefix)) {
            let message = format!(
                "{prefix:?} is not a prefix: write one such as /haproxy-prod, with a name after the /"
            );
            self.fault(path, message);
        }
    }
}

#[cfg(test)]
#[path = "etcd_tests.rs"]
mod tests;
