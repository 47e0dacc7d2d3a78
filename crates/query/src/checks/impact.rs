//! What it does to their backends when servers are restarted at once.

use super::{counted, of_verdicts};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::{Asked, Part};
use crate::server::ServerState;
use crate::tally::{Tally, count, total};

pub(super) fn answer(asked: &Asked, servers: &[String]) -> Answer {
    let named = servers.join(", ");
    if !asked.parts.is_empty() && asked.parts.iter().all(|part| part.tallies.is_empty()) {
        return Answer::unknown("", format!("no load balancer has a server {named}"));
    }
    let verdicts: Vec<_> = asked.parts.iter().flat_map(verdicts).collect();
    let of = |standing| {
        let mut backends: Vec<_> = asked
            .parts
            .iter()
            .flat_map(|part| &part.tallies)
            .filter(|tally| judge(tally).0 == standing)
            .map(|tally| tally.backend.as_str())
            .collect();
        backends.sort_unstable();
        backends.dedup();
        backends
    };
    let summary = if !of(Standing::Critical).is_empty() {
        format!(
            "restarting {named} takes down {}",
            of(Standing::Critical).join(", ")
        )
    } else if !of(Standing::Unknown).is_empty() {
        format!(
            "nobody knows whether {} survives a restart of {named}",
            of(Standing::Unknown).join(", ")
        )
    } else if !of(Standing::Warning).is_empty() {
        format!(
            "restarting {named} leaves {} to backups",
            of(Standing::Warning).join(", ")
        )
    } else {
        let backends = of(Standing::Ok);
        format!(
            "no backend goes down without {named}: {}",
            backends.join(", ")
        )
    };
    let left = asked
        .parts
        .iter()
        .flat_map(|part| &part.tallies)
        .map(|tally| count(&tally.remaining.active, ServerState::Up));
    let left = Datum::count("least_left", left.min().unwrap_or_default());
    of_verdicts(verdicts, summary, vec![left])
}

fn verdicts(part: &Part) -> Vec<Verdict> {
    let lb = || part.facts.id.clone();
    if part.tallies.is_empty() {
        let words = "it does not have them".to_owned();
        return vec![Verdict {
            lb: lb(),
            standing: Standing::Ok,
            words,
        }];
    }
    let verdict = |tally: &Tally| {
        let (standing, words) = judge(tally);
        Verdict {
            lb: lb(),
            standing,
            words,
        }
    };
    part.tallies.iter().map(verdict).collect()
}

/// Before and after. A backend of which nothing was up before is no better or worse for it, and is a no all the same:
/// it is down.
pub(super) fn judge(tally: &Tally) -> (Standing, String) {
    use ServerState::{GoingDown, Unchecked, Up};
    let Tally {
        backend, remaining, ..
    } = tally;
    let up_after = count(&remaining.active, Up);
    let change = format!(
        "{backend}: {} of {} up before, {up_after} of {} after",
        tally.up(),
        tally.total(),
        total(&remaining.active)
    );
    let backups = count(&remaining.backup, Up);
    let shaky = count(&remaining.active, GoingDown) + count(&remaining.backup, GoingDown);
    let unchecked = count(&remaining.active, Unchecked) + count(&remaining.backup, Unchecked);
    if up_after > 0 {
        return (Standing::Ok, change);
    }
    if backups > 0 {
        return (
            Standing::Warning,
            format!("{change}, and {} to take over", counted(backups, "backup")),
        );
    }
    if unchecked > 0 {
        return (
            Standing::Unknown,
            format!(
                "{change}, and nobody checks {}",
                counted(unchecked, "other")
            ),
        );
    }
    let shaky = match shaky {
        0 => String::new(),
        shaky => format!(
            ", and the checks of {} are failing",
            counted(shaky, "other")
        ),
    };
    (Standing::Critical, format!("{change}{shaky}"))
}
