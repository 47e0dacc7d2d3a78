//! Frames of all peers, checked, on their way to chitchat.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chitchat::ChitchatMessage;
use hafleet_model::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{FrameError, FrameRules};
use crate::proto;

/// How many frames may wait for chitchat. A peer whose frame finds no room waits, and its own queue overflows.
const CAPACITY: usize = 256;

/// How many frames in a row may be refused before a peer's stream is closed. One alone may be chance; a peer that
/// sends nothing else is of another mind.
const MAX_REFUSED_IN_A_ROW: u32 = 8;

/// Why a peer's stream of gossip ended before the peer ended it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a gossip frame was refused: {0}")]
    Frame(#[from] FrameError),
    #[error("this agent is stopping")]
    Stopping,
    #[error("the stream broke: {0}")]
    Broken(Box<tonic::Status>),
}

/// Where frames come in. Cloned into the service.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    rules: FrameRules,
    frames: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    openings: mpsc::Sender<(NodeId, SocketAddr)>,
    refused: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// The other end of the inbox.
#[derive(Debug)]
pub(crate) struct InboxReceiver {
    /// For chitchat.
    pub(crate) frames: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    /// Who has begun to gossip with us, and where it can be reached.
    pub(crate) openings: mpsc::Receiver<(NodeId, SocketAddr)>,
}

impl Inbox {
    pub(crate) fn new(rules: FrameRules, stop: CancellationToken) -> (Self, InboxReceiver) {
        let (frames, frames_out) = mpsc::channel(CAPACITY);
        let (openings, openings_out) = mpsc::channel(CAPACITY);
        let inbox = Self {
            rules,
            frames,
            openings,
            refused: Arc::default(),
            stop,
        };
        (
            inbox,
            InboxReceiver {
                frames: frames_out,
                openings: openings_out,
            },
        )
    }

    /// How many frames were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Begins to take frames from `peer`. `None` when the agent is stopping.
    pub(crate) fn open(&self, peer: NodeId, address: SocketAddr) -> Option<Delivery> {
        if self.stop.is_cancelled() {
            return None;
        }
        // When there is no room, the driver learns of the peer by its gossip.
        let _ = self.openings.try_send((peer.clone(), address));
        Some(Delivery {
            inbox: self.clone(),
            peer,
            address,
            refused_in_a_row: 0,
        })
    }
}

/// One peer's stream of frames.
#[derive(Debug)]
pub(crate) struct Delivery {
    inbox: Inbox,
    peer: NodeId,
    address: SocketAddr,
    refused_in_a_row: u32,
}

impl Delivery {
    /// Passes frames on until the peer ends the stream, sends only such that are refused, or the agent stops.
    pub(crate) async fn run(
        &mut self,
        frames: &mut Streaming<proto::Frame>,
    ) -> Result<(), Refused> {
        loop {
            let next = tokio::select! {
                () = self.inbox.stop.cancelled() => return Err(Refused::Stopping),
                next = frames.message() => next,
            };
            match next {
                Ok(Some(frame)) => self.deliver(frame).await?,
                Ok(None) => return Ok(()),
                Err(status) => return Err(self.broken(status)),
            }
        }
    }

    async fn deliver(&mut self, frame: proto::Frame) -> Result<(), Refused> {
        let checked = match frame.content {
            Some(proto::frame::Content::Gossip(bytes)) => self.inbox.rules.check(&bytes),
            Some(proto::frame::Content::Opening(_)) => Err(FrameError::Malformed {
                reason: "a second opening".to_owned(),
            }),
            None => Err(FrameError::Malformed {
                reason: "it is empty".to_owned(),
            }),
        };
        let message = match checked {
            Ok(message) => message,
            Err(error) => return self.refuse(error),
        };
        self.refused_in_a_row = 0;
        self.inbox
            .frames
            .send((self.address, message))
            .await
            .map_err(|_| Refused::Stopping)
    }

    /// Drops a frame, as gossip can bear, unless there were too many of the kind.
    fn refuse(&mut self, error: FrameError) -> Result<(), Refused> {
        self.count(&error);
        self.refused_in_a_row += 1;
        if self.refused_in_a_row >= MAX_REFUSED_IN_A_ROW {
            return Err(error.into());
        }
        Ok(())
    }

    /// A message over the limit is refused by tonic before it becomes a frame.
    fn broken(&self, status: tonic::Status) -> Refused {
        if status.code() == tonic::Code::OutOfRange {
            self.count(&status);
        }
        Refused::Broken(Box::new(status))
    }

    /// A line in the log for powers of two only, since a peer may cause many.
    fn count(&self, error: &dyn std::fmt::Display) {
        let count = self.inbox.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() || count.is_multiple_of(1000) {
            tracing::warn!(peer = %self.peer, %error, count, "a gossip frame was refused");
        }
    }
}
