//! What changes without a new process: servers, routes, and what somebody else did.

use std::net::SocketAddr;
use std::time::Duration;

use hafleet_haproxy::RuntimeSocket;
use hafleet_haproxy::runtime::Command;
use hafleet_model::report::Change;
use rustix::process::Signal;

use crate::sandbox::{Home, apply, is_running, kill, rendered, sandboxed, until};
use crate::web::{Traffic, application, ask, slow_application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(routes: &str, servers: &str) -> String {
    format!(
        "version: 1\nglobal: {{hard_stop_after: 2s}}\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: app, routes: [{routes}]}}\n\
         backends:\n- {{name: app, servers: [{servers}]}}\n- {{name: other, raw: ['http-request return status 200 content-type text/plain string other']}}\n"
    )
}

fn server(name: &str, at: SocketAddr) -> String {
    format!(
        "{{name: {name}, address: {}, port: {}}}",
        at.ip(),
        at.port()
    )
}

fn socket(home: &Home, generation: u64) -> RuntimeSocket {
    RuntimeSocket::new(home.path().join(format!("run/haproxy-{generation}.sock")))
}

async fn tell(socket: &RuntimeSocket, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    socket.tell(&Command::new(&words).unwrap()).await.unwrap();
}

#[test]
fn servers_come_and_go_in_the_running_process() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let (a, b) = (application("a").await, application("b").await);
        let first = apply(&mut proxy, &spec("", &server("a", a)), 1).await;
        let traffic = Traffic::begin(web(), 4);
        traffic.flows(20).await;

        let both = format!("{}, {}", server("a", a), server("b", b));
        let grown = apply(&mut proxy, &spec("", &both), 2).await;
        assert_eq!(
            (grown.change, grown.pid),
            (Change::Runtime, first.pid),
            "{grown:?}"
        );
        let socket = socket(&home, 1);
        until("b serves", async || {
            let stat = socket.stat().await.unwrap();
            stat.server("app", "b").unwrap().sessions_total > Some(0)
        })
        .await;
        assert!(home.config().contains("server b "), "the file is what runs");

        let left = apply(&mut proxy, &spec("", &server("b", b)), 3).await;
        assert_eq!(
            (left.change, left.pid),
            (Change::Runtime, first.pid),
            "{left:?}"
        );
        traffic.flows(20).await;
        assert_eq!(traffic.end().await, Vec::<String>::new());
        assert_eq!(who(web(), "x", "/").await, "b");
        // HAProxy lets go of idle connections some seconds after their last use (`pool-purge-delay`).
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        let wanted = spec("", &server("b", b));
        while apply(&mut proxy, &wanted, 3).await.change != Change::Nothing {
            assert!(tokio::time::Instant::now() < end, "a never left");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let state = socket.servers_state().await.unwrap();
        assert!(state.get("app", "a").is_none());
    });
}

#[test]
fn a_server_with_requests_under_way_leaves_when_they_have_ended() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let (slow, b) = (
            slow_application("slow", Duration::from_millis(1500)).await,
            application("b").await,
        );
        let first = apply(&mut proxy, &spec("", &server("slow", slow)), 1).await;
        let requests: Vec<_> = (0..500)
            .map(|_| tokio::spawn(async { ask(web(), "x", "/", "").await }))
            .collect();
        let socket = socket(&home, 1);
        until("all are under way", async || {
            let stat = socket.stat().await.unwrap();
            stat.server("app", "slow").unwrap().sessions == Some(500)
        })
        .await;
        let wanted = spec("", &server("b", b));
        let begun = apply(&mut proxy, &wanted, 2).await;
        assert_eq!((begun.change, begun.pid), (Change::Runtime, first.pid));
        assert_eq!(who(web(), "x", "/").await, "b", "nothing new goes there");
        for request in requests {
            assert_eq!(request.await.unwrap().unwrap().body, "slow");
        }
        until("it is gone", async || {
            apply(&mut proxy, &wanted, 2).await.change == Change::Nothing
        })
        .await;
        assert!(
            socket
                .servers_state()
                .await
                .unwrap()
                .get("app", "slow")
                .is_none()
        );
    });
}

#[test]
fn routes_to_backends_that_are_there_come_and_go_in_the_running_process() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = server("a", application("a").await);
        let first = apply(&mut proxy, &spec("{host: o.com, backend: other}", &a), 1).await;
        assert_eq!(who(web(), "o.com", "/").await, "other");
        let changes = [
            (
                "{host: o.com, backend: other}, {host: '*.o.com', path_prefix: /p, backend: other}",
                "x.o.com",
                "/p/q",
                "other",
            ),
            (
                "{host: '*.x.o.com', backend: app}, {host: '*.o.com', backend: other}",
                "y.x.o.com",
                "/",
                "a",
            ),
            (
                "{host: '*.o.com', backend: other}, {path_prefix: /n, backend: other}",
                "o.com",
                "/n",
                "other",
            ),
            (
                "{host: o.com, backend: app}, {path_prefix: /n, backend: other}",
                "o.com",
                "/n",
                "a",
            ),
            (
                "{path_prefix: /n, backend: other}, {host: o.com, backend: app}",
                "o.com",
                "/n",
                "other",
            ),
        ];
        for (sequence, (routes, host, path, expected)) in (2..).zip(changes) {
            let applied = apply(&mut proxy, &spec(routes, &a), sequence).await;
            assert_eq!(
                (applied.change, applied.pid),
                (Change::Runtime, first.pid),
                "{applied:?}"
            );
            assert_eq!(who(web(), host, path).await, expected, "{routes}");
            let again = apply(&mut proxy, &spec(routes, &a), sequence).await;
            assert_eq!(again.change, Change::Nothing, "{again:?}");
        }
        // Whoever starts HAProxy from the file gets the same.
        kill(first.pid, Signal::KILL);
        until("it is dead", async || !is_running(first.pid)).await;
        let started = std::process::Command::new("haproxy")
            .args(["-D", "-f"])
            .arg(home.path().join("haproxy.cfg"))
            .status();
        assert!(started.unwrap().success());
        assert_eq!(who(web(), "o.com", "/n").await, "other");
        assert_eq!(who(web(), "o.com", "/").await, "a");
        let dirs = std::fs::read_dir(home.path().join("maps")).unwrap().count();
        assert!(dirs <= 2, "{dirs} directories of maps");
    });
}

#[test]
fn what_somebody_else_did_is_put_right_and_said() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = server("a", application("a").await);
        let wanted = spec("{host: o.com, backend: other}", &a);
        let first = apply(&mut proxy, &wanted, 1).await;
        let socket = socket(&home, 1);
        let maps = socket.maps().await.unwrap();
        let hosts = maps
            .iter()
            .find(|map| map.path.ends_with("web.hosts.map"))
            .unwrap();
        for words in [
            "set server app/a state maint".to_owned(),
            "disable frontend web".to_owned(),
            "add server app/x 127.0.0.1:1".to_owned(),
            "enable server app/x".to_owned(),
            format!("del map #{} o.com", hosts.id),
        ] {
            tell(&socket, &words).await;
        }
        let applied = apply(&mut proxy, &wanted, 1).await;
        assert_eq!(
            (applied.change, applied.pid),
            (Change::Runtime, first.pid),
            "{applied:?}"
        );
        let drift = proxy.drift().join("\n");
        for words in [
            "app/a is in state maint",
            "frontend web",
            "app/x was added",
            "map web.hosts",
        ] {
            assert!(drift.contains(words), "{drift}");
        }
        assert_eq!(who(web(), "x", "/").await, "a");
        assert_eq!(who(web(), "o.com", "/").await, "other");
        let same = apply(&mut proxy, &wanted, 1).await;
        assert_eq!(same.change, Change::Nothing, "{same:?}");
        assert_eq!(proxy.drift(), Vec::<String>::new());
    });
}

#[test]
fn health_is_carried_over_a_reload_and_a_server_that_moved_begins_afresh() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let at = application("up").await;
        let up = server("up", at);
        let text = |maxconn: u16, down: u16| {
            format!(
                "version: 1\nfrontends:\n- {{name: web, maxconn: {maxconn}, binds: [{{port: 8080}}], default_backend: app}}\nbackends:\n\
                 - name: app\n  health_check: {{type: tcp, interval: 100ms, fall: 2}}\n  servers: [{up}, {{name: down, address: 127.0.0.1, port: {down}}}]\n"
            )
        };
        apply(&mut proxy, &text(10, 1), 1).await;
        let first = socket(&home, 1);
        until("one is down and one was checked", async || {
            let stat = first.stat().await.unwrap();
            stat.server("app", "down").unwrap().status == "DOWN"
                && stat
                    .server("app", "up")
                    .unwrap()
                    .field("check_status")
                    .is_some_and(|check| check.ends_with("L4OK"))
        })
        .await;
        let applied = apply(&mut proxy, &text(11, 1), 2).await;
        assert_eq!(applied.change, Change::Reload);
        let stat = socket(&home, 2).stat().await.unwrap();
        assert_eq!(stat.server("app", "down").unwrap().status, "DOWN");
        let up_now = stat.server("app", "up").unwrap();
        assert_eq!(up_now.status, "UP");
        // A star says that a check is under way.
        let check = up_now.field("check_status").unwrap_or_default();
        assert_eq!(check.trim_start_matches("* "), "L4OK", "it is not in limbo");
        for _ in 0..20 {
            assert_eq!(who(web(), "x", "/").await, "up");
        }
        apply(&mut proxy, &text(12, at.port()), 3).await;
        let stat = socket(&home, 3).stat().await.unwrap();
        assert_ne!(
            stat.server("app", "down").unwrap().status,
            "DOWN",
            "it begins afresh"
        );
        let kept = std::fs::read_to_string(home.path().join("server-state")).unwrap();
        assert_eq!(
            kept.lines().count(),
            2,
            "no later start takes it for news: {kept}"
        );
    });
}

/// Figures that a release build has to reach; the debug build only shows that it works.
#[test]
fn one_server_more_in_a_backend_of_a_thousand_is_quick() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let at: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let all: Vec<_> = (0..1000).map(|n| server(&format!("s{n:04}"), at)).collect();
        apply(&mut proxy, &spec("", &all.join(", ")), 1).await;
        let wanted = rendered(
            &proxy,
            &spec("", &format!("{}, {}", all.join(", "), server("x", at))),
        );
        let applied = proxy
            .apply(&wanted, crate::sandbox::revision(2))
            .await
            .unwrap();
        assert_eq!(applied.change, Change::Runtime, "{:?}", applied.plan.reason);
        eprintln!("one server more: {:?}", applied.duration);
        assert!(
            applied.duration < Duration::from_secs(1),
            "{:?}",
            applied.duration
        );
    });
}

#[test]
fn ten_thousand_servers_are_rendered_and_planned_quickly() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let at: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut text = "version: 1\nbackends:\n".to_owned();
        for backend in 0..10 {
            let all: Vec<_> = (0..1000).map(|n| server(&format!("s{n:04}"), at)).collect();
            text.push_str(&format!(
                "- {{name: b{backend}, servers: [{}]}}\n",
                all.join(", ")
            ));
        }
        text.push_str("frontends: [{name: web, binds: [{port: 8080}], default_backend: b0}]\n");
        apply(&mut proxy, &text, 1).await;
        let spec = hafleet_model::spec::load(&text).unwrap().spec;
        let begun = std::time::Instant::now();
        let wanted = proxy.render(&spec).unwrap();
        let rendered = begun.elapsed();
        let plan = proxy.plan(&wanted).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(plan.change, Change::Nothing, "{}", plan.reason);
        eprintln!("10,000 servers: rendered in {rendered:?}, with the plan {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
