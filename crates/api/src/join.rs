//! The service of an issuer's own port (`proto/hafleet/v1/join.proto`): the generated code, and a client of it.

use std::fmt;

use tonic::transport::Channel;

/// The largest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The generated messages, client and server.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rust_2018_idioms
)]
pub mod v1 {
    tonic::include_proto!("hafleet.join.v1");
}

/// A client of the service over `channel`.
pub fn client(channel: Channel) -> v1::join_client::JoinClient<Channel> {
    v1::join_client::JoinClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The service for a server's router.
pub fn server<S: v1::join_server::Join>(service: S) -> v1::join_server::JoinServer<S> {
    v1::join_server::JoinServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

impl fmt::Debug for v1::JoinRequest {
    /// All but the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("fleet", &self.fleet)
            .field("token_id", &self.token_id)
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for crate::v1::CreateJoinTokenResponse {
    /// All but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateJoinTokenResponse")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
