//! The way to peers: the one port between a cluster and what carries its bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hafleet_identity::{
    ConnectError, Connection, Credentials, Expected, Identity, connect, connect_lazy,
};
use hafleet_model::NodeId;
use tonic::transport::Channel;

/// Takes a node to its peers, and says who they are. The other direction is not here: whoever starts a cluster serves
/// its [`crate::PeerServer`] on connections that carry a [`hafleet_identity::Caller`].
#[tonic::async_trait]
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Who this node is to others.
    fn identity(&self) -> Identity;

    /// The addresses at which others let this node be; none when that is left open.
    fn granted(&self) -> Vec<IpAddr>;

    /// Connects to whichever node is at `address`, and waits until that has succeeded or failed.
    ///
    /// # Errors
    /// Why there is no connection. [`ConnectError::Refused`] only where nothing listens: it is taken for proof that
    /// the other process is gone.
    async fn connect(&self, address: SocketAddr) -> Result<Connection, ConnectError>;

    /// A channel to `node` at `address`, which connects when it is first used, and to no other node.
    ///
    /// # Errors
    /// When this node itself cannot connect to anybody.
    fn connect_lazy(&self, address: SocketAddr, node: &NodeId) -> Result<Channel, ConnectError>;
}

/// TCP and mutual TLS: what agents use.
#[derive(Debug)]
pub(crate) struct SecureNetwork {
    credentials: Arc<Credentials>,
}

impl SecureNetwork {
    pub(crate) fn new(credentials: Arc<Credentials>) -> Arc<Self> {
        Arc::new(Self { credentials })
    }
}

#[tonic::async_trait]
impl Network for SecureNetwork {
    fn identity(&self) -> Identity {
        self.credentials.identity().clone()
    }

    fn granted(&self) -> Vec<IpAddr> {
        self.credentials.facts().addresses.clone()
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, ConnectError> {
        connect(&self.credentials, &address.to_string(), Expected::AnyNode).await
    }

    fn connect_lazy(&self, address: SocketAddr, node: &NodeId) -> Result<Channel, ConnectError> {
        let expected = Expected::Node(node.clone());
        connect_lazy(&self.credentials, &address.to_string(), expected)
    }
}
