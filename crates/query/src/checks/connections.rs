//! How many connections clients have, over all load balancers.

use super::{counted, of_verdicts};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::{Asked, Part};

pub(super) fn answer(asked: &Asked, warn: Option<u64>, crit: Option<u64>) -> Answer {
    let current = |part: &Part| {
        let serving = part.connections.unwrap_or_default();
        serving.saturating_add(part.facts.old_connections)
    };
    let sum = asked.parts.iter().map(current).fold(0, u64::saturating_add);
    let reaches = |limit: Option<u64>| limit.is_some_and(|limit| sum >= limit);
    let standing = if reaches(crit) {
        Standing::Critical
    } else if reaches(warn) {
        Standing::Warning
    } else {
        Standing::Ok
    };
    let verdicts = asked.parts.iter().map(|part| Verdict {
        lb: part.facts.id.clone(),
        standing: Standing::Ok,
        words: match part.facts.old_connections {
            0 => counted(current(part), "connection"),
            old => format!(
                "{}, {old} of them of old processes",
                counted(current(part), "connection")
            ),
        },
    });
    let limit = |limit: Option<u64>| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let figure = Datum {
        warn: limit(warn),
        crit: limit(crit),
        ..Datum::count("current", sum)
    };
    let summary = format!(
        "{} on {}",
        counted(sum, "connection"),
        counted(asked.parts.len() as u64, "load balancer")
    );
    let answer = of_verdicts(verdicts.collect(), summary, vec![figure]);
    Answer { standing, ..answer }
}
