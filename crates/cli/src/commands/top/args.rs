//! The command line of `top`.

use std::time::Duration;

use clap::Args;

use crate::args::duration;

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// How often to look
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) interval: Duration,
    /// End after so many looks
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub(crate) count: Option<u64>,
}
