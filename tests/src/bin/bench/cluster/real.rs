//! Three real agents in namespaces: until all have stored a write, and until all have noticed who is gone.

use std::time::{Duration, Instant};

use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Fleet, wait_for};

use super::memory::{Limits, times};
use crate::figure::{Figure, progress, told};

/// Measures so many writes, and so many deaths of each kind.
///
/// # Panics
/// When the fleet does not do what is to be measured.
pub(super) fn measure(writes: u32, deaths: u32, limits: Limits, figures: &mut Vec<Figure>) {
    let (fleet, _) = Fleet::serving();
    let of = |what: &str, found: &[Duration], limit| told(times(what, found, Some(limit)));
    match stored(&fleet, writes) {
        Ok(stored) => {
            let what = "3 agents: apply to answer, stored by all";
            figures.extend(of(what, &stored, limits.stored_s));
        }
        Err(why) => {
            let name = "3 agents: stored by all";
            figures.extend(told(vec![Figure::missing(name, "s", &why)]));
        }
    }
    let (mut killed, mut gone) = (Vec::new(), Vec::new());
    for round in 1..=deaths {
        let victim = victim(&fleet, round);
        killed.push(noticed(&fleet, victim, || fleet.kill_agent(victim)));
        fleet.node(victim).start_agent();
        fleet.wait_formed();
        let victim = self::victim(&fleet, round);
        gone.push(noticed(&fleet, victim, || fleet.cut_off(victim)));
        fleet.rejoin(victim);
        fleet.wait_formed();
        let what = "an agent killed, a machine gone";
        progress(what, round, deaths, "all are back");
    }
    let what = "3 agents: agent killed to noticed by all";
    figures.extend(of(what, &killed, limits.killed_s));
    let what = "3 agents: machine gone to noticed by all";
    figures.extend(of(what, &gone, limits.gone_s));
}

/// How long `hafleet apply` takes, start of the program and check by HAProxy included, until it says that all have stored it.
fn stored(fleet: &Fleet, writes: u32) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for write in 1..=writes {
        let spec = fleet.spec(&format!("stored-{write}"));
        let leader = fleet.leader();
        let begun = Instant::now();
        let finished = fleet.client_of(leader).apply(&spec, &[]);
        times.push(begun.elapsed());
        let response: v1::WriteSpecResponse = finished.expect_code(0).json();
        if response.stored_by.len() != fleet.numbers().len() {
            return Err(format!("stored by {:?} alone", response.stored_by));
        }
        progress(
            "stored by all",
            write,
            writes,
            &format!("{:.1?}", begun.elapsed()),
        );
    }
    Ok(times)
}

/// Each fourth time whoever leads.
fn victim(fleet: &Fleet, round: u32) -> usize {
    if round.is_multiple_of(4) {
        fleet.leader()
    } else {
        fleet.follower()
    }
}

/// How long after `die` no other agent counts on node `victim`.
fn noticed(fleet: &Fleet, victim: usize, die: impl FnOnce()) -> Duration {
    let id = fleet.node(victim).id();
    let mut others = fleet.numbers();
    others.retain(|number| *number != victim);
    die();
    let begun = Instant::now();
    for other in others {
        wait_for("an agent notices who is gone", PATIENCE, || {
            let status = fleet.status_of(other)?;
            let of_victim = status.nodes.iter().find(|node| node.id == id);
            match of_victim.map(v1::NodeStatus::liveness) {
                Some(Liveness::Dead) => Ok(()),
                found => Err(format!("node {other} says {found:?}")),
            }
        });
    }
    begun.elapsed()
}
