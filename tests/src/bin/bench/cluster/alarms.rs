//! False alarms: what a fleet concludes from nodes that are slow, and not gone.

use std::time::{Duration, Instant};

use hafleet_tests::published::NAME;
use hafleet_tests::starve::{Busy, Starved};

use crate::dns::published::Published;
use crate::figure::{Figure, progress};
use crate::reloads::{count, pass};

/// What a starved agent gets of one processor.
const SHARE_PERCENT: u32 = 5;
/// How often the fleet is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What was seen in a time of hardship.
#[derive(Debug, Default)]
struct Seen {
    /// Who led in which term, one after the other.
    leaders: Vec<(String, u64)>,
    /// Looks at which a node answered.
    looks: u32,
}

/// Three agents of a fleet that publishes its nodes, half of `seconds` with all cores busy, half with 5 % of a core each.
pub(super) fn measure(seconds: u32) -> Vec<Figure> {
    let half = Duration::from_secs(u64::from(seconds) / 2);
    let published = Published::start();
    let busy = {
        let _busy = Busy::all_processors();
        watch(&published, "all cores busy", half)
    };
    published.settle();
    let (starved, how) = {
        let agents = published.inner.fleet.numbers().into_iter();
        let agents = agents.map(|number| published.inner.fleet.node(number).agent_process());
        let starved = Starved::limit(agents.collect(), SHARE_PERCENT);
        (watch(&published, "agents starved", half), starved.how())
    };
    published.settle();
    [
        figures("all cores busy", &busy, half, "in each of three agents"),
        figures(
            &format!("each agent has {SHARE_PERCENT} % of a core"),
            &starved,
            half,
            how,
        ),
    ]
    .concat()
}

/// Looks at `published` for so long. What counts is what happened until all was well again.
fn watch(published: &Published, what: &str, time: Duration) -> (Seen, usize) {
    let changes = || {
        let batches = published.inner.witness().batches().into_iter();
        let of_nodes = batches.filter(|batch| batch.is_applied && batch.addresses(NAME).is_some());
        of_nodes.count()
    };
    let before = changes();
    let mut seen = Seen::default();
    let begun = Instant::now();
    while begun.elapsed() < time {
        seen.look(published);
        let (done, of) = (begun.elapsed().as_secs(), time.as_secs());
        let last = format!("{} leaders", seen.leaders.len());
        progress(what, step(done), step(of), &last);
        pass(LOOK);
    }
    (seen, changes() - before)
}

fn step(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl Seen {
    fn look(&mut self, published: &Published) {
        let numbers = published.inner.fleet.numbers().into_iter();
        let statuses = numbers.filter_map(|number| published.inner.fleet.status_of(number).ok());
        for status in statuses {
            self.looks += 1;
            let leadership = status.leadership.unwrap_or_default();
            let found = (leadership.leader, leadership.term);
            if self.leaders.last() != Some(&found) {
                self.leaders.push(found);
            }
        }
    }
}

fn figures(what: &str, watched: &(Seen, usize), time: Duration, how: &str) -> Vec<Figure> {
    let (seen, dns) = watched;
    let of = |name: &str| format!("{what}, {} s: {name}", time.as_secs());
    if seen.looks == 0 {
        let name = of("changes of leader");
        return vec![Figure::missing(&name, "changes", "no agent ever answered")];
    }
    let leaders = count(seen.leaders.len() as u64) - 1.0;
    vec![
        Figure::exactly(&of("changes of leader"), leaders, "changes", 0.0)
            .beside(format!("{} looks, {how}: {:?}", seen.looks, seen.leaders)),
        Figure::exactly(&of("changes of DNS"), count(*dns as u64), "changes", 0.0),
    ]
}
