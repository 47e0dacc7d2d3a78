//! A frontend's section: binds, then the spec's `raw` lines, then redirects, routes and the default.
//!
//! `raw` comes before redirects and routes, because the first rule that matches decides: so raw rules can take
//! precedence, and what they leave goes the structured way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hafleet_model::report::NodeContext;
use hafleet_model::spec::{
    Bind, BindAddress, BindTls, Frontend, Mode, Redirect, RedirectScheme, Route,
};

use super::condition::{Condition, remember_host};
use super::lines::{Line, Lines};
use super::routes::{self, RenderedMap};
use super::{Families, expect_name, process, strip};
use crate::certificates::Held;

/// Where a frontend is rendered for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) node: &'a NodeContext,
    pub(super) families: Families,
    pub(super) held: &'a Held,
    /// The spec's own backends.
    pub(super) backends: &'a BTreeSet<&'a str>,
}

/// Writes the section of `frontend`, which stands at `path` in the spec, and returns the maps of its
/// routes.
pub(super) fn frontend(
    lines: &mut Lines,
    path: &str,
    frontend: &Frontend,
    place: Place<'_>,
) -> Vec<RenderedMap> {
    expect_name(lines, &format!("{path}.name"), &frontend.name);
    lines.section(path, "frontend").word(&frontend.name).end();
    lines
        .line(&format!("{path}.mode"), "mode")
        .fixed(frontend.mode.as_str())
        .end();
    if frontend.mode == Mode::Tcp {
        // The defaults have it, and HAProxy warns of it where no requests are read.
        lines.line(path, "no option idle-close-on-response").end();
    }
    for (index, item) in frontend.binds.iter().enumerate() {
        let origin = format!("{path}.binds[{index}]");
        bind(lines, &origin, item, frontend.mode, place);
    }
    if let Some(maxconn) = frontend.maxconn {
        lines
            .line(&format!("{path}.maxconn"), "maxconn")
            .word(maxconn)
            .end();
    }
    process::timeouts(lines, path, &frontend.timeouts);
    let mut hosts = frontend
        .redirects
        .iter()
        .map(|redirect| &redirect.host)
        .chain(frontend.routes.iter().map(|route| &route.host));
    if !frontend.routes.is_empty() || hosts.any(Option::is_some) {
        remember_host(lines, path);
    }
    process::raw(lines, path, &frontend.raw);
    for (index, item) in frontend.redirects.iter().enumerate() {
        redirect(lines, &format!("{path}.redirects[{index}]"), item);
    }
    let maps = routes(lines, path, frontend, place);
    if let Some(name) = &frontend.default_backend {
        let origin = format!("{path}.default_backend");
        expect_name(lines, &origin, name);
        lines.line(&origin, "default_backend").word(name).end();
    }
    maps
}

/// Writes the routes: as look-ups in maps, or where they cannot be maps as rules. Returns the maps.
fn routes(
    lines: &mut Lines,
    path: &str,
    frontend: &Frontend,
    place: Place<'_>,
) -> Vec<RenderedMap> {
    let path = format!("{path}.routes");
    let origin = |index: usize| format!("{path}[{index}]");
    for (index, item) in frontend.routes.iter().enumerate() {
        expect_name(lines, &format!("{}.backend", origin(index)), &item.backend);
        let (host, prefix) = (item.host.as_deref(), item.path_prefix.as_deref());
        Condition::new(lines, &origin(index), host, prefix);
        if strip::length(item).is_some() && !place.backends.contains(item.backend.as_str()) {
            let message = "only a backend of the spec can have a prefix taken off: define it under `backends`";
            lines.fault(&format!("{}.strip_prefix", origin(index)), message);
        }
    }
    let maps = match frontend.mode {
        Mode::Http if !frontend.routes.is_empty() => routes::maps(&frontend.name, &frontend.routes),
        _ => None,
    };
    let Some(maps) = maps else {
        for (index, item) in frontend.routes.iter().enumerate() {
            route(lines, &origin(index), item);
        }
        return Vec::new();
    };
    // HAProxy does not see the names in maps: these lines have it check those that the spec does not define.
    let mut elsewhere: Vec<_> = frontend
        .routes
        .iter()
        .enumerate()
        .filter(|(_, item)| !place.backends.contains(item.backend.as_str()))
        .collect();
    elsewhere.dedup_by_key(|(_, item)| &item.backend);
    for (index, item) in elsewhere {
        let line = lines.line(&origin(index), "use_backend");
        line.word(&item.backend).fixed("if FALSE").end();
    }
    let is_stripping = frontend
        .routes
        .iter()
        .any(|item| strip::length(item).is_some());
    look_up(lines, &path, &maps, is_stripping);
    maps.into()
}

/// Writes the look-ups: by host name, by wildcard, and for any host. All three find a group, and the longest prefix in it.
fn look_up(lines: &mut Lines, path: &str, maps: &[RenderedMap; 3], is_stripping: bool) {
    let [paths, wildcards, hosts] = maps.each_ref().map(RenderedMap::file_name);
    let found = |line: Line<'_>| line.fixed("-m found }").end();
    let use_found = match is_stripping {
        false => "use_backend %[var(txn.hafleet_backend)] if",
        true => "use_backend %[var(txn.hafleet_backend),word(1,/)] if",
    };
    let line = lines
        .line(path, use_found)
        .fixed("{ path,concat(/),set-var(txn.hafleet_path) -m found } {")
        .map_lookup(
            "var(txn.hafleet_host),map_str(",
            &hosts,
            "),concat(,txn.hafleet_path),set-var(txn.hafleet_route)",
        );
    let line = line.fixed("-m found } {").map_lookup(
        "var(txn.hafleet_route),map_beg(",
        &paths,
        "),set-var(txn.hafleet_backend)",
    );
    found(line);
    let line = lines.line(path, use_found).fixed("{").map_lookup(
        "var(txn.hafleet_host),map_end(",
        &wildcards,
        "),concat(,txn.hafleet_path),set-var(txn.hafleet_route)",
    );
    let line = line.fixed("-m found } {").map_lookup(
        "var(txn.hafleet_route),map_beg(",
        &paths,
        "),set-var(txn.hafleet_backend)",
    );
    found(line);
    let line = lines.line(path, use_found).fixed("{").map_lookup(
        "var(txn.hafleet_path),map_beg(",
        &paths,
        "),set-var(txn.hafleet_backend)",
    );
    found(line);
}

fn bind(lines: &mut Lines, path: &str, bind: &Bind, mode: Mode, place: Place<'_>) {
    let port = bind.port;
    let address = match bind.address {
        BindAddress::Any => None,
        BindAddress::Node => Some(place.node.address),
        BindAddress::Ip(address) => Some(address),
    };
    let line = lines.line(path, "bind");
    // A v6 socket that is also the v4 one: `*` alone would be IPv4 only (Configuration Manual, section 5.1, `v4v6`).
    let line = match (address, place.families) {
        (None, Families::Both) => line.word(format!("[::]:{port}")).fixed("v4v6"),
        (None, Families::Ipv4) => line.word(format!("0.0.0.0:{port}")),
        (Some(IpAddr::V4(v4)), _) => line.word(format!("{v4}:{port}")),
        // `::` written by hand means IPv6 only, so that `0.0.0.0` may stand beside it.
        (Some(IpAddr::V6(v6)), _) => line
            .word(format!("[{v6}]:{port}"))
            .flag("v6only", v6.is_unspecified()),
    };
    let line = line.flag("accept-proxy", bind.accept_proxy);
    let line = match &bind.tls {
        Some(tls) => bind_tls(line, tls, mode, place),
        None => line,
    };
    line.end();
}

fn bind_tls<'l>(line: Line<'l>, tls: &BindTls, mode: Mode, place: Place<'_>) -> Line<'l> {
    let dir = &place.node.certificate_dir;
    let mut line = line.fixed("ssl");
    for file in &tls.certificates {
        line = line.fixed("crt").word(place.held.resolve(file, dir));
    }
    let alpn = match (&tls.alpn, mode) {
        (Some(protocols), _) => protocols.join(","),
        (None, Mode::Http) => "h2,http/1.1".to_owned(),
        (None, Mode::Tcp) => String::new(),
    };
    line = line
        .option("alpn", Some(alpn).filter(|alpn| !alpn.is_empty()))
        .fixed("ssl-min-ver")
        .fixed(tls.min_version.as_str());
    match &tls.client_ca {
        Some(file) => line
            .fixed("ca-file")
            .word(format!("{dir}/{file}"))
            .fixed("verify required"),
        None => line,
    }
}

fn redirect(lines: &mut Lines, path: &str, redirect: &Redirect) {
    let condition = Condition::new(
        lines,
        path,
        redirect.host.as_deref(),
        redirect.path_prefix.as_deref(),
    );
    let line = lines.line(path, "http-request redirect");
    let line = if let Some(scheme) = redirect.scheme {
        line.fixed(match scheme {
            RedirectScheme::Https => "scheme https",
            RedirectScheme::Http => "scheme http",
        })
    } else if let Some(prefix) = &redirect.prefix {
        line.fixed("prefix").format_word(prefix)
    } else {
        line.fixed("location")
            .format_word(redirect.location.as_deref().unwrap_or_default())
    };
    let line = line.fixed("code").word(redirect.code);
    // A request that is already where the scheme would send it is let through, or it would go round for ever.
    let line = match redirect.scheme {
        Some(RedirectScheme::Https) => line.fixed("if !{ ssl_fc }"),
        Some(RedirectScheme::Http) => line.fixed("if { ssl_fc }"),
        None if condition.is_always() => line,
        None => line.fixed("if"),
    };
    condition.append(line).end();
}

fn route(lines: &mut Lines, path: &str, route: &Route) {
    let condition = Condition::new(
        lines,
        path,
        route.host.as_deref(),
        route.path_prefix.as_deref(),
    );
    let line = lines.line(path, "use_backend").word(&route.backend);
    let line = line.flag("if", !condition.is_always());
    strip::note(condition.append(line), route).end();
}
