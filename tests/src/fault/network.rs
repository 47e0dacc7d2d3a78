//! Faults of the network between the nodes. Clients and servers are not cut off.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Fault, Lasts};
use crate::deadline::while_it_lasts;
use crate::delay::DelayedPath;
use crate::fleet::Fleet;
use crate::trial::Trial;

/// Longer than silence takes to be noticed.
const NOTICED: Duration = Duration::from_secs(9);
/// For how long a path that flaps is up or down.
const FLAP: Duration = Duration::from_secs(3);

/// Some nodes hear each other and none of the rest.
#[derive(Debug)]
pub struct Partition {
    away: Vec<usize>,
    is_forced: bool,
}

impl Partition {
    /// The nodes `away` from the rest.
    pub fn of(away: &[usize]) -> Self {
        Self {
            away: away.to_vec(),
            is_forced: false,
        }
    }

    /// On both sides somebody forces a write.
    pub fn forced(mut self) -> Self {
        self.is_forced = true;
        self
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forced = if self.is_forced {
            ", writes forced on both sides"
        } else {
            ""
        };
        write!(f, "nodes {:?} cut off from the rest{forced}", self.away)
    }
}

impl Fault for Partition {
    fn begin(&mut self, trial: &Trial) {
        let fleet = trial.fleet();
        across(fleet, &self.away, |one, other| {
            fleet.network().cut(one, other);
        });
        if self.is_forced {
            for side in [&self.away, &fleet.but(&self.away)] {
                trial.write_when_taken(side, &["--force-without-majority"]);
            }
        }
    }

    fn end(&mut self, trial: &Trial) {
        let fleet = trial.fleet();
        across(fleet, &self.away, |one, other| {
            fleet.network().heal(one, other);
        });
    }

    fn lasts(&self) -> Lasts {
        // Of an even fleet's halves neither is a majority; the tests have fleets of three and four.
        if self.away.len() == 1 {
            Lasts::Writes(2)
        } else {
            Lasts::For(NOTICED)
        }
    }
}

/// Which way a path is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the node sends is lost.
    Out,
    /// What the others send to it is lost.
    In,
}

/// What a node sends, or what is sent to it, is lost.
#[derive(Debug)]
pub struct OneWay {
    node: usize,
    way: Way,
}

impl OneWay {
    /// Of the node `node`, the way `way`.
    pub fn of(node: usize, way: Way) -> Self {
        Self { node, way }
    }

    fn ways(&self, fleet: &Fleet, mut act: impl FnMut(Ipv4Addr, Ipv4Addr)) {
        across(fleet, &[self.node], |own, other| match self.way {
            Way::Out => act(own, other),
            Way::In => act(other, own),
        });
    }
}

impl fmt::Display for OneWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Out => write!(f, "node {} is not heard", self.node),
            Way::In => write!(f, "node {} hears nobody", self.node),
        }
    }
}

impl Fault for OneWay {
    fn begin(&mut self, trial: &Trial) {
        let network = trial.fleet().network();
        self.ways(trial.fleet(), |from, to| network.cut_one_way(from, to));
    }

    fn end(&mut self, trial: &Trial) {
        let network = trial.fleet().network();
        self.ways(trial.fleet(), |from, to| network.heal_one_way(from, to));
    }
}

/// A node's path to the others comes and goes each three seconds.
#[derive(Debug)]
pub struct Flapping {
    node: usize,
    times: u32,
}

impl Flapping {
    /// Of the node `node`, so many times.
    pub fn of(node: usize, times: u32) -> Self {
        Self { node, times }
    }
}

impl fmt::Display for Flapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, times } = self;
        write!(f, "node {node} is cut off {times} times for {FLAP:?}")
    }
}

impl Fault for Flapping {
    fn begin(&mut self, trial: &Trial) {
        for time in 0..self.times {
            if time > 0 {
                while_it_lasts(Instant::now(), FLAP, || {});
            }
            trial.fleet().cut(self.node);
            while_it_lasts(Instant::now(), FLAP, || {});
            trial.fleet().heal(self.node);
        }
    }

    fn end(&mut self, _: &Trial) {}

    fn lasts(&self) -> Lasts {
        Lasts::For(Duration::ZERO)
    }
}

/// Between any two nodes packets are lost by chance.
#[derive(Debug)]
pub struct Loss {
    percent: u8,
}

impl Loss {
    /// So many in a hundred.
    pub fn of(percent: u8) -> Self {
        Self { percent }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} % of all packets between nodes are lost",
            self.percent
        )
    }
}

impl Fault for Loss {
    fn begin(&mut self, trial: &Trial) {
        let network = trial.fleet().network();
        for (one, other) in pairs(trial.fleet()) {
            let [one, other] = [one, other].map(|number| trial.fleet().node(number).address());
            network.lose(one, other, self.percent);
        }
    }

    fn end(&mut self, trial: &Trial) {
        trial.fleet().network().lose_nothing();
    }
}

/// Between any two nodes each packet takes its time.
#[derive(Debug)]
pub struct Delay {
    delay: Duration,
    paths: Vec<DelayedPath>,
}

impl Delay {
    /// So much in either direction.
    pub fn of(delay: Duration) -> Self {
        Self {
            delay,
            paths: Vec::new(),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "each packet between nodes takes {:?}", self.delay)
    }
}

impl Fault for Delay {
    fn begin(&mut self, trial: &Trial) {
        let paths = pairs(trial.fleet()).into_iter().map(|(one, other)| {
            let [one, other] = [one, other].map(|number| trial.fleet().node(number));
            DelayedPath::detour(
                (one.namespace(), one.address()),
                (other.namespace(), other.address()),
                self.delay,
            )
        });
        self.paths = paths.collect();
    }

    fn end(&mut self, _: &Trial) {
        self.paths.clear();
    }
}

/// Does something with the addresses of each of `some` and each of the other nodes.
fn across(fleet: &Fleet, some: &[usize], mut act: impl FnMut(Ipv4Addr, Ipv4Addr)) {
    for one in some {
        for other in fleet.but(some) {
            act(fleet.node(*one).address(), fleet.node(other).address());
        }
    }
}

/// Every two nodes.
fn pairs(fleet: &Fleet) -> Vec<(usize, usize)> {
    let numbers = fleet.numbers();
    let after = |one: usize| {
        let others = fleet
            .numbers()
            .into_iter()
            .filter(move |other| *other > one);
        others.map(move |other| (one, other))
    };
    numbers.into_iter().flat_map(after).collect()
}
