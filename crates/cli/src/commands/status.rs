//! `hafleet status` and `hafleet nodes`: the fleet as one agent sees it.

use hafleet_api::v1::{self, apply_status, haproxy_status, node_status};
use tokio_stream::StreamExt as _;

use super::overrides::drained_words;
use super::spec::time_words;
use crate::args::{StatusArgs, Target};
use crate::client::{Client, answer};
use crate::failure::{Exit, Failure};
use crate::print::{self, Printer, Tone, plain};

/// Shows the fleet, once or again after each change.
pub(crate) async fn status(
    args: &StatusArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    if !args.watch {
        let request = client.request(v1::GetStatusRequest {});
        let status = answer(client.admin.get_status(request).await)?;
        return printer.answer(&status, whole);
    }
    let mut changes = answer(client.admin.watch_status(v1::WatchStatusRequest {}).await)?;
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        match change {
            Some(status) => {
                if printer.is_for_people() && print::has_colour() {
                    print::line("\u{1b}[H\u{1b}[2J\u{1b}[H")?;
                }
                printer.answer(&status?, whole)?;
                if printer.is_for_people() {
                    print::line("\n")?;
                }
            }
            None => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "the agent ended the stream; run it again",
                ));
            }
        }
    }
}

/// Shows the nodes alone.
pub(crate) async fn nodes(target: &Target, printer: Printer) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::GetStatusRequest {});
    let status = answer(client.admin.get_status(request).await)?;
    printer.answer(&status.nodes, |nodes| node_table(nodes))
}

fn whole(status: &v1::FleetStatus) -> String {
    let leadership = status.leadership.clone().unwrap_or_default();
    let leader = match (leadership.leader.as_str(), leadership.reason.as_str()) {
        ("", "") => "none".to_owned(),
        ("", reason) => format!("none ({reason})"),
        (leader, _) => format!("{leader}, term {}", leadership.term),
    };
    let spec = status.spec.as_ref().map_or_else(
        || "none; `hafleet apply FILE` gives the fleet one".to_owned(),
        |spec| format!("{} by {}{}", spec.revision, spec.author, comment_of(spec)),
    );
    let counted = status.nodes.iter().filter(|node| !node.removed);
    let live = counted
        .clone()
        .filter(|node| node.liveness() == node_status::Liveness::Live)
        .count();
    let unmet = status.unmet_seeds.len();
    let mut lines = vec![
        format!("fleet   {} as {} sees it", status.fleet, status.node_id),
        format!("leader  {leader}"),
        format!("spec    {spec}"),
        format!(
            "nodes   {live} of {} live; a write needs {}",
            counted.count() + unmet,
            status.majority
        ),
    ];
    if unmet > 0 {
        lines.push(format!(
            "seeds   never met, and each counts as a node: {}",
            status.unmet_seeds.join(", ")
        ));
    }
    lines.extend(gone(status));
    lines.extend(found(status));
    if !status.conflicts.is_empty() {
        let lost: Vec<_> = status
            .conflicts
            .iter()
            .map(|lost| lost.revision.as_str())
            .collect();
        lines.push(format!(
            "lost    {} (in conflict with the line above; `hafleet spec get REVISION` shows, `spec rollback` takes back, `spec conflicts dismiss` lets be)",
            lost.join(", ")
        ));
    }
    lines.push(String::new());
    lines.push(node_table(&status.nodes));
    lines.join("\n")
}

/// How many of the nodes that are gone are named.
const MAX_GONE: usize = 5;

/// Who left, was forgotten and so on and is not back, the last first; nothing where there is none.
fn gone(status: &v1::FleetStatus) -> Option<String> {
    let is_here = |gone: &&v1::RemovedNode| status.nodes.iter().any(|node| node.id == gone.node_id);
    let mut gone: Vec<_> = status
        .removed
        .iter()
        .filter(|gone| !is_here(gone))
        .collect();
    let since = |gone: &v1::RemovedNode| {
        let provenance = gone.provenance.as_ref();
        provenance
            .and_then(|provenance| provenance.since)
            .map_or(0, |since| since.seconds)
    };
    gone.sort_by_key(|gone| std::cmp::Reverse(since(gone)));
    let named = gone.iter().take(MAX_GONE).map(|gone| {
        let provenance = gone.provenance.clone().unwrap_or_default();
        let at = time_words(provenance.since.as_ref());
        format!(
            "{} ({} {at}, by {})",
            gone.node_id, gone.reason, provenance.author
        )
    });
    let mut named: Vec<_> = named.collect();
    if let Some(more) = gone.len().checked_sub(MAX_GONE).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    (!named.is_empty()).then(|| format!("gone    {}", named.join(", ")))
}

/// What discovery found, and how many nodes have it; nothing where it has found nothing yet.
fn found(status: &v1::FleetStatus) -> Option<String> {
    let newest = &status.endpoints.as_ref()?.revision;
    let has_it = |node: &&v1::NodeStatus| {
        let state = node.endpoints.as_ref();
        state.is_some_and(|state| state.applied_revision == *newest)
    };
    let with_haproxy = status.nodes.iter().filter(|node| !node.witness);
    let count = with_haproxy.clone().filter(has_it).count();
    let nodes = with_haproxy.count();
    Some(format!(
        "found   endpoints {newest}, on {count} of {nodes} nodes"
    ))
}

fn comment_of(info: &v1::RevisionInfo) -> String {
    if info.comment.is_empty() {
        String::new()
    } else {
        format!(": {}", info.comment)
    }
}

/// The table of nodes, with the reasons of what is wrong below it.
pub(crate) fn node_table(nodes: &[v1::NodeStatus]) -> String {
    let rows = nodes.iter().map(row).collect();
    let table = print::table(
        &[
            "node",
            "address",
            "state",
            "haproxy",
            "pid",
            "spec",
            "change",
            "certificate",
        ],
        rows,
    );
    let drained = nodes.iter().filter_map(|node| {
        let drained = node.drained.as_ref()?;
        Some(drained_words(&node.id, drained))
    });
    let unfit = nodes.iter().filter(|node| !node.unfit.is_empty());
    let unfit =
        unfit.map(|node| format!("{}: leads only where no other can: {}", node.id, node.unfit));
    let certificates = nodes.iter().filter_map(certificate_trouble);
    let troubles = nodes.iter().filter_map(trouble).chain(certificates);
    let own = nodes.iter().filter_map(|node| {
        let own = node.own_configuration.as_ref()?;
        let (id, words) = (&node.id, own_words(own));
        let trouble = match own.error.as_str() {
            "" => String::new(),
            error => format!("; HAProxy does not run it: {error}"),
        };
        Some(format!(
            "{id}: runs {words}{trouble}; `hafleet node follow-fleet {id}` has it run the fleet's spec"
        ))
    });
    let troubles = troubles.chain(unfit).chain(own).chain(drained);
    let troubles = troubles.collect::<Vec<_>>().join("\n");
    if troubles.is_empty() {
        table
    } else {
        format!("{table}\n\n{troubles}")
    }
}

/// What a node has in place of the fleet's spec.
pub(crate) fn own_words(own: &v1::OwnConfiguration) -> String {
    let comment = match own.comment.as_str() {
        "" => String::new(),
        comment => format!(" ({comment})"),
    };
    let since = time_words(own.since.as_ref());
    format!(
        "a configuration of its own, set by {} at {since}{comment}",
        own.author
    )
}

fn row(node: &v1::NodeStatus) -> Vec<(String, Tone)> {
    let is_live = node.liveness() == node_status::Liveness::Live;
    let state = match (is_live, node.leader) {
        (true, true) => ("leader".to_owned(), Tone::Good),
        (true, false) => ("live".to_owned(), Tone::Good),
        (false, _) => ("dead".to_owned(), Tone::Bad),
    };
    let state = match (node.witness, node.removed) {
        (_, true) => (format!("{}, not counted yet", state.0), Tone::Warning),
        (true, false) => (format!("{}, witness", state.0), state.1),
        (false, false) => state,
    };
    let state = match node.drained {
        Some(_) if is_live => (format!("{}, drained", state.0), Tone::Warning),
        _ => state,
    };
    let haproxy = node.haproxy.clone().unwrap_or_default();
    let health = match haproxy.health() {
        haproxy_status::Health::Up => (format!("up {}", haproxy.version), Tone::Good),
        haproxy_status::Health::Down => (format!("down {}", haproxy.version), Tone::Bad),
        _ => (format!("idle {}", haproxy.version), Tone::Plain),
    };
    let pid = if haproxy.pid == 0 {
        "-".to_owned()
    } else {
        haproxy.pid.to_string()
    };
    let apply = node.apply.clone().unwrap_or_default();
    let spec = match apply.state() {
        apply_status::State::Applied => (apply.revision.clone(), Tone::Good),
        apply_status::State::Applying => (format!("{} under way", apply.revision), Tone::Warning),
        apply_status::State::Failed => (format!("{} refused", apply.revision), Tone::Bad),
        _ if node.own_configuration.is_some() => ("its own".to_owned(), Tone::Warning),
        _ => ("-".to_owned(), Tone::Plain),
    };
    let health = if node.witness {
        plain("-")
    } else if is_live {
        health
    } else {
        ("?".to_owned(), Tone::Warning)
    };
    vec![
        plain(&node.id),
        plain(&node.address),
        state,
        health,
        plain(pid),
        spec,
        plain(apply.change),
        certificate(node),
    ]
}

/// How long the certificate of a node's agent is valid still.
fn certificate(node: &v1::NodeStatus) -> (String, Tone) {
    let Some(certificate) = &node.certificate else {
        return ("?".to_owned(), Tone::Plain);
    };
    let seconds = seconds_left(certificate);
    let words = match seconds {
        ..=0 => "expired".to_owned(),
        1..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    };
    let tone = match (certificate.error.is_empty(), certificate.ending) {
        (false, _) => Tone::Bad,
        (true, true) => Tone::Warning,
        (true, false) => Tone::Good,
    };
    (words, tone)
}

fn seconds_left(certificate: &v1::NodeCertificate) -> i64 {
    let until = certificate.not_after.as_ref().map_or(0, |at| at.seconds);
    until.saturating_sub(jiff::Timestamp::now().as_second())
}

fn certificate_trouble(node: &v1::NodeStatus) -> Option<String> {
    let certificate = node.certificate.as_ref()?;
    if node.liveness() != node_status::Liveness::Live {
        return None;
    }
    if !certificate.error.is_empty() {
        return Some(format!("{}: certificate: {}", node.id, certificate.error));
    }
    let until = certificate.not_after.as_ref().map_or(0, |at| at.seconds);
    let until = jiff::Timestamp::from_second(until).unwrap_or_default();
    certificate.ending.then(|| {
        format!(
            "{}: its certificate ends at {until}; renew it with `hafleet pki renew`",
            node.id
        )
    })
}

fn trouble(node: &v1::NodeStatus) -> Option<String> {
    if node.liveness() != node_status::Liveness::Live {
        return Some(format!("{}: dead: {}", node.id, node.liveness_reason));
    }
    let failed = |apply: &&v1::ApplyStatus| apply.state() == apply_status::State::Failed;
    let Some(apply) = node.apply.as_ref().filter(failed) else {
        let endpoints = node.endpoints.as_ref();
        let endpoints = endpoints.filter(|endpoints| !endpoints.error.is_empty())?;
        return Some(format!(
            "{}: keeps the endpoints that it has: {}",
            node.id, endpoints.error
        ));
    };
    let running = match apply.running_revision.as_str() {
        "" => "nothing runs there".to_owned(),
        running => format!("it still runs {running}"),
    };
    Some(format!(
        "{}: refused {}: {}; {running}",
        node.id, apply.revision, apply.error
    ))
}
