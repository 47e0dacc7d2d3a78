//! Who has fallen silent: neither our own connection to it answers, nor has anybody heard its heart since.
//!
//! Gossip's failure detector takes five to ten intervals of silence for death, since it has nothing else to go by. Together with
//! a connection on which nothing comes back, less is enough: heartbeats come through everybody else, so one that still beats
//! is heard of even when the way between the two of us is broken.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chitchat::{Chitchat, ChitchatId, Heartbeat};

/// For how many intervals nobody must have heard of a node that does not answer.
const SILENT_INTERVALS: u32 = 4;
/// When each node's heart was last heard of.
#[derive(Debug)]
pub(crate) struct Silence {
    interval: Duration,
    heard: HashMap<ChitchatId, (Heartbeat, Instant)>,
    /// When this node was last seen to run.
    awake_at: Option<Instant>,
}

impl Silence {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            heard: HashMap::new(),
            awake_at: None,
        }
    }

    /// This node runs. A pause of our own is nobody else's silence.
    pub(crate) fn awake(&mut self, now: Instant) {
        let gap = self
            .awake_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.awake_at = Some(now);
        if gap > self.interval {
            self.heard.clear();
        }
    }

    /// Takes note of all heartbeats.
    pub(crate) fn look(&mut self, chitchat: &Chitchat, now: Instant) {
        let states = chitchat.node_states();
        let beats = states.iter();
        self.note(beats.map(|(id, state)| (id, state.heartbeat())), now);
        if self.heard.len() > states.len() {
            self.heard.retain(|id, _| states.contains_key(id));
        }
    }

    fn note<'a>(&mut self, beats: impl Iterator<Item = (&'a ChitchatId, Heartbeat)>, now: Instant) {
        self.awake(now);
        for (id, beat) in beats {
            match self.heard.get_mut(id) {
                Some((last, _)) if *last == beat => {}
                Some(known) => *known = (beat, now),
                None => {
                    self.heard.insert(id.clone(), (beat, now));
                }
            }
        }
    }

    /// Whether `id` has fallen silent, where `unanswered` are the addresses that do not answer us.
    pub(crate) fn is_total(
        &self,
        id: &ChitchatId,
        unanswered: &HashSet<SocketAddr>,
        now: Instant,
    ) -> bool {
        let silent = self.heard.get(id).map_or(Duration::ZERO, |(_, since)| {
            now.saturating_duration_since(*since)
        });
        silent > self.interval * SILENT_INTERVALS && unanswered.contains(&id.gossip_advertise_addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    struct World {
        silence: Silence,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                silence: Silence::new(INTERVAL),
                start: Instant::now(),
            }
        }

        /// Whether the node is silent after looks each quarter of a second from `from` to `to`, with `beat` as its last.
        fn is_silent(&mut self, from_ms: u64, to_ms: u64, beat: Heartbeat, answers: bool) -> bool {
            let address = "10.0.0.1:1".parse().unwrap();
            let id = ChitchatId::new("a", 1, address);
            let unanswered = HashSet::from_iter((!answers).then_some(address));
            let mut is_silent = false;
            for at in (from_ms..=to_ms).step_by(250) {
                let now = self.start + Duration::from_millis(at);
                self.silence.note([(&id, beat)].into_iter(), now);
                is_silent = self.silence.is_total(&id, &unanswered, now);
            }
            is_silent
        }
    }

    #[test]
    fn it_takes_both_a_silent_heart_and_no_answer() {
        let beat = Heartbeat::default();
        assert!(!World::new().is_silent(0, 4_000, beat, false));
        assert!(World::new().is_silent(0, 4_250, beat, false));
        assert!(!World::new().is_silent(0, 60_000, beat, true));
    }

    #[test]
    fn a_pause_of_our_own_is_not_held_against_others() {
        let beat = Heartbeat::default();
        let mut world = World::new();
        assert!(!world.is_silent(0, 3_000, beat, false));
        assert!(
            !world.is_silent(9_000, 13_000, beat, false),
            "paused for 6 s"
        );
        assert!(world.is_silent(13_250, 13_500, beat, false));
    }
}
