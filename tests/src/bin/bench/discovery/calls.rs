//! How often EC2 is asked, by a small fleet and by a large one.

use std::time::{Duration, Instant};

use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_tests::Fleet;

use super::cloudy;
use crate::figure::Figure;
use crate::neighbours;
use crate::reloads::{count, pass};

/// Instances that there are.
const INSTANCES: usize = 20;
/// Nodes of the small fleet.
const SMALL: u8 = 3;
/// Nodes of the large one: the first number that this machine bears.
const LARGE: [u8; 2] = [50, 20];
/// How long a large fleet may take to meet, and to serve.
const LIMIT: Duration = Duration::from_secs(180);
/// The pauses between polls differ by up to a tenth each, by chance; over many that comes to far less than this.
const BY_CHANCE: f64 = 0.05;

/// Counts the calls of `seconds` in each fleet, which polls each second.
pub(super) fn measure(seconds: u32) -> Vec<Figure> {
    measured(seconds).unwrap_or_else(|why| {
        let name = "calls to EC2 of a large fleet for each of a small one";
        vec![Figure::missing(name, "times", &why)]
    })
}

fn measured(seconds: u32) -> Result<Vec<Figure>, String> {
    let small = calls_a_minute(SMALL, seconds)?;
    let mut why = String::new();
    for nodes in LARGE {
        match calls_a_minute(nodes, seconds) {
            Ok(large) => return Ok(figures(small, nodes, large, &why)),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn figures(small: f64, nodes: u8, large: f64, why: &str) -> Vec<Figure> {
    let name = |nodes| format!("calls to EC2 a minute by a fleet of {nodes}, polls 1 s apart");
    let ratio = format!("calls of the fleet of {nodes} for each of the fleet of {SMALL}");
    vec![
        Figure::plain(&name(SMALL), small, "calls"),
        Figure::plain(&name(nodes), large, "calls").beside(why),
        Figure::under(&ratio, large / small, "times", 1.0 + BY_CHANCE)
            .beside("the same but for chance: pauses differ by up to a tenth"),
    ]
}

fn calls_a_minute(nodes: u8, seconds: u32) -> Result<f64, String> {
    eprintln!("calls to EC2 by {nodes} nodes");
    let fleet = Fleet::builder().nodes(nodes).prepare();
    let (instances, gate) = cloudy::many(&fleet, INSTANCES);
    let fleet = cloudy::start(fleet, &gate);
    until("met", nodes, &fleet, |status| {
        let live = status
            .nodes
            .iter()
            .filter(|node| node.liveness() == Liveness::Live);
        let leads = status
            .leadership
            .as_ref()
            .map(|known| known.leader.as_str());
        leads.is_some_and(|leader| !leader.is_empty()) && live.count() == usize::from(nodes)
    })?;
    fleet.apply(1, &cloudy::spec());
    until("served what was found", nodes, &fleet, |status| {
        let newest = status.endpoints.as_ref().map(|info| info.revision.as_str());
        let applied = |node: &v1::NodeStatus| {
            let state = node.endpoints.as_ref();
            state.map(|state| state.applied_revision.clone())
        };
        let has_it = |node: &v1::NodeStatus| applied(node).as_deref() == newest;
        newest.is_some_and(|newest| !newest.is_empty()) && status.nodes.iter().all(has_it)
    })?;
    let (from, begun) = (gate.calls().len(), Instant::now());
    pass(Duration::from_secs(seconds.into()));
    let (calls, passed) = (gate.calls().len() - from, begun.elapsed());
    // Before the fleet, whose network they are in: a gate that goes later waits for a last connection that cannot come.
    drop((instances, gate));
    Ok(count(calls as u64) / passed.as_secs_f64() * 60.0)
}

/// Waits until the first node's status says that all nodes have `done` something.
fn until(
    done: &str,
    nodes: u8,
    fleet: &Fleet,
    condition: impl Fn(&v1::FleetStatus) -> bool,
) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if fleet.status_of(1).is_ok_and(|status| condition(&status)) {
            return Ok(());
        }
        pass(Duration::from_millis(200));
    }
    let remedy = neighbours::remedy_for(nodes).map(|remedy| format!("; {remedy}"));
    let remedy = remedy.unwrap_or_default();
    Err(format!(
        "{nodes} nodes had not {done} within {LIMIT:?}{remedy}"
    ))
}
