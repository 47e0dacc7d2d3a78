//! Random faults for as long as asked, to a fleet under load and under writes.
//!
//! Each fault is printed with what it cost and how long the fleet took to settle. A violation is printed too, does not
//! end the run unless the fleet cannot be used any more, and makes the exit status 1. The same seed gives the same faults
//! in the same order; what the machine makes of them differs.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hafleet_model::spec::TimeSpan;
use hafleet_tests::load::Outcome;
use hafleet_tests::trial::Verdict;
use hafleet_tests::{Fleet, Trial, disk, fault};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Breaks a fleet at random, and sees that it holds.
#[derive(Debug, Parser)]
struct Arguments {
    /// For how long, such as 10m; the fault that is under way then is brought to its end
    #[arg(long = "for", default_value = "10m", value_name = "DURATION")]
    length: TimeSpan,
    /// The first number of the faults' sequence; a new one if absent
    #[arg(long)]
    seed: Option<u64>,
    /// The nodes of the fleet
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: u8,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Tally {
    faults: usize,
    violations: usize,
    acknowledged: usize,
    requests: u64,
    lost: u64,
    settled: BTreeMap<Duration, String>,
}

impl Tally {
    fn count(&mut self, verdict: &Verdict) {
        self.faults += 1;
        self.violations += verdict.violations().len();
        self.acknowledged += verdict.writes.acknowledged;
        self.requests += verdict.traffic.values().map(|one| one.sent).sum::<u64>();
        self.lost += verdict.traffic.values().map(Outcome::failed).sum::<u64>();
        if let Ok(took) = &verdict.settled {
            self.settled.insert(*took, verdict.fault.clone());
        }
    }

    fn print(&self, seed: u64) {
        let times: Vec<_> = self.settled.keys().collect();
        let middle = times.get(times.len() / 2).copied().copied();
        println!(
            "seed {seed}: {} faults, {} violations; {} writes acknowledged; {} requests, {} lost by broken HAProxies",
            self.faults, self.violations, self.acknowledged, self.requests, self.lost
        );
        if let (Some(middle), Some((longest, fault))) = (middle, self.settled.last_key_value()) {
            println!(
                "settled in {:.1} s in the middle, {:.1} s at most, after: {fault}",
                middle.as_secs_f64(),
                longest.as_secs_f64()
            );
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !hafleet_tests::can_make_namespaces() {
        return ExitCode::from(2);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!(
        "seed {seed}, {} nodes, for {}",
        arguments.nodes, arguments.length
    );
    let (begun, mut random, mut tally) = (
        Instant::now(),
        StdRng::seed_from_u64(seed),
        Tally::default(),
    );
    let mut fleet = Fleet::builder().nodes(arguments.nodes).breakable_machines();
    let has_breakable_disks = disk::can_mount_files();
    if has_breakable_disks {
        fleet = fleet.breakable_disks();
    }
    let trial = Trial::of(fleet.start());
    while begun.elapsed() < arguments.length.duration() {
        let nodes = usize::from(arguments.nodes);
        let mut fault = fault::random(&mut random, nodes, has_breakable_disks);
        println!("{:>6.0?} s  {fault} …", begun.elapsed().as_secs());
        let Ok(verdict) = catch_unwind(AssertUnwindSafe(|| trial.suffer(&mut *fault))) else {
            // What it says is on standard error.
            tally.faults += 1;
            tally.violations += 1;
            println!("          VIOLATION: the fleet did not get through {fault}");
            break;
        };
        println!("          {verdict}");
        for violation in verdict.violations() {
            println!("          VIOLATION: {violation}");
        }
        tally.count(&verdict);
        if verdict.settled.is_err() {
            break;
        }
    }
    tally.print(seed);
    if tally.violations == 0 {
        ExitCode::SUCCESS
    } else {
        println!("again: make soak FOR={} SEED={seed}", arguments.length);
        ExitCode::FAILURE
    }
}
