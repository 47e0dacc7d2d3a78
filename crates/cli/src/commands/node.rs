//! `hafleet node`: one load balancer in full.

use hafleet_api::v1;
use hafleet_model::{NodeId, Revision};

use super::spec::time_words;
use super::status::{node_table, own_words};
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// Shows one node as it sees itself.
pub(crate) async fn show(
    node: Option<NodeId>,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let node_id = node.map(|node| node.to_string()).unwrap_or_default();
    let request = client.request(v1::GetNodeRequest { node_id });
    let detail = answer(client.admin.get_node(request).await)?;
    printer.answer(&detail, for_people)
}

/// Has a node run the fleet's spec again.
pub(crate) async fn follow_fleet(
    node: Option<NodeId>,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let node_id = node.map(|node| node.to_string()).unwrap_or_default();
    let request = client.request(v1::FollowFleetRequest { node_id });
    let followed = answer(client.admin.follow_fleet(request).await)?;
    printer.answer(&followed, |followed| match &followed.given_up {
        Some(own) => format!(
            "{} follows the fleet again; it had {}",
            followed.node_id,
            own_words(own)
        ),
        None => format!("{} follows the fleet already", followed.node_id),
    })
}

fn for_people(detail: &v1::NodeDetail) -> String {
    let node = detail.node.clone().unwrap_or_default();
    let haproxy = node.haproxy.clone().unwrap_or_default();
    let zone = if node.zone.is_empty() {
        "-"
    } else {
        &node.zone
    };
    let connections = detail
        .current_connections
        .map_or_else(|| "not known".to_owned(), |count| count.to_string());
    let mut parts = vec![
        node_table(std::slice::from_ref(&node)),
        format!(
            "zone         {zone}\nagent        {} (start {})\ntraffic at   {}\nconnections  {connections}\nnext reload  {}",
            node.version, node.generation, node.data_address, haproxy.handover
        ),
    ];
    if node.witness {
        parts.push("a witness: it runs no HAProxy, counts for a majority, and may lead".to_owned());
    }
    if !node.instance.is_empty() {
        parts.push(format!("instance     {}", node.instance));
    }
    if !detail.drift.is_empty() {
        let lines: Vec<_> = detail
            .drift
            .iter()
            .map(|line| format!("  {line}"))
            .collect();
        parts.push(format!(
            "changed behind the agent's back, and put right:\n{}",
            lines.join("\n")
        ));
    }
    if !detail.old_processes.is_empty() {
        let rows = detail.old_processes.iter().map(old_row).collect();
        parts.push(print::table(&["old process", "age", "connections"], rows));
    }
    if !detail.reloads.is_empty() {
        let rows = detail.reloads.iter().map(reload_row).collect();
        let header = ["id", "at", "spec", "took", "outcome", "why", "handover"];
        parts.push(print::table(&header, rows));
    }
    parts.join("\n\n")
}

/// What a process was started for.
fn revision_words(revision: &str) -> &str {
    let is_own = revision.parse() == Ok(Revision::OWN);
    if is_own { "its own" } else { revision }
}

fn old_row(old: &v1::OldProcess) -> Vec<(String, Tone)> {
    let age = old.age.unwrap_or_default();
    vec![
        plain(old.pid.to_string()),
        plain(format!("{} s", age.seconds)),
        plain(old.connections.to_string()),
    ]
}

fn reload_row(reload: &v1::Reload) -> Vec<(String, Tone)> {
    let took = reload.took.unwrap_or_default();
    let took_ms = took.seconds.saturating_mul(1_000) + i64::from(took.nanos / 1_000_000);
    let outcome = match reload.error.as_str() {
        "" => (format!("process {}", reload.pid), Tone::Good),
        error => (format!("failed: {error}"), Tone::Bad),
    };
    vec![
        plain(reload.id.to_string()),
        plain(time_words(reload.at.as_ref())),
        plain(revision_words(&reload.revision)),
        plain(format!("{took_ms} ms")),
        outcome,
        plain(&reload.reason),
        plain(&reload.handover),
    ]
}
