//! A backend's section: how to choose a server, how to tell that one works, and the servers by name.

use std::net::IpAddr;

use hafleet_model::report::NodeContext;
use hafleet_model::spec::{Backend, Cookie, HealthCheck, HealthCheckType, Server, ServerTls};

use super::lines::{Line, Lines};
use super::{RenderedServer, expect_name, is_name, process};

/// What a backend is rendered with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) node: &'a NodeContext,
    pub(super) has_agent_check: bool,
}

/// Writes the section of `backend`, which stands at `path` in the spec, and returns its servers as written.
pub(super) fn backend(
    lines: &mut Lines,
    path: &str,
    backend: &Backend,
    context: Context<'_>,
) -> Vec<RenderedServer> {
    expect_name(lines, &format!("{path}.name"), &backend.name);
    lines.section(path, "backend").word(&backend.name).end();
    lines
        .line(&format!("{path}.mode"), "mode")
        .fixed(backend.mode.as_str())
        .end();
    let mut line = lines.line(&format!("{path}.balance"), "balance");
    for word in backend.balance.split_whitespace() {
        line = line.word(word);
    }
    line.end();
    process::timeouts(lines, path, &backend.timeouts);
    if let Some(item) = &backend.cookie {
        cookie(lines, &format!("{path}.cookie"), item);
    }
    if let Some(check) = &backend.health_check {
        health_check(lines, &format!("{path}.health_check"), check);
    }
    process::raw(lines, path, &backend.raw);

    let mut sorted: Vec<_> = backend.servers.iter().enumerate().collect();
    sorted.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let is_weight_ours = has_changeable_weights(backend) && !context.has_agent_check;
    let servers = sorted.into_iter().map(|(index, item)| {
        let rendered = RenderedServer {
            backend: backend.name.clone(),
            name: item.name.clone(),
            address: item.address.parse().ok(),
            port: item.port,
            weight: item.weight,
            is_weight_ours,
        };
        let origin = format!("{path}.servers[{index}]");
        server(lines, &origin, backend, item, &rendered, context.node);
        rendered
    });
    servers.collect()
}

/// Whether the algorithm takes weights at run time. The others are static, unless `hash-type consistent` says otherwise
/// (Configuration Manual, section 4.2, `balance`); a reload is right for them in any case.
fn has_changeable_weights(backend: &Backend) -> bool {
    let algorithm = backend.balance.split([' ', '(']).next().unwrap_or_default();
    let is_overridden = backend
        .raw
        .iter()
        .any(|line| line.contains("balance") || line.contains("hash-type"));
    ["roundrobin", "leastconn", "random", "first"].contains(&algorithm) && !is_overridden
}

fn cookie(lines: &mut Lines, path: &str, cookie: &Cookie) {
    expect_name(lines, &format!("{path}.name"), &cookie.name);
    lines
        .line(path, "cookie")
        .word(&cookie.name)
        .fixed("insert indirect nocache")
        .flag("httponly", cookie.httponly)
        .flag("secure", cookie.secure)
        .option("maxidle", cookie.maxidle)
        .option("maxlife", cookie.maxlife)
        .end();
}

fn health_check(lines: &mut Lines, path: &str, check: &HealthCheck) {
    if check.check_type == HealthCheckType::Http {
        lines.line(path, "option httpchk").end();
        let line = lines
            .line(path, "http-check send meth")
            .word(check.method.as_deref().unwrap_or("GET"))
            .fixed("uri")
            .word(check.path.as_deref().unwrap_or("/"));
        let line = match &check.host {
            Some(host) => line.fixed("ver HTTP/1.1 hdr Host").format_word(host),
            None => line,
        };
        line.end();
        let status = check.expect_status.as_deref().unwrap_or("200-399");
        lines
            .line(&format!("{path}.expect_status"), "http-check expect status")
            .word(status)
            .end();
    }
    lines
        .line(path, "default-server inter")
        .word(check.interval)
        .fixed("rise")
        .word(check.rise)
        .fixed("fall")
        .word(check.fall)
        .option("port", check.port)
        .end();
}

fn server(
    lines: &mut Lines,
    path: &str,
    backend: &Backend,
    server: &Server,
    rendered: &RenderedServer,
    node: &NodeContext,
) {
    expect_name(lines, &format!("{path}.name"), &server.name);
    let port = server.port;
    if rendered.address.is_none() && !is_host_name(&server.address) {
        let message = format!(
            "{:?} is neither an IP address nor a host name",
            server.address
        );
        lines.fault(&format!("{path}.address"), message);
    }
    if let Some(name) = server.tls.as_ref().and_then(|tls| tls.server_name.as_ref()) {
        expect_name(lines, &format!("{path}.tls.server_name"), name);
    }
    let line = lines.line(path, "server").word(&server.name);
    let line = match rendered.address {
        Some(IpAddr::V4(address)) => line.changeable(format!("{address}:{port}")),
        Some(IpAddr::V6(address)) => line.changeable(format!("[{address}]:{port}")),
        // A name that does not resolve leaves its server down, instead of HAProxy without a start.
        None => line
            .word(format!("{}:{port}", server.address))
            .fixed("init-addr last,libc,none"),
    };
    let line = line.fixed("weight");
    let line = if rendered.is_weight_ours {
        line.changeable(server.weight)
    } else {
        line.word(server.weight)
    };
    let line = line
        .flag("backup", server.backup)
        .option("maxconn", server.maxconn)
        .flag("check", backend.health_check.is_some())
        .option("cookie", backend.cookie.as_ref().map(|_| &server.name));
    let line = match &server.tls {
        Some(tls) => server_tls(line, tls, backend.health_check.is_some(), node),
        None => line,
    };
    line.end();
}

fn server_tls<'l>(
    line: Line<'l>,
    tls: &ServerTls,
    is_checked: bool,
    node: &NodeContext,
) -> Line<'l> {
    let line = line.fixed("ssl");
    let line = if tls.verify {
        let ca = tls.ca.as_ref().map_or_else(
            || "@system-ca".to_owned(),
            |file| format!("{}/{file}", node.certificate_dir),
        );
        line.fixed("verify required ca-file").word(ca)
    } else {
        line.fixed("verify none")
    };
    let Some(name) = tls.server_name.as_deref().filter(|name| is_name(name)) else {
        return line;
    };
    line.fixed("sni")
        .word(format!("str({name})"))
        .option("check-sni", is_checked.then_some(name))
        .option("verifyhost", tls.verify.then_some(name))
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
