//! False alarms: what a fleet concludes from nodes that are slow, and not gone.

use std::time::{Duration, Instant};

use hafleet_tests::published::NAME;
use hafleet_tests::starve::{Busy, Starved};

use crate::dns::published::Published;
use crate::figure::{Figure, progress};
use crate::reloads::{count, pass};

/// What a starved agent gets of one processor.
const SHARE_PERCENT: u32 = 5;
/// How often the fleets are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A fleet that is watched.
struct Watched {
    published: Published,
    /// How many batches of its name were applied before.
    batches: usize,
    /// Who led in which term, one after the other.
    leaders: Vec<(String, u64)>,
    /// Looks at which a node answered.
    looks: u32,
}

/// Two fleets of three agents that publish their nodes, for so long with all cores busy. In one of them each agent has no more
/// than 5 % of a core besides: what it has to bear is harder than either hardship alone.
pub(super) fn measure(seconds: u32) -> Vec<Figure> {
    let time = Duration::from_secs(seconds.into());
    let [mut busy, mut starved] = [(); 2].map(|()| Watched::start());
    let how = {
        let agents = starved.published.inner.fleet.numbers().into_iter();
        let agents =
            agents.map(|number| starved.published.inner.fleet.node(number).agent_process());
        let limit = Starved::limit(agents.collect(), SHARE_PERCENT);
        let _busy = Busy::all_processors();
        watch([&mut busy, &mut starved], time);
        limit.how()
    };
    // What counts is what has happened until all is well again.
    for watched in [&busy, &starved] {
        watched.published.settle();
    }
    let with_share = format!("and {SHARE_PERCENT} % of a core for each agent");
    [
        busy.figures("all cores busy", time, "three agents"),
        starved.figures(&format!("all cores busy {with_share}"), time, how),
    ]
    .concat()
}

/// Looks at the fleets for so long.
fn watch(mut fleets: [&mut Watched; 2], time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for fleet in &mut fleets {
            fleet.look();
        }
        let changes: usize = fleets.iter().map(|fleet| fleet.changes()).sum();
        let last = format!("{changes} changes of leader");
        let (done, of) = (begun.elapsed().min(time).as_secs(), time.as_secs());
        progress("seconds of hardship", step(done), step(of), &last);
        pass(LOOK);
    }
}

fn step(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl Watched {
    fn start() -> Self {
        let mut watched = Self {
            published: Published::start(),
            batches: 0,
            leaders: Vec::new(),
            looks: 0,
        };
        watched.batches = watched.applied();
        watched.look();
        watched
    }

    /// How many batches of its name were applied.
    fn applied(&self) -> usize {
        let batches = self.published.inner.witness().batches().into_iter();
        let of_nodes = batches.filter(|batch| batch.is_applied && batch.addresses(NAME).is_some());
        of_nodes.count()
    }

    fn look(&mut self) {
        let fleet = &self.published.inner.fleet;
        let statuses = fleet.numbers().into_iter();
        for status in statuses.filter_map(|number| fleet.status_of(number).ok()) {
            self.looks += 1;
            let leadership = status.leadership.unwrap_or_default();
            let found = (leadership.leader, leadership.term);
            if self.leaders.last() != Some(&found) {
                self.leaders.push(found);
            }
        }
    }

    /// How often another led than before.
    fn changes(&self) -> usize {
        self.leaders.len().saturating_sub(1)
    }

    fn figures(&self, what: &str, time: Duration, how: &str) -> Vec<Figure> {
        let of = |name: &str| format!("{what}, {} s: {name}", time.as_secs());
        let number = |value: usize| count(value as u64);
        if self.looks == 0 {
            let name = of("changes of leader");
            return vec![Figure::missing(&name, "changes", "no agent ever answered")];
        }
        let batches = self.applied() - self.batches;
        let leaders = format!("{} answers, {how}: {:?}", self.looks, self.leaders);
        vec![
            Figure::exactly(
                &of("changes of leader"),
                number(self.changes()),
                "changes",
                0.0,
            )
            .beside(leaders),
            Figure::exactly(&of("changes of DNS"), number(batches), "changes", 0.0),
        ]
    }
}
