//! Whether a backend survives a rolling restart.

use super::{Share, counted, of_standing, of_verdicts, on_backend};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::Asked;
use crate::server::ServerState;
use crate::tally::{Tally, count, total};

/// What one load balancer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restart {
    pub standing: Standing,
    pub words: String,
}

pub(super) fn answer(asked: &Asked, backend: &str, at_a_time: u32, min_up: Share) -> Answer {
    let judged = on_backend(asked, backend, |part, tally| {
        let judged = judge(tally, at_a_time, min_up);
        Verdict {
            lb: part.facts.id.clone(),
            standing: judged.standing,
            words: judged.words,
        }
    });
    let verdicts = match judged {
        Ok(verdicts) => verdicts,
        Err(answer) => return *answer,
    };
    let noes = of_standing(&verdicts, Standing::Critical);
    let unsure = of_standing(&verdicts, Standing::Unknown);
    let question = format!("restarts of {backend}, {at_a_time} at a time with {min_up} up");
    let summary = match (noes, unsure) {
        (0, 0) => format!(
            "{} can do {question}",
            counted(verdicts.len() as u64, "load balancer")
        ),
        (0, unsure) => format!(
            "{unsure} of {} load balancers cannot say whether {question}, would do",
            verdicts.len()
        ),
        (noes, _) => format!(
            "{noes} of {} load balancers say no to {question}",
            verdicts.len()
        ),
    };
    let tallies = || asked.parts.iter().flat_map(|part| &part.tallies);
    let least_up = tallies().map(Tally::up).min().unwrap_or_default();
    let most = tallies().map(Tally::total).max().unwrap_or_default();
    let up = Datum {
        max: Some(i64::from(most)),
        ..Datum::count("least_up", least_up)
    };
    of_verdicts(verdicts, summary, vec![up])
}

/// Whether enough active servers stay up when `at_a_time` of those that are up restart.
///
/// Only `UP` counts as up: not what is failing checks or drained, and no backups, which take traffic only when no active
/// server does. What is not checked may be up: it decides nothing, and where it would have to, nobody knows.
pub(super) fn judge(tally: &Tally, at_a_time: u32, min_up: Share) -> Restart {
    let (all, up) = (tally.total(), tally.up());
    let needed = min_up.of(all).max(1);
    let unchecked = count(&tally.active, ServerState::Unchecked);
    let left = up.saturating_sub(at_a_time);
    let left_at_best = (up + unchecked).saturating_sub(at_a_time);
    let exceptions = tally.exceptions();
    let exceptions = if exceptions.is_empty() {
        exceptions
    } else {
        format!("; {exceptions}")
    };
    let (standing, words) = if all == 0 {
        let backups = match total(&tally.backup) {
            0 => String::new(),
            backups => format!(", and {} do not count", counted(backups, "backup")),
        };
        (
            Standing::Critical,
            format!("{} has no active server{backups}", tally.backend),
        )
    } else if left >= needed {
        (
            Standing::Ok,
            format!("{up} of {all} up, {left} during a restart, {needed} needed{exceptions}"),
        )
    } else if left_at_best >= needed {
        let unchecked = counted(unchecked, "server");
        (
            Standing::Unknown,
            format!(
                "{up} of {all} up for sure, {needed} needed during a restart, and nobody checks {unchecked}{exceptions}"
            ),
        )
    } else {
        (
            Standing::Critical,
            format!("{up} of {all} up, {left} during a restart, {needed} needed{exceptions}"),
        )
    };
    Restart { standing, words }
}
