//! `hafleet apply` and `hafleet spec rollback`: writes, and the wait until every node runs them.

use std::path::Path;
use std::time::Duration;

use hafleet_api::v1::{self, apply_status, node_status};
use hafleet_model::Revision;
use hafleet_model::spec::{self, Finding};
use tokio_stream::StreamExt as _;

use super::read_text;
use crate::args::{ApplyArgs, Target, WriteArgs};
use crate::client::{Client, answer};
use crate::failure::{Exit, Failure};
use crate::print::{self, Printer};
use crate::progress::Progress;

/// Makes the spec of a file the fleet's.
pub(crate) async fn apply(
    args: &ApplyArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let text = read_text(&args.file)?;
    spec::load(&text).map_err(|findings| Failure::spec(&args.file, &findings))?;
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::ApplySpecRequest {
        spec: text,
        expected_revision: args
            .write
            .expect
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
        comment: args.write.comment.clone(),
        force_without_majority: args.write.force_without_majority,
    });
    let written = client.admin.apply_spec(request).await;
    let written = written
        .map_err(|status| Failure::call_with_spec(&status, &args.file))?
        .into_inner();
    warn(&written, &args.file);
    finish(client, &written, &args.write, printer).await
}

/// Makes an earlier revision the newest again.
pub(crate) async fn rollback(
    revision: Revision,
    write: &WriteArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::RollbackSpecRequest {
        revision: revision.to_string(),
        expected_revision: write
            .expect
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.rollback_spec(request).await)?;
    finish(client, &written, write, printer).await
}

fn warn(written: &v1::WriteSpecResponse, file: &Path) {
    for warning in &written.warnings {
        let warning = Finding::from(warning.clone());
        print::note(&format!("{}:{warning} (warning)", file.display()));
    }
}

async fn finish(
    client: Client,
    written: &v1::WriteSpecResponse,
    write: &WriteArgs,
    printer: Printer,
) -> Result<(), Failure> {
    printer.answer(written, for_people)?;
    if let Some(limit) = write.wait {
        let revision = written.revision.clone().unwrap_or_default().revision;
        wait(
            client,
            revision.parse().map_err(anyhow::Error::from)?,
            limit,
        )
        .await?;
    }
    if written.committed {
        return Ok(());
    }
    Failure::not_committed(
        written.stored_by.len(),
        written.known_nodes,
        write.force_without_majority,
    )
}

fn for_people(written: &v1::WriteSpecResponse) -> String {
    let revision = written.revision.clone().unwrap_or_default().revision;
    if written.unchanged {
        return format!("revision {revision} is this spec already; nothing was written");
    }
    format!(
        "revision {revision} stored by {} of {} nodes: {}",
        written.stored_by.len(),
        written.known_nodes,
        written.stored_by.join(", ")
    )
}

/// How the nodes stand to a revision.
struct Tally {
    running: usize,
    /// They have a configuration of their own.
    apart: Vec<String>,
    waiting: Vec<String>,
    refused: Vec<String>,
}

impl Tally {
    /// Counts the live nodes of `status`. A node that runs a later revision has passed this one.
    fn of(status: &v1::FleetStatus, revision: Revision) -> Self {
        let mut tally = Self {
            running: 0,
            apart: Vec::new(),
            waiting: Vec::new(),
            refused: Vec::new(),
        };
        for node in status
            .nodes
            .iter()
            .filter(|node| node.liveness() == node_status::Liveness::Live && !node.witness)
        {
            if node.own_configuration.is_some() {
                tally.apart.push(node.id.clone());
                continue;
            }
            let apply = node.apply.clone().unwrap_or_default();
            let has_reached = |text: &str| {
                text.parse::<Revision>()
                    .is_ok_and(|reached| reached >= revision)
            };
            let is_failed = apply.state() == apply_status::State::Failed;
            if has_reached(&apply.running_revision) {
                tally.running += 1;
            } else if is_failed && has_reached(&apply.revision) {
                tally.refused.push(format!("{}: {}", node.id, apply.error));
            } else {
                tally.waiting.push(node.id.clone());
            }
        }
        tally
    }
}

async fn wait(mut client: Client, revision: Revision, limit: Duration) -> Result<(), Failure> {
    let mut progress = Progress::begin(format!("waiting for every live node to run {revision}"));
    let request = client.request_within(v1::WatchStatusRequest {}, limit);
    let mut changes = answer(client.admin.watch_status(request).await)?;
    let deadline = tokio::time::Instant::now() + limit;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, changes.next()).await {
            Ok(Some(Ok(status))) => {
                let tally = Tally::of(&status, revision);
                if tally.waiting.is_empty() {
                    return verdict(progress, &tally, revision);
                }
                progress.say(format!(
                    "{revision}: {} run it, waiting for {}",
                    tally.running,
                    tally.waiting.join(", ")
                ));
                last = Some(tally);
            }
            Ok(Some(Err(status))) if status.code() != tonic::Code::DeadlineExceeded => {
                return Err(status.into());
            }
            Ok(Some(Err(_)) | None) | Err(_) => return Err(too_late(last, revision, limit)),
        }
    }
}

fn verdict(progress: Progress, tally: &Tally, revision: Revision) -> Result<(), Failure> {
    if tally.refused.is_empty() {
        progress.end(&format!("{revision} runs on {} nodes", tally.running));
        if !tally.apart.is_empty() {
            print::note(&format!(
                "{} run configurations of their own, whatever the fleet's spec is; see `hafleet nodes`",
                tally.apart.join(", ")
            ));
        }
        return Ok(());
    }
    drop(progress);
    let refused = tally.refused.join("\n");
    Err(Failure::new(
        Exit::Failed,
        format!("{revision} was stored, but refused by\n{refused}"),
    ))
}

fn too_late(last: Option<Tally>, revision: Revision, limit: Duration) -> Failure {
    let waiting = last.map_or_else(|| "every node".to_owned(), |tally| tally.waiting.join(", "));
    let message =
        format!("{revision} is stored, but after {limit:?} it is not known to run on {waiting}");
    Failure::new(Exit::Unreachable, message)
}
