use std::collections::BTreeMap;

use super::*;
use crate::answer::Missing;
use crate::part::{CertificateEnd, Facts, Reading};
use crate::server::ServerState as S;
use crate::statistics::Statistics;
use crate::tally::{Remaining, Tally};

fn servers(of: &[(S, u32)]) -> BTreeMap<S, u32> {
    of.iter().copied().collect()
}

fn tally(active: &[(S, u32)], backup: &[(S, u32)]) -> Tally {
    Tally {
        backend: "app".into(),
        active: servers(active),
        backup: servers(backup),
        ..Tally::default()
    }
}

fn facts(id: &str) -> Facts {
    Facts {
        id: id.into(),
        ..Facts::default()
    }
}

fn part(id: &str, tallies: Vec<Tally>) -> Part {
    Part {
        facts: facts(id),
        tallies,
        ..Part::default()
    }
}

fn missing(lb: &str) -> Missing {
    Missing {
        lb: lb.into(),
        reason: "it is dead".into(),
    }
}

fn asked(parts: Vec<Part>, missing: Vec<Missing>) -> Asked {
    Asked {
        parts,
        missing,
        ..Asked::default()
    }
}

fn share(text: &str) -> Share {
    text.parse().unwrap()
}

#[test]
fn a_rolling_restart_needs_enough_that_are_up_for_sure() {
    use Standing::{Critical, Ok, Unknown};
    for (active, backup, at_a_time, min_up, expected) in [
        (&[(S::Up, 10)][..], &[][..], 2, "80%", Ok),
        (&[(S::Up, 9), (S::Down, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Down, 1)], &[], 1, "80%", Ok),
        (&[(S::Up, 9), (S::GoingDown, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::GoingUp, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Draining, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Maintenance, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Stopping, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Unknown, 1)], &[], 2, "80%", Critical),
        (&[(S::Up, 9), (S::Unchecked, 1)], &[], 2, "80%", Unknown),
        (
            &[(S::Up, 8), (S::Unchecked, 1), (S::Down, 1)],
            &[],
            2,
            "80%",
            Critical,
        ),
        (&[(S::Unchecked, 10)], &[], 2, "80%", Unknown),
        // What is not checked decides nothing where enough others are up.
        (&[(S::Up, 10), (S::Unchecked, 1)], &[], 1, "80%", Ok),
        // Backups take traffic only when no active server does.
        (&[(S::Up, 2)], &[(S::Up, 10)], 2, "50%", Critical),
        (&[], &[(S::Up, 10)], 1, "0%", Critical),
        (&[], &[], 1, "0%", Critical),
        // One server has to stay whatever is asked for.
        (&[(S::Up, 2)], &[], 2, "0%", Critical),
        (&[(S::Up, 2)], &[], 1, "0%", Ok),
        (&[(S::Up, 3)], &[], 5, "0%", Critical),
        // Shares are rounded up: 80% of 4 is 4.
        (&[(S::Up, 4)], &[], 1, "80%", Critical),
        (&[(S::Up, 5)], &[], 1, "80%", Ok),
    ] {
        let found = restart::judge(&tally(active, backup), at_a_time, share(min_up));
        assert_eq!(
            found.standing, expected,
            "{active:?} {backup:?} {at_a_time} {min_up}: {}",
            found.words
        );
    }
}

#[test]
fn a_backend_is_up_when_a_checked_active_server_is() {
    use Standing::{Critical, Ok, Unknown, Warning};
    for (active, backup, expected) in [
        (&[(S::Up, 2)][..], &[][..], Ok),
        (&[(S::Up, 1), (S::Maintenance, 1)], &[], Ok),
        (&[(S::Up, 1), (S::Draining, 1)], &[], Ok),
        (&[(S::Up, 1), (S::Unchecked, 1)], &[], Ok),
        (&[(S::Up, 1), (S::GoingUp, 1)], &[], Ok),
        (&[(S::Up, 1), (S::Down, 1)], &[], Warning),
        (&[(S::Up, 1), (S::GoingDown, 1)], &[], Warning),
        (&[(S::GoingDown, 1)], &[], Warning),
        (&[(S::Unchecked, 2)], &[], Unknown),
        (&[(S::Unchecked, 1), (S::Down, 1)], &[(S::Up, 1)], Unknown),
        (&[(S::Down, 2)], &[(S::Up, 1)], Warning),
        (&[(S::Down, 2)], &[(S::Unchecked, 1)], Unknown),
        (&[(S::Down, 2)], &[], Critical),
        (&[(S::Maintenance, 2)], &[], Critical),
        (&[(S::Draining, 2)], &[], Critical),
        (&[], &[], Critical),
    ] {
        let (standing, words) = up::judge(&tally(active, backup));
        assert_eq!(standing, expected, "{active:?} {backup:?}: {words}");
    }
}

#[test]
fn a_restart_takes_a_backend_down_when_nobody_is_left() {
    use Standing::{Critical, Ok, Unknown, Warning};
    for (active, backup, expected) in [
        (&[(S::Up, 1)][..], &[][..], Ok),
        (&[(S::Up, 1), (S::Down, 3)], &[], Ok),
        (&[(S::Down, 3)], &[(S::Up, 1)], Warning),
        (&[(S::Unchecked, 1)], &[], Unknown),
        (&[(S::Down, 1)], &[(S::Unchecked, 1)], Unknown),
        (&[(S::GoingDown, 1)], &[], Critical),
        (&[(S::Maintenance, 1)], &[(S::Down, 1)], Critical),
        (&[], &[], Critical),
    ] {
        let tally = Tally {
            remaining: Remaining {
                active: servers(active),
                backup: servers(backup),
            },
            ..tally(&[(S::Up, 5)], &[])
        };
        let (standing, words) = impact::judge(&tally);
        assert_eq!(standing, expected, "{active:?} {backup:?}: {words}");
    }
}

fn restartable(parts: Vec<Part>, lost: Vec<Missing>, allow: u32) -> Answer {
    let check = Check::RollingRestart {
        backend: "app".into(),
        at_a_time: 1,
        min_up: share("80%"),
    };
    check.answer(&asked(parts, lost), allow)
}

#[test]
fn who_does_not_answer_makes_an_answer_unknown_but_not_a_no_a_yes() {
    let good = || vec![tally(&[(S::Up, 10)], &[])];
    let bad = || vec![tally(&[(S::Up, 1), (S::Down, 9)], &[])];
    let all = restartable(vec![part("lb1", good()), part("lb2", good())], vec![], 0);
    assert_eq!(all.standing, Standing::Ok);
    assert_eq!(
        all.lines().lines().next().unwrap(),
        "ROLLING-RESTART OK - 2 load balancers can do restarts of app, 1 at a time with 80% up | least_up=10;;;0;10"
    );
    let one_missing = restartable(vec![part("lb1", good())], vec![missing("lb2")], 0);
    assert_eq!(one_missing.standing, Standing::Unknown);
    assert!(
        one_missing
            .summary
            .contains("1 of 2 load balancers did not answer: lb2")
    );
    let allowed = restartable(vec![part("lb1", good())], vec![missing("lb2")], 1);
    assert_eq!(allowed.standing, Standing::Ok);
    let a_no = restartable(vec![part("lb1", bad())], vec![missing("lb2")], 0);
    assert_eq!(a_no.standing, Standing::Critical);
    let nobody = restartable(vec![], vec![missing("lb1")], 5);
    assert_eq!(nobody.standing, Standing::Unknown);
    let nobody_known = restartable(vec![], vec![], 0);
    assert_eq!(nobody_known.standing, Standing::Unknown);
}

#[test]
fn a_backend_that_one_does_not_have_is_a_no_and_one_that_nobody_has_is_not_known() {
    let good = || vec![tally(&[(S::Up, 10)], &[])];
    let one = restartable(vec![part("lb1", good()), part("lb2", vec![])], vec![], 0);
    assert_eq!(one.standing, Standing::Critical);
    let other = Part {
        backends: vec!["site".into(), "api".into()],
        ..part("lb1", vec![])
    };
    let nobody = restartable(vec![other], vec![], 0);
    assert_eq!(nobody.standing, Standing::Unknown);
    assert_eq!(
        nobody.summary,
        "no load balancer has a backend app; there are api, site"
    );
}

#[test]
fn data_that_is_too_old_is_missing() {
    let old = Part {
        age: Duration::from_secs(12),
        ..part("lb1", vec![])
    };
    let asked =
        asked(vec![old, part("lb2", vec![])], vec![]).no_older_than(Duration::from_secs(10));
    assert_eq!(asked.parts.len(), 1);
    assert_eq!(
        asked.missing[0].reason,
        "its data is 12 s old, and --max-age is 10 s"
    );
}

#[test]
fn connections_are_summed_and_compared() {
    let with = |id: &str, current: u64, old: u64| Part {
        connections: Some(current),
        facts: Facts {
            old_connections: old,
            ..facts(id)
        },
        ..Part::default()
    };
    let ask = |warn, crit, lost: Vec<Missing>| {
        let parts = vec![with("lb1", 100, 3), with("lb2", 20, 0)];
        Check::Connections { warn, crit }.answer(&asked(parts, lost), 0)
    };
    let answer = ask(Some(500), Some(800), vec![]);
    assert_eq!(answer.standing, Standing::Ok);
    assert_eq!(
        answer.lines(),
        "CONNECTIONS OK - 123 connections on 2 load balancers | current=123;500;800;0\n\
         lb1: OK: 103 connections, 3 of them of old processes\nlb2: OK: 20 connections"
    );
    assert_eq!(
        ask(Some(123), Some(800), vec![]).standing,
        Standing::Warning
    );
    assert_eq!(
        ask(Some(10), Some(100), vec![]).standing,
        Standing::Critical
    );
    // What is there already is enough for a no; what is missing could make one of a yes.
    assert_eq!(
        ask(Some(10), Some(100), vec![missing("lb3")]).standing,
        Standing::Critical
    );
    assert_eq!(
        ask(Some(100), Some(500), vec![missing("lb3")]).standing,
        Standing::Unknown
    );
}

#[test]
fn certificates_warn_before_they_end() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let day = |days: i64| Duration::from_secs(u64::try_from(days * 86_400).unwrap());
    let check = Check::Certificates {
        warn: day(21),
        crit: day(7),
        now,
    };
    let ends = |ends: &[Option<&str>]| {
        let certificates = ends.iter().enumerate().map(|(i, end)| CertificateEnd {
            name: format!("c{i}"),
            not_after: end.map(|end| end.parse().unwrap()),
        });
        let reading = Reading {
            facts: facts("lb1"),
            statistics: Statistics::parse("# pxname,svname,type\n").unwrap(),
            info: crate::ProcessInfo::default(),
            certificates: certificates.collect(),
            age: Duration::ZERO,
        };
        let part = check.wanted().part(&reading);
        check.answer(&asked(vec![part], vec![]), 0)
    };
    let later = Some("2026-06-01T00:00:00Z");
    let answer = ends(&[later, later]);
    assert_eq!((answer.standing, answer.verdicts.len()), (Standing::Ok, 0));
    assert_eq!(answer.summary, "2 certificates last more than 21 days");
    let answer = ends(&[later, Some("2026-01-15T00:00:00Z")]);
    assert_eq!(answer.standing, Standing::Warning);
    assert!(
        answer.summary.contains("c1 ends in 14 days"),
        "{}",
        answer.summary
    );
    assert_eq!(
        ends(&[Some("2026-01-05T00:00:00Z")]).standing,
        Standing::Critical
    );
    assert_eq!(
        ends(&[Some("2025-12-31T00:00:00Z")]).standing,
        Standing::Critical
    );
    assert_eq!(ends(&[None]).standing, Standing::Unknown);
    assert_eq!(ends(&[]).standing, Standing::Unknown);
}

#[test]
fn a_fleet_has_converged_when_everybody_runs_the_newest() {
    let node = |id: &str, applied: &str, error: &str| Part {
        facts: Facts {
            applied_revision: applied.into(),
            apply_error: error.into(),
            ..facts(id)
        },
        ..Part::default()
    };
    let ask = |parts, lost| {
        let asked = Asked {
            newest_revision: "3.17".into(),
            ..asked(parts, lost)
        };
        Check::Converged.answer(&asked, 0).standing
    };
    let done = || node("lb1", "3.17", "");
    assert_eq!(
        ask(vec![done(), node("lb2", "3.17", "")], vec![]),
        Standing::Ok
    );
    assert_eq!(
        ask(vec![done(), node("lb2", "3.16", "")], vec![]),
        Standing::Warning
    );
    assert_eq!(
        ask(vec![done(), node("lb2", "", "")], vec![]),
        Standing::Warning
    );
    assert_eq!(
        ask(
            vec![done(), node("lb2", "3.16", "it does not bind")],
            vec![]
        ),
        Standing::Critical
    );
    assert_eq!(ask(vec![done()], vec![missing("lb2")]), Standing::Unknown);
    assert_eq!(
        Check::Converged
            .answer(&asked(vec![done()], vec![]), 0)
            .standing,
        Standing::Unknown
    );
}

#[test]
fn shares_are_read_in_percent_and_as_numbers() {
    for (text, of_ten) in [
        ("80%", 8),
        ("0.8", 8),
        ("81%", 9),
        ("0", 0),
        ("1", 10),
        ("100%", 10),
        ("33.3%", 4),
    ] {
        assert_eq!(share(text).of(10), of_ten, "{text}");
    }
    for text in ["80", "101%", "-1%", "", "x", "NaN", "inf%"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
    assert_eq!(share("80%").to_string(), "80%");
    assert_eq!(share("0.125").to_string(), "12.5%");
}
