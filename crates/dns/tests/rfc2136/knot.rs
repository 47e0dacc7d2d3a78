//! A name server of a test's own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else was quicker to take it.
const TRIES: u32 = 5;

/// The secret of the key `fleet`, which may transfer and update.
pub(crate) const SECRET: &str = "mVnYzIhpLrZVJd1Hk3v1hG8SyDkHhXlCwq3bFMVhd5k=";

/// knot with the zone `example.com`. It goes when it is dropped.
pub(crate) struct Knot {
    child: Child,
    address: SocketAddr,
    directory: Arc<TempDir>,
}

impl Knot {
    pub(crate) fn start() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let zone = "example.com. 60 SOA ns.example.com. root.example.com. 1 60 60 60 60\n\
            example.com. 60 NS ns.example.com.\nns.example.com. 60 A 192.0.2.53\n";
        std::fs::write(directory.path().join("example.com.zone"), zone).unwrap();
        for _ in 0..TRIES {
            let address = free();
            write_config(directory.path(), address);
            let child = run(directory.path());
            let mut knot = Self {
                child,
                address,
                directory: directory.clone(),
            };
            if knot.listens() {
                return knot;
            }
        }
        panic!("no port stayed free for knotd");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and leaves what it has.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = run(self.directory.path());
        assert!(self.listens(), "knotd did not start again");
    }

    /// Waits until it takes connections, or ends.
    fn listens(&mut self) -> bool {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let limit = Duration::from_millis(50);
            if TcpStream::connect_timeout(&self.address, limit).is_ok() {
                return true;
            }
            std::thread::yield_now();
        }
        panic!("knotd does not listen within {LIMIT:?}");
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn run(directory: &Path) -> Child {
    let config = directory.join("knot.conf");
    let program = ["/usr/sbin/knotd", "/usr/bin/knotd"].map(PathBuf::from);
    let program = program.into_iter().find(|program| program.is_file());
    let program = program.expect("`make test-deps` installs knot");
    // It goes with a test that is killed.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn write_config(directory: &Path, address: SocketAddr) {
    let (at, port) = (address.ip(), address.port());
    let path = directory.display();
    let config = format!(
        "server:\n  rundir: {path}\n  listen: {at}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {path}\n\
         key:\n  - id: fleet\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         acl:\n  - id: fleet\n    key: fleet\n    action: [transfer, update]\n\
         template:\n  - id: default\n    storage: {path}\n    zonefile-sync: -1\n    journal-content: all\n\
         zone:\n  - domain: example.com\n    file: example.com.zone\n    acl: fleet\n    zonefile-load: difference\n"
    );
    std::fs::write(directory.join("knot.conf"), config).unwrap();
}
