//! `hafleet audit`: what was denied and what was changed.

use hafleet_api::v1::audit_record::Outcome;
use hafleet_api::v1::{self};

use crate::args::{AuditArgs, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// Shows the newest records of the audit log.
pub(crate) async fn run(
    args: &AuditArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::ListAuditRequest {
        limit: args.limit,
        this_node_only: args.this_node,
    });
    let listed = answer(client.admin.list_audit(request).await)?;
    printer.answer(&listed, whole)
}

fn whole(listed: &v1::ListAuditResponse) -> String {
    let mut text = if listed.records.is_empty() {
        "nothing was denied or changed since the agents were started".to_owned()
    } else {
        let rows = listed.records.iter().map(row).collect();
        print::table(
            &["at", "node", "who", "from", "what", "outcome", "revision"],
            rows,
        )
    };
    for missing in &listed.missing {
        text.push_str(&format!("\n\nnot asked: {missing}"));
    }
    text
}

fn row(record: &v1::AuditRecord) -> Vec<(String, Tone)> {
    let at = record.at.as_ref().map_or_else(String::new, |at| {
        let time = jiff::Timestamp::from_second(at.seconds).unwrap_or_default();
        time.to_string()
    });
    let from = if record.via.is_empty() {
        record.address.clone()
    } else {
        format!("{} via {}", record.address, record.via)
    };
    let what = if record.subject.is_empty() {
        record.method.clone()
    } else {
        format!("{} {}", record.method, record.subject)
    };
    let outcome = match record.outcome() {
        Outcome::Done => ("done".to_owned(), Tone::Good),
        Outcome::Denied => (format!("denied: {}", record.message), Tone::Bad),
        Outcome::Failed => (format!("failed: {}", record.message), Tone::Warning),
        Outcome::Unspecified => (String::new(), Tone::Plain),
    };
    vec![
        plain(at),
        plain(&record.node_id),
        plain(&record.caller),
        plain(from),
        plain(what),
        outcome,
        plain(&record.revision),
    ]
}
