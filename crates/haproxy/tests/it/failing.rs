//! Reloads that fail: whoever served goes on serving, and says so.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use hafleet_haproxy::{ApplyError, HandoverChoice, Proxy};
use hafleet_model::report::{Change, DataPlaneHealth};
use rustix::process::Signal;

use crate::sandbox::{
    Home, apply, is_running, kill, rendered, revision, sandboxed, sandboxed_as_root, settings_in,
    until,
};
use crate::web::{Traffic, application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(app: SocketAddr, binds: &str) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}{binds}], default_backend: app}}\nbackends:\n- name: app\n  \
         servers: [{{name: one, address: 127.0.0.1, port: {}}}]\n",
        app.port()
    )
}

#[test]
fn a_port_that_another_program_has_costs_nothing_and_names_it() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let before = home.config();
        let taken = TcpListener::bind("0.0.0.0:8081").unwrap();
        let sweepable = || std::fs::read_dir(home.path().join("run")).unwrap().count();
        assert_eq!(sweepable(), 1);
        let traffic = Traffic::begin(web(), 4);
        traffic.flows(50).await;

        let wanted = rendered(&proxy, &spec(a, ", {port: 8081, address: node}"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, ApplyError::Start(_)), "{words}");
        let holder = format!("(process {})", std::process::id());
        assert!(words.contains("8081") && words.contains(&holder), "{words}");
        assert!(words.contains("frontends[0]"), "{words}");
        assert!(!error.is_permanent());

        assert_eq!(home.config(), before, "the last good file");
        assert_eq!(sweepable(), 1, "no socket of the one that failed");
        assert_eq!(proxy.applied_revision(), Some(revision(1)));
        let seen = proxy.observe().await;
        assert_eq!(
            (seen.health, seen.pid),
            (DataPlaneHealth::Up, Some(first.pid))
        );
        traffic.flows(50).await;
        assert_eq!(traffic.end().await, Vec::<String>::new());

        drop(taken);
        let second = proxy.apply(&wanted, revision(2)).await.unwrap();
        assert_eq!(second.change, Change::Reload);
    });
}

#[test]
fn another_haproxy_that_would_share_the_port_is_no_prey() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let other = home.path().join("other.cfg");
        let text = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\nfrontend f\n bind :8080\n";
        std::fs::write(&other, text).unwrap();
        let started = std::process::Command::new("haproxy")
            .args(["-D", "-f"])
            .arg(&other)
            .status();
        assert!(started.unwrap().success());
        let wanted = rendered(&proxy, &spec(a, ""));
        let error = proxy.apply(&wanted, revision(1)).await.unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("frontends[0].binds[0]: port 8080 is taken by haproxy (process"),
            "{words}"
        );
    });
}

#[test]
fn a_bind_that_fails_is_told_in_haproxys_words() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let before = home.config();
        let wanted = rendered(&proxy, &spec(a, ", {port: 8085, address: 192.0.2.77}"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("frontends[0].binds[1]") && words.contains("192.0.2.77:8085"),
            "{words}"
        );
        assert_eq!(
            (home.config(), proxy.observe().await.pid),
            (before, Some(first.pid))
        );
    });
}

#[test]
fn a_new_process_that_does_not_serve_is_ended_and_the_old_one_goes_on() {
    sandboxed(async || {
        let home = Home::new();
        let mut settings = home.settings();
        settings.verify_timeout = Duration::from_millis(200);
        let mut proxy = Proxy::open(settings).await.unwrap();
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let before = home.config();
        let traffic = Traffic::begin(web(), 4);
        traffic.flows(50).await;
        // A disabled frontend passes the check and the start, and does not listen.
        let wanted = rendered(
            &proxy,
            &format!(
                "{}raw: |\n  frontend off\n    disabled\n    bind :8090\n    default_backend app\n",
                spec(a, "")
            ),
        );
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(matches!(error, ApplyError::Verify(_)), "{error}");
        assert_eq!(home.config(), before);
        traffic.flows(50).await;
        assert_eq!(traffic.end().await, Vec::<String>::new());
        until("only the old process is left", async || {
            proxy.observe().await.old_processes == 0
        })
        .await;
        assert_eq!(proxy.observe().await.pid, Some(first.pid));
    });
}

#[test]
fn an_apply_that_is_cut_short_is_mended_by_the_next() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        apply(&mut proxy, &spec(a, ""), 1).await;
        let traffic = Traffic::begin(web(), 4);
        for step in 1..12_u16 {
            let wanted = rendered(&proxy, &spec(a, &format!(", {{port: {}}}", 9000 + step)));
            let cut = Duration::from_millis(10 * u64::from(step));
            let _ = tokio::time::timeout(cut, proxy.apply(&wanted, revision(2))).await;
        }
        let last = apply(&mut proxy, &spec(a, ", {port: 9100}"), 3).await;
        until("one process is left", async || {
            let seen = proxy.observe().await;
            (seen.pid, seen.old_processes) == (Some(last.pid), 0)
        })
        .await;
        assert_eq!(traffic.end().await, Vec::<String>::new());
        let daemons = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                std::fs::read_to_string(entry.path().join("comm"))
                    .is_ok_and(|name| name == "haproxy\n")
            });
        let ids: Vec<_> = daemons.map(|entry| entry.file_name()).collect();
        assert_eq!(ids, [last.pid.to_string().as_str()]);
        assert!(home.config().contains(":9100"));
    });
}

#[test]
fn a_crashed_haproxy_is_seen_and_started_again() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        kill(first.pid, Signal::KILL);
        until("it is dead", async || !is_running(first.pid)).await;
        let seen = proxy.observe().await;
        assert_eq!((seen.health, seen.pid), (DataPlaneHealth::Down, None));
        assert_eq!(proxy.applied_revision(), None);
        let again = apply(&mut proxy, &spec(a, ""), 1).await;
        assert_eq!(again.change, Change::Start);
        assert_eq!(who(web(), "x", "/").await, "a");
    });
}

#[test]
fn a_hung_haproxy_is_down() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        std::fs::remove_file(home.path().join("run/haproxy-1.sock")).unwrap();
        assert_eq!(
            proxy.observe().await.health,
            DataPlaneHealth::Down,
            "nobody can ask it"
        );
        let mended = apply(&mut proxy, &spec(a, ""), 2).await;
        assert_eq!(mended.change, Change::Reload);
        assert!(!mended.handover.unwrap().starts_with("pass-fds"));
        until("the old process ends", async || !is_running(first.pid)).await;
        assert_eq!(proxy.observe().await.health, DataPlaneHealth::Up);
    });
}

#[test]
fn a_handover_that_cannot_be_had_is_refused_before_anything_is_touched() {
    sandboxed(async || {
        let home = Home::new();
        let a = application("a").await;
        let mut settings = home.settings();
        settings.handover = HandoverChoice::PassFds;
        let mut proxy = Proxy::open(settings).await.unwrap();
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        std::fs::remove_file(home.path().join("run/haproxy-1.sock")).unwrap();
        let wanted = rendered(&proxy, &spec(a, ", {port: 8085}"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("pass-fds"),
            "{error}"
        );
        assert!(is_running(first.pid));
        assert_eq!(who(web(), "x", "/").await, "a");
    });
}

/// A directory of 1 MB, in which a disk that is full can be had.
fn small_disk(home: &Home) -> std::path::PathBuf {
    let dir = home.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let mut mount = std::process::Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&dir);
    assert!(mount.status().unwrap().success());
    dir
}

/// What must be so after an apply that failed with `error`: the same process, file and revision, and clients that notice
/// nothing.
async fn nothing_changed(proxy: &mut Proxy, config: &std::path::Path, before: &str, pid: u32) {
    assert_eq!(std::fs::read_to_string(config).unwrap(), before);
    assert_eq!(proxy.applied_revision(), Some(revision(1)));
    let seen = proxy.observe().await;
    assert_eq!((seen.health, seen.pid), (DataPlaneHealth::Up, Some(pid)));
    assert_eq!(who(web(), "x", "/").await, "a");
}

#[test]
fn a_full_disk_costs_nothing() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let dir = small_disk(&home);
        let mut proxy = Proxy::open(settings_in(&dir)).await.unwrap();
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let config = dir.join("haproxy.cfg");
        let before = std::fs::read_to_string(&config).unwrap();
        let traffic = Traffic::begin(web(), 4);
        // All that is left is taken, byte by byte at the end.
        let filled = std::process::Command::new("sh")
            .args(["-c", "cat /dev/zero > full; true"])
            .current_dir(&dir)
            .stderr(std::process::Stdio::null())
            .status();
        assert!(filled.unwrap().success());
        let wanted = rendered(&proxy, &spec(a, ", {port: 8081}"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        let is_typed = matches!(error, ApplyError::Files(_) | ApplyError::Tool(_));
        assert!(is_typed && !error.is_permanent(), "{error}");
        nothing_changed(&mut proxy, &config, &before, first.pid).await;
        std::fs::remove_file(dir.join("full")).unwrap();
        let applied = proxy.apply(&wanted, revision(2)).await.unwrap();
        assert_eq!(applied.change, Change::Reload);
        assert_eq!(traffic.end().await, Vec::<String>::new());
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn a_file_that_cannot_be_written_costs_nothing() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let dir = small_disk(&home);
        let mut proxy = Proxy::open(settings_in(&dir)).await.unwrap();
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let config = dir.join("haproxy.cfg");
        let before = std::fs::read_to_string(&config).unwrap();
        let remount = |how: &str| {
            let mut mount = std::process::Command::new("chattr");
            mount.arg(how).arg(&dir);
            mount.status().is_ok_and(|status| status.success())
        };
        if !remount("+i") {
            eprintln!("skipped: chattr cannot make a directory immutable here");
            return;
        }
        let wanted = rendered(&proxy, &spec(a, ", {port: 8081}"));
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        let is_typed = matches!(error, ApplyError::Files(_) | ApplyError::Tool(_));
        assert!(is_typed, "{error}");
        assert!(remount("-i"));
        nothing_changed(&mut proxy, &config, &before, first.pid).await;
        proxy.stop(Duration::from_secs(2)).await;
    });
}

#[test]
fn a_program_that_was_replaced_is_used_or_refused() {
    sandboxed(async || {
        let home = Home::new();
        let program = home.path().join("haproxy");
        let replace = |text: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let next = home.path().join("next");
            std::fs::write(&next, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&next, &program).unwrap();
        };
        let real = "exec haproxy \"$@\"";
        replace(real);
        let mut settings = home.settings();
        settings.binary = Some(program.clone());
        let mut proxy = Proxy::open(settings).await.unwrap();
        let a = application("a").await;
        let first = apply(&mut proxy, &spec(a, ""), 1).await;
        let before = home.config();
        let config = home.path().join("haproxy.cfg");
        let wanted = rendered(&proxy, &spec(a, ", {port: 8081}"));

        replace("echo 'HA-Proxy version 1.8.0 2017/11/26'");
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        assert!(matches!(error, ApplyError::Binary(_)), "{error}");
        nothing_changed(&mut proxy, &config, &before, first.pid).await;

        // One that passes the check, listens, and dies at once.
        let dying = "case \"$*\" in *-v*|*-c*) exec haproxy \"$@\";; esac\nhaproxy \"$@\" && kill -9 $(cat \"$5\")";
        replace(dying);
        let error = proxy.apply(&wanted, revision(2)).await.unwrap_err();
        let is_typed = matches!(error, ApplyError::Start(_) | ApplyError::Verify(_));
        assert!(is_typed, "{error}");
        nothing_changed(&mut proxy, &config, &before, first.pid).await;

        let newer = "case \"$1\" in -v) echo 'HAProxy version 2.8.1 2023/07/03';; *) exec haproxy \"$@\";; esac";
        replace(newer);
        let applied = proxy.apply(&wanted, revision(2)).await.unwrap();
        assert_eq!(applied.change, Change::Reload);
        proxy.stop(Duration::from_secs(2)).await;
    });
}
