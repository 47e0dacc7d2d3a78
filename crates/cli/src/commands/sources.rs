//! `hafleet sources` and `hafleet sources confirm`: where servers come from, and what of it is not believed yet.

use hafleet_api::v1;
use jiff::Timestamp;

use crate::args::{SourcesCommand, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// The most servers that are named where a change is described.
const MAX_NAMED: usize = 10;

/// Shows the sources, or lets through what is held back.
pub(crate) async fn run(
    command: Option<SourcesCommand>,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    match command {
        None => {
            let request = client.request(v1::ListSourcesRequest {});
            let list = answer(client.admin.list_sources(request).await)?;
            printer.answer(&list, |list| for_people(list, Timestamp::now()))
        }
        Some(SourcesCommand::Confirm { backend }) => {
            let request = client.request(v1::ConfirmEndpointsRequest {
                backend: backend.clone(),
            });
            let confirmed = answer(client.admin.confirm_endpoints(request).await)?;
            printer.answer(&confirmed, |confirmed| what_went(&backend, confirmed))
        }
    }
}

fn what_went(backend: &str, confirmed: &v1::ConfirmEndpointsResponse) -> String {
    if confirmed.gone.is_empty() {
        return format!("nothing of {backend} is held back");
    }
    let revision = confirmed.endpoints.clone().unwrap_or_default().revision;
    format!(
        "let through: {} of {backend}; the endpoints are at {revision}",
        named(&confirmed.gone)
    )
}

fn for_people(list: &v1::ListSourcesResponse, now: Timestamp) -> String {
    if list.sources.is_empty() {
        return "no backend of the spec has sources".to_owned();
    }
    let sources = list.sources.iter().map(|source| row(source, now));
    let mut parts = vec![print::table(
        &["source", "backends", "found", "answered", "last change"],
        sources.collect(),
    )];
    let backends = list.backends.iter().map(|backend| {
        vec![
            plain(&backend.backend),
            plain(backend.servers.to_string()),
            state(backend),
        ]
    });
    parts.push(print::table(
        &["backend", "servers", "state"],
        backends.collect(),
    ));
    let troubles = list.sources.iter().flat_map(|source| troubles(source, now));
    let held = list.backends.iter().filter_map(held);
    let notes: Vec<_> = troubles.chain(held).collect();
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n")
}

fn row(source: &v1::SourceStatus, now: Timestamp) -> Vec<(String, Tone)> {
    let answered = match (&source.answered_at, source.error.is_empty()) {
        (Some(at), true) => (ago(at, now), Tone::Good),
        (Some(at), false) => (format!("{}, fails since", ago(at, now)), Tone::Bad),
        (None, true) => ("not yet".to_owned(), Tone::Warning),
        (None, false) => ("never, fails".to_owned(), Tone::Bad),
    };
    let change = source.change.as_ref().map_or_else(String::new, |change| {
        let at = change.at.as_ref().map(|at| ago(at, now));
        let counts = [
            ("+", change.added),
            ("-", change.removed),
            ("~", change.altered),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(sign, count)| format!("{sign}{count}"))
            .collect();
        format!("{} {}", counts.join(" "), at.unwrap_or_default())
    });
    vec![
        plain(&source.query),
        plain(source.backends.join(", ")),
        plain(source.found.to_string()),
        answered,
        plain(change),
    ]
}

fn state(backend: &v1::BackendStatus) -> (String, Tone) {
    match (&backend.held, backend.waiting.as_str()) {
        (Some(held), _) => {
            let (seen, needed) = (held.seen, held.needed);
            let words = format!("holds back {} ({seen} of {needed} polls)", held.going.len());
            (words, Tone::Warning)
        }
        (None, "") => ("as its sources say".to_owned(), Tone::Good),
        (None, waiting) => (waiting.to_owned(), Tone::Warning),
    }
}

/// What is wrong with a source, a line each.
fn troubles(source: &v1::SourceStatus, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if !source.error.is_empty() {
        let since = source.failing_since.as_ref();
        let since = since.map(|since| format!(" since {}", ago(since, now)));
        let since = since.unwrap_or_default();
        lines.push(format!("{}: fails{since}: {}", source.query, source.error));
    }
    let left_out = source.left_out.iter();
    lines.extend(left_out.map(|item| {
        let (query, what, why) = (&source.query, &item.what, &item.why);
        format!("{query}: left out: {what}: {why}")
    }));
    lines
}

fn held(backend: &v1::BackendStatus) -> Option<String> {
    let held = backend.held.as_ref()?;
    let name = &backend.backend;
    Some(format!(
        "{name}: {}: {}; `hafleet sources confirm {name}` lets it through",
        held.reason,
        named(&held.going)
    ))
}

fn named(servers: &[String]) -> String {
    let names = servers.get(..MAX_NAMED).unwrap_or(servers).join(", ");
    match servers.len().saturating_sub(MAX_NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

fn ago(at: &pbjson_types::Timestamp, now: Timestamp) -> String {
    match now.as_second().saturating_sub(at.seconds) {
        ..=0 => "now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7_199 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<pbjson_types::Timestamp> {
        Some(pbjson_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_wrong_and_what_is_held_back_is_said_below_the_tables() {
        let list = v1::ListSourcesResponse {
            sources: vec![v1::SourceStatus {
                query: "file /x".into(),
                backends: vec!["app".into()],
                answered_at: at(40),
                found: 1,
                change: Some(v1::SourceChange {
                    at: at(40),
                    removed: 3,
                    ..Default::default()
                }),
                error: "it is gone".into(),
                failing_since: at(50),
                left_out: vec![v1::LeftOut {
                    what: "s9".into(),
                    why: "no port".into(),
                }],
                ..Default::default()
            }],
            backends: vec![v1::BackendStatus {
                backend: "app".into(),
                servers: 4,
                held: Some(v1::HeldBack {
                    reason: "3 of 4 would go at once".into(),
                    going: vec!["s1".into(), "s2".into(), "s3".into()],
                    seen: 1,
                    needed: 3,
                }),
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = for_people(&list, Timestamp::from_second(100).unwrap());
        for words in [
            "-3 60 s ago",
            "holds back 3 (1 of 3 polls)",
            "file /x: fails since 50 s ago: it is gone",
            "left out: s9: no port",
            "3 of 4 would go at once: s1, s2, s3; `hafleet sources confirm app`",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }
}
