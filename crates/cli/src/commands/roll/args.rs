//! The command line of `roll`.

use std::time::Duration;

use clap::Args;
use hafleet_query::Share;

use crate::args::{duration, long_duration};

/// Options of `roll`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct RollArgs {
    /// Which backend
    pub(crate) backend: String,
    /// How many of its servers are out of service at once [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) at_a_time: Option<u32>,
    /// The share of its active servers that has to stay up: 80% or 0.8 [default: 80%]
    #[arg(long, value_name = "SHARE")]
    pub(crate) min_up: Option<Share>,
    /// How long to wait for a server's sessions to end; then they are left to the command [default: 1m]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) drain_timeout: Option<Duration>,
    /// How long the command may take for a server; then it is ended, and has failed [default: 10m]
    #[arg(long, value_parser = long_duration, value_name = "DURATION")]
    pub(crate) command_timeout: Option<Duration>,
    /// How long a server stays out after the command, at the least: longer than its health checks are apart [default: 5s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) settle: Option<Duration>,
    /// How long a server may take until every load balancer sees it up again [default: 2m]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) up_timeout: Option<Duration>,
    /// So many load balancers may be missing; otherwise one that does not answer stops it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) allow_missing: u32,
    /// Go on where an earlier one stopped, with its command and its options unless they are given again
    #[arg(long, conflicts_with = "anew")]
    pub(crate) resume: bool,
    /// Forget what an earlier one did, and begin with the first server
    #[arg(long)]
    pub(crate) anew: bool,
    /// What to run for each server; {server}, {address}, {port} and {backend} are replaced
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

const HELP: &str = "\
Example: hafleet roll app --at-a-time 2 --min-up 80% -- ssh {server} deploy.sh

The command has HAFLEET_SERVER, HAFLEET_ADDRESS, HAFLEET_PORT and HAFLEET_BACKEND in its environment too. It stops at the \
first failure: the server that failed stays in drain, those that were not reached are untouched. Ctrl-C ends it after the \
servers that are out of service; a second one ends their commands, and leaves them in drain.";
