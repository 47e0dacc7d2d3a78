//! From a change in EC2 to served by all three nodes, beyond the poll interval.
//!
//! The poll interval is what an operator chooses, so the wait for the next poll does not count: the clock starts when the
//! first poll after the change reaches EC2, and stops when the last node's HAProxy lets the new instance answer. Each
//! change is made right after a poll was answered, so that no poll is under way meanwhile which might see it or not.

use std::time::{Duration, Instant};

use hafleet_tests::aws::{Cloud, Gate};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Fleet, wait_for};

use super::arrival::{Awaited, figures, server};
use super::cloudy::{self, polls};
use crate::figure::{Figure, percentile_ms, progress};

/// The port of the first server.
const FIRST: u16 = 8101;

/// Starts `rounds` instances, one after the other.
pub(super) fn measure(rounds: u32) -> Vec<Figure> {
    let name = "change in EC2 to served by all three, beyond the poll interval";
    match changes(rounds) {
        Ok(changes) => {
            let of = |time: fn(&Change) -> Duration| changes.iter().map(time).collect::<Vec<_>>();
            let answers = of(|change| change.answer);
            let whole = percentile_ms(&of(|change| change.whole), 50);
            let [p50, p99] = [50, 99].map(|percent| percentile_ms(&answers, percent));
            let beside = format!(
                "of that, moto's own answer: p50 {p50:.0}, p99 {p99:.0} ms; with the wait for the poll (1 s): p50 {whole:.0} ms"
            );
            figures(name, &of(|change| change.beyond), 500.0, &beside)
        }
        Err(why) => vec![Figure::missing(name, "ms", &why)],
    }
}

/// What one change took.
struct Change {
    /// From the next poll to served by all.
    beyond: Duration,
    /// The poll's answer.
    answer: Duration,
    /// From the change to served by all.
    whole: Duration,
}

/// Each round starts an instance; all before it have a weight of 0 by then, so that the first answer is the new one's.
fn changes(rounds: u32) -> Result<Vec<Change>, String> {
    let fleet = Fleet::builder().prepare();
    let cloud = cloudy::cloud(&fleet);
    let fleet = cloudy::start(fleet, cloud.gate());
    fleet.wait_formed();
    let group = fleet.outside().run(|| cloud.add_group("web"));
    let (mut servers, mut before) = (Vec::new(), None::<String>);
    fleet.apply(1, &cloudy::spec());
    let mut changes = Vec::new();
    for (round, port) in (0..=rounds).zip(FIRST..) {
        let (server, name) = server(&fleet, port);
        servers.push(server);
        if let Some(before) = before {
            answered(cloud.gate());
            fleet.outside().run(|| cloud.change(&before, "weight", "0"));
            answered(cloud.gate());
        }
        let awaited = Awaited::on_all(&fleet, &name);
        answered(cloud.gate());
        let changed = Instant::now();
        before = Some(add(&fleet, &cloud, &group, port));
        let added = Instant::now();
        let last = awaited.last()?;
        let poll = polls(cloud.gate());
        let poll = poll.into_iter().find(|(poll, _)| poll.at >= added);
        let (poll, answer) = poll.ok_or("it was served before it was asked for")?;
        let beyond = last.at.saturating_duration_since(poll.at);
        // The first is the first that the fleet ever finds.
        if round > 0 {
            changes.push(Change {
                beyond,
                answer,
                whole: last.at - changed,
            });
            let words = format!("{:.0} ms", beyond.as_secs_f64() * 1e3);
            progress("instance started to served by all", round, rounds, &words);
        }
    }
    Ok(changes)
}

fn add(fleet: &Fleet, cloud: &Cloud, group: &str, port: u16) -> String {
    let port = port.to_string();
    let tags = [("port", port.as_str()), ("weight", "100")];
    fleet.outside().run(|| cloud.add(group, &tags))
}

/// Waits until another poll has been answered.
fn answered(gate: &Gate) {
    let before = polls(gate).len();
    wait_for("EC2 is polled", PATIENCE, || {
        let now = polls(gate).len();
        (now > before).then_some(()).ok_or("it is not")
    });
}
