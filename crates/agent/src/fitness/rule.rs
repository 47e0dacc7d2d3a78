//! When a node is unfit. Pure: time comes in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// How long a refusal has to last: credentials that are just being renewed are not missing.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// How long silence has to last. Where the service itself is away, no node can do better.
const UNREACHABLE_FOR: Duration = Duration::from_secs(30);
/// How long a node stays unfit after it yielded for the first time; twice as long after each further one.
const FIRST_HOLD: Duration = Duration::from_secs(600);
/// The longest that it does.
const LONGEST_HOLD: Duration = Duration::from_secs(7_200);
/// A leader that was able to do all for so long yields as if for the first time.
const ABLE_FOR: Duration = Duration::from_secs(60);

/// What only the leader does, and needs something of its machine for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    /// Names in DNS.
    Publication,
    /// Servers in EC2.
    Discovery,
    /// What is written is checked and stored.
    Storage,
    /// Who calls is told from who may not any more.
    Identity,
}

/// Why a job cannot be done here. The words are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inability {
    /// Credentials are missing or do not suffice, or the machine refuses it.
    Refused(String),
    /// Nobody answers.
    Unreachable(String),
}

/// What of the fleet matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether this node leads.
    pub(super) leads: bool,
    /// Whether a live node other than this one could lead.
    pub(super) is_another_fit: bool,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// Since when each job cannot be done.
    since: BTreeMap<Job, Instant>,
    /// Why this node is unfit, and until when.
    unfit: Option<(String, Instant)>,
    /// How often it yielded since it last was able to do all for a while.
    yields: u32,
    /// Since when it leads and is able.
    able_since: Option<Instant>,
    due: Option<Instant>,
}

impl Inability {
    fn grace(&self) -> Duration {
        match self {
            Self::Refused(_) => REFUSED_FOR,
            Self::Unreachable(_) => UNREACHABLE_FOR,
        }
    }
}

impl fmt::Display for Inability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl Rule {
    /// Why this node is unfit at `now`; none if it is not.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        standing: Standing,
        inabilities: &BTreeMap<Job, Inability>,
    ) -> Option<String> {
        self.due = None;
        if let Some((reason, until)) = &self.unfit {
            if now < *until && standing.is_another_fit {
                self.due = Some(*until);
                return Some(reason.clone());
            }
            // What it could not do before is found out anew.
            self.unfit = None;
            self.since.clear();
        }
        if !standing.leads {
            self.since.clear();
            self.able_since = None;
            // Whose store fails would have to yield at once, and everybody should see why it does not follow.
            let failed = inabilities.get(&Job::Storage);
            let failed = failed.filter(|_| standing.is_another_fit);
            return failed.map(Inability::to_string);
        }
        self.note_able(now, inabilities.is_empty());
        self.since.retain(|job, _| inabilities.contains_key(job));
        for job in inabilities.keys() {
            self.since.entry(*job).or_insert(now);
        }
        let ends = inabilities.iter().filter_map(|(job, inability)| {
            let since = self.since.get(job)?;
            Some((*since + inability.grace(), inability))
        });
        let (end, inability) = ends.min_by_key(|(end, _)| *end)?;
        if now < end {
            self.due = Some(end);
            return None;
        }
        if !standing.is_another_fit {
            return None;
        }
        let hold = FIRST_HOLD.saturating_mul(1 << self.yields.min(8));
        let until = now + hold.min(LONGEST_HOLD);
        self.yields = self.yields.saturating_add(1);
        let reason = inability.to_string();
        self.unfit = Some((reason.clone(), until));
        self.due = Some(until);
        Some(reason)
    }

    fn note_able(&mut self, now: Instant, is_able: bool) {
        match is_able {
            false => self.able_since = None,
            true => {
                let since = *self.able_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= ABLE_FOR {
                    self.yields = 0;
                }
            }
        }
    }

    /// When to decide again though nothing changes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
