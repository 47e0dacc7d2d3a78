//! The command line of `hafleet dns`.

use clap::{Args, Subcommand};

/// Options of `dns`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DnsArgs {
    /// What to do, if not to show the names.
    #[command(subcommand)]
    pub command: Option<DnsCommand>,
}

/// The commands of `dns`.
#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Read all zones, and show what would change now
    Plan,
    /// Take over a name whose records somebody else made
    Adopt {
        /// Which name
        name: String,
    },
    /// Give names up: their records go; the spec should have them no more
    Release {
        /// Which names; all that the fleet has in the spec's zones if absent
        names: Vec<String>,
    },
}
