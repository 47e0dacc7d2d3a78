//! Whether every node runs the newest spec with the newest endpoints.

use super::{counted, of_standing, of_verdicts};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::{Asked, Facts};

pub(super) fn answer(asked: &Asked) -> Answer {
    let newest = &asked.newest_revision;
    if newest.is_empty() {
        return Answer::unknown("", "nobody has a spec yet");
    }
    let verdicts: Vec<_> = asked
        .parts
        .iter()
        .map(|part| {
            let (standing, words) = judge(&part.facts, newest, &asked.newest_endpoints);
            Verdict {
                lb: part.facts.id.clone(),
                standing,
                words,
            }
        })
        .collect();
    let done = of_standing(&verdicts, Standing::Ok);
    let all = verdicts.len();
    let summary = if done == all {
        format!("{} run {newest}", counted(all as u64, "load balancer"))
    } else {
        format!("{done} of {all} load balancers run {newest}")
    };
    let figure = Datum {
        max: Some(i64::try_from(all).unwrap_or(i64::MAX)),
        ..Datum::count("converged", done)
    };
    of_verdicts(verdicts, summary, vec![figure])
}

fn judge(facts: &Facts, newest: &str, newest_endpoints: &str) -> (Standing, String) {
    if !facts.apply_error.is_empty() {
        return (Standing::Critical, facts.apply_error.clone());
    }
    let or_none = |revision: &str| {
        if revision.is_empty() {
            "nothing".to_owned()
        } else {
            revision.to_owned()
        }
    };
    if facts.applied_revision != newest {
        let runs = or_none(&facts.applied_revision);
        return (
            Standing::Warning,
            format!("it runs {runs}, and {newest} is the newest"),
        );
    }
    let has_others =
        !facts.applied_endpoints.is_empty() && facts.applied_endpoints != newest_endpoints;
    if has_others {
        let has = &facts.applied_endpoints;
        return (
            Standing::Warning,
            format!("it has endpoints {has}, and {newest_endpoints} are the newest"),
        );
    }
    (Standing::Ok, format!("it runs {newest}"))
}
