//! Any fault, by chance.

use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};

use super::{
    BrokenDisk, Damage, DamagedStore, Delay, Fault, FewDescriptors, Flapping, FullDisk,
    KilledAgents, KilledHaproxy, Loss, OneWay, Partition, ReadOnlyDisk, RestartedAgents,
    StoppedAgent, StoppedHaproxy, Twin, Way, WrongClock,
};

/// A day, in seconds.
const DAY: i64 = 86_400;
/// How many faults there are to choose from, and one more where disks can break down.
const FAULTS: u32 = 17;

/// A fault of a fleet with the nodes 1 to `nodes` and breakable machines, maybe with breakable disks.
pub fn random(random: &mut impl Rng, nodes: usize, has_breakable_disks: bool) -> Box<dyn Fault> {
    let node = random.random_range(1..=nodes);
    match random.random_range(0..FAULTS + u32::from(has_breakable_disks)) {
        0 => Box::new(Partition::of(&[node])),
        1 => Box::new(Partition::of(&[node]).forced()),
        2 => Box::new(OneWay::of(node, Way::In)),
        3 => Box::new(OneWay::of(node, Way::Out)),
        4 => Box::new(Flapping::of(node, random.random_range(1..=4))),
        5 => Box::new(Loss::of(random.random_range(5..=30))),
        6 => {
            let delay = random.random_range(20..=500);
            Box::new(Delay::of(Duration::from_millis(delay)))
        }
        7 => Box::new(KilledAgents::of(&[node])),
        8 => Box::new(KilledHaproxy::of(node)),
        9 => Box::new(StoppedAgent::of(node)),
        10 => Box::new(StoppedHaproxy::of(node)),
        11 => Box::new(FullDisk::of(node)),
        12 => Box::new(ReadOnlyDisk::of(node)),
        13 => Box::new(DamagedStore::of(node, damage(random))),
        14 => Box::new(FewDescriptors::of(node)),
        15 => Box::new(wrong_clock(random, node)),
        FAULTS => match random.random() {
            true => Box::new(BrokenDisk::of(node)),
            false => Box::new(BrokenDisk::of(node).with_restart()),
        },
        _ => match random.random_range(0..3) {
            0 => Box::new(RestartedAgents::with_seeds()),
            1 => Box::new(RestartedAgents::without_seeds()),
            _ => Box::new(Twin::of(node)),
        },
    }
}

fn damage(random: &mut impl Rng) -> Damage {
    match random.random_range(0..4) {
        0 => Damage::Truncated(random.random_range(0..100)),
        1 => Damage::Overwritten,
        _ => Damage::Flipped(random.random_range(1..=2_000), random.random()),
    }
}

fn wrong_clock(random: &mut impl Rng, node: usize) -> WrongClock {
    let by = [-3_600, -1, 1, 60, 3_600, 30 * DAY, 800 * DAY, -2 * DAY];
    let by = by.choose(random).copied().unwrap_or(60);
    let fault = WrongClock::of(node, by);
    if random.random() {
        fault.with_restart()
    } else {
        fault
    }
}
