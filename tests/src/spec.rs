//! The specs that tests apply.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Where HAProxy listens on every node.
pub const TRAFFIC_PORT: u16 = 8080;

/// The header by which answers tell which spec served them.
pub const MARKER: &str = "x-marker";

/// A frontend on [`TRAFFIC_PORT`] that marks its answers with `marker`, before `servers`. Another marker needs a
/// reload.
pub fn marked(marker: &str, servers: &[SocketAddr]) -> String {
    on_ports(marker, &[TRAFFIC_PORT], servers)
}

/// [`marked`], on further ports.
pub fn on_ports(marker: &str, ports: &[u16], servers: &[SocketAddr]) -> String {
    let mut text = String::from("version: 1\nfrontends:\n  - name: web\n    binds:\n");
    for port in ports {
        writeln!(text, "      - {{ address: node, port: {port} }}").expect("text takes text");
    }
    write!(
        text,
        "    default_backend: app\n    raw:\n      - http-response set-header {MARKER} {marker}\n\
         backends:\n  - name: app\n    servers:\n"
    )
    .expect("text takes text");
    for (number, server) in servers.iter().enumerate() {
        let (address, port) = (server.ip(), server.port());
        writeln!(
            text,
            "      - {{ name: s{number}, address: {address}, port: {port} }}"
        )
        .expect("text takes text");
    }
    text
}
