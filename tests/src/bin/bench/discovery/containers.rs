//! From a container's start to served by all three nodes.
//!
//! The engine is on a node that does not lead, so that what it has goes the long way: told to the leader, written, and
//! given to all. How long the engine takes to start a container is its own affair: the clock starts with its event.

use std::process::Command;
use std::time::Duration;

use hafleet_tests::Fleet;
use hafleet_tests::docker::{CONTAINERS, Docker};
use hafleet_tests::listed::spec_of;

use super::arrival::{Awaited, figures};
use crate::figure::{Figure, progress};
use crate::reloads::pass;

/// By which the agent knows them.
const LABELS: [&str; 1] = ["hafleet.backend=app"];
/// Time between two changes, so that each comes to a fleet at rest.
const APART: Duration = Duration::from_millis(1500);

/// Starts `rounds` containers, one after the other.
pub(super) fn measure(rounds: u32) -> Vec<Figure> {
    let name = "container started to served by all three";
    match times(rounds) {
        Ok(times) => figures(name, &times, 1000.0, "from the engine's own event"),
        Err(why) => vec![Figure::missing(name, "ms", &why)],
    }
}

/// Two containers at most run at once: the new one, and one that stays.
fn times(rounds: u32) -> Result<Vec<Duration>, String> {
    let mut fleet = Fleet::builder().start();
    let host = fleet.follower();
    let docker = Docker::start(fleet.node(host).namespace())?;
    let part = format!("[docker]\nendpoint = {:?}", docker.endpoint());
    fleet.node_mut(host).settings_mut().parts.push(part);
    fleet.restart(host);
    fleet.wait_formed();
    let gateway = fleet.node(host).address().to_string();
    for number in fleet.numbers().into_iter().filter(|number| *number != host) {
        let mut ip = Command::new("ip");
        ip.args(["route", "add", CONTAINERS, "via", &gateway]);
        fleet.node(number).namespace().output(&mut ip);
    }
    // Of two servers one goes in each round, which is not so many that it has to be confirmed.
    fleet.apply(1, &spec_of("docker: { port: 80 }", &["max_shrink: 90"]));
    let mut times = Vec::new();
    for round in 0..=rounds {
        let name = format!("c{round}");
        let awaited = Awaited::on_all(&fleet, &name);
        docker.run(&name, &LABELS);
        let last = awaited.last()?;
        let time = last.wall.duration_since(docker.started_at(&name));
        // The first is the one that stays.
        if round > 0 {
            let time = time.unwrap_or_default();
            times.push(time);
            let words = format!("{:.0} ms", time.as_secs_f64() * 1e3);
            progress("container started to served by all", round, rounds, &words);
            docker.remove(&name);
        }
        pass(APART);
    }
    Ok(times)
}
