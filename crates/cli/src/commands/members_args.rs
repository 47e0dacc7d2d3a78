//! The command line of who is in the fleet, and of conflicts.

use std::time::Duration;

use clap::{Args, Subcommand};
use hafleet_model::{DocumentKind, NodeId, Revision};

use crate::args::duration;

/// Options of `node leave`.
#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// Which node; the one that answers if absent
    pub node: Option<NodeId>,
    /// Do not take it out of DNS and wait for that before
    #[arg(long)]
    pub now: bool,
    /// How long to wait until it is out of DNS, and out of resolvers' memory; with --stop-haproxy until its clients are gone
    /// as well
    #[arg(long, value_parser = duration, value_name = "DURATION", default_value = "5m", conflicts_with = "now")]
    pub wait: Duration,
    /// Stop its HAProxy too, once the node has left: softly, and by force after 30 s
    #[arg(long)]
    pub stop_haproxy: bool,
    /// Words and conditions.
    #[command(flatten)]
    pub write: MemberArgs,
}

/// Options of `node forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// Which node
    pub node: NodeId,
    /// Words and conditions.
    #[command(flatten)]
    pub write: MemberArgs,
}

/// What every change of who is in the fleet takes.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// Why; others see it
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Do it though no majority of the nodes is live. If the missing are alive and merely cut off, each side can come to take
    /// itself for the fleet, and what one of them writes loses when they meet again
    #[arg(long)]
    pub force_without_majority: bool,
}

/// Options of `spec conflicts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConflictsArgs {
    /// What to do, if not to show them.
    #[command(subcommand)]
    pub command: Option<ConflictsCommand>,
}

/// The commands of `spec conflicts`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// Say that nothing more is to be done about a conflict: it is kept, and no longer listed in status
    Dismiss {
        /// Which revision, as `spec conflicts` or `overrides` lists it
        revision: Revision,
        /// Of which document: spec, overrides or secrets
        #[arg(long, default_value = "spec", value_name = "DOCUMENT")]
        document: DocumentKind,
        /// Words and conditions.
        #[command(flatten)]
        write: super::server_args::OverrideArgs,
    },
}
