//! TLS to servers that are no part of any fleet, such as the statistics page of a plain HAProxy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why a server outside of any fleet cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The file of authorities cannot be read.
    #[error("{}: {reason}", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody is trusted.
    #[error("this machine trusts no authority; name one")]
    Nobody,
    /// The server's name cannot be in a certificate.
    #[error("{host:?} cannot be the name in a certificate")]
    Name {
        /// What it is called.
        host: String,
        /// Why not.
        source: InvalidDnsNameError,
    },
    /// The handshake failed.
    #[error("no TLS with it: {0}")]
    Handshake(#[from] io::Error),
}

/// Whose certificates are believed outside of any fleet.
#[derive(Clone)]
pub struct WebTrust(Arc<ClientConfig>);

impl WebTrust {
    /// Trusts the authorities in `file` (PEM), or those of the machine.
    ///
    /// # Errors
    /// When the file cannot be read, or nobody would be trusted.
    pub fn load(file: Option<&Path>) -> Result<Self, WebError> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(path) => {
                let wrong = |reason: String| WebError::Authority {
                    path: path.to_owned(),
                    reason,
                };
                let read = CertificateDer::pem_file_iter(path);
                for certificate in read.map_err(|error| wrong(error.to_string()))? {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots
                        .add(certificate)
                        .map_err(|error| wrong(error.to_string()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(WebError::Nobody);
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        Ok(Self(Arc::new(config.with_no_client_auth())))
    }

    /// Speaks TLS over `stream` with the server that is called `host`.
    ///
    /// # Errors
    /// When it cannot prove that it is.
    pub async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, WebError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|source| WebError::Name {
            host: host.to_owned(),
            source,
        })?;
        Ok(TlsConnector::from(Arc::clone(&self.0))
            .connect(name, stream)
            .await?)
    }
}
