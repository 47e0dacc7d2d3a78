//! Runs the simulations of many seeds, and explains the first that breaks an invariant.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use hafleet_simulation::plan::Plan;
use hafleet_simulation::{explain, run};

/// Simulate fleets under faults, and check that no invariant is ever broken.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at once; all processors unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Tell what happens in the first seed, and run no other.
    #[arg(long)]
    trace: bool,
}

#[derive(Default)]
struct Sum {
    next: AtomicU64,
    passed: AtomicU64,
    events: AtomicU64,
    acknowledged: AtomicU64,
    committed: AtomicU64,
    is_over: AtomicBool,
    failed: Mutex<Option<Plan>>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    if arguments.trace {
        let report = run(&Plan::of(arguments.from), true);
        for line in &report.trace {
            writeln!(out, "{line}")?;
        }
        return Ok(match report.violation {
            None => ExitCode::SUCCESS,
            Some(violation) => {
                writeln!(out, "{}: {}", violation.invariant, violation.what)?;
                ExitCode::FAILURE
            }
        });
    }
    let begun = Instant::now();
    let sum = Sum::default();
    let threads = match arguments.threads {
        Some(threads) => threads.max(1),
        None => thread::available_parallelism()
            .context("how many processors there are")?
            .get(),
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&arguments, &sum)))
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            progress(&arguments, &sum, begun);
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    let passed = sum.passed.load(Ordering::Relaxed);
    let failed = sum.failed.into_inner().unwrap_or_default();
    if let Some(plan) = &failed
        && let Some(violation) = run(plan, false).violation
    {
        writeln!(out, "{}", explain(plan, &violation))?;
    }
    let rate = passed as f64 / begun.elapsed().as_secs_f64().max(0.001);
    writeln!(
        out,
        "{passed} seeds from {} passed, {} failed: {} events, {} writes acknowledged, {} of them committed; {:.1} s, {rate:.0} seeds/s",
        arguments.from,
        u32::from(failed.is_some()),
        sum.events.load(Ordering::Relaxed),
        sum.acknowledged.load(Ordering::Relaxed),
        sum.committed.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64(),
    )?;
    Ok(match failed {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

fn work(arguments: &Arguments, sum: &Sum) {
    while !sum.is_over.load(Ordering::Relaxed) {
        let index = sum.next.fetch_add(1, Ordering::Relaxed);
        if index >= arguments.seeds {
            return;
        }
        let plan = Plan::of(arguments.from.wrapping_add(index));
        let report = run(&plan, false);
        let (acknowledged, committed) = report.acknowledged;
        sum.events.fetch_add(report.events, Ordering::Relaxed);
        sum.acknowledged
            .fetch_add(acknowledged as u64, Ordering::Relaxed);
        sum.committed.fetch_add(committed as u64, Ordering::Relaxed);
        if report.violation.is_none() {
            sum.passed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        sum.is_over.store(true, Ordering::Relaxed);
        if let Ok(mut failed) = sum.failed.lock() {
            // The lowest of those that fail at once.
            let is_lower = failed.as_ref().is_none_or(|other| plan.seed < other.seed);
            if is_lower {
                *failed = Some(plan);
            }
        }
    }
}

fn progress(arguments: &Arguments, sum: &Sum, begun: Instant) {
    let mut err = std::io::stderr().lock();
    if !err.is_terminal() {
        return;
    }
    let passed = sum.passed.load(Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs();
    // What cannot be shown is not worth ending for.
    let _ = write!(err, "\r{passed} of {} seeds, {seconds} s ", arguments.seeds);
    let _ = err.flush();
}
