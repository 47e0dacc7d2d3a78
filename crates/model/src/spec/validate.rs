//! Rules between the parts of a spec, and rules of HAProxy's that types cannot hold.
//!
//! Pure, and total: every fault is reported, none stops the search for others. HAProxy itself has the last word
//! later (`haproxy -c`); what is found here is found earlier and in the spec's own terms.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

mod etcd;
mod publication;
mod sources;

use super::{
    Backend, Bind, BindAddress, BindTls, Cookie, Finding, Frontend, HealthCheck, HealthCheckType,
    Mode, Redirect, Route, Server, Spec,
};

/// All that is wrong with `spec`; empty when it is valid.
pub(super) fn validate(spec: &Spec) -> Vec<Finding> {
    let mut check = Check {
        spec,
        backends: backend_names(spec),
        findings: Vec::new(),
    };
    check.whole();
    check.global();
    for (index, frontend) in spec.frontends.iter().enumerate() {
        check.frontend(&format!("frontends[{index}]"), frontend);
    }
    for (index, backend) in spec.backends.iter().enumerate() {
        check.backend(&format!("backends[{index}]"), backend);
    }
    check.discovery();
    check.etcd();
    check.publication();
    check.names();
    check.binds();
    check.findings
}

/// Backends that routes may name: the spec's own, and those that raw sections define.
fn backend_names(spec: &Spec) -> BTreeSet<&str> {
    let raw = spec
        .raw
        .as_deref()
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("backend" | "listen"))
                .then(|| words.next())
                .flatten()
        });
    spec.backends
        .iter()
        .map(|backend| backend.name.as_str())
        .chain(raw)
        .collect()
}

struct Check<'a> {
    spec: &'a Spec,
    backends: BTreeSet<&'a str>,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding::new(path, message));
    }

    fn whole(&mut self) {
        let spec = self.spec;
        if spec.version != Spec::VERSION {
            let message = format!(
                "version {} is not known: this build reads version {}",
                spec.version,
                Spec::VERSION
            );
            self.fault("version", message);
        }
        if spec.haproxy_cfg.is_some() {
            let alone = Spec {
                version: spec.version,
                haproxy_cfg: spec.haproxy_cfg.clone(),
                dns: spec.dns.clone(),
                ..Spec::default()
            };
            if *spec != alone {
                self.fault(
                    "haproxy_cfg",
                    "it is the whole configuration: remove everything else but `version` and `dns`",
                );
            }
        }
        for (path, text) in [
            ("haproxy_cfg", &spec.haproxy_cfg),
            ("template", &spec.template),
            ("raw", &spec.raw),
        ] {
            self.no_nul(path, text.as_deref().unwrap_or_default());
        }
    }

    fn global(&mut self) {
        let global = &self.spec.global;
        for (path, name) in [
            ("global.user", &global.user),
            ("global.group", &global.group),
        ] {
            if let Some(name) = name {
                self.word(path, name);
            }
        }
        if global.threads == Some(0) {
            self.fault(
                "global.threads",
                "0 is not allowed: give 1 or more, or leave it out for one per core",
            );
        }
        self.raw_lines("global.raw", &global.raw);
        self.raw_lines("defaults.raw", &self.spec.defaults.raw);
    }

    fn frontend(&mut self, path: &str, frontend: &Frontend) {
        self.name(&format!("{path}.name"), &frontend.name);
        if frontend.binds.is_empty() {
            self.fault(
                format!("{path}.binds"),
                "empty: a frontend needs at least one bind, such as `- port: 8080`",
            );
        }
        for (index, bind) in frontend.binds.iter().enumerate() {
            self.bind(&format!("{path}.binds[{index}]"), bind);
        }
        if frontend.mode == Mode::Tcp
            && !(frontend.routes.is_empty() && frontend.redirects.is_empty())
        {
            let message = "mode tcp does not read requests, so it has no routes and no redirects: use mode http";
            self.fault(format!("{path}.mode"), message);
        }
        for (index, redirect) in frontend.redirects.iter().enumerate() {
            self.redirect(&format!("{path}.redirects[{index}]"), redirect);
        }
        for (index, route) in frontend.routes.iter().enumerate() {
            self.route(&format!("{path}.routes[{index}]"), frontend, route);
        }
        if let Some(name) = &frontend.default_backend {
            self.reference(&format!("{path}.default_backend"), frontend.mode, name);
        } else if frontend.routes.is_empty()
            && frontend.redirects.is_empty()
            && frontend.raw.is_empty()
        {
            self.fault(
                path,
                "it leads nowhere: give `default_backend`, `routes` or `redirects`",
            );
        }
        self.raw_lines(&format!("{path}.raw"), &frontend.raw);
    }

    fn bind(&mut self, path: &str, bind: &Bind) {
        self.port(&format!("{path}.port"), bind.port);
        if let Some(tls) = &bind.tls {
            self.bind_tls(&format!("{path}.tls"), tls);
        }
    }

    fn bind_tls(&mut self, path: &str, tls: &BindTls) {
        if tls.certificates.is_empty() {
            self.fault(
                format!("{path}.certificates"),
                "empty: TLS needs at least one certificate",
            );
        }
        let certificates = tls.certificates.iter().enumerate();
        let mut files: Vec<_> = certificates
            .map(|(index, file)| (format!("{path}.certificates[{index}]"), file))
            .collect();
        files.extend(
            tls.client_ca
                .iter()
                .map(|file| (format!("{path}.client_ca"), file)),
        );
        for (path, file) in files {
            self.file_name(&path, file);
        }
        for (index, protocol) in tls.alpn.iter().flatten().enumerate() {
            self.word(&format!("{path}.alpn[{index}]"), protocol);
        }
    }

    fn redirect(&mut self, path: &str, redirect: &Redirect) {
        self.condition(
            path,
            redirect.host.as_deref(),
            redirect.path_prefix.as_deref(),
        );
        let targets = [
            redirect.scheme.is_some(),
            redirect.prefix.is_some(),
            redirect.location.is_some(),
        ];
        if targets.into_iter().filter(|given| *given).count() != 1 {
            self.fault(
                path,
                "give exactly one of `scheme`, `prefix` and `location`",
            );
        }
        for (field, text) in [
            ("prefix", &redirect.prefix),
            ("location", &redirect.location),
        ] {
            if let Some(text) = text {
                self.printable(&format!("{path}.{field}"), text);
            }
        }
        if !Redirect::CODES.contains(&redirect.code) {
            let message = format!(
                "{} is not a redirect: 301, 302, 303, 307 and 308 are",
                redirect.code
            );
            self.fault(format!("{path}.code"), message);
        }
    }

    fn route(&mut self, path: &str, frontend: &Frontend, route: &Route) {
        self.condition(path, route.host.as_deref(), route.path_prefix.as_deref());
        if route.host.is_none() && route.path_prefix.is_none() {
            self.fault(
                path,
                "it matches everything: give `host` or `path_prefix`, or use `default_backend`",
            );
        }
        if route.strip_prefix && route.path_prefix.is_none() {
            self.fault(
                format!("{path}.strip_prefix"),
                "there is no prefix to take off: give `path_prefix`",
            );
        }
        self.reference(&format!("{path}.backend"), frontend.mode, &route.backend);
    }

    fn condition(&mut self, path: &str, host: Option<&str>, path_prefix: Option<&str>) {
        if let Some(host) = host {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let is_name = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c));
            if !is_name {
                let message = format!(
                    "{host:?} is not a host: write a name such as www.example.com or *.example.com"
                );
                self.fault(format!("{path}.host"), message);
            }
        }
        if let Some(prefix) = path_prefix {
            let is_path = prefix.starts_with('/') && prefix.chars().all(|c| c.is_ascii_graphic());
            if !is_path || prefix.contains(['?', '#']) {
                let message =
                    format!("{prefix:?} is not a path: it begins with / and has no space, ? or #");
                self.fault(format!("{path}.path_prefix"), message);
            }
        }
    }

    fn reference(&mut self, path: &str, mode: Mode, name: &str) {
        if !self.backends.contains(name) {
            let known = nearest(name, self.backends.iter().copied()).map_or_else(
                || "define it under `backends`".to_owned(),
                |near| format!("did you mean {near:?}?"),
            );
            self.fault(path, format!("there is no backend {name:?}; {known}"));
            return;
        }
        let backend = self
            .spec
            .backends
            .iter()
            .find(|backend| backend.name == name);
        if let Some(backend) = backend.filter(|backend| backend.mode != mode) {
            let message = format!(
                "the frontend has mode {} and backend {name:?} has mode {}: give both the same",
                mode.as_str(),
                backend.mode.as_str()
            );
            self.fault(path, message);
        }
    }

    fn backend(&mut self, path: &str, backend: &Backend) {
        self.name(&format!("{path}.name"), &backend.name);
        self.balance(&format!("{path}.balance"), &backend.balance);
        if let Some(check) = &backend.health_check {
            self.health_check(&format!("{path}.health_check"), check);
        }
        if let Some(cookie) = &backend.cookie {
            self.cookie(&format!("{path}.cookie"), backend.mode, cookie);
        }
        let mut seen = BTreeMap::new();
        for (index, server) in backend.servers.iter().enumerate() {
            let path = format!("{path}.servers[{index}]");
            self.server(&path, server);
            if let Some(first) = seen.insert(server.name.as_str(), index) {
                let message = format!(
                    "{:?} is also the name of servers[{first}]: names are unique",
                    server.name
                );
                self.fault(format!("{path}.name"), message);
            }
        }
        self.raw_lines(&format!("{path}.raw"), &backend.raw);
    }

    fn balance(&mut self, path: &str, balance: &str) {
        let algorithm = balance.split([' ', '(']).next().unwrap_or_default();
        if !Backend::ALGORITHMS.contains(&algorithm) {
            let message = format!(
                "{balance:?} is not an algorithm: one of {}",
                Backend::ALGORITHMS.join(", ")
            );
            self.fault(path, message);
        } else if !balance
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " (),-_.".contains(c))
        {
            self.fault(
                path,
                format!("{balance:?} has a character that no algorithm's arguments have"),
            );
        }
    }

    fn health_check(&mut self, path: &str, check: &HealthCheck) {
        let http_only = [
            ("path", &check.path),
            ("method", &check.method),
            ("host", &check.host),
            ("expect_status", &check.expect_status),
        ];
        for (field, value) in http_only {
            let Some(value) = value else { continue };
            let path = format!("{path}.{field}");
            if check.check_type == HealthCheckType::Tcp {
                self.fault(path, "only a check of type http has it");
            } else {
                self.word(&path, value);
            }
        }
        if check
            .path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/'))
        {
            self.fault(format!("{path}.path"), "a path begins with /");
        }
        if let Some(status) = &check.expect_status {
            let is_status =
                |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            if !status
                .split(',')
                .all(|range| range.split('-').count() <= 2 && range.split('-').all(is_status))
            {
                let message =
                    format!("{status:?} is not a status: write 200, 200-299 or 200,301-302");
                self.fault(format!("{path}.expect_status"), message);
            }
        }
        for (field, count) in [("rise", check.rise), ("fall", check.fall)] {
            if count == 0 {
                self.fault(
                    format!("{path}.{field}"),
                    "0 is not allowed: at least one check decides",
                );
            }
        }
        if check.interval.duration().is_zero() {
            self.fault(
                format!("{path}.interval"),
                "0 is not allowed: give at least 1ms",
            );
        }
        if let Some(port) = check.port {
            self.port(&format!("{path}.port"), port);
        }
    }

    fn cookie(&mut self, path: &str, mode: Mode, cookie: &Cookie) {
        if mode == Mode::Tcp {
            self.fault(path, "mode tcp does not read cookies: use mode http");
        }
        self.name(&format!("{path}.name"), &cookie.name);
    }

    fn server(&mut self, path: &str, server: &Server) {
        self.name(&format!("{path}.name"), &server.name);
        let is_host = server
            .address
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !server.address.is_empty()
            && server.address.len() <= 253;
        if !is_host && server.address.parse::<IpAddr>().is_err() {
            let message = format!(
                "{:?} is neither an IP address nor a host name",
                server.address
            );
            self.fault(format!("{path}.address"), message);
        }
        self.port(&format!("{path}.port"), server.port);
        if server.weight > Server::MAX_WEIGHT {
            let message = format!(
                "{} is too large: 0 to {} are allowed",
                server.weight,
                Server::MAX_WEIGHT
            );
            self.fault(format!("{path}.weight"), message);
        }
        if let Some(tls) = &server.tls {
            if let Some(ca) = &tls.ca {
                self.file_name(&format!("{path}.tls.ca"), ca);
            }
            if let Some(name) = &tls.server_name {
                self.name(&format!("{path}.tls.server_name"), name);
            }
        }
    }

    /// Names are unique among frontends and among backends, since the fleet's statistics and routes use them.
    fn names(&mut self) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        let frontends = self
            .spec
            .frontends
            .iter()
            .map(|frontend| &frontend.name)
            .enumerate();
        let backends = self
            .spec
            .backends
            .iter()
            .map(|backend| &backend.name)
            .enumerate();
        let all = frontends
            .map(|(index, name)| (name, format!("frontends[{index}]")))
            .chain(backends.map(|(index, name)| (name, format!("backends[{index}]"))));
        for (name, place) in all {
            if let Some(first) = seen.get(name.as_str()) {
                let message = format!("{name:?} is also the name of {first}: names are unique");
                self.findings
                    .push(Finding::new(format!("{place}.name"), message));
            } else {
                seen.insert(name, place);
            }
        }
    }

    /// No two binds listen on the same address and port; `*` is on all addresses.
    fn binds(&mut self) {
        let mut by_port: BTreeMap<u16, Vec<(BindAddress, String)>> = BTreeMap::new();
        for (index, frontend) in self.spec.frontends.iter().enumerate() {
            for (bind_index, bind) in frontend.binds.iter().enumerate() {
                let path = format!("frontends[{index}].binds[{bind_index}]");
                let taken = by_port.entry(bind.port).or_default();
                let clash = taken.iter().find(|(address, _)| {
                    *address == bind.address
                        || *address == BindAddress::Any
                        || bind.address == BindAddress::Any
                });
                if let Some((address, first)) = clash {
                    let message = format!(
                        "port {} on {address} is already bound by {first}",
                        bind.port
                    );
                    self.findings.push(Finding::new(path.clone(), message));
                }
                taken.push((bind.address, path));
            }
        }
    }

    /// HAProxy's proxy and server names (Configuration Manual, section 4).
    fn name(&mut self, path: &str, name: &str) {
        let is_name = !name.is_empty()
            && name.len() <= 128
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        if !is_name {
            self.fault(
                path,
                format!("{name:?} is not a name: use A-Z, a-z, 0-9, '-', '_', '.' and ':'"),
            );
        }
    }

    fn file_name(&mut self, path: &str, name: &str) {
        let is_file = !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c));
        if !is_file {
            let message = format!(
                "{name:?} is not a file of the certificate directory: use A-Z, a-z, 0-9, '-', '_', '.', '@' and '+'"
            );
            self.fault(path, message);
        }
    }

    fn port(&mut self, path: &str, port: u16) {
        if port == 0 {
            self.fault(path, "0 is not a port: 1 to 65535 are");
        }
    }

    fn word(&mut self, path: &str, text: &str) {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
            self.fault(
                path,
                format!("{text:?} is not allowed: use printable ASCII without spaces"),
            );
        }
    }

    fn printable(&mut self, path: &str, text: &str) {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            self.fault(
                path,
                format!(
                    "{text:?} is not allowed: it may not be empty, nor have spaces or controls"
                ),
            );
        }
    }

    fn no_nul(&mut self, path: &str, text: &str) {
        if text.contains('\0') {
            self.fault(path, "it has a NUL character, which HAProxy does not read");
        }
    }

    fn raw_lines(&mut self, path: &str, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            self.no_nul(&format!("{path}[{index}]"), line);
        }
    }
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
