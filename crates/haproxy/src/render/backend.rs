//! A backend's section: how to choose a server, how to tell that one works, and the servers by name.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::Digest;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::{Backend, Cookie, HealthCheck, HealthCheckType};

use super::lines::{Line, Lines};
use super::server::{RenderedServer, Traits, server};
use super::{expect_name, process, strip};

/// A backend as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenderedBackend {
    /// Its name.
    pub(crate) name: String,
    /// Whether servers may come and go while HAProxy runs.
    pub(crate) is_dynamic: bool,
    /// The digest of its health check.
    pub(crate) check: Option<Digest>,
    /// Whether health checks can be turned on and off while HAProxy runs, where it has loaded them.
    pub(crate) is_check_apart: bool,
    /// Its servers, by name.
    pub(crate) servers: Vec<RenderedServer>,
}

/// What a backend is rendered with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) node: &'a NodeContext,
    pub(super) has_agent_check: bool,
    /// Whether the defaults have a raw `default-server`.
    pub(super) has_default_server: bool,
    /// The lengths of the prefixes that routes take off, by backend.
    pub(super) stripped: &'a BTreeMap<&'a str, BTreeSet<usize>>,
}

/// Writes the section of `backend`, which stands at `path` in the spec, and returns what was written.
pub(super) fn backend(
    lines: &mut Lines,
    path: &str,
    backend: &Backend,
    context: Context<'_>,
) -> RenderedBackend {
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
        let path = format!("{path}.health_check");
        health_check(lines, &path, check, is_check_apart(backend, context));
    }
    for length in context
        .stripped
        .get(backend.name.as_str())
        .into_iter()
        .flatten()
    {
        strip::take_off(lines, path, *length);
    }
    process::raw(lines, path, &backend.raw);

    let mut sorted: Vec<_> = backend.servers.iter().enumerate().collect();
    sorted.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let traits = Traits {
        is_weight_ours: has_changeable_weights(backend) && !context.has_agent_check,
        is_dynamic: is_dynamic(backend, context),
        is_check_apart: is_check_apart(backend, context),
    };
    let servers = sorted.into_iter().map(|(index, item)| {
        let origin = format!("{path}.servers[{index}]");
        server(lines, &origin, backend, item, traits, context.node)
    });
    RenderedBackend {
        name: backend.name.clone(),
        is_dynamic: traits.is_dynamic,
        check: backend
            .health_check
            .as_ref()
            .map(|check| Digest::of(format!("{check:?}").as_bytes())),
        is_check_apart: traits.is_check_apart,
        servers: servers.collect(),
    }
}

/// Whether servers may come and go while HAProxy runs: where the algorithm takes them and their order means nothing (as it
/// does to `first`), where no setting applies to them that `add server` does not inherit (`default-server`) or refuses
/// (`cookie`), and where no raw line makes servers of its own (Configuration Manual, section 5.2; Management Guide,
/// section 9.3, `add server`).
fn is_dynamic(backend: &Backend, context: Context<'_>) -> bool {
    has_changeable_weights(backend)
        && !backend.balance.starts_with("first")
        && backend.cookie.is_none()
        && !has_own_servers(backend)
        && !context.has_agent_check
        && !context.has_default_server
}

/// Whether health checks can be turned on and off while HAProxy runs: where nothing but the spec's servers is checked, and
/// nothing but the spec says how. The lines of the section that say how (`option httpchk`) mean nothing to servers that
/// are not checked.
fn is_check_apart(backend: &Backend, context: Context<'_>) -> bool {
    !has_own_servers(backend) && !context.has_agent_check && !context.has_default_server
}

/// Whether a raw line makes servers or says what they are.
fn has_own_servers(backend: &Backend) -> bool {
    let of_its_own = ["server", "server-template", "default-server", "use-server"];
    let mut lines = backend.raw.iter().flat_map(|text| text.lines());
    lines.any(|line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        of_its_own.contains(&first)
    })
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

fn health_check(lines: &mut Lines, path: &str, check: &HealthCheck, is_apart: bool) {
    let end = |line: Line<'_>| {
        if is_apart {
            line.end_apart();
        } else {
            line.end();
        }
    };
    if check.check_type == HealthCheckType::Http {
        end(lines.line(path, "option httpchk"));
        let line = lines
            .line(path, "http-check send meth")
            .word(check.method.as_deref().unwrap_or("GET"))
            .fixed("uri")
            .word(check.path.as_deref().unwrap_or("/"));
        let line = match &check.host {
            Some(host) => line.fixed("ver HTTP/1.1 hdr Host").format_word(host),
            None => line,
        };
        end(line);
        let status = check.expect_status.as_deref().unwrap_or("200-399");
        let path = format!("{path}.expect_status");
        end(lines.line(&path, "http-check expect status").word(status));
    }
}
