//! How a roll is done.

use std::time::Duration;

use hafleet_query::Share;
use serde::{Deserialize, Serialize};

use super::args::RollArgs;
use crate::failure::Failure;

/// How a roll is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// How many servers are out of service at once.
    pub(super) at_a_time: u32,
    /// The share of active servers that has to stay up, in millionths.
    min_up_millionths: u32,
    /// How long sessions have to end.
    pub(super) drain_timeout: Duration,
    /// How long the command may take.
    pub(super) command_timeout: Duration,
    /// How long a server stays out after the command.
    pub(super) settle: Duration,
    /// How long a server may take to be seen up.
    pub(super) up_timeout: Duration,
    /// What is run for each server.
    pub(super) command: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            at_a_time: 2,
            min_up_millionths: 800_000,
            drain_timeout: Duration::from_secs(60),
            command_timeout: Duration::from_secs(600),
            settle: Duration::from_secs(5),
            up_timeout: Duration::from_secs(120),
            command: Vec::new(),
        }
    }
}

impl Plan {
    /// The plan of the command line: of the earlier roll's, or else of the usual one, what is not given again.
    pub(super) fn of(args: &RollArgs, earlier: Option<&Self>) -> Result<Self, Failure> {
        let earlier = earlier.cloned().unwrap_or_default();
        let min_up = args.min_up.map(Share::millionths);
        let plan = Self {
            at_a_time: args.at_a_time.unwrap_or(earlier.at_a_time),
            min_up_millionths: min_up.unwrap_or(earlier.min_up_millionths),
            drain_timeout: args.drain_timeout.unwrap_or(earlier.drain_timeout),
            command_timeout: args.command_timeout.unwrap_or(earlier.command_timeout),
            settle: args.settle.unwrap_or(earlier.settle),
            up_timeout: args.up_timeout.unwrap_or(earlier.up_timeout),
            command: match args.command.as_slice() {
                [] => earlier.command,
                command => command.to_vec(),
            },
        };
        if plan.command.is_empty() {
            return Err(Failure::invalid(
                "no command: write it after --, such as `hafleet roll app -- ssh {server} deploy.sh`",
            ));
        }
        plan.min_up()?;
        Ok(plan)
    }

    /// The share of active servers that has to stay up.
    pub(super) fn min_up(&self) -> Result<Share, Failure> {
        Share::from_millionths(self.min_up_millionths).map_err(Failure::invalid)
    }
}
