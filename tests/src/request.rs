//! Requests over HTTP/1.1, each on a connection of its own, with the kinds of failure told apart.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::namespace::Namespace;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// No whole answer in time.
    TimedOut,
    /// The connection ended before the answer did.
    Truncated,
    /// There is no way to the address.
    Unreachable,
    /// An answer other than 200.
    Status(u16),
    /// Anything else that the system says.
    Other(ErrorKind),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Truncated => f.write_str("truncated"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Other(kind) => write!(f, "{kind}"),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            ErrorKind::UnexpectedEof => Self::Truncated,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            kind => Self::Other(kind),
        }
    }
}

/// A whole answer of status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of the header `name`, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Asks `address` for `path` on a new connection, which the answer ends.
///
/// # Errors
/// How it failed, within `limit`.
pub async fn ask(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer, Fault> {
    timeout(limit, attempt(address, path))
        .await
        .unwrap_or(Err(Fault::TimedOut))
}

async fn attempt(address: SocketAddr, path: &str) -> Result<Answer, Fault> {
    let mut stream = TcpStream::connect(address).await?;
    let _ = stream.set_nodelay(true);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(512);
    stream.read_to_end(&mut bytes).await?;
    read(&bytes)
}

/// The answer in `bytes`, which is [`Fault::Truncated`] as long as some of it is missing.
pub(crate) fn read(bytes: &[u8]) -> Result<Answer, Fault> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(Fault::Truncated)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(Fault::Truncated)?;
    if status != 200 {
        return Err(Fault::Status(status));
    }
    let answer = Answer {
        head: head.to_owned(),
        body: body.to_owned(),
    };
    let announced = answer
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok());
    match announced {
        Some(length) if length != body.len() => Err(Fault::Truncated),
        _ => Ok(answer),
    }
}

/// [`ask`] for `/` from inside `namespace`, for callers that are not asynchronous.
///
/// # Errors
/// How it failed, within `limit`.
pub fn ask_from(
    namespace: &Namespace,
    address: SocketAddr,
    limit: Duration,
) -> Result<Answer, Fault> {
    namespace.run(|| runtime().block_on(ask(address, "/", limit)))
}

/// A connection that is kept from one request to the next.
#[derive(Debug)]
pub struct Kept {
    stream: std::net::TcpStream,
}

impl Kept {
    /// Connects to `address` from inside `namespace`.
    ///
    /// # Errors
    /// How that failed.
    pub fn open(namespace: &Namespace, address: SocketAddr) -> Result<Self, Fault> {
        let limit = Duration::from_secs(5);
        let stream = namespace.run(|| std::net::TcpStream::connect_timeout(&address, limit))?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Self { stream })
    }

    /// Asks for `path` and reads the whole answer, whose length has to be announced.
    ///
    /// # Errors
    /// How that failed; the connection cannot be used any more then.
    pub fn ask(&mut self, path: &str) -> Result<Answer, Fault> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: kept\r\n\r\n")?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = self.stream.read(&mut buffer)?;
            bytes.extend_from_slice(&buffer[..length]);
            match read(&bytes) {
                Err(Fault::Truncated) if length > 0 => {}
                answered => return answered,
            }
        }
    }
}

/// A runtime for the thread that calls.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for a thread")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_shorter_than_announced_is_truncated() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Marker: 7\r\n\r\nhi";
        let answer = read(whole).unwrap();
        assert_eq!(
            (answer.header("x-marker"), answer.body.as_str()),
            (Some("7"), "hi")
        );
        assert_eq!(read(&whole[..whole.len() - 1]), Err(Fault::Truncated));
        assert_eq!(read(b""), Err(Fault::Truncated));
        assert_eq!(read(b"HTTP/1.1 503 No\r\n\r\n"), Err(Fault::Status(503)));
    }
}
