//! `hafleet update`: one HAProxy after EC2's security groups, without a fleet. It is what a cron script would do: ask,
//! render, compare, check, write, reload; and nothing at all when any of it fails.
//!
//! [`ask`] finds the instances, [`template`] makes the text, [`target`] is the file and what is known of its being
//! loaded, [`reload`] the process.

mod args;
mod ask;
mod reload;
mod target;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hafleet_ec2::Ec2;
use hafleet_haproxy::Binary;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use args::UpdateArgs;

use self::ask::Found;
use self::reload::Process;
use self::target::Target;
use super::read_text;
use crate::failure::{Exit, Failure};
use crate::print::{Printer, line, note};

/// The file that is written when no other is named.
const DEFAULT_OUTPUT: &str = "haproxy.cfg";

/// What one update found and did.
#[derive(Debug, Serialize)]
struct Outcome {
    /// How many instances there are.
    instances: usize,
    /// How many there are in each group, by its name or id as it was asked for.
    groups: BTreeMap<String, usize>,
    /// The file.
    config: PathBuf,
    /// Whether its text is another one now.
    changed: bool,
    /// What became of the process.
    #[serde(flatten)]
    process: Process,
}

/// Updates once, or over and over.
pub(crate) async fn run(
    args: &UpdateArgs,
    output: Option<&Path>,
    timeout: Duration,
    printer: Printer,
) -> Result<(), Failure> {
    let printer = args.format.map_or(printer, Printer::new);
    let ec2 = ask::client(args);
    let output = output.unwrap_or(Path::new(DEFAULT_OUTPUT));
    let Some(interval) = args.interval else {
        let outcome = once(args, &ec2, output, timeout).await?;
        return print(&outcome, printer);
    };
    let mut stopped = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    loop {
        // A signal does not interrupt an update, so that none is left half done.
        match once(args, &ec2, output, timeout).await {
            Ok(outcome) => print(&outcome, printer)?,
            Err(failure) => printer.failure(&failure),
        }
        let pause = interval.mul_f64(rand::random_range(0.9..=1.1));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn once(
    args: &UpdateArgs,
    ec2: &Ec2,
    output: &Path,
    timeout: Duration,
) -> Result<Outcome, Failure> {
    // Everything that can be wrong here is found before anything is asked or changed.
    let binary = Binary::find(args.haproxy.as_deref()).await;
    let binary = binary.map_err(Failure::invalid)?;
    let template = match &args.template {
        Some(file) => template::Template::new(file, read_text(file)?),
        None => template::Template::built_in(),
    };
    let target = Target::lock(output)?;

    let found = tokio::time::timeout(timeout, ask::instances(args, ec2)).await;
    let found = found.map_err(|_| {
        let message = format!("EC2 gave no whole answer within {timeout:?} (--timeout)");
        Failure::new(Exit::Unreachable, message)
    })??;
    if found.instances.is_empty() && !args.allow_empty {
        let groups = args.security_group.join(", ");
        let message = format!(
            "no running instance was found in {groups}: nothing was changed (--allow-empty permits it)"
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let text = template.render(&found)?;
    let changed = target.text()?.as_deref() != Some(text.as_str());
    if changed {
        let candidate = target.candidate(&text)?;
        candidate.check(&binary.path).await?;
        target.replace(candidate)?;
    }
    let process = if target.is_loaded() {
        Process::Kept
    } else {
        let process = reload::reload(&binary.path, target.path(), &args.pid).await?;
        target.loaded()?;
        process
    };
    Ok(outcome(found, &target, changed, process))
}

fn outcome(found: Found, target: &Target, changed: bool, process: Process) -> Outcome {
    let groups = found.groups.into_iter();
    Outcome {
        instances: found.instances.len(),
        groups: groups
            .map(|(group, instances)| (group, instances.len()))
            .collect(),
        config: target.path().to_owned(),
        changed,
        process,
    }
}

/// For people, nothing is said of an update that had nothing to do: cron sends by mail what its commands print.
fn print(outcome: &Outcome, printer: Printer) -> Result<(), Failure> {
    if !printer.is_for_people() {
        return printer.answer(outcome, |_| String::new());
    }
    let what = match outcome.process {
        Process::Kept if !outcome.changed => return Ok(()),
        Process::Kept => "HAProxy has it already".to_owned(),
        Process::Started { pid } => format!("HAProxy started as process {pid}"),
        Process::Reloaded { pid } => format!("HAProxy reloaded as process {pid}"),
    };
    let config = outcome.config.display();
    line(&format!(
        "{} instances in {config}: {what}",
        outcome.instances
    ))
}

/// Says what the access key on the command line means.
fn warn_of_key() {
    note(
        "hafleet: the secret key on the command line can be read by everyone on this machine while the command runs; \
         use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or better the role of the instance",
    );
}
