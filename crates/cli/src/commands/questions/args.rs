//! The options of `check`, `query` and `wait`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hafleet_query::Share;

use super::source::Source;
use crate::args::{duration, long_duration};

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = STATUS_OF_CHECKS)]
pub(crate) struct CheckArgs {
    /// What to check.
    #[command(subcommand)]
    pub(crate) check: CheckCommand,
    /// Whom to ask, and how strictly.
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

const STATUS_OF_CHECKS: &str = "\
Exit status, as monitoring systems expect: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.";

/// The checks.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// Whether a backend survives that its servers are restarted, some at a time
    RollingRestart {
        /// Which backend
        backend: String,
        /// How many of its servers restart at once
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
        at_a_time: u32,
        /// The share of its active servers that has to stay up: 80% or 0.8
        #[arg(long, default_value = "80%", value_name = "SHARE")]
        min_up: Share,
    },
    /// What restarting servers at once does to each backend that they serve
    RestartImpact {
        /// Which: SERVER in all backends, or BACKEND/SERVER
        #[arg(required = true, value_name = "SERVER")]
        servers: Vec<String>,
    },
    /// Whether a backend is up on all load balancers
    Up {
        /// Which backend
        backend: String,
    },
    /// Whether every node runs the newest spec and endpoints
    Converged,
    /// How many connections clients have to all load balancers
    Connections {
        /// From how many on it is a warning
        #[arg(long, value_name = "N")]
        warn: Option<u64>,
        /// From how many on it is critical
        #[arg(long, value_name = "N")]
        crit: Option<u64>,
    },
    /// Whether certificates end soon: those of the traffic, and those of the nodes
    Certificates {
        /// It is a warning when one ends within so many days
        #[arg(long, default_value_t = 21, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=36_500))]
        days: u32,
        /// It is critical when one ends within so many days
        #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=36_500))]
        critical_days: u32,
    },
}

/// Options of `query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The expression (docs: Questions, Snapshot)
    #[arg(value_name = "EXPRESSION")]
    pub(crate) expression: String,
    /// End with 0 when the value is true and with 2 when it is false
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Whom to ask, and how strictly.
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Options of `wait`.
#[derive(Debug, Args)]
#[command(
    after_help = "It waits for 5m, or as long as --timeout says. Exit status: 0 it is true, 1 it was not in time, 3 nobody could say."
)]
pub(crate) struct WaitArgs {
    /// The expression, which is true or false (docs: Questions, Snapshot)
    #[arg(value_name = "EXPRESSION")]
    pub(crate) expression: String,
    /// How often to ask
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) interval: Duration,
    /// How many times in a row it has to be true
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) successes: u32,
    /// Whom to ask, and how strictly.
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
}

/// Whom to ask, and how strictly.
#[derive(Debug, Clone, Args)]
pub(crate) struct QuestionArgs {
    /// So many load balancers may be missing; otherwise one that does not answer makes the answer unknown
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) allow_missing: u32,
    /// How long a load balancer may take to answer
    #[arg(long, global = true, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) node_timeout: Duration,
    /// How old a load balancer's data may be
    #[arg(long, global = true, default_value = "10s", value_parser = long_duration, value_name = "DURATION")]
    pub(crate) max_age: Duration,
    /// Without agents: the statistics of a plain HAProxy, as http://HOST/stats;csv, https://…, unix:/PATH, tcp://HOST:PORT
    /// or a file; [NAME=]URL, repeat it
    #[arg(long, global = true, value_name = "URL", env = "HAFLEET_STATS", hide_env_values = true, value_delimiter = ' ', action = clap::ArgAction::Append)]
    pub(crate) stats: Vec<Source>,
    /// The authority of https:// statistics; the machine's own if absent
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) stats_ca: Option<PathBuf>,
}
