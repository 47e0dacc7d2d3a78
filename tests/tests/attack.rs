//! Attacks on the agents' port: a minute of random bytes of every kind, a flood of bad connections, and peers that are slow
//! on purpose. The fleet goes on, and nobody takes anybody for dead.

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hafleet_api::v1::node_status::Liveness;
use hafleet_tests::agent::PORT;
use hafleet_tests::flood::Flood;
use hafleet_tests::stranger::Stranger;
use hafleet_tests::{Fleet, Namespace, can_make_namespaces};

/// HTTP/2's opening by the client (RFC 9113 section 3.4): the preface and an empty SETTINGS frame.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How long bytes are thrown.
const ATTACK: Duration = Duration::from_secs(60);
/// How much memory an agent may have, in kB.
const MEMORY_KB: u64 = 400_000;

/// Bytes that repeat for no reason, other ones for each seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.next() % most + 1;
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// What every attacker needs.
struct Attack<'a> {
    target: SocketAddr,
    stop: &'a AtomicBool,
    thrown: &'a AtomicU64,
}

impl Attack<'_> {
    fn goes_on(&self) -> bool {
        self.thrown.fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.target, Duration::from_secs(1)).ok()?;
        let limit = Some(Duration::from_millis(20));
        stream.set_read_timeout(limit).ok()?;
        stream.set_write_timeout(limit).ok()?;
        Some(stream)
    }

    /// Bytes without TLS, and such that begin as TLS does.
    fn bare(&self, seed: u64) {
        let mut noise = Noise(seed);
        while self.goes_on() {
            let Some(mut stream) = self.connect() else {
                continue;
            };
            let mut bytes = noise.bytes(4_000);
            if noise.next().is_multiple_of(2) {
                // The head of a record with a ClientHello (RFC 8446 section 5.1).
                let head = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
                bytes.splice(0..0, head);
            }
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 512]);
        }
    }

    /// Connections that say one byte now and then and hold their places.
    fn slow(&self) {
        let mut held = Vec::new();
        while self.goes_on() {
            held.extend(self.connect());
            for stream in &mut held {
                let _ = stream.write(b"\x16");
            }
            if held.len() >= 300 {
                held.drain(..100);
            }
        }
    }
}

/// Frames of whoever has a certificate.
fn from_a_peer(stranger: &Stranger<'_>, fleet: &Fleet, seed: u64, attack: &Attack<'_>) {
    let mut noise = Noise(seed);
    let paths = [
        "/hafleet.v1.Peer/Gossip",
        "/hafleet.v1.Peer/Heads",
        "/hafleet.v1.Peer/StoreDocument",
        "/hafleet.v1.Peer/FetchDocument",
        "/hafleet.v1.Peer/Conflicts",
        "/hafleet.v1.Peer/ShareKey",
        "/hafleet.v1.Admin/ApplySpec",
        "/hafleet.v1.Admin/PutCertificate",
        "/hafleet.v1.Admin/PublishFound",
        "/grpc.health.v1.Health/Check",
    ];
    while attack.goes_on() {
        let target = fleet.node(1);
        if noise.next().is_multiple_of(4) {
            let bytes = noise.bytes(20_000);
            stranger.throw(target, &[OPENING, &bytes].concat());
            continue;
        }
        let at = usize::try_from(noise.next()).unwrap_or_default() % paths.len();
        let messages = (0..noise.next() % 4).map(|_| noise.bytes(3_000)).collect();
        let _ = stranger.call(target, paths[at], messages);
    }
}

/// What must be so at any moment: everybody is live, one leads, and no agent grows without end.
struct Watch {
    leader: usize,
    processes: Vec<u32>,
}

impl Watch {
    fn new(fleet: &Fleet) -> Self {
        let numbers = fleet.numbers().into_iter();
        Self {
            leader: fleet.leader(),
            processes: numbers
                .map(|number| fleet.node(number).agent_process().pid)
                .collect(),
        }
    }

    fn look(&self, fleet: &Fleet) {
        for number in fleet.numbers() {
            let status = fleet.status_of(number).expect("an agent answers");
            let leader = fleet.node(self.leader).id();
            let leads = status.leadership.expect("a leadership").leader;
            assert_eq!(leads, leader, "as node {number} sees it");
            for node in &status.nodes {
                assert_eq!(node.liveness(), Liveness::Live, "as {number} sees {node:?}");
            }
        }
        for pid in &self.processes {
            let kilobytes = memory_kb(*pid);
            assert!(kilobytes < MEMORY_KB, "process {pid} has {kilobytes} kB");
        }
    }
}

fn memory_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn port_of(fleet: &Fleet, number: usize) -> SocketAddr {
    (fleet.node(number).address(), PORT).into()
}

#[test]
fn a_minute_of_random_bytes_disturbs_nobody() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, revision) = Fleet::serving();
    let bystanders: Vec<_> = (0..3).map(|number| fleet.bystander(number)).collect();
    let foreign =
        hafleet_tests::authority::Authority::create("shop", fleet.scratch().directory("foreign"));
    let mallory = foreign.person("mallory", "admin");
    let watch = Watch::new(&fleet);
    let (stop, thrown) = (AtomicBool::new(false), AtomicU64::new(0));
    let attack = Attack {
        target: port_of(&fleet, 1),
        stop: &stop,
        thrown: &thrown,
    };
    std::thread::scope(|scope| {
        scope.spawn(|| bystanders[0].run(|| attack.bare(1)));
        scope.spawn(|| bystanders[1].run(|| attack.slow()));
        scope.spawn(|| foreigner(&fleet, &bystanders[2], &mallory, &attack));
        scope.spawn(|| {
            let node = fleet.node(3);
            let stranger = Stranger::new(node, &node.settings().identity);
            from_a_peer(&stranger, &fleet, 2, &attack);
        });
        let begun = Instant::now();
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begun.elapsed() < ATTACK {
                watch.look(&fleet);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    });
    let count = thrown.load(Ordering::Relaxed);
    assert!(count > 200, "only {count} were thrown");
    watch.look(&fleet);
    fleet.wait_converged(&revision);
    let second = fleet.apply(2, &fleet.spec("second"));
    fleet.wait_converged(&second);
}

/// TLS as it should be, with a certificate that is good for nothing here.
fn foreigner(fleet: &Fleet, home: &Namespace, identity: &Path, attack: &Attack<'_>) {
    let stranger = Stranger::elsewhere(home, identity);
    let mut noise = Noise(3);
    while attack.goes_on() {
        stranger.throw(fleet.node(1), &noise.bytes(2_000));
    }
}

#[test]
fn an_apply_is_as_fast_as_ever_while_bad_connections_pour_in() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let watch = Watch::new(&fleet);
    let bystander = fleet.bystander(0);
    let flood = Flood::start(&bystander, port_of(&fleet, watch.leader), 1_000);
    hafleet_tests::wait_until("the flood is there", Duration::from_secs(20), || {
        flood.made() > 1_000
    });
    for round in 0..3 {
        let spec = fleet.spec(&format!("round-{round}"));
        let begun = Instant::now();
        let revision = fleet.apply(fleet.numbers()[0], &spec);
        let took = begun.elapsed();
        // The bench measures it; here the machine is busy with other tests.
        assert!(took < Duration::from_secs(10), "{took:?}");
        fleet.wait_converged(&revision);
        watch.look(&fleet);
    }
    fleet
        .node(watch.leader)
        .wait_logged("connections are turned away");
}

#[test]
fn limits_of_the_agents_file_hold() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder()
        .nodes(1)
        .settings(|settings| {
            let limits = "[limits]\nhandshakes_per_address = 5\nrequests_per_second = 1\nconnections_per_identity = 3\n";
            settings.parts.push(limits.to_owned());
        })
        .start();
    let bystander = fleet.bystander(0);
    let target = port_of(&fleet, 1);
    // Of ten that say nothing five are held until their handshake is overdue, and the rest are ended at once.
    let ended = bystander.run(|| {
        let connect = |_| TcpStream::connect(target).expect("the port is open");
        let streams: Vec<_> = (0..10).map(connect).collect();
        let is_ended = |mut stream: TcpStream| {
            let limit = Some(Duration::from_secs(2));
            stream.set_read_timeout(limit).expect("a limit");
            match stream.read(&mut [0; 16]) {
                Ok(length) => length == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        streams
            .into_iter()
            .map(|stream| std::thread::spawn(move || is_ended(stream)))
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .filter(|ended| *ended)
            .count()
    });
    assert_eq!(ended, 5);

    let client = fleet.client();
    let refused = (0..30).find_map(|_| {
        let finished = client.run(&["status"]);
        (finished.code != Some(0)).then_some(finished)
    });
    let refused = refused.expect("thirty calls are more than one a second");
    refused.expect_complaint(&["limits.requests_per_second"]);
    fleet.node(1).wait_logged("connections are turned away");
    fleet.node(1).wait_logged("calls are refused");
}
