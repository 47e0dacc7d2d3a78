//! Runs the simulations of many seeds, and explains the first that breaks an invariant.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum as _};
use hafleet_simulation::flaw::Flaw;
use hafleet_simulation::mutations::noticed;
use hafleet_simulation::plan::Plan;
use hafleet_simulation::{Violation, explain, run};

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
    /// Break this rule on purpose, and see that it is noticed.
    #[arg(long)]
    flaw: Option<Flaw>,
    /// Break each rule in turn, in as many seeds, and fail if one is not noticed.
    #[arg(long, conflicts_with_all = ["flaw", "trace"])]
    flaws: bool,
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        Plan {
            flaw: self.flaw,
            ..Plan::of(seed)
        }
    }

    fn threads(&self) -> anyhow::Result<usize> {
        Ok(match self.threads {
            Some(threads) => threads.max(1),
            None => thread::available_parallelism()
                .context("how many processors there are")?
                .get(),
        })
    }
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
        let report = run(&arguments.plan(arguments.from), true);
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
    if arguments.flaws {
        return break_each_rule(&arguments, &mut out);
    }
    let begun = Instant::now();
    let sum = Sum::default();
    let threads = arguments.threads()?;
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

/// One line for each flaw: in which seed it was noticed first, and by what.
fn break_each_rule(arguments: &Arguments, out: &mut impl io::Write) -> anyhow::Result<ExitCode> {
    let flaws = Flaw::value_variants();
    let next = AtomicUsize::new(0);
    let (sender, findings) = mpsc::channel();
    let mut missed = Vec::new();
    let seeds = || (0..arguments.seeds).map(|index| arguments.from.wrapping_add(index));
    let threads = arguments.threads()?;
    thread::scope(|scope| -> anyhow::Result<()> {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(flaw) = flaws.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more once the output is gone.
                    let _ = sender.send((*flaw, noticed(*flaw, seeds())));
                }
            });
        }
        drop(sender);
        for (flaw, finding) in findings {
            let name = name(flaw);
            match finding {
                Some((seed, violation)) => {
                    let Violation {
                        invariant, what, ..
                    } = violation;
                    writeln!(out, "{name:<22} {invariant} falls in seed {seed}: {what}")?;
                }
                None => {
                    writeln!(out, "{name:<22} is not noticed")?;
                    missed.push(name);
                }
            }
        }
        Ok(())
    })?;
    writeln!(
        out,
        "{} rules broken one at a time, in up to {} seeds from {}: {} noticed, {} not",
        flaws.len(),
        arguments.seeds,
        arguments.from,
        flaws.len() - missed.len(),
        missed.len(),
    )?;
    Ok(match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn name(flaw: Flaw) -> String {
    let value = flaw.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn work(arguments: &Arguments, sum: &Sum) {
    while !sum.is_over.load(Ordering::Relaxed) {
        let index = sum.next.fetch_add(1, Ordering::Relaxed);
        if index >= arguments.seeds {
            return;
        }
        let plan = arguments.plan(arguments.from.wrapping_add(index));
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
