//! From a key written in etcd to served by all three nodes.

use std::time::{Duration, Instant};

use hafleet_tests::Fleet;
use hafleet_tests::etcd::Etcd;
use hafleet_tests::listed::spec_of;

use super::arrival::{Awaited, figures, server};
use crate::figure::{Figure, progress};
use crate::reloads::pass;

/// The port of the first server.
const FIRST: u16 = 8101;
/// Time between two changes, so that each comes to a fleet at rest.
const APART: Duration = Duration::from_secs(1);

/// Writes `rounds` keys, one after the other.
pub(super) fn measure(rounds: u32) -> Vec<Figure> {
    let name = "key written in etcd to served by all three";
    match times(rounds) {
        Ok(times) => figures(name, &times, 1000.0, "the write and its connection in it"),
        Err(why) => vec![Figure::missing(name, "ms", &why)],
    }
}

/// Each round writes a key; all before it have a weight of 0 by then, so that the first answer is the new one's.
fn times(rounds: u32) -> Result<Vec<Duration>, String> {
    let fleet = Fleet::builder().start();
    let etcd = Etcd::start(fleet.outside(), fleet.outside_address(), fleet.scratch());
    let cluster = format!("etcd: {{ endpoints: ['{}'] }}", etcd.url());
    fleet.apply(1, &spec_of("etcd: {}", &[&cluster]));
    let write = |port: u16, weight: u16| {
        let address = fleet.outside_address();
        let value = serde_json::json!({"address": address, "port": port, "weight": weight});
        let key = format!("/hafleet/shop/backends/app/s{port}");
        etcd.put(&key, &value.to_string());
    };
    let (mut servers, mut times) = (Vec::new(), Vec::new());
    for (round, port) in (0..=rounds).zip(FIRST..) {
        let (server, name) = server(&fleet, port);
        servers.push(server);
        if round > 0 {
            write(port - 1, 0);
        }
        pass(APART);
        let awaited = Awaited::on_all(&fleet, &name);
        let begun = Instant::now();
        write(port, 100);
        let time = awaited.last()?.at.saturating_duration_since(begun);
        // The first is the first that the fleet ever finds.
        if round > 0 {
            times.push(time);
            let words = format!("{:.0} ms", time.as_secs_f64() * 1e3);
            progress("key written to served by all", round, rounds, &words);
        }
    }
    Ok(times)
}
