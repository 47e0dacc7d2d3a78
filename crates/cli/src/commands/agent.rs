//! `hafleet agent`: the daemon itself.

use std::process::ExitCode;

use crate::args::AgentArgs;
use crate::failure::{Exit, Failure};
use crate::print::{self, Printer};

/// Runs the agent until it is told to stop, or only checks its file.
pub(crate) fn run(args: &AgentArgs, printer: Printer) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            printer.failure(&failure);
            failure.exit.into()
        }
    }
}

fn start(args: &AgentArgs) -> Result<(), Failure> {
    let config = hafleet_agent::Config::load(&args.config).map_err(Failure::invalid)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    if args.check {
        let problems = runtime.block_on(hafleet_agent::check(&config));
        if !problems.is_empty() {
            return Err(Failure::invalid(problems.join("\n")));
        }
        return print::line(&format!(
            "{}: ready to start as node {}",
            args.config.display(),
            config.node_id
        ));
    }
    runtime
        .block_on(hafleet_agent::run(config))
        .map_err(|error| Failure::new(Exit::Failed, error))
}
