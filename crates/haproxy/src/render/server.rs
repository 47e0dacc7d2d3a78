//! A server's line, and the same as the Runtime API takes it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hafleet_model::report::NodeContext;
use hafleet_model::spec::{Backend, HealthCheck, Server, ServerTls, TimeSpan};

use super::lines::{Line, Lines};
use super::{expect_name, is_name};
use crate::runtime::AdminState;

/// One server as it is written, for those who compare it with what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedServer {
    /// The backend's name.
    pub backend: String,
    /// The server's name, unique in the backend.
    pub name: String,
    /// Its address; none for a host name, which HAProxy resolves.
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// 0 to 256.
    pub weight: u16,
    /// Whether the Runtime API can change the weight. Not so with static algorithms (Configuration Manual, section
    /// 4.2, `balance`), nor where an agent check may have set it.
    pub is_weight_ours: bool,
    /// What an operator asks of it. `ready` unless told otherwise.
    pub admin: AdminState,
    /// All that is not IP address, port, weight or admin state, as words of HAProxy's: two servers of one form differ at
    /// most in those.
    pub form: String,
    /// Whether it has a health check.
    pub is_checked: bool,
    /// The words of its health check, where the Runtime API can turn it on and off; elsewhere they are part of the form.
    pub check: String,
    /// The port checked, if it is not the server's.
    pub check_port: Option<u16>,
    /// Most connections to it at once.
    pub maxconn: Option<u32>,
    /// For how long its share grows when it has come up again.
    pub slow_start: Option<Duration>,
    /// Whether the Runtime API can add it and remove it, in versions that can at all.
    pub is_dynamic: bool,
}

impl RenderedServer {
    /// The words of `add server` after the server's name (Management Guide, section 9.3).
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        let address = SocketAddr::new(self.address.filter(|_| self.is_dynamic)?, self.port);
        let mut words = vec![
            address.to_string(),
            "weight".to_owned(),
            self.weight.to_string(),
        ];
        words.extend(super::quote::split(&self.form));
        words.extend(super::quote::split(&self.check));
        Some(words)
    }
}

/// What a backend decides for its servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub(super) is_weight_ours: bool,
    pub(super) is_dynamic: bool,
    /// Whether health checks can be turned on and off while HAProxy runs.
    pub(super) is_check_apart: bool,
}

/// Writes the line of `server`, which stands at `path` in the spec.
pub(super) fn server(
    lines: &mut Lines,
    path: &str,
    backend: &Backend,
    server: &Server,
    traits: Traits,
    node: &NodeContext,
) -> RenderedServer {
    expect_name(lines, &format!("{path}.name"), &server.name);
    let port = server.port;
    let address: Option<IpAddr> = server.address.parse().ok();
    if address.is_none() && !is_host_name(&server.address) {
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
    let named = line.text().len();
    let line = match address {
        Some(address) => line.changeable(SocketAddr::new(address, port)),
        // A name that does not resolve leaves its server down, instead of HAProxy without a start.
        None => line
            .word(format!("{}:{port}", server.address))
            .fixed("init-addr last,libc,none"),
    };
    let line = line.fixed("weight");
    let line = if traits.is_weight_ours {
        line.changeable(server.weight)
    } else {
        line.word(server.weight)
    };
    let before = line.text().len();
    let line = line
        .flag("backup", server.backup)
        .option("maxconn", server.maxconn);
    // Not among the words of the check: a server that is not checked any more would go on starting slowly.
    let slow_start = backend.health_check.as_ref();
    let slow_start = slow_start.and_then(|check| check.slow_start);
    let line = line.option("slowstart", slow_start);
    let line = line.option("cookie", backend.cookie.as_ref().map(|_| &server.name));
    let line = match &server.tls {
        Some(tls) => server_tls(line, tls, node),
        None => line,
    };
    let formed = line.text().len();
    let line = match &backend.health_check {
        Some(check) => {
            let line = line.apart(traits.is_check_apart);
            checked(line, check, server.tls.as_ref())
        }
        None => line,
    };
    let text = line.text();
    let whole = text.get(if address.is_some() { before } else { named }..);
    let whole = whole.unwrap_or_default();
    let check = text.get(formed..).filter(|_| traits.is_check_apart);
    let check = check.unwrap_or_default();
    let form = whole.strip_suffix(check).unwrap_or(whole);
    let rendered = RenderedServer {
        backend: backend.name.clone(),
        name: server.name.clone(),
        address,
        port,
        weight: server.weight,
        is_weight_ours: traits.is_weight_ours,
        admin: AdminState::Ready,
        form: form.trim_start().to_owned(),
        is_checked: backend.health_check.is_some(),
        check: check.trim_start().to_owned(),
        check_port: backend.health_check.as_ref().and_then(|check| check.port),
        maxconn: server.maxconn,
        slow_start: slow_start.map(TimeSpan::duration),
        is_dynamic: traits.is_dynamic && address.is_some(),
    };
    if rendered.is_dynamic {
        line.end_apart();
    } else {
        line.end();
    }
    rendered
}

/// Spelled out at each server and not as `default-server`, which servers that are added at run time do not inherit.
fn checked<'l>(line: Line<'l>, check: &HealthCheck, tls: Option<&ServerTls>) -> Line<'l> {
    line.fixed("check inter")
        .word(check.interval)
        .fixed("rise")
        .word(check.rise)
        .fixed("fall")
        .word(check.fall)
        .option("port", check.port)
        .option("check-sni", tls.and_then(asked_name))
}

fn server_tls<'l>(line: Line<'l>, tls: &ServerTls, node: &NodeContext) -> Line<'l> {
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
    let Some(name) = asked_name(tls) else {
        return line;
    };
    line.fixed("sni")
        .word(format!("str({name})"))
        .option("verifyhost", tls.verify.then_some(name))
}

/// The name that a server is asked for, where it is one.
fn asked_name(tls: &ServerTls) -> Option<&str> {
    tls.server_name.as_deref().filter(|name| is_name(name))
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
