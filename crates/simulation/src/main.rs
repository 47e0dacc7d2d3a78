//! Runs the simulations of many seeds, and explains the first that breaks an invariant.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Parser, ValueEnum as _};
use hafleet_simulation::flaw::Flaw;
use hafleet_simulation::mutations::noticed;
use hafleet_simulation::plan::Plan;
use hafleet_simulation::{Found, Violation, explain, run, search};

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
    let plan = |index| arguments.plan(arguments.from.wrapping_add(index));
    let told = |passed| progress(&arguments, passed, begun);
    let Found {
        passed,
        events,
        acknowledged,
        committed,
        failed,
    } = search(arguments.seeds, arguments.threads()?, plan, told);
    if let Some(plan) = &failed
        && let Some(violation) = run(plan, false).violation
    {
        writeln!(out, "{}", explain(plan, &violation))?;
    }
    let rate = passed as f64 / begun.elapsed().as_secs_f64().max(0.001);
    writeln!(
        out,
        "{passed} seeds from {} passed, {} failed: {events} events, {acknowledged} writes acknowledged, {committed} of them committed; {:.1} s, {rate:.0} seeds/s",
        arguments.from,
        u32::from(failed.is_some()),
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

fn progress(arguments: &Arguments, passed: u64, begun: Instant) {
    let mut err = std::io::stderr().lock();
    if !err.is_terminal() {
        return;
    }
    let seconds = begun.elapsed().as_secs();
    // What cannot be shown is not worth ending for.
    let _ = write!(err, "\r{passed} of {} seeds, {seconds} s ", arguments.seeds);
    let _ = err.flush();
}
