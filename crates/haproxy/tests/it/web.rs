//! Applications that say their name, and clients that ask for it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Starts an application on a free port of 127.0.0.1 that answers every request with `name`.
pub(crate) async fn application(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, name));
        }
    });
    address
}

/// As [`application`], with some time to think about each request.
pub(crate) async fn slow_application(name: &'static str, pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let asked = request(&mut stream).await;
                tokio::time::sleep(pause).await;
                let length = name.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
                );
                if asked.is_ok_and(|asked| !asked.is_empty()) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    address
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) -> io::Result<()> {
    loop {
        if request(&mut stream).await?.is_empty() {
            return Ok(());
        }
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Reads a request without a body; empty when the other side is done.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            bytes.clear();
            break;
        }
    }
    Ok(bytes)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A request on a connection of its own; `extra` is further header lines.
pub(crate) async fn ask(to: SocketAddr, host: &str, path: &str, extra: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{extra}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    answer(&text).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Answer {
        status: status?.parse().ok()?,
        headers,
        body: body.to_owned(),
    })
}

/// Who answers `path` of `host`; an answer other than 200 is its status.
pub(crate) async fn who(to: SocketAddr, host: &str, path: &str) -> String {
    match ask(to, host, path, "").await {
        Ok(answer) if answer.status == 200 => answer.body,
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Clients that ask every few milliseconds, each time on a new connection, until they are stopped.
pub(crate) struct Traffic {
    clients: JoinSet<Vec<String>>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Traffic {
    /// Begins `clients` clients of `to`.
    pub(crate) fn begin(to: SocketAddr, clients: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            set.spawn(async move {
                let mut failures = Vec::new();
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !is_over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    match tokio::time::timeout(Duration::from_secs(5), ask(to, "x", "/", "")).await
                    {
                        Ok(Ok(answer)) if answer.status == 200 => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            });
        }
        Self {
            clients: set,
            is_over,
            answered,
        }
    }

    /// Requests that were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until `more` requests than now were answered.
    pub(crate) async fn flows(&self, more: u64) {
        let goal = self.answered() + more;
        crate::sandbox::until("requests are answered", async || self.answered() >= goal).await;
    }

    /// Stops the clients; what failed.
    pub(crate) async fn end(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

/// Clients that ask again and again on a connection that they keep, as long as the server does.
///
/// A client whose connection was closed between two requests opens another; one whose request was under way lost it.
pub(crate) struct KeptAlive {
    clients: JoinSet<Vec<String>>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl KeptAlive {
    /// Begins `clients` clients of `to`.
    pub(crate) fn begin(to: SocketAddr, clients: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            set.spawn(async move {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let kept = keep_asking(to, &is_over, &answered);
                    if let Err(error) = kept.await {
                        failures.push(error.to_string());
                    }
                }
                failures
            });
        }
        Self {
            clients: set,
            is_over,
            answered,
        }
    }

    /// Waits until `more` requests than now were answered.
    pub(crate) async fn flows(&self, more: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        crate::sandbox::until("requests are answered", async || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Stops the clients; what failed.
    pub(crate) async fn end(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

/// Asks on one connection until the server says that it closes it.
async fn keep_asking(to: SocketAddr, is_over: &AtomicBool, answered: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    while !is_over.load(Ordering::Relaxed) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await?;
        let mut bytes = Vec::new();
        // The application's answers have a body of one byte.
        while !bytes.iter().rev().skip(1).copied().take(4).eq(*b"\n\r\n\r") {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(io::Error::other(format!("no answer: {head:?}")));
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if head.contains("connection: close") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
