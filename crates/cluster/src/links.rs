//! Connections to peers: one per address, kept up, and what they prove.
//!
//! Each link carries our gossip to its peer and lends its channel to everything else that is asked of the peer. A
//! link notices at once when its peer's process dies: the stream closes, and the attempt to connect again is refused.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hafleet_identity::{ConnectError, Connection};
use hafleet_model::NodeId;
use rand::RngExt as _;
use rand::seq::IteratorRandom as _;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::circle::{Circle, share_of_gossip};
use crate::exchange::client::peer_client;
use crate::gossip::Carrier;
use crate::limits::MAX_LINKS;
use crate::network::Network;
use crate::proto;
use crate::view::LinkState;

/// How many frames may wait for a peer.
const QUEUE_LEN: usize = 16;
/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A connection that lasted for less counts as a failure.
const SHORT_LIVED: Duration = Duration::from_secs(1);

/// For how long the first attempt to connect goes on before it counts as no answer. Attempts give up later.
const NO_ANSWER: Duration = Duration::from_millis(1500);
/// The first pause between introductions to a peer; it doubles, up to the last.
const FIRST_INTRODUCTION: Duration = Duration::from_millis(200);
const LAST_INTRODUCTION: Duration = Duration::from_secs(3);
/// To how many peers this node introduces itself at once.
const INTRODUCTIONS: usize = 8;
/// For how long a connection is kept that nobody wants: both ends may not know the same fleet yet.
const UNWANTED: Duration = Duration::from_secs(10);

/// What one link knows.
#[derive(Debug, Clone)]
pub struct LinkStatus {
    /// What the connection says.
    pub state: LinkState,
    /// Who answered last.
    pub peer: Option<NodeId>,
    /// From the first connection on, until an attempt to connect again has failed.
    pub(crate) channel: Option<Channel>,
}

impl LinkStatus {
    /// The status of a link that lends no channel.
    pub fn new(state: LinkState, peer: Option<NodeId>) -> Self {
        Self {
            state,
            peer,
            channel: None,
        }
    }
}

/// All links of a node.
#[derive(Debug)]
pub(crate) struct Links {
    network: Arc<dyn Network>,
    own_address: SocketAddr,
    longest_pause: Duration,
    table: Mutex<Table>,
    /// Told whenever a link's state changes.
    changed: Arc<Notify>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    links: HashMap<SocketAddr, Link>,
    /// Addresses at which this very node answered.
    own: HashSet<SocketAddr>,
    /// Whom this node is connected to.
    circle: Circle,
    /// Where the others are, in a fleet that is too large to be connected to everyone.
    directory: HashMap<NodeId, SocketAddr>,
    /// Peers that are to be gossiped with at once, whatever the share of gossip that goes out.
    pushes: HashSet<SocketAddr>,
    /// Peers that gossip with us, and to which we have no connection.
    callers: HashSet<SocketAddr>,
}

#[derive(Debug)]
struct Link {
    queue: mpsc::Sender<Bytes>,
    status: LinkStatus,
    /// When it was last wanted, or of use to its peer.
    wanted_at: Instant,
    /// When it was first.
    began_at: Instant,
    /// Of one that gossip does not know yet: when it is to be introduced again, and after which pause.
    introduction: Option<(Instant, Duration)>,
    hurry: Arc<Notify>,
    stop: CancellationToken,
}

impl Links {
    pub(crate) fn new(
        network: Arc<dyn Network>,
        own_address: SocketAddr,
        longest_pause: Duration,
        changed: Arc<Notify>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let table = Table {
            links: HashMap::new(),
            own: HashSet::from([own_address]),
            ..Table::default()
        };
        Arc::new(Self {
            network,
            own_address,
            longest_pause,
            table: Mutex::new(table),
            changed,
            stop,
        })
    }

    /// Keeps a connection to `address` from now on, unless it is our own.
    pub(crate) fn ensure(self: &Arc<Self>, address: SocketAddr) {
        let mut table = self.table();
        if let Some(link) = table.links.get_mut(&address) {
            link.wanted_at = Instant::now();
            return;
        }
        if table.own.contains(&address) || self.stop.is_cancelled() {
            return;
        }
        if table.links.len() >= MAX_LINKS {
            tracing::warn!(%address, "there are too many peers: no connection is made to this one");
            return;
        }
        let (queue, frames) = mpsc::channel(QUEUE_LEN);
        let (hurry, stop) = (Arc::new(Notify::new()), self.stop.child_token());
        let runner = Runner {
            links: Arc::clone(self),
            address,
            frames,
            hurry: Arc::clone(&hurry),
            stop: stop.clone(),
            pause: FIRST_PAUSE,
            told: None,
        };
        let status = LinkStatus::new(LinkState::Connecting, None);
        table.links.insert(
            address,
            Link {
                queue,
                status,
                wanted_at: Instant::now(),
                began_at: Instant::now(),
                introduction: None,
                hurry,
                stop,
            },
        );
        tokio::spawn(runner.run());
    }

    /// The peer at `address` is there: an attempt to connect need not wait any longer.
    pub(crate) fn hurry(&self, address: SocketAddr) {
        if let Some(link) = self.table().links.get(&address) {
            link.hurry.notify_one();
        }
    }

    /// Gives up the connections to all other addresses, and also those within `circle` only that nobody has wanted for
    /// some time.
    pub(crate) fn keep_only(&self, addresses: &HashSet<SocketAddr>) {
        let mut table = self.table();
        let is_all = table.circle.is_all();
        let now = Instant::now();
        table.links.retain(|address, link| {
            // A peer that has just opened its stream is not in gossip yet, and its link is needed to get it there.
            let is_of_use = matches!(
                link.status.state,
                LinkState::Connecting | LinkState::Connected
            ) && (is_all
                || now.saturating_duration_since(link.wanted_at) < UNWANTED);
            let is_kept = is_of_use || addresses.contains(address);
            if !is_kept {
                link.stop.cancel();
            }
            is_kept
        });
    }

    /// What all links know; for a channel there is [`Links::channel`].
    pub(crate) fn statuses(&self) -> HashMap<SocketAddr, LinkStatus> {
        let table = self.table();
        let statuses = table.links.iter().map(|(address, link)| {
            let LinkStatus { state, peer, .. } = &link.status;
            (*address, LinkStatus::new(state.clone(), peer.clone()))
        });
        statuses.collect()
    }

    /// Those connected addresses that are not among `known`, of which each is about to be introduced to us. One that stays
    /// unknown is tried again after longer and longer pauses: it may have more to do than to answer.
    pub(crate) fn begin_introductions(&self, known: &HashSet<SocketAddr>) -> Vec<SocketAddr> {
        let mut table = self.table();
        let now = Instant::now();
        let mut begun = Vec::new();
        for (address, link) in &mut table.links {
            let is_connected = link.status.state == LinkState::Connected;
            if !is_connected || known.contains(address) {
                link.introduction = None;
                continue;
            }
            let (due, pause) = link.introduction.unwrap_or((now, FIRST_INTRODUCTION));
            if due <= now && begun.len() < INTRODUCTIONS {
                let pause = (pause * 2).min(LAST_INTRODUCTION);
                link.introduction = Some((
                    now + pause.mul_f64(rand::rng().random_range(0.5..1.0)),
                    pause,
                ));
                begun.push(*address);
            }
        }
        table.pushes.extend(&begun);
        begun
    }

    /// The addresses that do not answer at `now`: a connection broke and could not be made again so far, or none could be
    /// made at all.
    pub(crate) fn unanswered(&self, now: Instant) -> HashSet<SocketAddr> {
        let is_unanswered = |link: &Link| match &link.status.state {
            LinkState::Unreachable { .. } => true,
            LinkState::Connecting => now.saturating_duration_since(link.began_at) > NO_ANSWER,
            LinkState::Connected | LinkState::Refused { .. } => false,
        };
        let table = self.table();
        let unanswered = table.links.iter().filter(|(_, link)| is_unanswered(link));
        unanswered.map(|(address, _)| *address).collect()
    }

    /// The addresses at which this very node answers.
    pub(crate) fn own_addresses(&self) -> HashSet<SocketAddr> {
        self.table().own.clone()
    }

    /// The way to `node`: the connection that is there, or, when it has just ended, one that is made on use.
    pub(crate) fn channel(&self, node: &NodeId) -> Option<Channel> {
        let table = self.table();
        let mut links = table
            .links
            .values()
            .filter(|link| link.status.peer.as_ref() == Some(node));
        if let Some(channel) = links.find_map(|link| link.status.channel.clone()) {
            return Some(channel);
        }
        let address = *table.directory.get(node)?;
        drop(table);
        self.network.connect_lazy(address, node).ok()
    }

    /// Says whom this node is connected to, and where the others are.
    pub(crate) fn set_circle(&self, circle: Circle, directory: HashMap<NodeId, SocketAddr>) {
        let mut table = self.table();
        table.circle = circle;
        table.directory = directory;
    }

    /// The peers that gossip with us and to which there is no connection, since the last call.
    pub(crate) fn take_callers(&self) -> HashSet<SocketAddr> {
        std::mem::take(&mut self.table().callers)
    }

    /// Which of `addresses` are connected at this moment, of which each is about to be gossiped with.
    pub(crate) fn begin_pushes(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Vec<SocketAddr> {
        let mut table = self.table();
        let connected: Vec<_> = addresses
            .filter(|address| table.is_connected(*address))
            .collect();
        table.pushes.extend(&connected);
        connected
    }

    fn set(&self, address: SocketAddr, change: impl FnOnce(&mut LinkStatus)) {
        let mut table = self.table();
        let Some(link) = table.links.get_mut(&address) else {
            return;
        };
        let before = (link.status.state.clone(), link.status.peer.clone());
        change(&mut link.status);
        // One more attempt that fails like the last is nothing to look at.
        let is_new = before.0 != link.status.state || before.1 != link.status.peer;
        drop(table);
        if is_new {
            self.changed.notify_one();
        }
    }

    /// This very node answers at `address`: there is nothing to keep up.
    fn set_own(&self, address: SocketAddr) {
        let mut table = self.table();
        table.links.remove(&address);
        table.own.insert(address);
        drop(table);
        self.changed.notify_one();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_connected(&self, address: SocketAddr) -> bool {
        let link = self.links.get(&address);
        link.is_some_and(|link| link.status.state == LinkState::Connected)
    }

    /// To whom gossip for `to` goes. An opening message is as good for one peer as for another: where there is no
    /// connection to the one that chitchat drew, a neighbour gets it. In a fleet that is larger still only a share goes out,
    /// since each message grows with the fleet.
    fn destination(&mut self, to: SocketAddr, is_opening: bool) -> Option<SocketAddr> {
        let Circle::Some { neighbours, .. } = &self.circle else {
            return Some(to);
        };
        if self.pushes.remove(&to) {
            return Some(to);
        }
        let is_linked = self.links.contains_key(&to);
        if !is_opening {
            if !is_linked {
                self.callers.insert(to);
            }
            return Some(to);
        }
        if !rand::rng().random_bool(share_of_gossip(self.directory.len())) {
            return None;
        }
        if is_linked {
            return Some(to);
        }
        let connected = neighbours
            .iter()
            .filter(|address| self.is_connected(**address));
        connected.choose(&mut rand::rng()).copied()
    }
}

impl Carrier for Links {
    fn carry(&self, to: SocketAddr, frame: Bytes, is_opening: bool) {
        let mut table = self.table();
        let Some(to) = table.destination(to, is_opening) else {
            return;
        };
        if let Some(link) = table.links.get_mut(&to) {
            if !is_opening {
                // Its peer gossips with us, and needs the answers.
                link.wanted_at = Instant::now();
            }
            // No room, or no peer: dropped, as gossip expects.
            let _ = link.queue.try_send(frame);
        }
    }
}

/// The task behind one link.
struct Runner {
    links: Arc<Links>,
    address: SocketAddr,
    frames: mpsc::Receiver<Bytes>,
    hurry: Arc<Notify>,
    stop: CancellationToken,
    pause: Duration,
    /// The last refusal that was told, so that it is told once.
    told: Option<String>,
}

impl Runner {
    async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
        }
    }

    async fn keep_up(&mut self) {
        loop {
            match self.links.network.connect(self.address).await {
                Ok(connection) => {
                    if connection.peer == self.links.network.identity() {
                        self.links.set_own(self.address);
                        return;
                    }
                    let began = Instant::now();
                    self.be_connected(connection).await;
                    if began.elapsed() >= SHORT_LIVED {
                        // The peer's process may just have died. The next attempt tells.
                        self.pause = FIRST_PAUSE;
                        continue;
                    }
                }
                Err(error) => self.fail(&error),
            }
            self.rest().await;
        }
    }

    async fn rest(&mut self) {
        let jitter = rand::rng().random_range(0.5..1.0);
        let pause = self.pause.mul_f64(jitter);
        self.pause = (self.pause * 2).min(self.links.longest_pause.max(FIRST_PAUSE));
        // Either way it is time to try again.
        let _ = tokio::time::timeout(pause, self.hurry.notified()).await;
    }

    /// Carries gossip until the connection ends.
    async fn be_connected(&mut self, connection: Connection) {
        let Connection { channel, peer } = connection;
        let peer = peer.node_id().cloned();
        // For the time after this connection: the same peer or none.
        let again = peer
            .clone()
            .and_then(|peer| self.links.network.connect_lazy(self.address, &peer).ok());
        tracing::debug!(address = %self.address, ?peer, "connected");
        self.told = None;
        self.links.set(self.address, |status| {
            *status = LinkStatus {
                state: LinkState::Connected,
                peer,
                channel: Some(channel.clone()),
            };
        });
        // What waited was meant for an earlier moment.
        while self.frames.try_recv().is_ok() {}
        let reason = self.carry_gossip(channel).await;
        tracing::debug!(address = %self.address, reason, "disconnected");
        let since = Instant::now();
        self.links.set(self.address, |status| {
            status.state = LinkState::Unreachable { since, reason };
            // That gossip's stream ended does not mean that the peer takes no calls.
            status.channel = again;
        });
    }

    async fn carry_gossip(&mut self, channel: Channel) -> String {
        let (outgoing, stream) = mpsc::channel(QUEUE_LEN);
        let opening = proto::Opening {
            address: self.links.own_address.to_string(),
        };
        // There is room in a channel that was just made.
        let _ = outgoing.try_send(proto::Frame {
            content: Some(proto::frame::Content::Opening(opening)),
        });
        let mut client = peer_client(channel);
        let call = client.gossip(ReceiverStream::new(stream));
        tokio::pin!(call);
        loop {
            tokio::select! {
                ended = &mut call => return match ended {
                    Ok(_) => "it ended the stream of gossip".to_owned(),
                    Err(status) => status.message().to_owned(),
                },
                Some(frame) = self.frames.recv() => {
                    let frame = proto::Frame { content: Some(proto::frame::Content::Gossip(frame)) };
                    // No room: dropped, as gossip expects.
                    let _ = outgoing.try_send(frame);
                }
            }
        }
    }

    fn fail(&mut self, error: &ConnectError) {
        self.tell(error);
        let now = Instant::now();
        self.links.set(self.address, |status| {
            status.channel = None;
            status.state = match (&status.state, error.is_refused()) {
                (LinkState::Refused { since }, true) => LinkState::Refused { since: *since },
                (_, true) => LinkState::Refused { since: now },
                (LinkState::Unreachable { since, .. }, false) => LinkState::Unreachable {
                    since: *since,
                    reason: error.to_string(),
                },
                (_, false) => LinkState::Unreachable {
                    since: now,
                    reason: error.to_string(),
                },
            };
        });
    }

    /// Says why there is no connection: aloud, and once, when the two sides do not accept each other's certificates,
    /// since that does not pass by itself.
    fn tell(&mut self, error: &ConnectError) {
        let words = error.to_string();
        match error {
            ConnectError::RefusedByUs { refusal, .. }
            | ConnectError::RefusedByThem { refusal, .. }
                if self.told.as_ref() != Some(&words) =>
            {
                tracing::warn!(address = %self.address, "{words}; {}", refusal.remedy());
                self.told = Some(words);
            }
            _ => tracing::debug!(address = %self.address, "no connection: {words}"),
        }
    }
}
