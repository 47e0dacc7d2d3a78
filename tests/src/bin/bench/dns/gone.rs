//! From a node's end to the change without it, accepted by Route53.

use std::time::{Duration, Instant};

use super::published::Published;
use crate::figure::{Figure, percentile_ms, progress};

/// So many machines that do not lead are lost, so many that lead, and so many HAProxies; each is back before the next.
pub(super) fn measure(followers: u32, leaders: u32, haproxies: u32) -> Vec<Figure> {
    let published = Published::start();
    let of = |what: &str, rounds: u32, round: &dyn Fn(usize) -> Duration| -> Vec<Duration> {
        let each = (1..=rounds).map(|number| {
            let took = round(number as usize);
            progress(what, number, rounds, &format!("{took:.1?}"));
            published.settle();
            took
        });
        each.collect()
    };
    let follower = of(
        "machine of a node that does not lead, gone",
        followers,
        &|n| machine(&published, published.followers()[n % 2]),
    );
    let leader = of("machine of the leader, gone", leaders, &|_| {
        machine(&published, published.inner.fleet.leader())
    });
    let haproxy = of("HAProxy killed", haproxies, &|n| {
        haproxy(&published, n % 3 + 1)
    });
    [
        figures("machine that does not lead gone to DNS", &follower, 4.0),
        figures("leader's machine gone to DNS", &leader, 12.0),
        figures("HAProxy killed to DNS", &haproxy, 1.0),
    ]
    .concat()
}

/// The machine of node `number` is gone, without a word to anybody, until the change was seen.
fn machine(published: &Published, number: usize) -> Duration {
    let begun = Instant::now();
    published.inner.fleet.cut_off(number);
    let changed = published.wait_without(number, begun);
    published.inner.fleet.rejoin(number);
    changed.duration_since(begun)
}

fn haproxy(published: &Published, number: usize) -> Duration {
    let begun = published.break_haproxy(number);
    let changed = published.wait_without(number, begun);
    published.mend_haproxy(number);
    changed.duration_since(begun)
}

fn figures(name: &str, times: &[Duration], limit: f64) -> Vec<Figure> {
    let of = |percent| percentile_ms(times, percent) / 1e3;
    let rounds = format!("{} times", times.len());
    let most = format!("max {:.2} s", of(100));
    vec![
        Figure::plain(&format!("{name}, p50"), of(50), "s").beside(rounds),
        Figure::under(&format!("{name}, p99"), of(99), "s", limit).beside(most),
    ]
}
