//! Measures what hafleet promises, prints a table, and writes `bench-results.json`.
//!
//! Each group is a module with one function that returns its [`figure::Figure`]s. Nothing here is a test: a figure
//! that misses what it must reach makes the exit status 1, after all others have been measured and written.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod cluster;
mod discovery;
mod dns;
mod failover;
mod figure;
mod neighbours;
mod node;
mod questions;
mod reloads;
mod rest;
mod served;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};

use figure::Figure;

/// Measures hafleet on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this group; all of them if absent
    #[arg(long)]
    only: Option<Group>,
    /// Where the figures are written
    #[arg(long, default_value = "bench-results.json")]
    out: PathBuf,
    /// Divide the number of rounds by this, for a quick look; the figures then prove nothing
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    divide: u32,
    /// Reloads for each strategy and round trip of the group `node`
    #[arg(long, env = "RELOADS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    reloads: u32,
    /// For how many seconds the group `cluster` watches fleets under hardship for false alarms
    #[arg(long, env = "ALARMS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    alarms: u32,
    /// Of the group `cluster` only the parts whose names contain this, such as `50 nodes`
    #[arg(long, env = "PART", default_value = "")]
    part: String,
}

/// What can be measured on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Three nodes on this machine: writes, reloads, failover, rest
    Fleet,
    /// One node: reloads with each strategy at a real round trip, runtime changes, many servers
    Node,
    /// Sources: how soon what they have is served, 5,000 instances, calls to EC2
    Discovery,
    /// Names in DNS: how soon who is gone leaves them, stale leaders, calls at rest
    Dns,
    /// The cluster: fleets of 3 to 500 nodes, who is slow and who is gone, floods
    Cluster,
    /// Questions over all load balancers: how long an answer takes, how large it is
    Questions,
}

impl Group {
    const ALL: [Self; 6] = [
        Self::Fleet,
        Self::Node,
        Self::Discovery,
        Self::Dns,
        Self::Cluster,
        Self::Questions,
    ];

    fn measure(self, arguments: &Arguments) -> Vec<Figure> {
        let rounds = |full: u32| (full / arguments.divide).max(1);
        match self {
            Self::Fleet => [
                served::measure(rounds(100)),
                reloads::measure(rounds(100)),
                failover::measure(rounds(20)),
                rest::measure(),
            ]
            .concat(),
            Self::Node => node::measure(rounds(arguments.reloads)),
            Self::Discovery => discovery::measure(rounds),
            Self::Dns => dns::measure(rounds),
            Self::Cluster => cluster::measure(rounds, arguments.alarms, &arguments.part),
            Self::Questions => questions::measure(rounds),
        }
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(node::HELPER) {
        return node::run_helper();
    }
    let arguments = Arguments::parse();
    if !hafleet_tests::can_make_namespaces() {
        return ExitCode::from(2);
    }
    let begun = Instant::now();
    let groups = arguments
        .only
        .map_or_else(|| Group::ALL.to_vec(), |group| vec![group]);
    let figures: Vec<_> = groups
        .into_iter()
        .flat_map(|group| group.measure(&arguments))
        .collect();
    print!("\n{}", figure::table(&figures));
    let text = serde_json::to_string_pretty(&figures).expect("figures are plain values");
    if let Err(error) = std::fs::write(&arguments.out, text + "\n") {
        eprintln!("{}: {error}", arguments.out.display());
        return ExitCode::FAILURE;
    }
    println!(
        "\nwritten to {} after {:.0?}",
        arguments.out.display(),
        begun.elapsed()
    );
    if figures.iter().all(|figure| figure.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
