//! The questions that are built in. Each asks every load balancer for a small part, judges each for itself, and puts the
//! verdicts together: a *no* of one is a no of all, and what one does not know, nobody knows.

mod certificates;
mod connections;
mod converged;
mod impact;
mod restart;
mod up;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::answer::{Answer, Datum, MOST_VERDICTS, Standing, Verdict};
use crate::part::{Asked, Part, Wanted};

/// A question that is built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Whether a backend survives that its servers are restarted, some at a time.
    RollingRestart {
        /// Which backend.
        backend: String,
        /// How many of its servers restart at once; at least 1.
        at_a_time: u32,
        /// The share of its active servers that has to stay up.
        min_up: Share,
    },
    /// What it does to their backends when servers are restarted at once.
    RestartImpact {
        /// Which, as `SERVER` or `BACKEND/SERVER`.
        servers: Vec<String>,
    },
    /// Whether a backend is up.
    Up {
        /// Which backend.
        backend: String,
    },
    /// Whether every node runs the newest spec with the newest endpoints.
    Converged,
    /// How many connections clients have.
    Connections {
        /// From how many on it is a warning.
        warn: Option<u64>,
        /// From how many on it is critical.
        crit: Option<u64>,
    },
    /// Whether certificates end soon.
    Certificates {
        /// It is a warning when one ends within so long.
        warn: Duration,
        /// It is critical when one ends within so long.
        crit: Duration,
        /// The time now.
        now: Timestamp,
    },
}

impl Check {
    /// Its name, as on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RollingRestart { .. } => "rolling-restart",
            Self::RestartImpact { .. } => "restart-impact",
            Self::Up { .. } => "up",
            Self::Converged => "converged",
            Self::Connections { .. } => "connections",
            Self::Certificates { .. } => "certificates",
        }
    }

    /// What it needs of each load balancer.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        match self {
            Self::RollingRestart { backend, .. } | Self::Up { backend } => {
                wanted.backend = Some(backend.clone());
            }
            Self::RestartImpact { servers } => wanted.servers.clone_from(servers),
            Self::Converged => {}
            Self::Connections { .. } => wanted.connections = true,
            Self::Certificates { warn, crit, now } => {
                let until = *now + (*warn).max(*crit);
                wanted.certificates_until = Some(until);
            }
        }
        wanted
    }

    /// The reduce: the answer out of what the load balancers said. More than `allow_missing` of them missing is no answer,
    /// unless it is no already.
    pub fn answer(&self, asked: &Asked, allow_missing: u32) -> Answer {
        let mut answer = match self {
            Self::RollingRestart {
                backend,
                at_a_time,
                min_up,
            } => restart::answer(asked, backend, *at_a_time, *min_up),
            Self::RestartImpact { servers } => impact::answer(asked, servers),
            Self::Up { backend } => up::answer(asked, backend),
            Self::Converged => converged::answer(asked),
            Self::Connections { warn, crit } => connections::answer(asked, *warn, *crit),
            Self::Certificates { warn, crit, now } => {
                certificates::answer(asked, *warn, *crit, *now)
            }
        };
        answer.check = self.name().to_owned();
        answer.missing.clone_from(&asked.missing);
        if let Some(words) = asked.is_too_few(allow_missing) {
            let standing = answer.standing.and(Standing::Unknown);
            if standing == Standing::Unknown {
                answer.summary = words;
            } else {
                answer.summary = format!("{}; {words}", answer.summary);
            }
            answer.standing = standing;
        }
        answer
    }
}

/// An answer of verdicts: the worst of them, with the worst first in detail.
fn of_verdicts(mut verdicts: Vec<Verdict>, summary: String, performance: Vec<Datum>) -> Answer {
    let standing = verdicts
        .iter()
        .map(|verdict| verdict.standing)
        .fold(Standing::Ok, Standing::and);
    let worst = |verdict: &Verdict| match verdict.standing {
        Standing::Critical => 0,
        Standing::Unknown => 1,
        Standing::Warning => 2,
        Standing::Ok => 3,
    };
    verdicts.sort_by_key(worst);
    let omitted = verdicts.len().saturating_sub(MOST_VERDICTS);
    verdicts.truncate(MOST_VERDICTS);
    Answer {
        check: String::new(),
        standing,
        summary,
        performance,
        verdicts,
        omitted: u32::try_from(omitted).unwrap_or(u32::MAX),
        missing: Vec::new(),
    }
}

/// The verdicts on one backend, or why there are none: nobody has it.
fn on_backend(
    asked: &Asked,
    backend: &str,
    judge: impl Fn(&Part, &crate::Tally) -> Verdict,
) -> Result<Vec<Verdict>, Box<Answer>> {
    if !asked.parts.is_empty() && asked.parts.iter().all(|part| part.tallies.is_empty()) {
        let mut known: Vec<_> = asked.parts.iter().flat_map(|part| &part.backends).collect();
        known.sort_unstable();
        known.dedup();
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        let has = if known.is_empty() {
            "there is none at all".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        return Err(Box::new(Answer::unknown(
            "",
            format!("no load balancer has a backend {backend}; {has}"),
        )));
    }
    let verdict = |part: &Part| match part.tallies.first() {
        Some(tally) => judge(part, tally),
        None => Verdict {
            lb: part.facts.id.clone(),
            standing: Standing::Critical,
            words: format!("it has no backend {backend}"),
        },
    };
    Ok(asked.parts.iter().map(verdict).collect())
}

/// How many of the load balancers say what.
fn of_standing(verdicts: &[Verdict], standing: Standing) -> usize {
    verdicts
        .iter()
        .filter(|verdict| verdict.standing == standing)
        .count()
}

/// "1 server", "2 servers".
fn counted(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// A share of something, from nothing to all: `80%` or `0.8`. Kept in millionths, so that it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

/// Not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a share: write 0% to 100%, or 0 to 1")]
pub struct ShareError {
    found: String,
}

impl Share {
    /// A share of 0 to 1.
    ///
    /// # Errors
    /// When it is less or more, or not a number.
    pub fn new(share: f64) -> Result<Self, ShareError> {
        if (0.0..=1.0).contains(&share) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is within 0 to 1,000,000"
            )]
            return Ok(Self((share * f64::from(WHOLE)).round() as u32));
        }
        Err(ShareError {
            found: share.to_string(),
        })
    }

    /// How many of `total` that is, rounded up.
    pub fn of(self, total: u32) -> u32 {
        let product = u64::from(self.0) * u64::from(total);
        u32::try_from(product.div_ceil(u64::from(WHOLE))).unwrap_or(u32::MAX)
    }

    /// In millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// From millionths.
    ///
    /// # Errors
    /// When it is more than all.
    pub fn from_millionths(millionths: u32) -> Result<Self, ShareError> {
        if millionths <= WHOLE {
            return Ok(Self(millionths));
        }
        Err(ShareError {
            found: format!("{millionths} millionths"),
        })
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError {
            found: text.to_owned(),
        };
        let (number, whole) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::new(number / whole).map_err(|_| wrong())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
