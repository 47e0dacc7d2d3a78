//! The command line of what operators do by hand.

use std::time::Duration;

use clap::{Args, Subcommand};
use hafleet_model::overrides::ServerPath;

use crate::args::{duration, long_duration};

/// The commands of `server`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Have a server finish what it has and take nothing new but what sticks to it, on all nodes
    Drain(ServerStateArgs),
    /// Take a server out of service and stop checking it, on all nodes
    Maint(ServerStateArgs),
    /// Take back what `drain` or `maint` asked
    Ready {
        /// BACKEND/SERVER
        server: ServerPath,
        /// Words and conditions.
        #[command(flatten)]
        write: OverrideArgs,
        /// How long to wait for all nodes.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Give a server another weight on all nodes, or take that back
    Weight {
        /// BACKEND/SERVER
        server: ServerPath,
        /// 0 to 256; without it, the weight is again what the spec or its source says
        #[arg(value_parser = clap::value_parser!(u16).range(0..=256))]
        weight: Option<u16>,
        /// For how long.
        #[command(flatten)]
        lasting: LastingArgs,
        /// Words and conditions.
        #[command(flatten)]
        write: OverrideArgs,
        /// How long to wait for all nodes.
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Options of `server drain` and `server maint`.
#[derive(Debug, Args)]
pub(crate) struct ServerStateArgs {
    /// BACKEND/SERVER
    pub server: ServerPath,
    /// For how long.
    #[command(flatten)]
    pub lasting: LastingArgs,
    /// Words and conditions.
    #[command(flatten)]
    pub write: OverrideArgs,
    /// How long to wait for all nodes.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// For how long something is asked.
#[derive(Debug, Args)]
pub(crate) struct LastingArgs {
    /// It is over by itself after so long, such as 2h or 7d; until somebody takes it back if absent
    #[arg(long = "for", value_parser = long_duration, value_name = "DURATION")]
    pub lasting: Option<Duration>,
}

/// What every write of overrides takes.
#[derive(Debug, Args)]
pub(crate) struct OverrideArgs {
    /// Why; others see it
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Write even if no majority of the nodes is live. Should the others get another write meanwhile, one of the two
    /// loses and is kept as a conflict
    #[arg(long)]
    pub force_without_majority: bool,
}

/// Whether to wait.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait until every live node's HAProxy has it, 30s unless told otherwise
    #[arg(long, value_parser = duration, value_name = "DURATION", num_args = 0..=1, default_missing_value = "30s")]
    pub wait: Option<Duration>,
}
