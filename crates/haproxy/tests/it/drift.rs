//! Limits and checks that somebody changed over the runtime socket: seen, said and put right.

use hafleet_haproxy::RuntimeSocket;
use hafleet_haproxy::runtime::Command;
use hafleet_model::report::Change;

use crate::sandbox::{Home, apply, sandboxed};
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
