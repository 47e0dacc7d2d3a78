//! What 5,000 instances cost whoever leads: processor time for each poll, and memory.
//!
//! Taken from the agent's process as it runs, not from parts of it. In a poll is all that a poll needs: five pages of a
//! thousand instances, each with its signature and its XML, the mapping to servers, and the decision that nothing is to be
//! written. So the transfer is in it too.

use std::time::Duration;

use hafleet_tests::{Fleet, wait_for};

use super::cloudy;
use crate::figure::{Figure, percentile_ms};
use crate::reloads::{count, pass};

const INSTANCES: usize = 5000;
/// Calls of one poll: pages.
const PAGES: usize = INSTANCES / 1000;
/// How long all nodes may take to have them all.
const LIMIT: Duration = Duration::from_secs(180);
/// How long an agent settles after that.
const SETTLE: Duration = Duration::from_secs(5);
/// How long it is watched at rest.
const REST: Duration = Duration::from_secs(10);

/// Watches `seconds` of polls, one a second.
pub(super) fn measure(seconds: u32) -> Vec<Figure> {
    match costs(seconds) {
        Ok(costs) => costs.figures(),
        Err(why) => vec![Figure::missing(&name("one poll and merge"), "ms", &why)],
    }
}

fn name(what: &str) -> String {
    format!("{INSTANCES} instances: {what}")
}

struct Costs {
    polls: usize,
    /// Processor time of each poll, without what an agent needs at rest.
    each: Duration,
    answers: Vec<Duration>,
    transferred: usize,
    memory: u64,
    memory_of_others: u64,
}

impl Costs {
    fn figures(&self) -> Vec<Figure> {
        let ms = self.each.as_secs_f64() * 1e3;
        let megabytes = |bytes: u64| Duration::from_micros(bytes).as_secs_f64();
        let transferred = megabytes(self.transferred as u64);
        let answers = percentile_ms(&self.answers, 50);
        vec![
            Figure::under(&name("one poll and merge, processor time"), ms, "ms", 200.0).beside(
                format!(
                    "mean of {}, the transfer of {transferred:.1} MB in {PAGES} pages in it; a page was answered after {answers:.0} ms",
                    self.polls
                ),
            ),
            Figure::under(
                &name("leader's resident memory"),
                megabytes(self.memory),
                "MB",
                120.0,
            )
            .beside(format!(
                "the largest of those that only follow: {:.0} MB",
                megabytes(self.memory_of_others)
            )),
        ]
    }
}

fn costs(seconds: u32) -> Result<Costs, String> {
    eprintln!("{INSTANCES} instances");
    let fleet = Fleet::builder().prepare();
    let (instances, gate) = cloudy::many(&fleet, INSTANCES);
    let fleet = cloudy::start(fleet, &gate);
    fleet.wait_formed();
    let leader = fleet.leader();
    let agent = fleet.node(leader).agent_process();
    let before = agent.processor_time();
    pass(REST);
    let rest = (agent.processor_time() - before).div_f64(REST.as_secs_f64());
    fleet.apply(1, &cloudy::spec());
    wait_for("all nodes have all instances", LIMIT, || has_all(&fleet));
    pass(SETTLE);

    let (from, before) = (cloudy::polls(&gate).len(), agent.processor_time());
    let watched = Duration::from_secs(seconds.into());
    pass(watched);
    let used = agent.processor_time() - before;
    let made = cloudy::polls(&gate).split_off(from);
    if made.len() < PAGES || fleet.leader() != leader {
        return Err(format!("{} pages, or another leader", made.len()));
    }
    let at_rest = rest.mul_f64(watched.as_secs_f64());
    let polls = count(made.len() as u64) / count(PAGES as u64);
    let others = fleet.numbers().into_iter().filter(|node| *node != leader);
    let others = others.map(|node| fleet.node(node).agent_process().resident_bytes());
    Ok(Costs {
        polls: made.len() / PAGES,
        each: used.saturating_sub(at_rest).div_f64(polls),
        answers: made.into_iter().map(|(_, after)| after).collect(),
        transferred: instances.bytes(),
        memory: agent.resident_bytes(),
        memory_of_others: others.max().unwrap_or_default(),
    })
}

/// Whether every HAProxy has a server for each instance, as the nodes say.
fn has_all(fleet: &Fleet) -> Result<(), String> {
    let sources = fleet.sources(1)?;
    let servers: u32 = sources.backends.iter().map(|backend| backend.servers).sum();
    let status = fleet.status_of(1)?;
    let newest = status.endpoints.clone().unwrap_or_default().revision;
    let is_there = |node: &hafleet_api::v1::NodeStatus| {
        let state = node.endpoints.clone().unwrap_or_default();
        state.applied_revision == newest
    };
    let is_all = servers as usize == INSTANCES && status.nodes.iter().all(is_there);
    is_all
        .then_some(())
        .ok_or_else(|| format!("{servers} servers, {:#?}", status.nodes))
}
