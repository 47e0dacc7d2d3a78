//! Whether a process serves: it answers on its runtime socket as itself, holds every listener, and accepts connections there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{ProcessId, listening};
use crate::render::Listener;
use crate::runtime::{Info, RuntimeError, RuntimeSocket};

/// How long one connection to a listener on this machine may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Why a process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It ended.
    #[error("process {0} ended")]
    Ended(u32),
    /// It does not answer.
    #[error("process {pid} does not answer on its runtime socket")]
    Silent {
        /// The process.
        pid: u32,
        /// What was tried.
        source: RuntimeError,
    },
    /// Another process answers on its socket.
    #[error("process {found} answers on the runtime socket of process {expected}")]
    Another {
        /// Who should answer.
        expected: u32,
        /// Who does.
        found: u32,
    },
    /// It does not listen where its configuration says.
    #[error("process {pid} does not listen on {place}")]
    NotListening {
        /// The process.
        pid: u32,
        /// The address and port.
        place: Place,
    },
    /// It does not accept connections.
    #[error("{place} does not accept connections")]
    Refuses {
        /// The address and port.
        place: Place,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An address and port, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Listener);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.0.port)),
            None => write!(f, "*:{}", self.0.port),
        }
    }
}

/// Looks once whether `process` serves.
pub(super) async fn serves(
    process: ProcessId,
    socket: &Path,
    listeners: &[Listener],
) -> Result<Info, VerifyError> {
    let pid = process.pid;
    if !process.is_alive() {
        return Err(VerifyError::Ended(pid));
    }
    let info = RuntimeSocket::new(socket).info().await;
    let info = info.map_err(|source| VerifyError::Silent { pid, source })?;
    if info.pid != pid {
        return Err(VerifyError::Another {
            expected: pid,
            found: info.pid,
        });
    }
    for listener in listeners {
        connect(*listener).await?;
    }
    Ok(info)
}

/// Looks until `process` serves, or `deadline` has passed; then the last obstacle is the error.
pub(super) async fn comes_to_serve(
    process: ProcessId,
    socket: &Path,
    listeners: &[Listener],
    deadline: Duration,
) -> Result<(), VerifyError> {
    let end = tokio::time::Instant::now() + deadline;
    loop {
        let looked = match serves(process, socket, listeners).await {
            Ok(_) => holds(process, listeners),
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) => return Ok(()),
            Err(error @ VerifyError::Ended(_)) => return Err(error),
            Err(error) if tokio::time::Instant::now() >= end => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Whether the process itself holds a socket for each listener: while an older one listens too, a connection proves
/// nothing about this one. Where the system does not let us look, the connections have to do.
fn holds(process: ProcessId, listeners: &[Listener]) -> Result<(), VerifyError> {
    let Ok(sockets) = listening(process) else {
        return Ok(());
    };
    let is_held = |listener: &Listener| {
        sockets.iter().any(|socket| {
            let address = socket.address.ip();
            socket.address.port() == listener.port
                && match listener.address {
                    Some(wanted) => wanted == address,
                    None => address.is_unspecified(),
                }
        })
    };
    match listeners.iter().find(|listener| !is_held(listener)) {
        Some(missing) => Err(VerifyError::NotListening {
            pid: process.pid,
            place: Place(*missing),
        }),
        None => Ok(()),
    }
}

async fn connect(listener: Listener) -> Result<(), VerifyError> {
    let address = listener.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let connected = TcpStream::connect(SocketAddr::new(address, listener.port));
    let result = tokio::time::timeout(CONNECT, connected)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    result.map(|_| ()).map_err(|source| VerifyError::Refuses {
        place: Place(listener),
        source,
    })
}
