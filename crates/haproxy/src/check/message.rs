//! HAProxy's messages: from `[ALERT] (pid) : config : [file:12] : words` to findings at spec paths.

use std::path::Path;

use hafleet_model::spec::Finding;

use crate::render::{Prelude, Rendered};

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// HAProxy goes on.
    Warning,
    /// It does not.
    Alert,
}

/// The messages in `text`, which HAProxy wrote about `file`, a rendering with its prelude. What cannot be tied to
/// a line keeps HAProxy's words, at the empty path.
pub(crate) fn findings(text: &str, file: &Path, rendered: &Rendered) -> Vec<(Severity, Finding)> {
    let file = file.display().to_string();
    let all = messages(text);
    let is_summary = |words: &str| {
        let words = words.trim_start_matches("config : ");
        [
            "Error(s) found in configuration file",
            "Fatal errors found in configuration",
            "Some configuration options require full privileges",
        ]
        .iter()
        .any(|known| words.starts_with(known))
    };
    let (summaries, told): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, words)| is_summary(words));
    let kept = if told
        .iter()
        .any(|(severity, _)| *severity == Severity::Alert)
        || summaries.is_empty()
    {
        told
    } else {
        told.into_iter().chain(summaries).collect()
    };
    let lines: Vec<_> = rendered.body().lines().collect();
    kept.into_iter()
        .map(|(severity, words)| (severity, locate(&words, &file, rendered, &lines)))
        .collect()
}

/// Parts the text into messages; lines that begin with no severity belong to the message before them.
fn messages(text: &str) -> Vec<(Severity, String)> {
    let mut all: Vec<(Option<Severity>, String)> = Vec::new();
    for line in text.lines() {
        let begun = [
            ("[ALERT]", Some(Severity::Alert)),
            ("[EMERG]", Some(Severity::Alert)),
            ("[CRIT]", Some(Severity::Alert)),
            ("[WARNING]", Some(Severity::Warning)),
            ("[NOTICE]", None),
            ("[INFO]", None),
            ("[DIAG]", None),
        ]
        .into_iter()
        .find_map(|(tag, severity)| Some((severity, line.strip_prefix(tag)?)));
        match (begun, all.last_mut()) {
            (Some((severity, rest)), _) => all.push((severity, without_pid(rest).to_owned())),
            (None, Some((_, words))) if !is_closing(line) => {
                words.push('\n');
                words.push_str(line);
            }
            (None, _) => {}
        }
    }
    all.into_iter()
        .filter_map(|(severity, words)| Some((severity?, words.trim().to_owned())))
        .collect()
}

/// What `haproxy -c` says at its end, outside of any message.
fn is_closing(line: &str) -> bool {
    line.starts_with("Warnings were found") || line.starts_with("Configuration file is valid")
}

/// `    (10819) : config : x` without the process id; 2.4 writes a date before it.
fn without_pid(rest: &str) -> &str {
    match rest.split_once(") : ") {
        Some((head, words)) if head.contains('(') => words,
        _ => rest.trim(),
    }
}

fn locate(words: &str, file: &str, rendered: &Rendered, lines: &[&str]) -> Finding {
    let named = format!("[{file}:");
    let located = words.split_once(&named).and_then(|(before, rest)| {
        let (line, after) = rest.split_once(']')?;
        Some((before, line.parse::<usize>().ok()?, after))
    });
    let Some((before, line, after)) = located else {
        let words = words.trim_start_matches("config : ");
        return Finding::new(section_named_in(words, rendered).unwrap_or_default(), words);
    };
    let body_line = line.saturating_sub(Prelude::LINES);
    let origin = rendered.origin(body_line).unwrap_or_default();
    let before = before
        .trim_start_matches("config : ")
        .trim_start_matches("parsing ");
    let after = after.trim_start_matches([' ', ':']);
    let mut message = format!("{before}{after}");
    let source = lines.get(body_line.saturating_sub(1));
    match (origin, source) {
        ("haproxy_cfg", _) => message = format!("line {body_line}: {message}"),
        // A template's author knows neither the line nor its number: HAProxy read what the template became.
        ("template" | "raw", Some(source)) if body_line > 0 => {
            message = format!("{message} (in the line `{}`)", source.trim());
        }
        _ => {}
    }
    Finding::new(origin, message)
}

/// The spec path of the section that a message without a line names, such as `proxy 'web': …`.
fn section_named_in(words: &str, rendered: &Rendered) -> Option<String> {
    let (_, rest) = ["frontend '", "backend '", "proxy '", "Proxy '", "listen '"]
        .iter()
        .find_map(|lead| words.split_once(lead))?;
    let name = rest.split('\'').next()?;
    let header = rendered.body().lines().position(|line| {
        let mut found = line.split_whitespace();
        matches!(found.next(), Some("frontend" | "backend" | "listen"))
            && found.next() == Some(name)
    })?;
    rendered.origin(header + 1).map(str::to_owned)
}
