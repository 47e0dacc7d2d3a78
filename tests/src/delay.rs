//! A path between two namespaces on which every packet takes its time.
//!
//! Each end has a tun device; what one end sends, this process reads, keeps for the delay, and hands to the other end.
//! Nothing is lost or reordered. A kernel can do the same with `netem`, where it was built with it.
//!
//! Why it is there: a handover that resets what waits in a closing listener loses connections in proportion to the round
//! trip. On a path without one, nearly every way looks lossless.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::namespace::{Namespace, ip};

/// What the names of the devices begin with; a number of its own for each path follows.
const DEVICE: &str = "far";
/// Packets that may wait in a device until they are read.
const QUEUE: &str = "10000";
/// How often a path without traffic looks whether it was dropped.
const LOOK: Duration = Duration::from_millis(50);
/// The largest packet.
const MTU: u16 = 1500;

/// A path that goes when it is dropped.
#[derive(Debug)]
pub struct DelayedPath {
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl DelayedPath {
    /// Connects two namespaces, each under its addresses, which are in one network of 24 bits. A packet takes `delay` in
    /// either direction.
    pub fn between(
        one: (&Namespace, &[Ipv4Addr]),
        other: (&Namespace, &[Ipv4Addr]),
        delay: Duration,
    ) -> Self {
        let name = new_name();
        let ends = [one, other].map(|(namespace, addresses)| device(namespace, &name, addresses));
        Self::carrying(ends, delay)
    }

    /// What two namespaces, each with its address, send each other by whatever way they have, takes this path instead until
    /// it is dropped: `delay` in either direction. Connections stay as they are.
    pub fn detour(
        one: (&Namespace, Ipv4Addr),
        other: (&Namespace, Ipv4Addr),
        delay: Duration,
    ) -> Self {
        let name = new_name();
        let ends = [one.0, other.0].map(|namespace| device(namespace, &name, &[]));
        for ((namespace, own), to) in [(one, other.1), (other, one.1)] {
            let (to, own) = (format!("{to}/32"), own.to_string());
            let route = ["route", "add", &to, "dev", &name, "src", &own];
            ip(&[&["-n", namespace.name()][..], &route].concat());
        }
        Self::carrying(ends, delay)
    }

    fn carrying([one, other]: [Arc<SyncDevice>; 2], delay: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let carriers = [(&one, &other), (&other, &one)].map(|(from, to)| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            thread::spawn(move || carry(&from, &to, delay, &stop))
        });
        Self {
            stop,
            carriers: carriers.into(),
        }
    }
}

impl Drop for DelayedPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

fn new_name() -> String {
    static PATHS: AtomicU32 = AtomicU32::new(0);
    format!("{DEVICE}{}", PATHS.fetch_add(1, Ordering::Relaxed))
}

fn device(namespace: &Namespace, called: &str, addresses: &[Ipv4Addr]) -> Arc<SyncDevice> {
    let device = namespace.run(|| DeviceBuilder::new().name(called).mtu(MTU).build_sync());
    let device = device.unwrap_or_else(|error| panic!("a tun device: {error}"));
    device
        .set_nonblocking(true)
        .expect("a device that does not block");
    let name = namespace.name();
    for address in addresses {
        let address = format!("{address}/24");
        ip(&["-n", name, "address", "add", &address, "dev", called]);
    }
    ip(&["-n", name, "link", "set", called, "txqueuelen", QUEUE, "up"]);
    Arc::new(device)
}

/// Carries packets until it is stopped.
fn carry(from: &SyncDevice, to: &SyncDevice, delay: Duration, stop: &AtomicBool) {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; MTU as usize];
    while !stop.load(Ordering::Relaxed) {
        let due = under_way.front().map(|(due, _)| *due);
        wait(from, due);
        loop {
            match from.recv(&mut buffer) {
                Ok(length) => {
                    under_way.push_back((Instant::now() + delay, buffer[..length].to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let now = Instant::now();
        while let Some((_, packet)) = under_way.pop_front_if(|(due, _)| *due <= now) {
            // The other end may be going; a path gives no receipts.
            let _ = to.send(&packet);
        }
    }
}

/// Waits until there is something to read, or it is `due`.
fn wait(device: &SyncDevice, due: Option<Instant>) {
    let left = due.map_or(LOOK, |due| {
        due.saturating_duration_since(Instant::now()).min(LOOK)
    });
    let left = Timespec::try_from(left).expect("a short time");
    let mut waited = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)];
    // A signal ends the wait early, which does no harm.
    let _ = poll(&mut waited, Some(&left));
}
