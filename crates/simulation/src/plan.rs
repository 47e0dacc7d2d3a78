//! What happens in a simulation: all that follows from a seed before it begins, as a list that can be shortened.

use std::fmt;

use hafleet_model::DocumentKind;

use crate::flaw::Flaw;
use crate::rng::Rng;

/// Milliseconds since the simulation began.
pub type Millis = u64;

/// The largest fleet.
pub const MAX_NODES: usize = 9;

/// Something that befalls the fleet, or that a client asks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A client writes by way of a node; of one that does not lead, by way of whom it takes for the leader.
    Write {
        /// Which node it asks.
        node: usize,
        /// Which document.
        kind: DocumentKind,
        /// Whether it insists, majority or not.
        is_forced: bool,
    },
    /// What the nodes of `from` send to those of `to` does not arrive; sets of bits by node.
    Cut {
        /// Who is not heard.
        from: u16,
        /// Who hears nothing.
        to: u16,
        /// Whether neither hears the other.
        is_both_ways: bool,
    },
    /// All cuts are mended.
    Mend,
    /// How bad the network is from now on.
    Weather(Weather),
    /// A node loses power: in its next writes to disk, or else at once.
    PowerLoss {
        /// Which node.
        node: usize,
        /// In which of its writes; 0 for at once.
        write: u64,
        /// Whether that write has happened.
        is_kept: bool,
    },
    /// A node that is down starts.
    Start {
        /// Which node.
        node: usize,
    },
    /// A node says goodbye and ends.
    Leave {
        /// Which node.
        node: usize,
    },
    /// A node does nothing for a while, and goes on then (SIGSTOP, a starved or migrated machine).
    Stall {
        /// Which node.
        node: usize,
        /// For how long.
        millis: Millis,
    },
    /// A node's wall clock is set.
    SetClock {
        /// Which node.
        node: usize,
        /// By how much it goes forward.
        by_ms: i64,
    },
    /// A node's disk is full for a while.
    FillDisk {
        /// Which node.
        node: usize,
        /// Whether it is, or has room again.
        is_full: bool,
    },
    /// A node does not reach Route53, or does again.
    CutRoute53 {
        /// Which node.
        node: usize,
        /// Whether it does not.
        is_cut: bool,
    },
}

/// How bad the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// How many messages of a hundred are lost.
    pub lost: u64,
    /// How many of a hundred come twice.
    pub doubled: u64,
    /// The longest that one is under way; the shortest is 1 ms, so that some overtake others.
    pub longest: Millis,
}

impl Weather {
    /// A good network.
    pub const FAIR: Self = Self {
        lost: 0,
        doubled: 0,
        longest: 10,
    };
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write {
                node,
                kind,
                is_forced,
            } => {
                let forced = if *is_forced { ", by force" } else { "" };
                write!(f, "a client of n{node} writes {kind}{forced}")
            }
            Self::Cut {
                from,
                to,
                is_both_ways,
            } => {
                let arrow = if *is_both_ways { "<->" } else { "->" };
                write!(f, "cut {} {arrow} {}", set(*from), set(*to))
            }
            Self::Mend => f.write_str("all cuts are mended"),
            Self::Weather(weather) => write!(
                f,
                "the network loses {} %, doubles {} %, delays up to {} ms",
                weather.lost, weather.doubled, weather.longest
            ),
            Self::PowerLoss {
                node,
                write: 0,
                is_kept: _,
            } => write!(f, "n{node} loses power"),
            Self::PowerLoss {
                node,
                write,
                is_kept,
            } => {
                let kept = if *is_kept { "kept" } else { "lost" };
                write!(
                    f,
                    "n{node} loses power in write {write} from now, which is {kept}"
                )
            }
            Self::Start { node } => write!(f, "n{node} starts"),
            Self::Leave { node } => write!(f, "n{node} leaves"),
            Self::Stall { node, millis } => write!(f, "n{node} stalls for {millis} ms"),
            Self::SetClock { node, by_ms } => {
                write!(f, "the clock of n{node} is set by {by_ms} ms")
            }
            Self::FillDisk { node, is_full } => {
                let state = if *is_full { "is full" } else { "has room" };
                write!(f, "the disk of n{node} {state}")
            }
            Self::CutRoute53 { node, is_cut } => {
                let state = if *is_cut { "does not reach" } else { "reaches" };
                write!(f, "n{node} {state} Route53")
            }
        }
    }
}

fn set(bits: u16) -> String {
    let nodes = (0..MAX_NODES).filter(|node| bits & (1 << node) != 0);
    let names: Vec<_> = nodes.map(|node| format!("n{node}")).collect();
    format!("{{{}}}", names.join(" "))
}

/// A whole simulation, before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where it came from; chance during the simulation follows from it too.
    pub seed: u64,
    /// How many nodes, 2 to 9.
    pub nodes: usize,
    /// Whether the real store is under the rules, on blocks that lose what was not synced.
    pub has_real_store: bool,
    /// Which rule is broken on purpose; none but to see that it is noticed.
    pub flaw: Option<Flaw>,
    /// What happens when, in order.
    pub actions: Vec<(Millis, Action)>,
    /// From when on nothing goes wrong any more: all cuts are mended, all nodes are up.
    pub calm_from: Millis,
    /// When it ends.
    pub ends: Millis,
}

/// How long nothing goes wrong before the end: until then the fleet has to be in order again.
pub const CALM: Millis = 45_000;
/// One seed of so many has the real store.
const REAL_STORE_EVERY: u64 = 64;

impl Plan {
    /// What follows from `seed`.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = match rng.between(0, 9) {
            0 => 2,
            1..=5 => 3,
            6 | 7 => 5,
            _ => usize::try_from(rng.between(4, 9)).unwrap_or(4),
        };
        // Quiet first, so that most runs have a fleet that knows itself; some begin in the storm.
        let begins = if rng.happens(15) { 0 } else { 8_000 };
        let calm_from = begins + rng.between(10_000, 45_000);
        let may_force = rng.happens(30);
        let mut generator = Generator {
            nodes,
            may_force,
            begins,
            calm_from,
            actions: Vec::new(),
        };
        generator.fill(&mut rng);
        let mut actions = generator.actions;
        actions.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            nodes,
            has_real_store: seed % REAL_STORE_EVERY == REAL_STORE_EVERY - 1,
            flaw: None,
            actions,
            calm_from,
            ends: calm_from + CALM,
        }
    }

    /// Whether a client insists anywhere. What was committed may lose then.
    pub fn has_force(&self) -> bool {
        let mut actions = self.actions.iter();
        actions.any(|(_, action)| {
            matches!(
                action,
                Action::Write {
                    is_forced: true,
                    ..
                }
            )
        })
    }
}

struct Generator {
    nodes: usize,
    may_force: bool,
    begins: Millis,
    calm_from: Millis,
    actions: Vec<(Millis, Action)>,
}

impl Generator {
    fn fill(&mut self, rng: &mut Rng) {
        for _ in 0..rng.between(2, 10) {
            let at = rng.between(self.begins, self.calm_from);
            let length = rng.between(200, 15_000);
            self.fault(rng, at, (at + length).min(self.calm_from));
        }
        for _ in 0..rng.between(3, 25) {
            let at = rng.between(2_000, self.calm_from);
            let kind = match rng.happens(70) {
                true => DocumentKind::Spec,
                false => DocumentKind::Endpoints,
            };
            let action = Action::Write {
                node: rng.index(self.nodes),
                kind,
                is_forced: self.may_force && rng.happens(20),
            };
            self.actions.push((at, action.clone()));
            if rng.happens(25) {
                // Some come in a row.
                let soon = rng.between(1, 400);
                self.actions.push((at + soon, action));
            }
        }
    }

    fn fault(&mut self, rng: &mut Rng, at: Millis, until: Millis) {
        let node = rng.index(self.nodes);
        let mut then = |at, action| self.actions.push((at, action));
        match rng.between(0, 15) {
            0..=3 => {
                let (from, to) = split(rng, self.nodes);
                let is_both_ways = rng.happens(70);
                then(
                    at,
                    Action::Cut {
                        from,
                        to,
                        is_both_ways,
                    },
                );
                then(until, Action::Mend);
            }
            4 | 5 => {
                let (from, to) = (1 << node, !(1 << node));
                let is_both_ways = rng.happens(60);
                then(
                    at,
                    Action::Cut {
                        from,
                        to,
                        is_both_ways,
                    },
                );
                then(until, Action::Mend);
            }
            6 => {
                let mut at = at;
                let (from, to) = split(rng, self.nodes);
                // Flapping.
                while at < until {
                    then(
                        at,
                        Action::Cut {
                            from,
                            to,
                            is_both_ways: true,
                        },
                    );
                    then(at + 1_500, Action::Mend);
                    at += 3_000;
                }
            }
            7 | 8 => {
                let weather = Weather {
                    lost: rng.between(0, 40),
                    doubled: rng.between(0, 20),
                    longest: rng.between(5, 3_000),
                };
                then(at, Action::Weather(weather));
                then(until, Action::Weather(Weather::FAIR));
            }
            9..=11 => {
                let write = if rng.happens(50) {
                    0
                } else {
                    rng.between(1, 6)
                };
                let is_kept = rng.happens(50);
                then(
                    at,
                    Action::PowerLoss {
                        node,
                        write,
                        is_kept,
                    },
                );
                then(until, Action::Start { node });
            }
            12 => {
                then(at, Action::Leave { node });
                then(until, Action::Start { node });
            }
            13 => then(
                at,
                Action::Stall {
                    node,
                    millis: until - at,
                },
            ),
            14 => match rng.happens(50) {
                true => {
                    let far = i64::try_from(rng.between(1_000, 100_000_000)).unwrap_or_default();
                    let by_ms = if rng.happens(50) { far } else { -far };
                    then(at, Action::SetClock { node, by_ms });
                }
                false => {
                    then(
                        at,
                        Action::FillDisk {
                            node,
                            is_full: true,
                        },
                    );
                    then(
                        until,
                        Action::FillDisk {
                            node,
                            is_full: false,
                        },
                    );
                }
            },
            _ => {
                then(at, Action::CutRoute53 { node, is_cut: true });
                then(
                    until,
                    Action::CutRoute53 {
                        node,
                        is_cut: false,
                    },
                );
            }
        }
    }
}

/// Two halves, neither empty.
fn split(rng: &mut Rng, nodes: usize) -> (u16, u16) {
    let all = (1_u16 << nodes) - 1;
    let mut half = u16::try_from(rng.between(1, u64::from(all) - 1)).unwrap_or(1);
    if half == 0 || half == all {
        half = 1;
    }
    (half, all & !half)
}
