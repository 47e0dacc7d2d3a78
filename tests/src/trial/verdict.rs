//! What a fault cost, and what of that it may not cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Command;
use std::time::Duration;

use super::writes::Counted;
use crate::load::Outcome;
use crate::namespace::Namespace;

/// What came of a fault.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which fault it was.
    pub fault: String,
    /// How long after its end all agreed and served a new write, or why they did not.
    pub settled: Result<Duration, String>,
    /// What became of the requests to each node's HAProxy.
    pub traffic: BTreeMap<usize, Outcome>,
    /// The nodes whose traffic it may cost.
    pub costs_traffic_of: BTreeSet<usize>,
    /// How many writes there were.
    pub writes: Counted,
    /// Acknowledged writes that are nowhere.
    pub lost: Vec<String>,
    /// What was left behind.
    pub remains: Vec<String>,
}

impl Verdict {
    /// What it cost that it may not.
    pub fn violations(&self) -> Vec<String> {
        let unsettled = self.settled.as_ref().err();
        let unsettled = unsettled.map(|reason| format!("the fleet does not settle: {reason}"));
        let may_not = |number: &&usize| !self.costs_traffic_of.contains(number);
        let traffic = self
            .traffic
            .keys()
            .filter(may_not)
            .filter(|number| self.traffic[number].failed() > 0)
            .map(|number| format!("requests to node {number}: {}", self.traffic[number]));
        let lost = self.lost.iter().map(|lost| format!("a lost write: {lost}"));
        let remains = self
            .remains
            .iter()
            .map(|what| format!("left behind: {what}"));
        unsettled
            .into_iter()
            .chain(traffic)
            .chain(lost)
            .chain(remains)
            .collect()
    }

    /// # Panics
    /// When there is a violation.
    #[track_caller]
    pub fn assert_kept(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{self}\n{}", violations.join("\n"));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settled {
            Ok(took) => write!(f, "{}: settled in {:.1} s", self.fault, took.as_secs_f64())?,
            Err(_) => write!(f, "{}: NOT SETTLED", self.fault)?,
        }
        let Counted {
            acknowledged,
            refused,
        } = self.writes;
        let asked: u64 = self.traffic.values().map(|outcome| outcome.sent).sum();
        let failed: u64 = self.traffic.values().map(Outcome::failed).sum();
        write!(
            f,
            "; {acknowledged} writes acknowledged, {refused} not; {asked} requests, {failed} lost"
        )
    }
}

/// The rules of a firewall in `namespace` that stop traffic.
pub(super) fn rules(namespace: &Namespace) -> Vec<String> {
    let mut nft = Command::new("nft");
    nft.args(["list", "ruleset"]);
    let mut iptables = Command::new("iptables-save");
    let texts = [namespace.output(&mut nft), namespace.output(&mut iptables)];
    let stops = |line: &&str| {
        let mut words = line.split_whitespace();
        words.any(|word| ["drop", "reject", "queue", "DROP", "REJECT", "NFQUEUE"].contains(&word))
    };
    texts
        .iter()
        .flat_map(|text| text.lines().filter(stops))
        .map(|line| line.trim().to_owned())
        .collect()
}
