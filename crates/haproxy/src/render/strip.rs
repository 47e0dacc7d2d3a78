//! Prefixes that routes take off a request's path.
//!
//! Which route a request takes is known when its backend is chosen, after all rules of the frontend. So what a look-up
//! finds says both, such as `api/4`: the backend, and how many bytes of the path to take off. It stays in the
//! transaction, and the backend's own rules do it. One rule serves all prefixes of the same length, so that routes can
//! come and go while HAProxy runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::spec::{Frontend, Route};

use super::lines::{Line, Lines};

/// How many bytes `route` takes off; none if it leaves paths as they are.
pub(super) fn length(route: &Route) -> Option<usize> {
    let prefix = route.path_prefix.as_ref().filter(|_| route.strip_prefix)?;
    Some(prefix.trim_end_matches('/').len()).filter(|length| *length > 0)
}

/// Where `route` leads, as a look-up finds it. No name of a backend has a slash.
pub(super) fn target(route: &Route) -> Cow<'_, str> {
    match length(route) {
        Some(length) => format!("{}/{length}", route.backend).into(),
        None => route.backend.as_str().into(),
    }
}

/// The lengths that routes to each backend take off.
pub(super) fn lengths(frontends: &[Frontend]) -> BTreeMap<&str, BTreeSet<usize>> {
    let mut lengths: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for route in frontends.iter().flat_map(|frontend| &frontend.routes) {
        if let Some(length) = length(route) {
            lengths
                .entry(route.backend.as_str())
                .or_default()
                .insert(length);
        }
    }
    lengths
}

/// Has a rule that is no look-up keep what one would have found, at the end of its conditions.
pub(super) fn note<'l>(line: Line<'l>, route: &Route) -> Line<'l> {
    if length(route).is_none() {
        return line;
    }
    let expression = format!("str({}),set-var(txn.hafleet_backend)", target(route));
    line.fixed("{").word(expression).fixed("-m found }")
}

/// Writes the backend's rules for one length: `/api` becomes `/`, and `/api/x` becomes `/x`.
pub(super) fn take_off(lines: &mut Lines, path: &str, length: usize) {
    let is_meant = |line: Line<'_>, lengths: String| {
        line.fixed("if { var(txn.hafleet_backend),word(2,/) -m str")
            .word(length)
            .fixed("} { path -m len")
            .word(lengths)
            .fixed("}")
            .end();
    };
    let whole = lines.line(path, "http-request set-path /");
    is_meant(whole, length.to_string());
    let beginning = lines
        .line(path, "http-request set-path")
        .word(format!("%[path,regsub(^.{{{length}}},)]"));
    is_meant(beginning, format!("{}:", length + 1));
}

#[cfg(test)]
#[path = "strip_tests.rs"]
mod tests;
