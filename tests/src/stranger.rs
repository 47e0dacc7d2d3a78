//! Peers that say what no agent would: bytes that are not HTTP/2, and calls whose messages are garbage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use hafleet_identity::{Credentials, Expected, IdentityFiles, connect};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use crate::namespace::Namespace;
use crate::node::Node;
use crate::request::runtime;

/// How long a stranger waits for an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// A program with an identity, in the namespace of a node, that speaks to agents.
#[derive(Debug)]
pub struct Stranger<'a> {
    home: &'a Namespace,
    credentials: Credentials,
}

impl<'a> Stranger<'a> {
    /// In the namespace of `home`, with the identity in the directory `identity`.
    pub fn new(home: &'a Node, identity: &Path) -> Self {
        Self::elsewhere(home.namespace(), identity)
    }

    /// In the namespace `home`, with the identity in the directory `identity`.
    pub fn elsewhere(home: &'a Namespace, identity: &Path) -> Self {
        hafleet_identity::install_default_provider();
        let credentials =
            Credentials::load(&IdentityFiles::from_directory(identity)).expect("an identity");
        Self { home, credentials }
    }

    /// Sends `bytes` to the agent of `target` inside TLS, and returns what came back until that ended or stalled.
    pub fn send(&self, target: &Node, bytes: &[u8]) -> Vec<u8> {
        let config = self
            .credentials
            .client_config(Expected::AnyNode)
            .expect("a TLS configuration");
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        self.inside(async {
            let address = target.address();
            let stream = TcpStream::connect(target.endpoint())
                .await
                .expect("an agent listens");
            let name = ServerName::IpAddress(std::net::IpAddr::from(address).into());
            let mut stream = connector
                .connect(name, stream)
                .await
                .expect("an agent takes the certificate");
            let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
            let _ = stream.write_all(bytes).await;
            while let Ok(Ok(length @ 1..)) = timeout(LIMIT, stream.read(&mut buffer)).await {
                answer.extend_from_slice(&buffer[..length]);
            }
            answer
        })
    }

    /// Sends `bytes` to the agent of `target` inside TLS as far as it takes them, and waits for nothing.
    pub fn throw(&self, target: &Node, bytes: &[u8]) {
        let config = self.credentials.client_config(Expected::AnyNode);
        let connector = tokio_rustls::TlsConnector::from(config.expect("a TLS configuration"));
        let name = ServerName::IpAddress(std::net::IpAddr::from(target.address()).into());
        let thrown = async {
            let stream = TcpStream::connect(target.endpoint()).await?;
            let mut stream = connector.connect(name, stream).await?;
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        // Whatever comes of it, the agent is what is looked at.
        let _ = self.inside(async { timeout(LIMIT, thrown).await });
    }

    /// Calls `path` (`/package.Service/Method`) of the agent of `target` with `messages`, each as it is.
    ///
    /// # Errors
    /// The status with which the agent ended the call.
    pub fn call(
        &self,
        target: &Node,
        path: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<Vec<u8>, Status> {
        self.inside(async {
            let connected = connect(&self.credentials, &target.endpoint(), Expected::AnyNode).await;
            let unavailable =
                |error: hafleet_identity::ConnectError| Status::unavailable(error.to_string());
            let channel = connected.map_err(unavailable)?.channel;
            let mut client = tonic::client::Grpc::new(channel);
            client
                .ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let (path, messages) = (
                http::uri::PathAndQuery::from_static(path),
                Messages(messages),
            );
            let call = client.streaming(Request::new(messages), path, Verbatim);
            let late = || Status::deadline_exceeded("the stranger waited no longer");
            let response = timeout(LIMIT, call).await.map_err(|_| late())??;
            let message = timeout(LIMIT, response.into_inner().message())
                .await
                .map_err(|_| late())??;
            Ok(message.unwrap_or_default())
        })
    }

    fn inside<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        self.home.run(|| runtime().block_on(work))
    }
}

/// Messages that wait for nothing.
struct Messages(Vec<Vec<u8>>);

impl tokio_stream::Stream for Messages {
    type Item = Vec<u8>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Vec<u8>>> {
        let rest = &mut self.0;
        std::task::Poll::Ready(if rest.is_empty() {
            None
        } else {
            Some(rest.remove(0))
        })
    }
}

/// A codec that takes messages for what they are: bytes.
struct Verbatim;

impl Codec for Verbatim {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Verbatim {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Verbatim {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
