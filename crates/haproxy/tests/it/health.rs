//! Health checks that come and go, and what is known of servers when a new process takes over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// How much of its share a server gets, in percent: weights are 100.
async fn share(socket: &RuntimeSocket, server: &str) -> u64 {
    stat(socket, server).await.weight.unwrap()
}

#[test]
fn a_slow_start_goes_on_over_a_reload_and_a_server_that_moved_begins_afresh() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let other = application("other").await.port();
        let [(one, one_at), (two, two_at)] = [unheard(), unheard()];
        let spec = |maxconn: u16, two_at: u16| {
            format!(
                "version: 1\nfrontends: [{{name: web, maxconn: {maxconn}, binds: [{{port: 8080}}], default_backend: app}}]\nbackends:\n\
                 - {{name: app, health_check: {{type: tcp, interval: 50ms, slow_start: 6s}}, servers: [{{name: one, address: 127.0.0.1, port: {one_at}}}, \
                 {{name: two, address: 127.0.0.1, port: {two_at}}}]}}\n"
            )
        };
        apply(&mut proxy, &spec(10, two_at), 1).await;
        let before = socket(&home, 1);
        for server in ["one", "two"] {
            becomes(&before, server, "DOWN").await;
        }
        let _heard = [one.listen(64).unwrap(), two.listen(64).unwrap()];
        for server in ["one", "two"] {
            becomes(&before, server, "UP").await;
        }
        let up_at = Instant::now();
        until("one has some of its share", async || {
            share(&before, "one").await >= 30
        })
        .await;
        let applied = apply(&mut proxy, &spec(11, other), 2).await;
        assert_eq!(applied.change, Change::Reload);
        let after = socket(&home, 2);
        let goes_on = share(&after, "one").await;
        assert!((30..100).contains(&goes_on), "{goes_on} %");
        assert_eq!(share(&after, "two").await, 100, "it begins afresh");
        let same = apply(&mut proxy, &spec(11, other), 2).await;
        assert_eq!(same.change, Change::Nothing, "it is no drift");
        let applied = apply(&mut proxy, &spec(12, other), 3).await;
        assert_eq!(applied.change, Change::Reload);
        let last = socket(&home, 3);
        let again = share(&last, "one").await;
        assert!((goes_on..100).contains(&again), "{again} %");
        until("one has all of its share", async || {
            proxy.observe().await;
            share(&last, "one").await == 100
        })
        .await;
        let took = up_at.elapsed();
        let expected = Duration::from_millis(4_500)..Duration::from_millis(9_000);
        assert!(expected.contains(&took), "{took:?}");
    });
}

/// A socket that holds its port, on which nobody listens yet.
fn unheard() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}
