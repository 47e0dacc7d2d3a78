//! Writes of leaders that stood still while another took over.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use hafleet_tests::aws::{Batch, Passage};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::wait_until;

use super::published::Published;
use crate::figure::{Figure, progress};
use crate::reloads::pass;

/// So much later than in the run before does a leader stop.
const LATER: Duration = Duration::from_millis(15);

/// So many fleets at once share the runs: nothing is timed here.
const FLEETS: u32 = 4;

/// So many runs, in each of which a leader stands still (`SIGSTOP`) with something to write until another has written,
/// and goes on. In every other run its batch is on its way meanwhile, and arrives after the other's.
pub(super) fn measure(runs: u32) -> Vec<Figure> {
    let sums: Vec<_> = std::thread::scope(|scope| {
        let fleets = (0..FLEETS.min(runs)).map(|fleet| {
            let share = (runs - fleet).div_ceil(FLEETS);
            scope.spawn(move || runs_of(share))
        });
        let fleets: Vec<_> = fleets.collect();
        let sums = fleets.into_iter().map(ScopedJoinHandle::join);
        sums.map(|sum| sum.expect("a run ends")).collect()
    });
    let sum = |(a, b): (u32, u32), (c, d): &(u32, u32)| (a + c, b + d);
    let (applied, refused) = sums.iter().fold((0, 0), sum);
    let words = format!("{runs} leaders stopped; of stale batches {refused} came and were refused");
    let name = "writes of a stale leader applied";
    vec![Figure::exactly(name, applied.into(), "batches", 0.0).beside(words)]
}

/// So many runs of one fleet: how many stale batches were applied, and how many refused.
fn runs_of(runs: u32) -> (u32, u32) {
    let published = Published::start();
    for run in 1..=runs {
        let leader = published.inner.fleet.leader();
        let drained = published.followers()[0];
        let is_on_its_way = run % 2 == 1;
        if is_on_its_way {
            published.inner.set(leader, Passage::BatchesHeld);
            published.operate("drain", drained);
            published.inner.wait_under_way(leader);
        } else {
            published.operate("drain", drained);
            pass(LATER * (run / 2 - 1));
        }
        published.inner.fleet.stop(leader);
        wait_for_another(&published, leader);
        published.inner.set(leader, Passage::Open);
        published.inner.fleet.go_on(leader);
        published.inner.fleet.wait_formed();
        published.operate("undrain", drained);
        published.settle();
        progress("leader stopped and woken", run, runs, "");
    }
    stale(&published.inner.witness().batches())
}

/// Waits until another than `leader` has written.
fn wait_for_another(published: &Published, leader: usize) {
    let id = published.inner.fleet.node(leader).id();
    wait_until("another leader has written", PATIENCE, || {
        let last = published.inner.witness().last();
        let writer = last.as_ref().and_then(Batch::writer);
        writer.is_some_and(|(_, writer)| writer != id)
    });
}

/// How many batches came after one of a higher term was applied: those that were applied themselves, and those refused.
fn stale(batches: &[Batch]) -> (u32, u32) {
    let (mut highest, mut applied, mut refused) = (0, 0, 0);
    for batch in batches {
        let term = batch.writer().map_or(highest, |(term, _)| term);
        match (term < highest, batch.is_applied) {
            (true, true) => applied += 1,
            (true, false) => refused += 1,
            (false, true) => highest = term,
            (false, false) => {}
        }
    }
    (applied, refused)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hafleet_tests::aws::Changed;

    use super::*;

    #[test]
    fn stale_batches_are_told_from_others() {
        let batches = [
            (2, true),
            (3, false),
            (2, true),
            (3, true),
            (2, false),
            (2, true),
        ];
        let batches = batches.map(|(term, is_applied)| Batch {
            from: [192, 0, 2, 1].into(),
            answered: Instant::now(),
            is_applied,
            changes: vec![Changed {
                action: "CREATE".to_owned(),
                name: "_hafleet.www.example.com".to_owned(),
                kind: "TXT".to_owned(),
                values: vec![format!("\"heritage=hafleet,term={term},leader=n{term}\"")],
            }],
        });
        assert_eq!(stale(&batches), (1, 1));
    }
}
