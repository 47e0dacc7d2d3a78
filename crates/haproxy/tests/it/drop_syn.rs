//! The handover that drops first packets: clients wait and lose nothing, and no death leaves a rule that stops traffic.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use hafleet_haproxy::{HandoverChoice, Proxy, Settings};
use hafleet_model::report::Change;
use tokio::net::TcpStream;

use crate::sandbox::{Home, apply, run, sandboxed_as_root, settings_in, until};
use crate::web::{Traffic, application, who};

/// Where the agent that is to die lives.
const VICTIM: &str = "HAFLEET_TEST_VICTIM";

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(app: u16, maxconn: u64) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}, {{port: 8081, address: 127.0.0.1}}, {{port: 8082, address: ::1}}], \
         maxconn: {maxconn}, default_backend: app}}\nbackends:\n- name: app\n  servers: [{{name: one, address: 127.0.0.1, port: {app}}}]\n"
    )
}

fn dropping(mut settings: Settings, settle: Duration) -> Settings {
    settings.handover = HandoverChoice::DropSyn;
    settings.settle = settle;
    settings
}

/// All rules of both families that are ours.
fn rules() -> String {
    let list = |program| {
        let output = Command::new(program).arg("-S").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let all = list("iptables") + &list("ip6tables");
    all.lines()
        .filter(|line| line.contains("HAFLEET"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the kernel's lists hold an entry, that is, whether rules are armed.
fn is_armed() -> bool {
    let Ok(lists) = std::fs::read_dir("/proc/net/xt_recent") else {
        return false;
    };
    lists
        .flatten()
        .any(|list| std::fs::read_to_string(list.path()).is_ok_and(|text| text.contains("src=")))
}

#[test]
fn clients_wait_and_lose_nothing() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let mut proxy = Proxy::open(dropping(home.settings(), Duration::from_millis(20)))
            .await
            .unwrap();
        let a = application("a").await.port();
        apply(&mut proxy, &spec(a, 100), 1).await;
        let traffic = Traffic::begin(web(), 8);
        traffic.flows(100).await;
        let applied = apply(&mut proxy, &spec(a, 101), 2).await;
        assert_eq!(applied.change, Change::Reload);
        assert!(
            applied.handover.as_ref().unwrap().starts_with("drop-syn: "),
            "{applied:?}"
        );
        assert!(!applied.handover.unwrap().contains("but"));
        traffic.flows(100).await;
        assert_eq!(traffic.end().await, Vec::<String>::new());
        assert_eq!(rules(), "", "removed when it was done");
        assert!(!home.path().join("drop-syn").exists());
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn a_settle_time_beyond_the_window_is_refused() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let error = Proxy::open(dropping(home.settings(), Duration::from_secs(2)))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("settle"), "{error}");
    });
}

#[test]
fn a_death_with_armed_rules_stops_nothing_for_long() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "drop_syn::die_with_armed_rules",
                "--nocapture",
                "--ignored",
            ])
            .env(VICTIM, home.path())
            .spawn()
            .unwrap();
        until("rules are armed", async || is_armed()).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        let died = Instant::now();
        assert!(rules().contains("-j DROP"), "they are still there");
        let blocked =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(web())).await;
        assert!(blocked.is_err(), "and at work");
        until("new connections pass again", async || {
            let tried = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(web()));
            matches!(tried.await, Ok(Ok(_)))
        })
        .await;
        assert!(
            died.elapsed() < Duration::from_millis(2500),
            "{:?}",
            died.elapsed()
        );

        let mut proxy = home.open().await;
        assert_eq!(rules(), "", "swept by the next agent");
        let a = application("a").await.port();
        apply(&mut proxy, &spec(a, 102), 3).await;
        assert_eq!(who(web(), "x", "/").await, "a");
        proxy.stop(Duration::from_secs(2)).await;
    });
}

/// The agent that dies in [`a_death_with_armed_rules_stops_nothing_for_long`]; nothing by itself.
#[test]
#[ignore = "it is a part of another test, which runs it"]
fn die_with_armed_rules() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    run(async || {
        let settings = settings_in(dir.as_ref());
        let mut proxy = Proxy::open(dropping(settings, Duration::from_millis(1500)))
            .await
            .unwrap();
        apply(&mut proxy, &spec(9, 100), 1).await;
        apply(&mut proxy, &spec(9, 101), 2).await;
        std::future::pending::<()>().await;
    });
}
