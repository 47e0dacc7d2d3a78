//! Health checks that come and go, and what is known of servers when a new process takes over.

use std::net::SocketAddr;

use hafleet_haproxy::RuntimeSocket;
use hafleet_haproxy::runtime::Stat;
use hafleet_model::report::Change;

use crate::sandbox::{Home, apply, sandboxed, until};
use crate::web::{application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn socket(home: &Home, generation: u64) -> RuntimeSocket {
    RuntimeSocket::new(home.path().join(format!("run/haproxy-{generation}.sock")))
}

async fn stat(socket: &RuntimeSocket, server: &str) -> Stat {
    let stats = socket.stat().await.unwrap();
    stats.server("app", server).unwrap().clone()
}

async fn becomes(socket: &RuntimeSocket, server: &str, status: &str) {
    until(&format!("{server} is {status}"), async || {
        stat(socket, server).await.status == status
    })
    .await;
}

/// A backend whose server `up` is there and whose server `down` is not.
fn spec(up: SocketAddr, maxconn: u16, more: &str) -> String {
    let port = up.port();
    format!(
        "version: 1\nfrontends: [{{name: web, maxconn: {maxconn}, binds: [{{port: 8080}}], default_backend: app}}]\nbackends:\n\
         - {{name: app{more}, servers: [{{name: up, address: 127.0.0.1, port: {port}}}, {{name: down, address: 127.0.0.1, port: 1}}]}}\n"
    )
}

const CHECK: &str = ", health_check: {type: http, interval: 20ms}";

#[test]
fn a_check_that_is_loaded_is_turned_off_and_on_in_the_running_process() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let up = application("up").await;
        let first = apply(&mut proxy, &spec(up, 10, CHECK), 1).await;
        let running = socket(&home, 1);
        for sequence in [2, 4] {
            becomes(&running, "down", "DOWN").await;
            let off = apply(&mut proxy, &spec(up, 10, ""), sequence).await;
            let told = (off.change, off.pid);
            assert_eq!(told, (Change::Runtime, first.pid), "{off:?}");
            assert_eq!(proxy.drift(), Vec::<String>::new());
            let config = home.config();
            assert!(!config.contains(" check ") && !config.contains("httpchk"));
            for server in ["up", "down"] {
                assert_eq!(stat(&running, server).await.status, "no check");
            }
            // An agent that comes anew knows what the process has loaded.
            drop(proxy);
            proxy = home.open().await;
            let on = apply(&mut proxy, &spec(up, 10, CHECK), sequence + 1).await;
            let told = (on.change, on.pid);
            assert_eq!(told, (Change::Runtime, first.pid), "{on:?}");
            assert!(home.config().contains(" check "));
        }
        becomes(&running, "down", "DOWN").await;
        assert_eq!(who(web(), "x", "/").await, "up");

        let other = ", health_check: {type: tcp, interval: 20ms}";
        let applied = apply(&mut proxy, &spec(up, 10, other), 6).await;
        assert_eq!(applied.change, Change::Reload, "it is another check");
        let applied = apply(&mut proxy, &spec(up, 11, ""), 7).await;
        assert_eq!(applied.change, Change::Reload);
        let applied = apply(&mut proxy, &spec(up, 11, CHECK), 8).await;
        assert_eq!(applied.change, Change::Reload, "the process has none");
        becomes(&socket(&home, 4), "down", "DOWN").await;
    });
}
