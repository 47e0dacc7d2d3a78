//! chitchat's transport: outgoing messages go to the queue of a link, incoming ones come from the inbox.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Serializable as _};
use tokio::sync::{Notify, mpsc};

use crate::limits::MAX_FRAME_LEN;

/// Whoever carries frames to addresses. Never waits: a frame that finds no room is dropped, as a datagram would be.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// Hands over a frame for `to`. One that opens an exchange may go to another peer instead.
    fn carry(&self, to: SocketAddr, frame: Bytes, is_opening: bool);
}

/// chitchat's way in and out. Opens once.
pub(crate) struct GossipTransport<C> {
    carrier: Arc<C>,
    frames: Mutex<Option<mpsc::Receiver<(SocketAddr, ChitchatMessage)>>>,
    processed: Arc<Notify>,
}

impl<C: Carrier> GossipTransport<C> {
    /// `processed` is notified whenever chitchat has dealt with a message.
    pub(crate) fn new(
        carrier: Arc<C>,
        frames: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
        processed: Arc<Notify>,
    ) -> Self {
        Self {
            carrier,
            frames: Mutex::new(Some(frames)),
            processed,
        }
    }
}

#[async_trait]
impl<C: Carrier> Transport for GossipTransport<C> {
    async fn open(&self, _listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let frames = self
            .frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let frames = frames.ok_or_else(|| anyhow::anyhow!("gossip was opened before"))?;
        Ok(Box::new(GossipSocket {
            carrier: Arc::clone(&self.carrier),
            frames,
            processed: Arc::clone(&self.processed),
        }))
    }
}

struct GossipSocket<C> {
    carrier: Arc<C>,
    frames: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    processed: Arc<Notify>,
}

#[async_trait]
impl<C: Carrier> Socket for GossipSocket<C> {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let is_opening = matches!(message, ChitchatMessage::Syn { .. });
        let bytes = message.serialize_to_vec();
        if bytes.len() > MAX_FRAME_LEN {
            tracing::warn!(
                len = bytes.len(),
                "a gossip message of our own is too large, and is dropped"
            );
            return Ok(());
        }
        self.carrier.carry(to, Bytes::from(bytes), is_opening);
        Ok(())
    }

    /// Cancel-safe: a message is taken from the channel only when it is returned. That it is asked for the next one
    /// is how chitchat shows that it is done with the last.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.processed.notify_one();
        self.frames
            .recv()
            .await
            .ok_or_else(|| anyhow::anyhow!("the inbox is closed"))
    }
}
