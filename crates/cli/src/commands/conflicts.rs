//! `hafleet spec conflicts`: revisions that lost, and an end to them.

use hafleet_api::v1;

use super::members_args::ConflictsCommand;
use super::overrides::finish;
use super::spec::{info_table, time_words};
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, plain};

/// Lists the conflicts of the spec, or dismisses one.
pub(crate) async fn run(
    command: Option<ConflictsCommand>,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let Some(ConflictsCommand::Dismiss {
        revision,
        document,
        write,
    }) = command
    else {
        let request = client.request(v1::ListSpecHistoryRequest { limit: 0 });
        let mut history = answer(client.admin.list_spec_history(request).await)?;
        history.revisions.clear();
        return printer.answer(&history, for_people);
    };
    let request = client.request(v1::DismissConflictRequest {
        document: document.to_string(),
        revision: revision.to_string(),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.dismiss_conflict(request).await)?;
    let done = format!("the conflict {revision} is dismissed");
    finish(&written, &done, &write, printer)
}

fn for_people(history: &v1::ListSpecHistoryResponse) -> String {
    let mut parts = Vec::new();
    parts.push(match history.conflicts.is_empty() {
        true => "there are no conflicts".to_owned(),
        false => format!(
            "{}\n\n`hafleet spec rollback REVISION` takes one back, `hafleet spec conflicts dismiss REVISION` lets it be",
            info_table(&history.conflicts)
        ),
    });
    if !history.dismissed.is_empty() {
        parts.push(format!(
            "dismissed:\n{}",
            dismissed_table(&history.dismissed)
        ));
    }
    parts.join("\n\n")
}

fn dismissed_table(dismissed: &[v1::DismissedConflict]) -> String {
    let row = |dismissed: &v1::DismissedConflict| {
        let (revision, provenance) = (
            dismissed.revision.clone().unwrap_or_default(),
            dismissed.provenance.clone().unwrap_or_default(),
        );
        vec![
            plain(&revision.revision),
            plain(&revision.author),
            plain(&provenance.author),
            plain(time_words(provenance.since.as_ref())),
            plain(&provenance.comment),
        ]
    };
    let header = ["revision", "author", "dismissed by", "at", "comment"];
    print::table(&header, dismissed.iter().map(row).collect())
}
