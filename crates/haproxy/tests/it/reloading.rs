//! From one configuration to the next: nothing, commands, or a new process, with clients on the line.

use std::net::SocketAddr;

use hafleet_haproxy::{HandoverChoice, Proxy};
use hafleet_model::report::{Change, DataPlaneHealth};

use crate::sandbox::{Home, apply, is_running, rendered, revision, sandboxed, until};
use crate::web::{Traffic, application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(extra: &str, servers: &[(&str, SocketAddr, u16)]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|(name, at, weight)| {
            format!(
                "{{name: {name}, address: '{}', port: {}, weight: {weight}}}",
                at.ip(),
                at.port()
            )
        })
        .collect();
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: app{extra}}}\nbackends:\n- name: app\n  servers: [{}]\n",
        servers.join(", ")
    )
}

#[test]
fn the_least_that_is_needed_is_done() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        assert_eq!(proxy.observe().await.health, DataPlaneHealth::Idle);
        let (a, b) = (application("a").await, application("b").await);

        let first = apply(&mut proxy, &spec("", &[("one", a, 100)]), 1).await;
        assert_eq!(first.change, Change::Start);
        assert_eq!(who(web(), "x", "/").await, "a");

        let same = apply(&mut proxy, &spec("", &[("one", a, 100)]), 2).await;
        assert_eq!((same.change, same.pid), (Change::Nothing, first.pid));
        assert_eq!(proxy.applied_revision(), Some(revision(2)));

        let moved = apply(&mut proxy, &spec("", &[("one", b, 50)]), 3).await;
        assert_eq!((moved.change, moved.pid), (Change::Runtime, first.pid));
        assert_eq!(moved.plan.steps.len(), 2);
        assert_eq!(who(web(), "x", "/").await, "b");
        let line = format!("server one 127.0.0.1:{} weight 50", b.port());
        assert!(home.config().contains(&line), "the file is what runs");

        let limit = ", maxconn: 77";
        let grown = apply(&mut proxy, &spec(limit, &[("one", a, 50)]), 4).await;
        assert_eq!(grown.change, Change::Reload);
        assert_ne!(grown.pid, first.pid);
        assert!(grown.handover.unwrap().starts_with("pass-fds"));
        until("the old process ends", async || !is_running(first.pid)).await;
        let seen = proxy.observe().await;
        assert_eq!(
            (seen.health, seen.pid, seen.old_processes),
            (DataPlaneHealth::Up, Some(grown.pid), 0)
        );
        assert!(seen.handover.starts_with("pass-fds"), "{}", seen.handover);
    });
}

#[test]
fn a_change_by_hand_is_set_back() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let text = spec("", &[("one", a, 100)]);
        apply(&mut proxy, &text, 1).await;
        let socket = hafleet_haproxy::RuntimeSocket::new(home.path().join("run/haproxy-1.sock"));
        let by_hand =
            hafleet_haproxy::runtime::Command::new(&["set", "server", "app/one", "weight", "7"]);
        socket.tell(&by_hand.unwrap()).await.unwrap();
        std::fs::write(home.path().join("haproxy.cfg"), "edited\n").unwrap();
        let applied = apply(&mut proxy, &text, 2).await;
        assert_eq!(
            applied.plan.steps[0].to_string(),
            "set weight of app/one to 100"
        );
        assert_eq!(
            socket
                .servers_state()
                .await
                .unwrap()
                .get("app", "one")
                .unwrap()
                .weight,
            100
        );
        assert!(home.config().contains("frontend web"));
        let stat = socket.stat().await.unwrap();
        assert_eq!(stat.server("app", "one").unwrap().weight, Some(100));
    });
}

async fn reload_under_traffic(choice: HandoverChoice) -> (Vec<String>, u64) {
    let home = Home::new();
    let mut settings = home.settings();
    settings.handover = choice;
    let mut proxy = Proxy::open(settings).await.unwrap();
    let a = application("a").await;
    apply(&mut proxy, &spec("", &[("one", a, 100)]), 1).await;
    let traffic = Traffic::begin(web(), 8);
    for sequence in 2..7 {
        traffic.flows(100).await;
        let text = spec(
            &format!(", maxconn: {}", 1000 + sequence),
            &[("one", a, 100)],
        );
        let applied = apply(&mut proxy, &text, sequence).await;
        assert_eq!(applied.change, Change::Reload);
    }
    traffic.flows(100).await;
    let answered = traffic.answered();
    let failures = traffic.end().await;
    proxy.stop(std::time::Duration::from_secs(2)).await;
    (failures, answered)
}

#[test]
fn reloads_under_traffic_lose_nothing() {
    sandboxed(async || {
        let (failures, answered) = reload_under_traffic(HandoverChoice::Auto).await;
        assert!(
            failures.is_empty(),
            "{} of {answered}: {:?}",
            failures.len(),
            failures.first()
        );
    });
}

#[test]
fn a_forced_handover_of_none_still_serves() {
    sandboxed(async || {
        let (failures, answered) = reload_under_traffic(HandoverChoice::None).await;
        // Without a round trip to speak of almost nothing is lost, but what waits in a queue may be.
        assert!(
            u64::try_from(failures.len()).unwrap() < answered / 20,
            "{failures:?}"
        );
    });
}

#[test]
fn looking_does_not_wait_for_a_reload() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        apply(&mut proxy, &spec("", &[("one", a, 100)]), 1).await;
        let inspector = proxy.inspector();
        let wanted = rendered(&proxy, &spec(", maxconn: 7", &[("one", a, 100)]));
        let candidate = rendered(&proxy, &spec("", &[("one", a, 3)]));
        let (applied, looked) = tokio::join!(proxy.apply(&wanted, revision(2)), async {
            inspector.check(&candidate).await.unwrap();
            inspector.plan(&candidate).await.unwrap()
        });
        assert_eq!(applied.unwrap().change, Change::Reload);
        assert!(matches!(looked.change, Change::Runtime | Change::Reload));
    });
}

#[test]
fn a_template_runs_as_it_is() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let text = format!(
            "version: 1\nvars: {{port: {}}}\ntemplate: |\n  defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    \
             timeout server 1s\n  listen web\n    bind {{{{ node.address }}}}:8080\n    server a 127.0.0.1:{{{{ vars.port }}}}\n",
            a.port()
        );
        assert_eq!(apply(&mut proxy, &text, 1).await.change, Change::Start);
        assert_eq!(who(web(), "x", "/").await, "a");
        assert_eq!(apply(&mut proxy, &text, 2).await.change, Change::Nothing);
        let changed = text.replace("timeout client 1s", "timeout client 2s");
        let applied = apply(&mut proxy, &changed, 3).await;
        assert_eq!(applied.plan.reason, "defaults changed");
    });
}
