//! Writes of leaders that stood still while another took over.

use std::time::Duration;

use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::wait_until;

use super::batch::Batch;
use super::published::Published;
use crate::figure::{Figure, progress};
use crate::reloads::pass;

/// So much later than in the run before does a leader stop.
const LATER: Duration = Duration::from_millis(15);

/// So many runs, in each of which a leader stands still (`SIGSTOP`) with something to write until another has written,
/// and goes on. In every other run its batch is on its way meanwhile, and arrives after the other's.
pub(super) fn measure(runs: u32) -> Vec<Figure> {
    let published = Published::start();
    for run in 1..=runs {
        let leader = published.fleet.leader();
        let drained = published.followers()[0];
        let is_on_its_way = run % 2 == 1;
        if is_on_its_way {
            published.witness.hold_next();
            published.operate("drain", drained);
            published.witness.wait_held();
        } else {
            published.operate("drain", drained);
            pass(LATER * (run / 2 - 1));
        }
        published.fleet.stop(leader);
        wait_for_another(&published, leader);
        published.witness.release();
        published.fleet.go_on(leader);
        published.fleet.wait_formed();
        published.operate("undrain", drained);
        published.settle();
        progress("leader stopped and woken", run, runs, "");
    }
    let (applied, refused) = stale(&published.witness.batches());
    let words = format!("{runs} leaders stopped; of stale batches {refused} came and were refused");
    vec![
        Figure::exactly(
            "writes of a stale leader applied",
            applied.into(),
            "batches",
            0.0,
        )
        .beside(words),
    ]
}

/// Waits until another than `leader` has written.
fn wait_for_another(published: &Published, leader: usize) {
    let id = published.fleet.node(leader).id();
    wait_until("another leader has written", PATIENCE, || {
        let last = published.witness.last();
        last.is_some_and(|batch| batch.leader != id)
    });
}

/// How many batches came after one of a higher term was applied: those that were applied themselves, and those refused.
fn stale(batches: &[Batch]) -> (u32, u32) {
    let (mut highest, mut applied, mut refused) = (0, 0, 0);
    for batch in batches {
        match (batch.term < highest, batch.is_accepted) {
            (true, true) => applied += 1,
            (true, false) => refused += 1,
            (false, true) => highest = batch.term,
            (false, false) => {}
        }
    }
    (applied, refused)
}

#[cfg(test)]
mod tests {
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
        let batches = batches.map(|(term, is_accepted)| Batch {
            term,
            ..Batch::read("", is_accepted)
        });
        assert_eq!(stale(&batches), (1, 1));
    }
}
