//! A name server of a test's own, that takes dynamic updates.
//!
//! Nothing but the standard library and `tempfile` is used, so that tests of other packages can have this file by `#[path]`.

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
pub const SECRET: &str = "mVnYzIhpLrZVJd1Hk3v1hG8SyDkHhXlCwq3bFMVhd5k=";

/// knot with the zone `example.com`. It goes when it is dropped.
#[derive(Debug)]
pub struct Knot {
    child: Child,
    address: SocketAddr,
    directory: Arc<TempDir>,
    end: End,
}

/// What ends it when a test is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the thread that started it.
    Thread,
    /// The end of the namespace that it is in.
    Namespace,
}

impl Knot {
    /// One on a port of the loopback that is free. It goes with the thread that asks for it.
    ///
    /// # Panics
    /// When there is no knot, or it does not start.
    pub fn start() -> Self {
        Self::start_as(Ipv4Addr::LOCALHOST, End::Thread)
    }

    /// One at `address` of a namespace, for who asks from inside of it. It goes with the namespace.
    ///
    /// # Panics
    /// As [`Knot::start`].
    pub fn start_at(address: Ipv4Addr) -> Self {
        Self::start_as(address, End::Namespace)
    }

    fn start_as(ip: Ipv4Addr, end: End) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let zone = "example.com. 60 SOA ns.example.com. root.example.com. 1 60 60 60 60\n\
            example.com. 60 NS ns.example.com.\nns.example.com. 60 A 192.0.2.53\n";
        std::fs::write(directory.path().join("example.com.zone"), zone).unwrap();
        for _ in 0..TRIES {
            let address = free(ip);
            write_config(directory.path(), address);
            let child = run(directory.path(), end);
            let mut knot = Self {
                child,
                address,
                directory: directory.clone(),
                end,
            };
            if knot.listens() {
                return knot;
            }
        }
        panic!("no port stayed free for knotd");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and leaves what it has.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.child = run(self.directory.path(), self.end);
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

fn free(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn run(directory: &Path, end: End) -> Child {
    let config = directory.join("knot.conf");
    let program = ["/usr/sbin/knotd", "/usr/bin/knotd"].map(PathBuf::from);
    let program = program.into_iter().find(|program| program.is_file());
    let program = program.expect("`make test-deps` installs knot");
    let mut command = match end {
        End::Namespace => Command::new(program),
        End::Thread => {
            let mut bound = Command::new("setpriv");
            bound.args(["--pdeathsig", "KILL"]).arg(program);
            bound
        }
    };
    command
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
