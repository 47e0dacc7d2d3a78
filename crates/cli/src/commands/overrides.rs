//! `hafleet overrides`: what operators did by hand; and what all commands that do something by hand say at their end.

use hafleet_api::v1;
use jiff::Timestamp;

use super::server_args::OverrideArgs;
use super::spec::time_words;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// Lists what was done by hand and still holds.
pub(crate) async fn run(target: &Target, printer: Printer) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::ListOverridesRequest {});
    let list = answer(client.admin.list_overrides(request).await)?;
    printer.answer(&list, |list| for_people(list, Timestamp::now()))
}

/// Says what became of a write: `done` is what was asked for.
pub(crate) fn finish(
    written: &v1::WriteOverrideResponse,
    done: &str,
    write: &OverrideArgs,
    printer: Printer,
) -> Result<(), Failure> {
    printer.answer(written, |written| outcome(written, done))?;
    if written.committed {
        return Ok(());
    }
    let (stored, known) = (written.stored_by.len(), written.known_nodes);
    Failure::not_committed(stored, known, write.force_without_majority)
}

fn outcome(written: &v1::WriteOverrideResponse, done: &str) -> String {
    if written.unchanged {
        return format!("{done} already; nothing was written");
    }
    let revision = written.revision.clone().unwrap_or_default().revision;
    let until = written.until.as_ref();
    let until = until.map(|until| format!(" until {}", time_words(Some(until))));
    format!(
        "{done}{}; overrides {revision} stored by {} of {} nodes: {}",
        until.unwrap_or_default(),
        written.stored_by.len(),
        written.known_nodes,
        written.stored_by.join(", ")
    )
}

fn for_people(list: &v1::ListOverridesResponse, now: Timestamp) -> String {
    let nodes = list.nodes.iter().map(|node| {
        let asked = "drain".to_owned();
        row(&node.node_id, asked, node.provenance.as_ref(), now)
    });
    let servers = list.servers.iter().map(|server| {
        let path = format!("{}/{}", server.backend, server.server);
        row(&path, asked(server), server.provenance.as_ref(), now)
    });
    let rows: Vec<_> = nodes.chain(servers).collect();
    let mut parts = Vec::new();
    if rows.is_empty() {
        parts.push("nothing is done by hand".to_owned());
    } else {
        let header = ["what", "asked", "by", "since", "until", "comment"];
        parts.push(print::table(&header, rows));
    }
    let nodes = list.nodes.iter().map(|node| {
        let words = node.without_effect.as_str();
        (node.node_id.clone(), words)
    });
    let servers = list.servers.iter().map(|server| {
        let path = format!("{}/{}", server.backend, server.server);
        (path, server.without_effect.as_str())
    });
    let idle = nodes.chain(servers).filter(|(_, words)| !words.is_empty());
    let idle: Vec<_> = idle
        .map(|(what, words)| format!("{what}: without effect: {words}"))
        .collect();
    if !idle.is_empty() {
        parts.push(idle.join("\n"));
    }
    if !list.conflicts.is_empty() {
        let lost = list.conflicts.iter().map(|lost| {
            let (revision, comment) = (&lost.revision, &lost.comment);
            format!("{revision} by {} ({comment})", lost.author)
        });
        let lost: Vec<_> = lost.collect();
        parts.push(format!(
            "lost in a conflict, to be asked for again: {}",
            lost.join(", ")
        ));
    }
    parts.join("\n\n")
}

fn asked(server: &v1::ServerOverride) -> String {
    let state = match server.state() {
        v1::ServerState::Unspecified => None,
        v1::ServerState::Ready => Some("ready".to_owned()),
        v1::ServerState::Drain => Some("drain".to_owned()),
        v1::ServerState::Maint => Some("maint".to_owned()),
    };
    let weight = server.weight.map(|weight| format!("weight {weight}"));
    let asked: Vec<_> = state.into_iter().chain(weight).collect();
    asked.join(", ")
}

fn row(
    what: &str,
    asked: String,
    provenance: Option<&v1::Provenance>,
    now: Timestamp,
) -> Vec<(String, Tone)> {
    let provenance = provenance.cloned().unwrap_or_default();
    vec![
        plain(what),
        (asked, Tone::Warning),
        plain(provenance.author),
        plain(time_words(provenance.since.as_ref())),
        plain(until_words(provenance.until.as_ref(), now)),
        plain(provenance.comment),
    ]
}

/// When something is over, and how far that is.
fn until_words(until: Option<&pbjson_types::Timestamp>, now: Timestamp) -> String {
    let Some(until) = until else {
        return "taken back".to_owned();
    };
    let left = until.seconds.saturating_sub(now.as_second()).max(0);
    let left = match left {
        ..=119 => format!("{left} s"),
        120..=7_199 => format!("{} min", left / 60),
        7_200..=172_799 => format!("{} h", left / 3_600),
        _ => format!("{} days", left / 86_400),
    };
    format!("{} (in {left})", time_words(Some(until)))
}

/// That a node is drained, by whom and why, in a line.
pub(crate) fn drained_words(node: &str, drained: &v1::Provenance) -> String {
    let until = drained.until.as_ref();
    let until = until.map(|until| format!(" until {}", time_words(Some(until))));
    let comment = match drained.comment.as_str() {
        "" => String::new(),
        words => format!(": {words}"),
    };
    format!(
        "{node}: drained by {}{}{comment}",
        drained.author,
        until.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_holds_until_when_and_what_is_in_vain() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let ada = |seconds: Option<i64>| v1::Provenance {
            author: "ada (admin)".into(),
            comment: "disks".into(),
            until: seconds.map(|seconds| pbjson_types::Timestamp {
                seconds: now.as_second() + seconds,
                nanos: 0,
            }),
            ..Default::default()
        };
        let list = v1::ListOverridesResponse {
            nodes: vec![v1::NodeOverride {
                node_id: "lb1".into(),
                provenance: Some(ada(None)),
                ..Default::default()
            }],
            servers: vec![v1::ServerOverride {
                backend: "app".into(),
                server: "s1".into(),
                state: v1::ServerState::Maint.into(),
                weight: Some(7),
                provenance: Some(ada(Some(600))),
                without_effect: "it is gone".into(),
            }],
            ..Default::default()
        };
        let text = for_people(&list, now);
        for words in [
            "lb1",
            "taken back",
            "app/s1",
            "maint, weight 7",
            "(in 10 min)",
            "disks",
            "app/s1: without effect: it is gone",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        assert!(for_people(&v1::ListOverridesResponse::default(), now).contains("nothing"));
        assert_eq!(
            drained_words("lb1", &ada(None)),
            "lb1: drained by ada (admin): disks"
        );
    }
}
