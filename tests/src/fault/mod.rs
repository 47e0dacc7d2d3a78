//! What is broken on purpose: each fault begins, lasts, and ends, and says what it may cost.
//!
//! A fault is made in the order in which it is used: [`Fault::begin`] breaks something, [`Fault::end`] mends it as an
//! operator or a supervisor would. Between the two a [`Trial`] goes on writing and asking; after them it judges.

mod clock;
mod damage;
mod disk;
mod network;
mod process;
mod random;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use crate::trial::Trial;

pub use clock::WrongClock;
pub use damage::{Damage, DamagedStore};
pub use disk::{BrokenDisk, FullDisk, ReadOnlyDisk};
pub use network::{Delay, Flapping, Loss, OneWay, Partition, Way};
pub use process::{
    FewDescriptors, KilledAgents, KilledHaproxy, RestartedAgents, StoppedAgent, StoppedHaproxy,
    Twin,
};
pub use random::random;

/// Something that breaks. Its `Display` names it with the nodes that it befalls.
pub trait Fault: Display {
    /// Breaks it, and checks what has to be seen at once.
    fn begin(&mut self, trial: &Trial);

    /// Mends it.
    fn end(&mut self, trial: &Trial);

    /// How long it lasts.
    fn lasts(&self) -> Lasts {
        Lasts::Writes(2)
    }

    /// The nodes whose own HAProxy it breaks, so that their traffic may be lost.
    fn costs_traffic_of(&self) -> BTreeSet<usize> {
        BTreeSet::new()
    }
}

/// How long a fault lasts after it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until so many writes more were acknowledged: a majority is left, which has to go on.
    Writes(usize),
    /// For a time, in which nobody has to take a write.
    For(Duration),
}
