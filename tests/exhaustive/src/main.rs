//! Explores a fleet within bounds, and says how much there was.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use hafleet_exhaustive::{Bounds, Fleet};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Explore all that a fleet can do within bounds.
#[derive(Parser)]
struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// How often somebody claims to lead.
    #[arg(long, default_value_t = 2)]
    claims: usize,
    /// How many writes begin.
    #[arg(long, default_value_t = 2)]
    writes: usize,
    /// How often somebody loses its memory.
    #[arg(long, default_value_t = 0)]
    crashes: usize,
    /// No further than so many steps.
    #[arg(long)]
    depth: Option<usize>,
    /// Let two nodes claim the same term.
    #[arg(long)]
    shared_terms: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments {
        nodes,
        claims,
        writes,
        crashes,
        depth,
        shared_terms,
    } = Arguments::parse();
    let bounds = Bounds {
        nodes,
        claims,
        writes,
        crashes,
    };
    let begun = Instant::now();
    let fleet = Fleet {
        bounds,
        keeps_promises: true,
        shares_terms: shared_terms,
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut builder = fleet
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let mut out = std::io::stdout().lock();
    let broken = ["no step breaks an invariant", "it heals"]
        .into_iter()
        .find_map(|property| Some((property, checker.discovery(property)?)));
    if let Some((property, path)) = &broken {
        writeln!(out, "not so: {property}")?;
        for step in path.clone().into_actions() {
            writeln!(out, "  {step:?}")?;
        }
    }
    writeln!(
        out,
        "{bounds}: {} states, {} steps between them, depth {}; {:.1} s, {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
        if broken.is_some() {
            "an invariant is broken"
        } else {
            "no invariant is broken"
        },
    )?;
    Ok(match broken {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}
