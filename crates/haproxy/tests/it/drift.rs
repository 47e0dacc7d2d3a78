//! Limits and checks that somebody changed over the runtime socket: seen, said and put right; what operators ask of servers
//! is not among it.

use hafleet_haproxy::runtime::{AdminState, Command};
use hafleet_haproxy::{Proxy, RuntimeSocket};
use hafleet_model::report::Change;
use rustix::process::Signal;

use crate::sandbox::{Home, apply, is_running, kill, rendered, revision, sandboxed, until};
use crate::web::{application, who};

fn socket(home: &Home, generation: u64) -> RuntimeSocket {
    RuntimeSocket::new(home.path().join(format!("run/haproxy-{generation}.sock")))
}

async fn tell(socket: &RuntimeSocket, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    socket.tell(&Command::new(&words).unwrap()).await.unwrap();
}

fn spec(app: u16) -> String {
    format!(
        "version: 1\nfrontends: [{{name: web, maxconn: 100, binds: [{{port: 8080}}], default_backend: app}}]\nbackends:\n\
         - {{name: app, health_check: {{type: tcp, port: {app}}}, servers: [{{name: a, address: 127.0.0.1, port: {app}, maxconn: 7}}]}}\n\
         - {{name: other, health_check: {{type: tcp}}, servers: [{{name: b, address: 127.0.0.1, port: {app}}}]}}\n"
    )
}

#[test]
fn limits_and_checks_that_somebody_changed_are_put_right_and_said() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let app = application("a").await.port();
        let first = apply(&mut proxy, &spec(app), 1).await;
        let same = apply(&mut proxy, &spec(app), 1).await;
        assert_eq!(same.change, Change::Nothing, "{same:?}");
        let changes = [
            (
                "set maxconn frontend web 5",
                "maxconn of frontend web was changed from 100 to 5",
            ),
            (
                "set maxconn server app/a 3",
                "maxconn of app/a was changed from 7 to 3",
            ),
            ("set maxconn global 50", "maxconn was lowered to 50"),
            (
                "set server app/a check-port 9",
                "check of app/a was sent to port 9",
            ),
            (
                "set server other/b check-port 9",
                "check of other/b was sent to port 9",
            ),
            (
                "set server other/b check-addr 127.0.0.9",
                "check of other/b was sent to 127.0.0.9",
            ),
        ];
        let running = socket(&home, 1);
        for (by_hand, _) in changes {
            tell(&running, by_hand).await;
        }
        let applied = apply(&mut proxy, &spec(app), 1).await;
        let told = (applied.change, applied.pid);
        assert_eq!(told, (Change::Runtime, first.pid), "{applied:?}");
        let drift = proxy.drift();
        for (_, words) in changes {
            assert!(
                drift.iter().any(|line| line.contains(words)),
                "{words}: {drift:?}"
            );
        }
        assert_eq!(drift.len(), changes.len(), "{drift:?}");
        let same = apply(&mut proxy, &spec(app), 1).await;
        assert_eq!(same.change, Change::Nothing, "{same:?}");
        let info = running.info().await.unwrap();
        assert!(info.max_connections > 50);
    });
}

#[test]
fn a_frontend_that_somebody_shut_down_takes_a_reload() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let app = application("a").await;
        apply(&mut proxy, &spec(app.port()), 1).await;
        tell(&socket(&home, 1), "shutdown frontend web").await;
        let applied = apply(&mut proxy, &spec(app.port()), 1).await;
        assert_eq!(applied.change, Change::Reload);
        assert!(applied.plan.reason.contains("frontend web was shut down"));
        assert_eq!(who("127.0.0.1:8080".parse().unwrap(), "x", "/").await, "a");
    });
}

#[test]
fn what_operators_ask_of_servers_outlives_haproxy_and_is_no_drift() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let app = application("a").await.port();
        let state = async |generation: u64, backend: &str, server: &str| {
            let states = socket(&home, generation).servers_state().await.unwrap();
            states.get(backend, server).unwrap().admin()
        };
        let first = apply(&mut proxy, &spec(app), 1).await;
        let asked = |proxy: &Proxy, b: AdminState, maxconn: u16| {
            let text = spec(app).replace("maxconn: 100", &format!("maxconn: {maxconn}"));
            let mut wanted = rendered(proxy, &text);
            assert!(wanted.set_admin("app", "a", AdminState::Drain));
            assert!(wanted.set_admin("other", "b", b));
            wanted
        };
        let wanted = asked(&proxy, AdminState::Maint, 100);
        let applied = proxy.apply(&wanted, revision(2)).await.unwrap();
        let told = (applied.change, applied.pid);
        assert_eq!(told, (Change::Runtime, first.pid), "{applied:?}");
        assert_eq!(proxy.drift(), Vec::<String>::new());
        assert_eq!(state(1, "app", "a").await, AdminState::Drain);
        assert_eq!(state(1, "other", "b").await, AdminState::Maint);
        let same = proxy.apply(&wanted, revision(2)).await.unwrap();
        assert_eq!(same.change, Change::Nothing, "{same:?}");

        // A reload takes both over; whoever starts HAProxy from the file gets what can be said there.
        let wanted = asked(&proxy, AdminState::Maint, 101);
        let applied = proxy.apply(&wanted, revision(3)).await.unwrap();
        assert_eq!(applied.change, Change::Reload);
        assert_eq!(state(2, "app", "a").await, AdminState::Drain);
        assert_eq!(state(2, "other", "b").await, AdminState::Maint);
        kill(applied.pid, Signal::KILL);
        until("it is dead", async || !is_running(applied.pid)).await;
        let mut start = std::process::Command::new("haproxy");
        start
            .args(["-D", "-f"])
            .arg(home.path().join("haproxy.cfg"));
        start.arg("-p").arg(home.path().join("by-hand.pid"));
        assert!(start.status().unwrap().success());
        assert_eq!(state(2, "other", "b").await, AdminState::Maint);
        let by_hand = std::fs::read_to_string(home.path().join("by-hand.pid")).unwrap();
        let by_hand: u32 = by_hand.trim().parse().unwrap();
        kill(by_hand, Signal::KILL);
        until("it is dead", async || !is_running(by_hand)).await;

        // The agent's own start knows the rest, and serves it at once.
        let applied = proxy.apply(&wanted, revision(3)).await.unwrap();
        assert_eq!(applied.change, Change::Start);
        assert_eq!(state(3, "app", "a").await, AdminState::Drain);
        let back = asked(&proxy, AdminState::Ready, 101);
        let applied = proxy.apply(&back, revision(4)).await.unwrap();
        assert_eq!(applied.change, Change::Runtime);
        assert_eq!(state(3, "other", "b").await, AdminState::Ready);
        assert_eq!(proxy.drift(), Vec::<String>::new());
    });
}
