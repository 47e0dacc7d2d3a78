//! The `hafleet` command: runs the agent, and is the client of the administration API.
//!
//! [`args`] is the command line; each of [`commands`] does one of its commands and returns a [`failure::Failure`]
//! with the exit status that scripts act on. Nothing here knows how a fleet works: what a command shows or changes
//! goes through the gRPC API, except for `pki` (files), `agent` (the daemon) and `demo` (a fleet on this machine).

mod args;
mod client;
mod commands;
mod demo;
mod failure;
mod print;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command, NodeCommand, Output, SpecCommand};
use crate::failure::{Exit, Failure};
use crate::print::Printer;

fn main() -> ExitCode {
    hafleet_identity::install_default_provider();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let printer = Printer::new(cli.format());
    let outcome = match &cli.command {
        Command::Agent(args) => return commands::agent::run(args, printer),
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::from(anyhow::Error::from(error)))
            .and_then(|runtime| runtime.block_on(ended(cli, printer))),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            printer.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Says what is wrong with the command line. For monitoring systems, 2 would mean that something is down.
fn misused(error: &clap::Error) -> ExitCode {
    // Nothing is left to do when even standard error is closed.
    let _ = error.print();
    let words = ["spec", "check", "query", "wait"];
    let command = std::env::args().find(|word| words.contains(&word.as_str()));
    let is_question = command.is_some_and(|command| command != "spec");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_question => ExitCode::from(hafleet_query::Standing::Unknown.exit_status()),
        _ => Exit::Invalid.into(),
    }
}

/// Questions end with the exit status of their answers, other commands with that of what they did.
async fn ended(cli: Cli, printer: Printer) -> Result<ExitCode, Failure> {
    let target = &cli.target;
    match cli.command {
        Command::Check(args) => Ok(commands::questions::check(args, target, printer).await),
        Command::Query(args) => Ok(commands::questions::query(&args, target, printer).await),
        Command::Wait(args) => Ok(commands::questions::wait(&args, target, printer).await),
        _ => run(cli, printer).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn run(cli: Cli, printer: Printer) -> Result<(), Failure> {
    let target = &cli.target;
    match cli.command {
        Command::Agent(_) | Command::Check(_) | Command::Query(_) | Command::Wait(_) => Ok(()),
        Command::Demo(args) => Box::pin(demo::run(args, printer)).await,
        Command::Pki(command) => commands::pki::run(command, target, printer).await,
        Command::Status(args) => commands::status::status(&args, target, printer).await,
        Command::Nodes => commands::status::nodes(target, printer).await,
        Command::Node(NodeCommand::Show { node }) => {
            commands::node::show(node, target, printer).await
        }
        Command::Node(NodeCommand::Drain {
            node,
            lasting,
            write,
            wait,
        }) => {
            let drain = commands::node_drain::Drain {
                node,
                lasting: lasting.lasting,
                write,
                wait,
            };
            commands::node_drain::drain(&drain, target, printer).await
        }
        Command::Node(NodeCommand::FollowFleet { node }) => {
            commands::node::follow_fleet(node, target, printer).await
        }
        Command::Node(NodeCommand::Leave(args)) => {
            commands::leave::leave(&args, target, printer).await
        }
        Command::Node(NodeCommand::Forget(args)) => {
            commands::leave::forget(&args, target, printer).await
        }
        Command::Node(NodeCommand::Undrain { node, write }) => {
            commands::node_drain::undrain(&node, &write, target, printer).await
        }
        Command::Server(command) => commands::server::run(command, target, printer).await,
        Command::Overrides => commands::overrides::run(target, printer).await,
        Command::Plan { file } => commands::plan::run(&file, target, printer).await,
        Command::Apply(args) => commands::apply::apply(&args, target, printer).await,
        Command::Spec(SpecCommand::Rollback { revision, write }) => {
            commands::apply::rollback(revision, &write, target, printer).await
        }
        Command::Spec(SpecCommand::Conflicts(args)) => {
            commands::conflicts::run(args.command, target, printer).await
        }
        Command::Spec(SpecCommand::Check { file }) => {
            commands::check::check(&file, target, printer).await
        }
        Command::Spec(command) => commands::spec::run(command, target, printer).await,
        Command::Certificate(command) => commands::certificate::run(command, target, printer).await,
        Command::Secrets(command) => commands::secrets::run(command, target, printer).await,
        Command::Sources(args) => commands::sources::run(args.command, target, printer).await,
        Command::Dns(args) => commands::dns::run(args.command, target, printer).await,
        Command::Audit(args) => commands::audit::run(&args, target, printer).await,
        Command::Top(args) => Box::pin(commands::top::run(&args, target, printer)).await,
        Command::Roll(args) => Box::pin(commands::roll::run(&args, target, printer)).await,
        Command::Render(args) => commands::check::render(&args, target, printer).await,
        Command::Update(args) => {
            let output = match &cli.output {
                Some(Output::To(file)) => Some(file.as_path()),
                _ => None,
            };
            let update = commands::update::run(&args, output, target.call_timeout(), printer);
            Box::pin(update).await
        }
        Command::Completions { shell } => commands::manual::completions(shell),
        Command::Man { dir } => commands::manual::man(dir.as_deref()),
    }
}
