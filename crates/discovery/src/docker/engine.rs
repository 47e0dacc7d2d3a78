//! Where a Docker engine is reached, and what its failures mean.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::time::timeout;

use crate::answer::SourceError;

/// A Docker engine. Whoever reaches one is root on its machine, so there is no way without protection over a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerEngine {
    /// On this machine, by its socket, mostly `/var/run/docker.sock`.
    Socket(PathBuf),
    /// On this machine, by TCP without TLS. Other than loopback addresses are refused.
    Loopback(SocketAddr),
    /// By TLS with a client certificate, as `dockerd --tlsverify` wants it.
    Tls {
        /// Its name or address, and its port. The name is checked against its certificate.
        address: String,
        /// File with the certificate of its authority, PEM. Those that the system trusts are trusted too.
        authority: PathBuf,
        /// File with our certificate, PEM.
        certificate: PathBuf,
        /// File with the key to that, PEM.
        key: PathBuf,
    },
}

impl DockerEngine {
    /// Reaches the engine and settles on the version of its API. Nothing stays connected between two calls.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Docker, SourceError> {
        // Whole seconds, at least one; what is shorter is cut by our own timeouts.
        let seconds = limit.as_secs().max(1);
        let docker = match self {
            Self::Socket(path) => {
                let path = path.to_string_lossy();
                Docker::connect_with_unix(&path, seconds, API_DEFAULT_VERSION)
            }
            Self::Loopback(address) if !address.ip().is_loopback() => {
                return Err(SourceError::Unconfigured {
                    what: self.to_string(),
                    why: "without TLS only a loopback address is allowed: use the socket or TLS"
                        .to_owned(),
                });
            }
            Self::Loopback(address) => {
                Docker::connect_with_http(&address.to_string(), seconds, API_DEFAULT_VERSION)
            }
            Self::Tls {
                address,
                authority,
                certificate,
                key,
            } => {
                self.readable([authority, certificate, key])?;
                Docker::connect_with_ssl(
                    address,
                    key,
                    certificate,
                    authority,
                    seconds,
                    API_DEFAULT_VERSION,
                )
            }
        };
        let docker = docker.map_err(|error| self.failure(&error))?;
        let settled = timeout(limit, docker.negotiate_version()).await;
        let settled = settled.unwrap_or(Err(Error::RequestTimeoutError));
        settled.map_err(|error| self.failure(&error))
    }

    /// The client reads the files when it connects, and goes on without a certificate if it cannot; then the engine refuses it
    /// with words that do not help.
    fn readable(&self, files: [&PathBuf; 3]) -> Result<(), SourceError> {
        for file in files {
            std::fs::File::open(file).map_err(|error| SourceError::Unconfigured {
                what: self.to_string(),
                why: format!("{}: {error}", file.display()),
            })?;
        }
        Ok(())
    }

    /// What a failed call says about the engine.
    pub(super) fn failure(&self, error: &Error) -> SourceError {
        let what = self.to_string();
        let why = with_causes(error);
        match error {
            Error::DockerResponseServerError {
                status_code: 401 | 403,
                ..
            } => SourceError::Refused { what, why },
            Error::DockerResponseServerError {
                status_code: 429, ..
            } => SourceError::Throttled { what, why },
            Error::DockerResponseServerError { .. }
            | Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::APIVersionParseError {} => SourceError::Malformed { what, why },
            Error::CertPathError { .. }
            | Error::CertParseError { .. }
            | Error::CertMultipleKeys { .. } => SourceError::Unconfigured { what, why },
            _ => SourceError::Unreachable { what, why },
        }
    }
}

/// The error and what led to it: the client's own words alone say no more than that a connection failed.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

impl fmt::Display for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "the Docker engine at {}", path.display()),
            Self::Loopback(address) => write!(f, "the Docker engine at {address}"),
            Self::Tls { address, .. } => write!(f, "the Docker engine at {address}"),
        }
    }
}
