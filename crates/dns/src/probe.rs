//! The leader's own look at a node's listeners, without which no node leaves DNS.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::service::Probe;

/// The longest status line that is waited for, in bytes.
const STATUS_LINE: usize = 256;

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where HAProxy should listen.
    pub address: SocketAddr,
    /// Asked for over HTTP, and to be answered with 200 to 399; none: a TCP connection is enough.
    pub path: Option<String>,
}

/// Asks once, and waits no longer than `limit` for all of it. May be dropped at any point.
pub async fn probe(question: &Question, limit: Duration) -> Probe {
    let answered = timeout(limit, asked(question)).await;
    match answered {
        Ok(Some(())) => Probe::Answers,
        Ok(None) | Err(_) => Probe::Fails,
    }
}

async fn asked(question: &Question) -> Option<()> {
    let mut stream = TcpStream::connect(question.address).await.ok()?;
    let Some(path) = &question.path else {
        return Some(());
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hafleet\r\nConnection: close\r\n\r\n",
        question.address
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut part = [0; STATUS_LINE];
    while !answer.contains(&b'\n') && answer.len() < STATUS_LINE {
        match stream.read(&mut part).await.ok()? {
            0 => break,
            length => answer.extend_from_slice(part.get(..length)?),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let status: u16 = status.trim().parse().ok()?;
    (200..400).contains(&status).then_some(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A listener that answers each connection with `answer`, and holds on to it.
    async fn listener(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(answer.as_bytes()).await;
                held.push(stream);
            }
        });
        address
    }

    async fn of(address: SocketAddr, path: Option<&str>, limit: Duration) -> Probe {
        let path = path.map(str::to_owned);
        probe(&Question { address, path }, limit).await
    }

    #[tokio::test]
    async fn a_connection_is_enough_without_a_path() {
        let address = listener("").await;
        assert_eq!(of(address, None, LIMIT).await, Probe::Answers);
        let short = Duration::from_millis(50);
        assert_eq!(of(address, Some("/"), short).await, Probe::Fails, "silence");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = free.local_addr().unwrap();
        drop(free);
        assert_eq!(of(gone, None, LIMIT).await, Probe::Fails);
    }

    #[tokio::test]
    async fn a_path_has_to_be_answered_well() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Probe::Answers),
            ("HTTP/1.0 301 Moved\r\n\r\n", Probe::Answers),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Probe::Fails),
            ("SSH-2.0-OpenSSH_9.6\r\n", Probe::Fails),
        ] {
            let address = listener(answer).await;
            assert_eq!(of(address, Some("/up"), LIMIT).await, expected, "{answer}");
        }
    }
}
