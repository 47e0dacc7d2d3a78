//! Clients that keep their connections and ask again and again, as browsers and proxies do.
//!
//! Such a client opens a new connection when the server said that it would close this one, or when it finds it closed
//! before it asks. A request that went out on a connection and got no whole answer is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::namespace::Namespace;
use crate::request::{Answer, Fault, read, runtime};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(8);

/// Clients at work. They end when they are stopped or dropped.
#[derive(Debug)]
pub struct KeptClients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<KeptOutcome>>,
}

/// What became of their requests.
#[derive(Debug, Clone, Default)]
pub struct KeptOutcome {
    /// Requests that were sent, or for which no connection could be had.
    pub asked: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// The requests that were lost, by kind.
    pub faults: BTreeMap<Fault, u64>,
}

impl KeptClients {
    /// Starts `clients` in `namespace`, each of which asks `target` once every `apart`.
    pub fn start(namespace: &Namespace, target: SocketAddr, clients: u32, apart: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = namespace.thread(move || {
            runtime().block_on(async {
                let mut all = JoinSet::new();
                for number in 0..clients {
                    let (stopped, offset) = (Arc::clone(&stopped), apart * number / clients);
                    all.spawn(async move {
                        sleep(offset).await;
                        client(target, apart, &stopped).await
                    });
                }
                let mut outcome = KeptOutcome::default();
                for one in all.join_all().await {
                    outcome.add(&one);
                }
                outcome
            })
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Lets each finish its request, and says what became of all.
    pub fn stop(mut self) -> KeptOutcome {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("clients are stopped once");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for KeptClients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl KeptOutcome {
    /// Counts those of `other` too.
    pub fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.opened += other.opened;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    /// Requests that were lost in any way.
    pub fn lost(&self) -> u64 {
        self.faults.values().sum()
    }
}

async fn client(target: SocketAddr, apart: Duration, stopped: &AtomicBool) -> KeptOutcome {
    let mut outcome = KeptOutcome::default();
    let mut kept = None;
    let mut pace = interval(apart);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stopped.load(Ordering::Relaxed) {
        pace.tick().await;
        outcome.asked += 1;
        let asked = timeout(LIMIT, request(&mut kept, target, &mut outcome.opened)).await;
        if let Err(fault) = asked.unwrap_or(Err(Fault::TimedOut)) {
            *outcome.faults.entry(fault).or_default() += 1;
            kept = None;
        }
    }
    outcome
}

/// One request on the connection that is `kept`, or on a new one.
async fn request(
    kept: &mut Option<TcpStream>,
    target: SocketAddr,
    opened: &mut u64,
) -> Result<(), Fault> {
    let mut stream = match kept.take().filter(is_open) {
        Some(stream) => stream,
        None => {
            *opened += 1;
            let stream = TcpStream::connect(target).await?;
            let _ = stream.set_nodelay(true);
            stream
        }
    };
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: kept\r\n\r\n")
        .await?;
    let answer = answer(&mut stream).await?;
    let is_last = answer
        .header("connection")
        .is_some_and(|words| words.eq_ignore_ascii_case("close"));
    *kept = Some(stream).filter(|_| !is_last);
    Ok(())
}

/// Whether the other side has not closed it, as far as has been heard here.
fn is_open(stream: &TcpStream) -> bool {
    let heard = stream.try_read(&mut [0]);
    heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn answer(stream: &mut TcpStream) -> Result<Answer, Fault> {
    let mut bytes = Vec::new();
    loop {
        let length = stream.read_buf(&mut bytes).await?;
        match read(&bytes) {
            Err(Fault::Truncated) if length > 0 => {}
            answered => return answered,
        }
    }
}
