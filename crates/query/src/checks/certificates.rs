//! Whether certificates end soon: those of the traffic, and those by which agents know each other.

use std::time::Duration;

use jiff::Timestamp;

use super::{counted, of_verdicts};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::{Asked, CertificateEnd};

const DAY_SECONDS: i64 = 86_400;

pub(super) fn answer(asked: &Asked, warn: Duration, crit: Duration, now: Timestamp) -> Answer {
    let verdicts: Vec<_> = asked
        .parts
        .iter()
        .flat_map(|part| {
            let lb = part.facts.id.clone();
            part.certificates.iter().map(move |certificate| {
                let (standing, words) = judge(certificate, warn, crit, now);
                Verdict {
                    lb: lb.clone(),
                    standing,
                    words,
                }
            })
        })
        .collect();
    let known: u64 = asked
        .parts
        .iter()
        .map(|part| u64::from(part.certificate_count))
        .sum();
    let limit_days = i64::try_from(warn.as_secs()).unwrap_or(i64::MAX) / DAY_SECONDS;
    if known == 0 && !asked.parts.is_empty() {
        return Answer::unknown("", "nobody has a certificate, or could tell of one");
    }
    let summary = match verdicts.len() {
        0 => format!(
            "{} last more than {limit_days} days",
            counted(known, "certificate")
        ),
        ending => {
            let soonest = verdicts
                .iter()
                .min_by_key(|verdict| match verdict.standing {
                    Standing::Critical => 0,
                    _ => 1,
                })
                .map(|verdict| format!("; {}: {}", verdict.lb, verdict.words));
            format!(
                "{ending} of {} need a look{}",
                counted(known, "certificate"),
                soonest.unwrap_or_default()
            )
        }
    };
    let ends = asked.parts.iter().flat_map(|part| &part.certificates);
    let days = ends
        .filter_map(|certificate| certificate.not_after)
        .map(|end| days_until(end, now))
        .min();
    let mut performance = vec![Datum::count("certificates", known)];
    performance.extend(days.map(|days| Datum {
        min: None,
        ..Datum::count("least_days", days)
    }));
    of_verdicts(verdicts, summary, performance)
}

fn days_until(end: Timestamp, now: Timestamp) -> i64 {
    (end.as_second() - now.as_second()).div_euclid(DAY_SECONDS)
}

fn judge(
    certificate: &CertificateEnd,
    warn: Duration,
    crit: Duration,
    now: Timestamp,
) -> (Standing, String) {
    let name = &certificate.name;
    let Some(end) = certificate.not_after else {
        return (
            Standing::Unknown,
            format!("certificate {name} cannot be read"),
        );
    };
    let ends_within = |limit: Duration| end <= now + limit;
    let days = counted(
        u64::try_from(days_until(end, now)).unwrap_or_default(),
        "day",
    );
    if end <= now {
        (
            Standing::Critical,
            format!("certificate {name} ended at {end}"),
        )
    } else if ends_within(crit) {
        (
            Standing::Critical,
            format!("certificate {name} ends in {days}, at {end}"),
        )
    } else if ends_within(warn) {
        (
            Standing::Warning,
            format!("certificate {name} ends in {days}, at {end}"),
        )
    } else {
        (
            Standing::Ok,
            format!("certificate {name} ends in {days}, at {end}"),
        )
    }
}
