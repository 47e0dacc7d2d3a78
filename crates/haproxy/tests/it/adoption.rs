//! Agents come and go; HAProxy stays, and is known again.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use hafleet_haproxy::{OpenError, Proxy};
use hafleet_model::report::{Change, DataPlaneHealth};

use crate::sandbox::{Home, apply, is_running, revision, sandboxed, until};
use crate::web::{application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(app: SocketAddr, maxconn: u32) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], maxconn: {maxconn}, default_backend: app}}\nbackends:\n- name: app\n  \
         servers: [{{name: one, address: 127.0.0.1, port: {}}}]\n",
        app.port()
    )
}

#[test]
fn the_next_agent_goes_on_where_the_last_one_ended() {
    sandboxed(async || {
        let home = Home::new();
        let a = application("a").await;
        let mut proxy = home.open().await;
        let first = apply(&mut proxy, &spec(a, 10), 7).await;
        assert!(
            matches!(Proxy::open(home.settings()).await, Err(OpenError::Files(_))),
            "one agent at a time"
        );
        drop(proxy);
        assert_eq!(
            who(web(), "x", "/").await,
            "a",
            "it serves without an agent"
        );

        let mut proxy = home.open().await;
        assert_eq!(proxy.applied_revision(), Some(revision(7)));
        let seen = proxy.observe().await;
        assert_eq!(
            (seen.health, seen.pid),
            (DataPlaneHealth::Up, Some(first.pid))
        );
        assert_eq!(
            apply(&mut proxy, &spec(a, 10), 7).await.change,
            Change::Nothing
        );
        assert_eq!(
            apply(&mut proxy, &spec(a, 11), 8).await.change,
            Change::Reload
        );
        until("the old process ends", async || !is_running(first.pid)).await;
        proxy.stop(Duration::from_secs(2)).await;
        assert!(!home.path().join("applied.json").exists());
    });
}

#[test]
fn it_is_found_without_the_notes() {
    sandboxed(async || {
        let home = Home::new();
        let a = application("a").await;
        let mut proxy = home.open().await;
        let mut pid = apply(&mut proxy, &spec(a, 10), 1).await.pid;
        for (sequence, notes) in [(2, None), (3, Some("{")), (4, Some("{\"version\": 99}"))] {
            drop(proxy);
            let path = home.path().join("applied.json");
            match notes {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            proxy = home.open().await;
            assert_eq!(proxy.applied_revision(), None);
            assert_eq!(proxy.observe().await.pid, Some(pid));
            let applied = apply(&mut proxy, &spec(a, 10), sequence).await;
            assert_eq!(
                (applied.change, applied.plan.reason.as_str()),
                (Change::Reload, "what HAProxy runs is not known")
            );
            until("the old process ends", async || !is_running(pid)).await;
            pid = applied.pid;
        }
    });
}

#[test]
fn a_start_that_was_never_noted_is_told_to_finish() {
    sandboxed(async || {
        let home = Home::new();
        let a = application("a").await;
        let mut proxy = home.open().await;
        let first = apply(&mut proxy, &spec(a, 10), 1).await;
        drop(proxy);
        // What an agent leaves that dies between the start of a process and its note.
        let config = home.path().canonicalize().unwrap().join("haproxy.cfg");
        let kept = home.config();
        std::fs::write(&config, kept.replace("haproxy-1.sock", "haproxy-2.sock")).unwrap();
        std::fs::write(home.path().join("haproxy.cfg.previous"), &kept).unwrap();
        let status = Command::new("haproxy")
            .args(["-D", "-f"])
            .arg(&config)
            .arg("-p")
            .arg(config.with_file_name("haproxy-2.pid"))
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        let proxy = home.open().await;
        assert_eq!(proxy.applied_revision(), Some(revision(1)));
        assert_eq!(home.config(), kept, "the file is what runs");
        let mut proxy = proxy;
        until("the stray ends", async || {
            proxy.observe().await.old_processes == 0
        })
        .await;
        assert_eq!(proxy.observe().await.pid, Some(first.pid));
        assert_eq!(who(web(), "x", "/").await, "a");
    });
}

#[test]
fn a_containers_haproxy_is_a_stranger() {
    sandboxed(async || {
        let home = Home::new();
        let dir = home.path().canonicalize().unwrap();
        let config = dir.join("haproxy.cfg");
        std::fs::write(
            &config,
            "frontend f\n mode http\n timeout client 1s\n bind :8099\n",
        )
        .unwrap();
        let pid_file = dir.join("haproxy-9.pid");
        let script = format!(
            "haproxy -D -f {} -p {} && exec sleep 60",
            config.display(),
            pid_file.display()
        );
        let mut container = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sh", "-c", &script])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listens = async || {
            tokio::net::TcpStream::connect("127.0.0.1:8099")
                .await
                .is_ok()
        };
        until("it listens", listens).await;
        let mut proxy = home.open().await;
        let seen = proxy.observe().await;
        assert_eq!(
            (seen.health, seen.old_processes),
            (DataPlaneHealth::Idle, 0)
        );
        let a = application("a").await;
        apply(&mut proxy, &spec(a, 10), 1).await;
        assert!(listens().await, "it was not told to finish");
        container.kill().unwrap();
        container.wait().unwrap();
    });
}

#[test]
fn a_strangers_process_is_never_touched() {
    sandboxed(async || {
        let home = Home::new();
        let a = application("a").await;
        let mut proxy = home.open().await;
        let first = apply(&mut proxy, &spec(a, 10), 1).await;
        proxy.stop(Duration::from_secs(2)).await;
        drop(proxy);
        assert!(!is_running(first.pid));
        // Another program under the notes and the pid file that we would have left.
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let started = hafleet_haproxy::ProcessId::of(stranger.id())
            .unwrap()
            .started;
        std::fs::write(
            home.path().join("haproxy-1.pid"),
            format!("{}\n", stranger.id()),
        )
        .unwrap();
        let mut proxy = home.open().await;
        let text = apply_and_read_notes(&home, &mut proxy, &spec(a, 10)).await;
        let pid = proxy.observe().await.pid.unwrap();
        let own_start = hafleet_haproxy::ProcessId::of(pid).unwrap().started;
        proxy.stop(Duration::from_secs(2)).await;
        drop(proxy);
        let forged = text
            .replace(
                &format!("\"pid\": {pid}"),
                &format!("\"pid\": {}", stranger.id()),
            )
            .replace(
                &format!("\"started\": {own_start}"),
                &format!("\"started\": {started}"),
            );
        assert!(forged.contains(&started.to_string()));
        std::fs::write(home.path().join("applied.json"), forged).unwrap();
        let mut proxy = home.open().await;
        assert_eq!(proxy.applied_revision(), None);
        let seen = proxy.observe().await;
        assert_eq!(
            (seen.health, seen.pid, seen.old_processes),
            (DataPlaneHealth::Down, None, 0)
        );
        assert_eq!(
            apply(&mut proxy, &spec(a, 10), 2).await.change,
            Change::Start
        );
        proxy.stop(Duration::from_secs(2)).await;
        assert!(stranger.try_wait().unwrap().is_none(), "it still runs");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    });
}

async fn apply_and_read_notes(home: &Home, proxy: &mut Proxy, spec: &str) -> String {
    apply(proxy, spec, 1).await;
    std::fs::read_to_string(home.path().join("applied.json")).unwrap()
}
