//! Bad connections by the thousands: as many a second as are asked for, from one namespace to one port.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::namespace::Namespace;
use crate::request::runtime;

/// Connections are begun in groups, so often.
const TICK: Duration = Duration::from_millis(10);
/// How long a connection that says nothing is held.
const HELD: Duration = Duration::from_millis(300);
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(2);

/// A flood that goes on until it is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// `per_second` connections from `from` to `target`: of each three one is closed at once, one sends bytes that are
    /// no TLS, and one says nothing for a while.
    pub fn start(from: &Namespace, target: SocketAddr, per_second: u32) -> Self {
        let (stop, made) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&made));
        let thread =
            from.thread(move || runtime().block_on(pour(target, per_second, &stopped, &count)));
        Self {
            stop,
            made,
            thread: Some(thread),
        }
    }

    /// How many connections were made.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn pour(target: SocketAddr, per_second: u32, stop: &AtomicBool, made: &Arc<AtomicU64>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut sent) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = begun.elapsed().as_millis() * u128::from(per_second) / 1_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        // A machine that is late does not make up for all of it at once.
        for number in sent.max(due.saturating_sub(u64::from(per_second)))..due {
            tokio::spawn(bother(target, number, Arc::clone(made)));
        }
        sent = due;
    }
}

async fn bother(target: SocketAddr, number: u64, made: Arc<AtomicU64>) {
    let Ok(connected) = timeout(PATIENCE, TcpStream::connect(target)).await else {
        return;
    };
    // One that was turned away at once had been made.
    let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    if connected.is_ok() || connected.as_ref().is_err_and(is_reset) {
        made.fetch_add(1, Ordering::Relaxed);
    }
    let Ok(mut stream) = connected else {
        return;
    };
    // Ports are free at once.
    let _ = stream.set_zero_linger();
    match number % 3 {
        0 => {}
        1 => drop(
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n")
                .await,
        ),
        _ => tokio::time::sleep(HELD).await,
    }
}
