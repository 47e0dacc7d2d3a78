//! Whatever is asked and whatever HAProxy answers, there is a value or an error, and never a reason to panic.
//!
//! An input is an expression on the first line, and behind it the statistics page that it is evaluated over.

#![no_main]

use std::time::Duration;

use hafleet_query::{Asked, Check, Expression, Facts, ProcessInfo, Reading, Statistics};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &str| -> Corpus {
    let Some((expression, page)) = input.split_once('\n') else {
        return Corpus::Reject;
    };
    let statistics = Statistics::parse(page);
    if let Ok(statistics) = &statistics {
        let again =
            Statistics::parse(&statistics.to_csv()).expect("a page that was written can be read");
        assert_eq!(statistics.rows().count(), again.rows().count());
    }
    let (Ok(statistics), Ok(expression)) = (statistics, Expression::compile(expression)) else {
        return Corpus::Keep;
    };
    let reading = Reading {
        facts: Facts::default(),
        statistics,
        info: ProcessInfo::default(),
        certificates: Vec::new(),
        age: Duration::ZERO,
    };
    let asked = |part| Asked {
        parts: vec![part],
        ..Asked::default()
    };
    let _ = expression.answer(&asked(expression.wanted().part(&reading)), 0);
    let check = Check::RollingRestart {
        backend: "app".to_owned(),
        at_a_time: 1,
        min_up: "50%".parse().expect("a share"),
    };
    let _ = check
        .answer(&asked(check.wanted().part(&reading)), 0)
        .lines();
    Corpus::Keep
});
