//! Each strategy under traffic, with each firewall: clients lose nothing, and nothing is left behind.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hafleet_haproxy::{ApplyError, FirewallChoice, HandoverChoice, Proxy, Settings};
use hafleet_model::report::Change;

use crate::firewall::{has, rules};
use crate::sandbox::{
    Home, apply, is_running, rendered, revision, run, sandboxed_as_root, settings_in, until,
};
use crate::web::{KeptAlive, Traffic, application, who};

fn v4() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn v6() -> SocketAddr {
    "[::1]:8082".parse().unwrap()
}

fn spec(app: u16, maxconn: u64, global: &str) -> String {
    format!(
        "version: 1\nglobal: {{raw: [{global}]}}\nfrontends:\n- {{name: web, binds: [{{port: 8080}}, {{port: 8081, address: 127.0.0.1}}, \
         {{port: 8082, address: ::1}}], maxconn: {maxconn}, default_backend: app}}\nbackends:\n- name: app\n  \
         servers: [{{name: one, address: 127.0.0.1, port: {app}}}]\n"
    )
}

fn with(mut settings: Settings, choice: HandoverChoice, firewall: FirewallChoice) -> Settings {
    settings.handover = choice;
    settings.firewall = firewall;
    settings.settle = Duration::from_millis(20);
    settings
}

/// Five reloads under traffic of both families; what is said of the last handover.
async fn reload_under_traffic(settings: Settings, global: &str) -> String {
    let dir = settings.config_dir.clone();
    let mut proxy = Proxy::open(settings).await.unwrap();
    let a = application("a").await.port();
    apply(&mut proxy, &spec(a, 100, global), 1).await;
    let (four, six) = (Traffic::begin(v4(), 6), Traffic::begin(v6(), 2));
    let mut words = String::new();
    for sequence in 2..7 {
        four.flows(60).await;
        six.flows(20).await;
        let applied = apply(&mut proxy, &spec(a, 100 + sequence, global), sequence).await;
        assert_eq!(applied.change, Change::Reload);
        words = applied.handover.unwrap();
        assert!(!words.contains("; but "), "{words}");
    }
    four.flows(60).await;
    assert_eq!(four.end().await, Vec::<String>::new());
    assert_eq!(six.end().await, Vec::<String>::new());
    assert_eq!(rules(), "", "removed when it was done");
    assert!(!dir.join("drop-syn").exists());
    until("the old ones end", async || {
        proxy.observe().await.old_processes == 0
    })
    .await;
    proxy.stop(Duration::from_secs(2)).await;
    words
}

async fn with_firewall(choice: HandoverChoice, firewall: FirewallChoice, programs: &[&str]) {
    if !has(programs) {
        return;
    }
    let home = Home::new();
    let settings = with(home.settings(), choice, firewall);
    let words = reload_under_traffic(settings, "").await;
    assert!(words.contains("-syn: the settings ask for it"), "{words}");
}

#[test]
fn drop_syn_with_iptables_legacy() {
    sandboxed_as_root(async || {
        let programs = ["iptables-legacy", "ip6tables-legacy"];
        let kind = FirewallChoice::IptablesLegacy;
        with_firewall(HandoverChoice::DropSyn, kind, &programs).await;
    });
}

#[test]
fn drop_syn_with_iptables_nft() {
    sandboxed_as_root(async || {
        let programs = ["iptables-nft", "ip6tables-nft"];
        let kind = FirewallChoice::IptablesNft;
        with_firewall(HandoverChoice::DropSyn, kind, &programs).await;
    });
}

#[test]
fn drop_syn_with_nft() {
    sandboxed_as_root(async || {
        with_firewall(HandoverChoice::DropSyn, FirewallChoice::Nft, &["nft"]).await;
    });
}

#[test]
fn hold_syn_with_iptables_legacy() {
    sandboxed_as_root(async || {
        let programs = ["iptables-legacy", "ip6tables-legacy"];
        let kind = FirewallChoice::IptablesLegacy;
        with_firewall(HandoverChoice::HoldSyn, kind, &programs).await;
    });
}

#[test]
fn hold_syn_with_iptables_nft() {
    sandboxed_as_root(async || {
        let programs = ["iptables-nft", "ip6tables-nft"];
        let kind = FirewallChoice::IptablesNft;
        with_firewall(HandoverChoice::HoldSyn, kind, &programs).await;
    });
}

#[test]
fn migrate_sets_the_kernels_switch_and_loses_nothing() {
    sandboxed_as_root(async || {
        let switch = || std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
        if switch().is_err() {
            eprintln!("skipped: the kernel has no tcp_migrate_req");
            return;
        }
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::Migrate,
            FirewallChoice::Auto,
        );
        assert_eq!(switch().unwrap().trim(), "0");
        let words = reload_under_traffic(settings, "").await;
        assert!(words.starts_with("migrate: "), "{words}");
        assert_eq!(switch().unwrap().trim(), "1");
    });
}

#[test]
fn auto_passes_sockets_and_has_the_kernel_move_the_rest() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let words = reload_under_traffic(home.settings(), "").await;
        assert!(
            words.starts_with("pass-fds: ") && words.contains("the kernel moves"),
            "{words}"
        );
        let home = Home::new();
        // HAProxy 2.6 does not find an IPv6 address among the sockets that it is passed.
        let words = reload_under_traffic(home.settings(), "noreuseport").await;
        let is_known = words.starts_with("pass-fds: ") || words.starts_with("hold-syn: ");
        assert!(is_known, "{words}");
    });
}

#[test]
fn where_ports_cannot_be_shared_connections_wait_for_the_next_process() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::HoldSyn,
            FirewallChoice::Auto,
        );
        let words = reload_under_traffic(settings, "noreuseport").await;
        assert!(words.starts_with("hold-syn: "), "{words}");
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::Migrate,
            FirewallChoice::Auto,
        );
        let mut proxy = Proxy::open(settings).await.unwrap();
        apply(&mut proxy, &spec(9, 100, "noreuseport"), 1).await;
        let wanted = rendered(&proxy, &spec(9, 101, "noreuseport"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("noreuseport"),
            "{error}"
        );
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn where_ports_cannot_be_shared_a_failed_start_brings_the_last_one_back() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::HoldSyn,
            FirewallChoice::Auto,
        );
        let mut proxy = Proxy::open(settings).await.unwrap();
        let a = application("a").await.port();
        let first = apply(&mut proxy, &spec(a, 100, "noreuseport"), 1).await;
        let before = home.config();
        let traffic = Traffic::begin(v4(), 4);
        traffic.flows(50).await;
        let text = spec(a, 101, "noreuseport").replace(
            "port: 8081, address: 127.0.0.1",
            "port: 8081, address: 192.0.2.77",
        );
        let wanted = rendered(&proxy, &text);
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(matches!(error, ApplyError::Start(_)), "{error}");
        traffic.flows(50).await;
        assert_eq!(traffic.end().await, Vec::<String>::new());
        assert_eq!(home.config(), before);
        assert_eq!(proxy.applied_revision(), Some(revision(1)));
        let again = proxy.observe().await.pid.unwrap();
        assert_ne!(again, first.pid);
        drop(proxy);
        let mut proxy = home.open().await;
        assert_eq!(proxy.observe().await.pid, Some(again), "it was noted");
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn clients_that_keep_their_connections_lose_nothing() {
    sandboxed_as_root(async || {
        for choice in [HandoverChoice::Auto, HandoverChoice::Migrate] {
            let home = Home::new();
            let settings = with(home.settings(), choice, FirewallChoice::Auto);
            let mut proxy = Proxy::open(settings).await.unwrap();
            let a = application("a").await.port();
            apply(&mut proxy, &spec(a, 100, ""), 1).await;
            let clients = KeptAlive::begin(v4(), 20);
            for sequence in 2..8 {
                clients.flows(100).await;
                apply(&mut proxy, &spec(a, 100 + sequence, ""), sequence).await;
            }
            clients.flows(100).await;
            assert_eq!(clients.end().await, Vec::<String>::new());
            proxy.stop(Duration::from_secs(2)).await;
        }
    });
}

#[test]
fn a_firewall_that_cannot_hold_is_an_error_that_costs_nothing() {
    sandboxed_as_root(async || {
        if !has(&["nft"]) {
            return;
        }
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::HoldSyn,
            FirewallChoice::Nft,
        );
        let mut proxy = Proxy::open(settings).await.unwrap();
        let a = application("a").await.port();
        let first = apply(&mut proxy, &spec(a, 100, ""), 1).await;
        let wanted = rendered(&proxy, &spec(a, 101, ""));
        match proxy.apply(&wanted, revision(2)).await {
            Ok(_) => eprintln!("this kernel's nft has queues"),
            Err(error) => {
                assert!(matches!(error, ApplyError::Handover(_)), "{error}");
                assert!(is_running(first.pid) && !error.is_permanent());
                let words = hafleet_model::with_causes(&error);
                let is_kernels = words.contains("could not") || words.contains("Could not");
                assert!(is_kernels && !words.contains("syntax"), "{words}");
            }
        }
        assert_eq!(who(v4(), "x", "/").await, "a");
        assert_eq!(rules(), "");
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn a_lock_that_another_program_holds_costs_nothing() {
    sandboxed_as_root(async || {
        if !has(&["iptables-legacy", "ip6tables-legacy", "flock"]) {
            return;
        }
        // A lock of our own, so that other tests do not wait for it.
        let mount = ["-t", "tmpfs", "none", "/run"];
        assert!(
            Command::new("mount")
                .args(mount)
                .status()
                .unwrap()
                .success()
        );
        let home = Home::new();
        let settings = with(
            home.settings(),
            HandoverChoice::DropSyn,
            FirewallChoice::IptablesLegacy,
        );
        let mut proxy = Proxy::open(settings).await.unwrap();
        let a = application("a").await.port();
        apply(&mut proxy, &spec(a, 100, ""), 1).await;
        let mut holder = Command::new("flock")
            .args(["--no-fork", "/run/xtables.lock", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let is_held = async || {
            let mut tried = Command::new("flock");
            tried.args(["-n", "/run/xtables.lock", "true"]);
            !tried.status().unwrap().success()
        };
        until("the lock is held", is_held).await;
        let traffic = Traffic::begin(v4(), 4);
        let wanted = rendered(&proxy, &spec(a, 101, ""));
        let begun = Instant::now();
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(10));
        let is_transient = matches!(error, ApplyError::Handover(_)) && !error.is_permanent();
        assert!(is_transient, "{error}");
        assert_eq!(traffic.end().await, Vec::<String>::new());
        assert!(home.path().join("drop-syn").exists(), "to be looked after");
        holder.kill().unwrap();
        holder.wait().unwrap();
        until("the lock is free", async || !is_held().await).await;
        let applied = proxy.apply(&wanted, revision(2)).await.unwrap();
        assert!(applied.handover.unwrap().starts_with("drop-syn: "));
        assert_eq!(rules(), "");
        assert!(!home.path().join("drop-syn").exists());
        proxy.stop(Duration::from_secs(2)).await;
    });
}

/// Where the agent that lacks a capability lives.
const POWERLESS: &str = "HAFLEET_TEST_POWERLESS";

#[test]
fn without_the_capability_it_is_said_and_nothing_is_touched() {
    sandboxed_as_root(async || {
        if !has(&["setpriv"]) {
            return;
        }
        let home = Home::new();
        let status = Command::new("setpriv")
            .args(["--bounding-set", "-net_admin"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "handover::powerless", "--nocapture", "--ignored"])
            .env(POWERLESS, home.path())
            .status();
        assert!(status.unwrap().success());
    });
}

/// The agent of [`without_the_capability_it_is_said_and_nothing_is_touched`]; nothing by itself.
#[test]
#[ignore = "it is a part of another test, which runs it"]
fn powerless() {
    let Some(dir) = std::env::var_os(POWERLESS) else {
        return;
    };
    run(async || {
        for choice in [HandoverChoice::DropSyn, HandoverChoice::HoldSyn] {
            let settings = with(settings_in(dir.as_ref()), choice, FirewallChoice::Auto);
            let mut proxy = Proxy::open(settings).await.unwrap();
            let a = application("a").await.port();
            let first = apply(&mut proxy, &spec(a, 100, ""), 1).await;
            let wanted = rendered(&proxy, &spec(a, 101, ""));
            let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
            let words = error.to_string();
            assert!(
                error.is_permanent() && words.contains("CAP_NET_ADMIN"),
                "{words}"
            );
            assert!(is_running(first.pid));
            assert_eq!(who(v4(), "x", "/").await, "a");
            let seen = proxy.observe().await;
            assert!(seen.handover.contains("CAP_NET_ADMIN"), "{}", seen.handover);
            proxy.stop(Duration::from_secs(2)).await;
        }
        let mut proxy = Proxy::open(settings_in(dir.as_ref())).await.unwrap();
        let a = application("a").await.port();
        apply(&mut proxy, &spec(a, 100, ""), 1).await;
        let applied = apply(&mut proxy, &spec(a, 101, ""), 2).await;
        assert!(applied.handover.unwrap().starts_with("pass-fds: "));
        proxy.stop(Duration::from_secs(2)).await;
    });
}
