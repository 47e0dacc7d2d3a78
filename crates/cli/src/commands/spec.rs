//! `hafleet spec get|history|diff|schema`: reading what the fleet has and had.

use hafleet_api::v1;
use hafleet_model::Spec;
use serde_json::Value;

use crate::args::{SpecCommand, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, plain};

/// Does one of the reading `spec` commands.
pub(crate) async fn run(
    command: SpecCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    match command {
        SpecCommand::Get { revision } => {
            let mut client = Client::connect(target).await?;
            let revision = revision
                .map(|revision| revision.to_string())
                .unwrap_or_default();
            let request = client.request(v1::GetSpecRequest { revision });
            let got = answer(client.admin.get_spec(request).await)?;
            printer.answer(&got, |got| got.spec.clone())
        }
        SpecCommand::History { limit } => {
            let mut client = Client::connect(target).await?;
            let request = client.request(v1::ListSpecHistoryRequest { limit });
            let history = answer(client.admin.list_spec_history(request).await)?;
            printer.answer(&history, history_table)
        }
        SpecCommand::Diff { from, to } => {
            let mut client = Client::connect(target).await?;
            let request = client.request(v1::DiffSpecRequest {
                from_revision: from.to_string(),
                to_revision: to.map(|to| to.to_string()).unwrap_or_default(),
            });
            let diff = answer(client.admin.diff_spec(request).await)?;
            printer.answer(&diff, |diff| match diff.diff.as_str() {
                "" => format!("{} and {} are equal", diff.from_revision, diff.to_revision),
                text => text.to_owned(),
            })
        }
        SpecCommand::Schema => {
            let schema: Value = Spec::json_schema();
            printer.answer(&schema, |schema| format!("{schema:#}"))
        }
        SpecCommand::Conflicts(_) | SpecCommand::Rollback { .. } | SpecCommand::Check { .. } => {
            Ok(())
        }
    }
}

fn history_table(history: &v1::ListSpecHistoryResponse) -> String {
    if history.revisions.is_empty() {
        return "the fleet has no spec yet; `hafleet apply FILE` gives it one".to_owned();
    }
    let line = info_table(&history.revisions);
    if history.conflicts.is_empty() {
        return line;
    }
    let lost = info_table(&history.conflicts);
    format!("{line}\n\nlost in a conflict:\n{lost}")
}

/// Revisions, a line each.
pub(crate) fn info_table(infos: &[v1::RevisionInfo]) -> String {
    let header = ["revision", "written", "author", "digest", "comment"];
    let row = |info: &v1::RevisionInfo| {
        let digest: String = info.digest.chars().take(8).collect();
        vec![
            plain(&info.revision),
            plain(written(info)),
            plain(&info.author),
            plain(digest),
            plain(&info.comment),
        ]
    };
    print::table(&header, infos.iter().map(row).collect())
}

fn written(info: &v1::RevisionInfo) -> String {
    time_words(info.written_at.as_ref())
}

/// A time as people read it, in UTC.
pub(crate) fn time_words(at: Option<&pbjson_types::Timestamp>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_second(at.seconds).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}
