//! Many agents as one: gossip over gRPC, membership, leadership, documents, store.
//!
//! A node joins with [`Cluster::start`] and then has a [`View`] of the fleet, the fleet's documents, and a way to
//! [`write`](Cluster::write) them while it leads. The caller serves the returned [`PeerServer`] beside its other
//! services, on one port, over [`hafleet_identity::Incoming`]:
//!
//! ```no_run
//! # async fn example(
//! #     config: hafleet_cluster::ClusterConfig,
//! #     credentials: std::sync::Arc<hafleet_identity::Credentials>,
//! #     listener: tokio::net::TcpListener,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let store = hafleet_cluster::Store::open("/var/lib/hafleet/state.redb")?;
//! let incoming = hafleet_identity::Incoming::new(listener, &credentials)?;
//! let (cluster, peers) = hafleet_cluster::Cluster::start(config, store, credentials).await?;
//! let serving = tonic::transport::Server::builder().add_service(peers).serve_with_incoming(incoming);
//! # Ok(()) }
//! ```
//!
//! The rules are pure, and a thin layer of tasks drives them:
//!
//! | rules | tasks |
//! |---|---|
//! | [`leadership`]: who leads; `membership`: one look, from what is seen to what is decided and said | `driver`: gathers what is to be seen, shows and publishes |
//! | [`mod@line`]: what becomes of a revision; the rules of `write`, `repair` and `gather` | their `Writer`, `Repairer` and `Gatherer`: the leader's pushes, everyone's catching up |
//! | [`view`]: who is live | `links`, `gossip`: what is seen of others |
//! | `facts`: gossip to reports and back | `exchange`: the protocol between agents |
//!
//! [`Store`] keeps what must survive. What the documents mean, and what a node does about them, is left to others.

mod absent;
mod assembly;
mod circle;
mod clock;
mod cluster;
mod complaints;
mod config;
mod documents;
mod driver;
mod exchange;
mod facts;
mod forming;
mod gather;
mod gossip;
mod heard;
pub mod leadership;
mod limits;
pub mod line;
mod links;
mod membership;
mod network;
mod offload;
mod removed;
mod repair;
mod roster;
mod seeds;
mod silence;
mod storage;
mod store;
mod timing;
pub mod view;
mod write;

/// The rules as state machines, without tasks, wire, clock or disk: for simulations, which run whole fleets of them.
///
/// Time comes in with each call, storage is a [`Storage`](machines::Storage), and what is to be sent comes out as a value.
/// The tasks of this crate drive the same code.
pub mod machines {
    pub use crate::clock::Clock;
    pub use crate::documents::{AdoptError, Documents, Gathered, Outcome};
    pub use crate::exchange::answer::{self, Refusal};
    pub use crate::exchange::client::{AskError, PushOutcome};
    pub use crate::facts::{Facts, blank_report};
    pub use crate::gather::{GatherError, rules as gather};
    pub use crate::links::LinkStatus;
    pub use crate::membership::{Looked, Membership, MembershipConfig, OwnReport, Surroundings};
    pub use crate::repair::{RepairError, rules as repair};
    pub use crate::roster::{Heard, HeardNode};
    pub use crate::seeds::ResolvedSeeds;
    pub use crate::storage::{Promises, Storage};
    pub use crate::store::{Change, KnownMember, LineRecord};
    pub use crate::write::rules as write;
}

/// The generated half of the protocol between agents.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    reason = "generated"
)]
mod proto {
    tonic::include_proto!("hafleet.v1");
}

pub use absent::Absent;
pub use cluster::{Cluster, ClusterError, Erased};
pub use config::{ClusterConfig, HISTORY_LIMIT, KeyShares, MEMBER_RETENTION, ReadRemoved};
pub use exchange::server::PeerService;
pub use leadership::Role;
pub use limits::{MAX_BODY_LEN, MAX_COMMENT_LEN};
pub use network::Network;
pub use store::{Conflict, ConflictReason, Store, StoreError};
pub use timing::Timing;
pub use view::{LinkState, Liveness, Member, SeedsShort, Standing, View};
pub use write::{Confirmed, Expect, Holding, WriteError, WriteRequest, Written};

/// What a node answers its peers: to be added to the agent's tonic server.
pub type PeerServer = proto::peer_server::PeerServer<PeerService>;
