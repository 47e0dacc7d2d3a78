//! When a route or a redirect applies: the request's host, and the beginning of its path.
//!
//! Both are compared as plain strings with one lookup each: the host against a normalised copy kept in the
//! transaction, the path with a slash put behind it. Those are also the keys of the maps that routes become
//! ([`super::routes`]), with the same meaning.

use super::lines::{Line, Lines};

/// What a rule asks of a request. All that is given has to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    host: Option<&'a str>,
    path_prefix: Option<&'a str>,
}

impl<'a> Condition<'a> {
    /// Takes the condition of the rule at `path`, and notes what no request could match.
    pub(super) fn new(
        lines: &mut Lines,
        path: &str,
        host: Option<&'a str>,
        path_prefix: Option<&'a str>,
    ) -> Self {
        if let Some(host) = host.filter(|host| !is_host(host)) {
            let message = format!(
                "{host:?} is not a host: write a name such as www.example.com or *.example.com"
            );
            lines.fault(&format!("{path}.host"), message);
        }
        if let Some(prefix) = path_prefix.filter(|prefix| !is_path(prefix)) {
            let message =
                format!("{prefix:?} is not a path: it begins with / and has no space, ? or #");
            lines.fault(&format!("{path}.path_prefix"), message);
        }
        Self { host, path_prefix }
    }

    /// Whether it holds for every request.
    pub(super) fn is_always(&self) -> bool {
        self.host.is_none() && self.path_prefix.is_none()
    }

    /// Adds it to a line that has its `if` already.
    pub(super) fn append<'l>(&self, line: Line<'l>) -> Line<'l> {
        let line = match self.host.map(normal_host) {
            Some(HostPattern::Exact(name)) => line
                .fixed("{ var(txn.hafleet_host) -m str --")
                .word(name)
                .fixed("}"),
            Some(HostPattern::Below(suffix)) => line
                .fixed("{ var(txn.hafleet_host) -m end --")
                .word(suffix)
                .fixed("}"),
            None => line,
        };
        match self.path_prefix.map(normal_prefix) {
            Some(prefix) => line
                .fixed("{ path,concat(/) -m beg --")
                .word(prefix)
                .fixed("}"),
            None => line,
        }
    }
}

/// Keeps the request's host in the transaction: lower case, without port and without the root's dot.
pub(super) fn remember_host(lines: &mut Lines, path: &str) {
    lines
        .line(path, "http-request set-var(txn.hafleet_host)")
        .word("req.hdr(host),lower,regsub(:[0-9]*$,),rtrim(.)")
        .end();
}

/// A host as routes compare it: lower case, without the root's dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// This name.
    Exact(String),
    /// All names that end in this, which begins with a dot.
    Below(String),
}

pub(super) fn normal_host(host: &str) -> HostPattern {
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    match host.strip_prefix('*') {
        Some(suffix) => HostPattern::Below(suffix.to_owned()),
        None => HostPattern::Exact(host.to_owned()),
    }
}

/// The prefix with exactly one slash at its end: with one put behind the path too, `/api/` begins `/api/` and `/api/x/`
/// but not `/apix/`.
pub(super) fn normal_prefix(prefix: &str) -> String {
    format!("{}/", prefix.trim_end_matches('/'))
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    !name.trim_end_matches('.').is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c))
}

fn is_path(prefix: &str) -> bool {
    prefix.starts_with('/')
        && prefix
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '?' && c != '#')
}
