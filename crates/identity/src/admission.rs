//! Who gets as far as a handshake, and how many connections somebody may have.
//!
//! A handshake costs a signature, so that strangers could keep an agent busy with nothing else. Whoever connects too
//! often, or has too many connections that come to nothing, is turned away before that, which costs next to nothing; and
//! addresses from which somebody of the fleet has come have places that strangers cannot take. Synchronous, and without
//! a clock of its own but in the rates.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::principal::Identity;
use crate::rate::Rates;

/// How many addresses are remembered as ones from which somebody of the fleet has come.
const MAX_KNOWN: usize = 4_096;
/// How often a line in the log tells of those who were turned away.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How much of an agent's port anybody may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Handshakes that are under way at once. Strangers, from whose address nobody of the fleet has come, get three
    /// quarters of them at most.
    pub handshakes: usize,
    /// Of those, from one address.
    pub handshakes_per_address: usize,
    /// Handshakes that may begin in a second, from one address; twice as many in a burst.
    pub handshakes_per_second: NonZeroU32,
    /// Connections that are open, handshakes included.
    pub connections: usize,
    /// Of those, from one address. An address of IPv6 stands for its /64.
    pub connections_per_address: usize,
    /// Of those, with certificates of one node or person.
    pub connections_per_identity: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_per_address: 64,
            handshakes_per_second: const { NonZeroU32::new(100).unwrap() },
            connections: 8_192,
            connections_per_address: 1_024,
            connections_per_identity: 256,
        }
    }
}

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// Too many handshakes are under way.
    #[error("too many handshakes are under way")]
    Handshakes,
    /// Too many from this address.
    #[error("too many handshakes are under way with this address")]
    AddressHandshakes,
    /// Too often.
    #[error("this address connects too often")]
    Rate,
    /// Too many connections.
    #[error("too many connections are open")]
    Connections,
    /// Too many from this address.
    #[error("too many connections are open with this address")]
    AddressConnections,
    /// Too many of this node or person.
    #[error("too many connections are open with certificates of this name")]
    IdentityConnections,
}

/// An address, or all those that one machine can take without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let bits = address.to_bits() & (u128::MAX << 64);
                Self(Ipv6Addr::from_bits(bits).into())
            }
        }
    }
}

/// Decides who gets in, and counts who is there.
pub(crate) struct Admission {
    limits: ConnectionLimits,
    rates: Rates<Source>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    handshakes: usize,
    of_strangers: usize,
    open: usize,
    by_source: HashMap<Source, Held>,
    by_identity: HashMap<Identity, usize>,
    known: HashMap<Source, Instant>,
    turned_away: u64,
    told: Option<(Instant, u64)>,
}

#[derive(Debug, Default)]
struct Held {
    handshakes: usize,
    open: usize,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            rates: Rates::new(limits.handshakes_per_second),
            limits,
            state: Mutex::default(),
        }
    }

    /// Lets a connection from `remote` begin its handshake, or not.
    pub(crate) fn admit(self: &Arc<Self>, remote: IpAddr) -> Result<Place, TurnedAway> {
        let source = Source::from(remote);
        let admitted = self.place(source);
        if let Err(reason) = admitted {
            self.tell(remote, reason);
        }
        admitted.map(|is_stranger| Place {
            admission: Arc::clone(self),
            source,
            remote,
            stage: Stage::Handshake { is_stranger },
        })
    }

    fn place(&self, source: Source) -> Result<bool, TurnedAway> {
        if !self.rates.allow(source, Instant::now()) {
            return Err(TurnedAway::Rate);
        }
        let mut state = self.state();
        let limits = &self.limits;
        let is_stranger = !state.known.contains_key(&source);
        let held = state.by_source.get(&source);
        let (handshakes, open) = held.map_or((0, 0), |held| (held.handshakes, held.open));
        let for_strangers = limits.handshakes.saturating_mul(3).div_ceil(4);
        if state.open >= limits.connections {
            return Err(TurnedAway::Connections);
        }
        if open >= limits.connections_per_address {
            return Err(TurnedAway::AddressConnections);
        }
        if handshakes >= limits.handshakes_per_address {
            return Err(TurnedAway::AddressHandshakes);
        }
        let is_full = is_stranger && state.of_strangers >= for_strangers;
        if is_full || state.handshakes >= limits.handshakes {
            return Err(TurnedAway::Handshakes);
        }
        state.handshakes += 1;
        state.of_strangers += usize::from(is_stranger);
        state.open += 1;
        let held = state.by_source.entry(source).or_default();
        held.handshakes += 1;
        held.open += 1;
        Ok(is_stranger)
    }

    /// How many were turned away since the start.
    pub(crate) fn turned_away(&self) -> u64 {
        self.state().turned_away
    }

    /// A line in the log now and then, since there may be thousands a second.
    fn tell(&self, remote: IpAddr, reason: TurnedAway) {
        let mut state = self.state();
        state.turned_away += 1;
        let (count, now) = (state.turned_away, Instant::now());
        let before = match state.told {
            Some((at, _)) if now.duration_since(at) < TELL_INTERVAL => return,
            Some((_, before)) => before,
            None => 0,
        };
        state.told = Some((now, count));
        drop(state);
        let since_last = count - before;
        tracing::warn!(%remote, %reason, count, since_last, "connections are turned away");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    source: Source,
    remote: IpAddr,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Handshake { is_stranger: bool },
    Open { identity: Identity },
    Gone,
}

impl Place {
    /// The handshake has shown who it is.
    pub(crate) fn belongs_to(mut self, identity: &Identity) -> Result<Self, TurnedAway> {
        let admission = Arc::clone(&self.admission);
        let mut state = admission.state();
        state.end_handshake(self.source, &self.stage);
        self.stage = Stage::Gone;
        state.remember(self.source);
        let count = state.by_identity.entry(identity.clone()).or_default();
        if *count >= admission.limits.connections_per_identity {
            drop(state);
            admission.tell(self.remote, TurnedAway::IdentityConnections);
            return Err(TurnedAway::IdentityConnections);
        }
        *count += 1;
        self.stage = Stage::Open {
            identity: identity.clone(),
        };
        drop(state);
        Ok(self)
    }
}

impl Place {
    /// There was no handshake, or it has shown no certificate: the connection counts for its address alone.
    pub(crate) fn belongs_to_nobody(mut self) -> Self {
        let admission = Arc::clone(&self.admission);
        admission.state().end_handshake(self.source, &self.stage);
        self.stage = Stage::Gone;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.end_handshake(self.source, &self.stage);
        if let Stage::Open { identity } = &self.stage
            && let Some(count) = state.by_identity.get_mut(identity)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.by_identity.remove(identity);
            }
        }
        state.open = state.open.saturating_sub(1);
        if let Some(held) = state.by_source.get_mut(&self.source) {
            held.open = held.open.saturating_sub(1);
            if held.open == 0 {
                state.by_source.remove(&self.source);
            }
        }
    }
}

impl State {
    fn end_handshake(&mut self, source: Source, stage: &Stage) {
        let Stage::Handshake { is_stranger } = stage else {
            return;
        };
        self.handshakes = self.handshakes.saturating_sub(1);
        self.of_strangers = self.of_strangers.saturating_sub(usize::from(*is_stranger));
        if let Some(held) = self.by_source.get_mut(&source) {
            held.handshakes = held.handshakes.saturating_sub(1);
        }
    }

    fn remember(&mut self, source: Source) {
        self.known.insert(source, Instant::now());
        if self.known.len() > MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
