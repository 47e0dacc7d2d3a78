//! HAProxy as a service that others start: a stand-in for systemctl that drives a real master, an init script, commands.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hafleet_haproxy::{ApplyError, ProcessMode, Proxy, ServiceError, Settings};
use hafleet_model::report::{Change, DataPlaneHealth};

use crate::sandbox::{Home, apply, is_running, rendered, revision, sandboxed_as_root, until};
use crate::web::{Traffic, application, who};

fn web() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

fn spec(app: u16, maxconn: u64, binds: &str) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}{binds}], maxconn: {maxconn}, default_backend: app}}\nbackends:\n\
         - name: app\n  servers: [{{name: one, address: 127.0.0.1, port: {app}}}]\n"
    )
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The directory of a service, with a blank in its name, and where it reads its configuration.
fn service(home: &Home) -> (PathBuf, PathBuf) {
    let dir = home.path().canonicalize().unwrap().join("the service");
    std::fs::create_dir(&dir).unwrap();
    let config = dir.join("haproxy.cfg");
    (dir, config)
}

fn settings(home: &Home, config: &Path, process: ProcessMode) -> Settings {
    let mut settings = home.settings();
    settings.config_file = Some(config.to_owned());
    settings.process = process;
    settings
}

/// A master that puts itself into the background.
const DAEMON: &str = "exec haproxy -W -D -f \"$1\" -p master.pid -S \"$PWD/master.sock\"";

/// A master as systemd runs it (`Type=notify`): in the foreground, ready when it says so on a socket.
const NOTIFYING: &str = "python3 - \"$1\" <<'END'\n\
    import os, socket, subprocess, sys\n\
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    said.bind('notify.sock')\n\
    said.settimeout(10)\n\
    here = os.getcwd()\n\
    words = ['haproxy', '-Ws', '-f', sys.argv[1], '-p', 'master.pid', '-S', here + '/master.sock']\n\
    null = subprocess.DEVNULL\n\
    subprocess.Popen(words, env=dict(os.environ, NOTIFY_SOCKET=here + '/notify.sock'), start_new_session=True,\n\
    \x20                stdin=null, stdout=null, stderr=null)\n\
    while b'READY=1' not in said.recv(4096):\n\
    \x20   pass\n\
    END";

/// Puts a systemctl, whose `start` is a script of a shell, where it is found before any other; whether that can be done.
fn stand_in(dir: &Path, config: &Path, start: &str) -> bool {
    let place = "/usr/local/sbin";
    let is_first = std::env::var("PATH").is_ok_and(|path| {
        let here = path.split(':').position(|dir| dir == place);
        let real = path
            .split(':')
            .position(|dir| Path::new(dir).join("systemctl").exists());
        here.is_some_and(|here| real.is_none_or(|real| here < real))
    });
    if !is_first {
        eprintln!("skipped: {place} is not in PATH before systemctl");
        return false;
    }
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let (dir, config) = (dir.display(), config.display());
    let text = format!(
        "cd '{dir}'; echo \"$@\" >> calls\ncase $1 in\nstart)\nset -- '{config}'\n{start}\n;;\n\
         reload) [ -e broken ] || kill -USR2 $(cat master.pid) ;;\nesac\n"
    );
    script(&bin.join("systemctl"), &text);
    let mut mount = Command::new("mount");
    mount.arg("--bind").arg(&bin).arg(place);
    mount.status().unwrap().success()
}

#[test]
fn systemd_reloads_a_master_and_its_worker_is_asked() {
    sandboxed_as_root(async || a_master_serves(DAEMON).await);
}

#[test]
fn systemd_reloads_a_master_that_notifies_it() {
    sandboxed_as_root(async || a_master_serves(NOTIFYING).await);
}

async fn a_master_serves(start: &str) {
    let home = Home::new();
    let (dir, config) = service(&home);
    if !stand_in(&dir, &config, start) {
        return;
    }
    let unit = "haproxy.service".to_owned();
    let mut settings = settings(&home, &config, ProcessMode::Systemd { unit });
    settings.master_socket = Some(dir.join("master.sock"));
    // HAProxy tries for 2 s to bind.
    settings.verify_timeout = Duration::from_secs(5);
    let mut proxy = Proxy::open(settings.clone()).await.unwrap();
    let a = application("a").await.port();
    let first = apply(&mut proxy, &spec(a, 100, ""), 1).await;
    assert_eq!(first.change, Change::Start);
    assert_eq!(who(web(), "x", "/").await, "a");
    let master = std::fs::read_to_string(dir.join("master.pid")).unwrap();
    let master: u32 = master.trim().parse().unwrap();
    assert_ne!(first.pid, master, "the worker serves");
    let words = std::fs::read_to_string(format!("/proc/{master}/cmdline")).unwrap();
    let is_notifying = words.split('\0').any(|word| word == "-Ws");
    assert_eq!(is_notifying, start == NOTIFYING, "{words}");

    let traffic = Traffic::begin(web(), 6);
    let mut last = first.pid;
    for sequence in 2..5 {
        traffic.flows(50).await;
        let applied = apply(&mut proxy, &spec(a, 100 + sequence, ""), sequence).await;
        assert_eq!(applied.change, Change::Reload);
        assert!(applied.handover.unwrap().starts_with("migrate: "));
        assert_ne!(applied.pid, last);
        last = applied.pid;
    }
    traffic.flows(50).await;
    assert_eq!(traffic.end().await, Vec::<String>::new());
    assert!(is_running(master));
    let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
    let reload = "reload haproxy.service\n";
    assert_eq!(
        calls,
        format!("start haproxy.service\n{reload}{reload}{reload}")
    );

    // An agent that comes anew finds the worker, and touches nothing.
    drop(proxy);
    let mut proxy = Proxy::open(settings).await.unwrap();
    assert_eq!(proxy.observe().await.pid, Some(last));
    let same = apply(&mut proxy, &spec(a, 104, ""), 4).await;
    assert_eq!((same.change, same.pid), (Change::Nothing, last));

    // What a worker can be told takes no reload.
    let weighed = spec(a, 104, "").replace(&format!("port: {a}"), &format!("port: {a}, weight: 7"));
    let told = apply(&mut proxy, &weighed, 5).await;
    assert_eq!((told.change, told.pid), (Change::Runtime, last));

    // So it does when somebody else reloads the service.
    let by_hand = Command::new("systemctl")
        .args(["reload", "haproxy"])
        .status();
    assert!(by_hand.unwrap().success());
    until("the next worker is found", async || {
        let seen = proxy.observe().await;
        seen.health == DataPlaneHealth::Up && seen.pid != Some(last)
    })
    .await;

    // A bind that fails inside the master shows only in `show proc`.
    let before = std::fs::read_to_string(&config).unwrap();
    let failing = format!(
        "{}raw: |\n  frontend other\n    bind unix@/nowhere/at/all.sock\n    default_backend app\n",
        spec(a, 105, "")
    );
    let wanted = rendered(&proxy, &failing);
    let error = proxy.apply(&wanted, revision(6)).await.unwrap_err();
    let words = error.to_string();
    let is_typed = matches!(error, ApplyError::Service(ServiceError::NotTaken { .. }));
    assert!(is_typed && words.contains("failed reloads"), "{words}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    until("it serves", async || who(web(), "x", "/").await == "a").await;

    // A service that says yes and does nothing is found out.
    std::fs::write(dir.join("broken"), "").unwrap();
    let wanted = rendered(&proxy, &spec(a, 106, ""));
    let error = proxy.apply(&wanted, revision(7)).await.unwrap_err();
    let is_typed = matches!(error, ApplyError::Service(ServiceError::NotTaken { .. }));
    assert!(is_typed, "{error}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    std::fs::remove_file(dir.join("broken")).unwrap();
    assert_eq!(
        proxy.apply(&wanted, revision(8)).await.unwrap().change,
        Change::Reload
    );
    proxy.stop(Duration::from_secs(1)).await;
    assert_eq!(who(web(), "x", "/").await, "a", "the service's to stop");
}

/// A script that starts and reloads as plainly as can be (`-sf`).
fn plain(dir: &Path, config: &Path) -> PathBuf {
    let path = dir.join("init script");
    let (at, config) = (dir.display(), config.display());
    let text = format!(
        "cd '{at}'\ncase $1 in\nstart) exec haproxy -D -f '{config}' -p its.pid ;;\n\
         reload) haproxy -c -q -f '{config}' && exec haproxy -D -f '{config}' -p its.pid -sf $(cat its.pid) ;;\n\
         *) echo \"$1 is unknown\" >&2; exit 3 ;;\nesac\n"
    );
    script(&path, &text);
    path
}

async fn starts_and_reloads(home: &Home, settings: Settings) {
    let mut proxy = Proxy::open(settings.clone()).await.unwrap();
    let a = application("a").await.port();
    let first = apply(&mut proxy, &spec(a, 100, ""), 1).await;
    assert_eq!(first.change, Change::Start);
    let traffic = Traffic::begin(web(), 6);
    for sequence in 2..5 {
        traffic.flows(50).await;
        let applied = apply(&mut proxy, &spec(a, 100 + sequence, ""), sequence).await;
        assert_eq!(applied.change, Change::Reload);
    }
    traffic.flows(50).await;
    assert_eq!(traffic.end().await, Vec::<String>::new());
    until("the old ones end", async || {
        proxy.observe().await.old_processes == 0
    })
    .await;
    let seen = proxy.observe().await;
    drop(proxy);
    let mut proxy = Proxy::open(settings).await.unwrap();
    assert_eq!(proxy.observe().await.pid, seen.pid);

    // An address that is not this machine's is refused before the service is asked.
    let before = proxy.applied_revision();
    let wanted = rendered(&proxy, &spec(a, 107, ", {port: 8085, address: 192.0.2.77}"));
    let error = proxy.apply(&wanted, revision(9)).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("frontends[0].binds[1]") && words.contains("192.0.2.77"),
        "{words}"
    );
    assert_eq!(
        (proxy.applied_revision(), proxy.observe().await.pid),
        (before, seen.pid)
    );
    assert!(home.path().join("applied.json").exists());
}

#[test]
fn an_init_script_starts_and_reloads() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let (dir, config) = service(&home);
        let script = plain(&dir, &config);
        let mode = ProcessMode::Sysvinit { script };
        starts_and_reloads(&home, settings(&home, &config, mode)).await;
    });
}

#[test]
fn commands_start_and_reload_and_no_shell_sees_them() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let (dir, config) = service(&home);
        let script = plain(&dir, &config).display().to_string();
        let mode = ProcessMode::Command {
            reload: vec![script.clone(), "reload".into()],
            start: Some(vec![script.clone(), "start".into()]),
        };
        starts_and_reloads(&home, settings(&home, &config, mode)).await;

        let mode = ProcessMode::Command {
            reload: vec![script, "$(reboot)".into()],
            start: None,
        };
        let mut proxy = Proxy::open(settings(&home, &config, mode)).await.unwrap();
        let before = std::fs::read_to_string(&config).unwrap();
        let wanted = rendered(&proxy, &spec(9, 200, ""));
        let error = proxy.apply(&wanted, revision(10)).await.unwrap_err();
        let words = error.to_string();
        assert!(words.contains("$(reboot) is unknown"), "{words}");
        assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    });
}

#[test]
fn another_haproxy_is_never_taken_for_the_services() {
    sandboxed_as_root(async || {
        let home = Home::new();
        let (dir, config) = service(&home);
        let script = plain(&dir, &config);
        let other = dir.join("other.cfg");
        let text = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\nfrontend f\n bind :8099\n";
        std::fs::write(&other, text).unwrap();
        let mut start = Command::new("haproxy");
        start.args(["-D", "-f"]).arg(&other);
        assert!(start.status().unwrap().success());
        let settings = settings(&home, &config, ProcessMode::Sysvinit { script });
        let mut proxy = Proxy::open(settings).await.unwrap();
        let seen = proxy.observe().await;
        assert_eq!((seen.health, seen.pid), (DataPlaneHealth::Idle, None));
        let wanted = rendered(&proxy, &spec(9, 100, ", {port: 8099}"));
        let error = proxy.apply(&wanted, revision(1)).await.unwrap_err();
        assert!(error.to_string().contains("port 8099 is taken"), "{error}");
        let first = apply(&mut proxy, &spec(9, 100, ""), 2).await;
        assert_eq!(first.change, Change::Start);
        assert!(
            tokio::net::TcpStream::connect("127.0.0.1:8099")
                .await
                .is_ok()
        );
    });
}
