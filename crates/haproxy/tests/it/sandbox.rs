//! A place for a test to run HAProxy in: its own network, and its own process ids, so that all processes end with it.

use std::any::type_name;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hafleet_haproxy::{Applied, Proxy, Rendered, Settings};
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;
use hafleet_model::{NodeId, Revision, Term};

/// Tells a test that it is inside its sandbox.
const INSIDE: &str = "HAFLEET_TEST_SANDBOX";

/// Runs `test` inside a sandbox. Outside of one, it runs the calling test again in a new sandbox; where the machine
/// allows none, it says so and skips.
pub(crate) fn sandboxed<F: AsyncFnOnce()>(test: F) {
    if std::env::var_os(INSIDE).is_some() {
        run(test);
        return;
    }
    let namespaces = [
        "--net",
        "--pid",
        "--mount",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let unprivileged = ["--user", "--map-root-user"];
    let is_root = rustix::process::geteuid().is_root();
    let flags = || {
        namespaces
            .iter()
            .chain(unprivileged.iter().filter(|_| !is_root))
    };
    let probe = Command::new("unshare").args(flags()).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: it needs root, or the right to make namespaces, and `unshare`");
        return;
    }
    let status = Command::new("unshare")
        .args(flags())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            name_of::<F>(),
            "--nocapture",
            "--include-ignored",
        ])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "it failed in its sandbox: {status}");
}

/// As [`sandboxed`], for tests of what only root may do: the kernel's lists belong to the real root.
pub(crate) fn sandboxed_as_root<F: AsyncFnOnce()>(test: F) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it needs root");
        return;
    }
    sandboxed(test);
}

/// The path of the test that `F` is the body of, without the crate.
fn name_of<F>() -> &'static str {
    let name = type_name::<F>().trim_end_matches("::{{closure}}");
    name.split_once("::").unwrap().1
}

/// Runs a test's body with a deadline.
pub(crate) fn run<F: AsyncFnOnce()>(test: F) {
    let link = |words: &[&str]| Command::new("ip").arg("link").args(words).output().unwrap();
    let is_up = String::from_utf8_lossy(&link(&["show", "lo"]).stdout).contains(",UP");
    assert!(is_up || link(&["set", "lo", "up"]).status.success());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test())
            .await
            .expect("it did not end within 30 s");
    });
}

/// Where one HAProxy lives, and what it is told.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.path().join("haproxy.cfg")).unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        settings_in(self.path())
    }

    pub(crate) async fn open(&self) -> Proxy {
        Proxy::open(self.settings()).await.unwrap()
    }
}

/// The settings of an HAProxy that lives in `dir`.
pub(crate) fn settings_in(dir: &Path) -> Settings {
    let certificates = dir.join("certs");
    std::fs::create_dir_all(&certificates).unwrap();
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "127.0.0.1".parse().unwrap(),
        zone: None,
        certificate_dir: certificates.display().to_string(),
    };
    let mut settings = Settings::new(node, dir, dir.join("run"));
    settings.verify_timeout = Duration::from_secs(2);
    settings
}

/// The configuration of `proxy` for a spec.
pub(crate) fn rendered(proxy: &Proxy, spec: &str) -> Rendered {
    let loaded = load(spec).unwrap_or_else(|findings| panic!("{findings}\n{spec}"));
    proxy.render(&loaded.spec).unwrap()
}

/// Brings `proxy` to a spec.
pub(crate) async fn apply(proxy: &mut Proxy, spec: &str, sequence: u64) -> Applied {
    let wanted = rendered(proxy, spec);
    proxy.apply(&wanted, revision(sequence)).await.unwrap()
}

pub(crate) fn revision(sequence: u64) -> Revision {
    Revision::new(Term(1), sequence)
}

/// Waits until `holds`, for at most 20 s: a first packet that was dropped twice comes again after 3 s.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs.
pub(crate) fn is_running(pid: u32) -> bool {
    hafleet_haproxy::ProcessId::of(pid).is_some()
}

/// Sends a signal to a process of this sandbox.
pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
