//! Servers whose lines people wrote themselves: in raw text, in a whole configuration, or by a template.
//!
//! Of these the text says everything, and hafleet changes nothing, but what an operator asks: to drain, or to be in
//! maintenance.

use super::skeleton::SECTIONS;
use crate::runtime::AdminState;

/// The keyword (Configuration Manual, section 5.2, `disabled`).
const DISABLED: &str = "disabled";

/// A server that stands in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenServer {
    /// The name of the backend, or of the `listen` section.
    pub backend: String,
    /// The server's name.
    pub name: String,
    /// What an operator asks of it, if anything.
    pub asked: Option<AdminState>,
    /// What its text makes of it.
    pub own: AdminState,
    /// Its line in the body, counted from 0, as it was written.
    line: usize,
    text: String,
}

impl WrittenServer {
    /// The line as it is to be: with `disabled` behind the address while maintenance is asked for, so that HAProxy comes up
    /// with it. None where that would take more than reading words, as behind quotes; HAProxy is then told when it runs.
    fn line(&self) -> Option<String> {
        if self.asked != Some(AdminState::Maint) || self.own == AdminState::Maint {
            return None;
        }
        let mut rest = self.text.as_str();
        for _ in ["server", "its name", "its address"] {
            rest = rest.trim_start();
            let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(word);
            if word.is_empty() || word.contains(['\\', '"', '\'', '#']) {
                return None;
            }
            rest = behind;
        }
        let (head, tail) = self.text.split_at(self.text.len() - rest.len());
        Some(format!("{head} {DISABLED}{tail}"))
    }
}

/// The servers of `body` that stand in text, in its order. `origins` tells which lines are the spec's own.
pub(super) fn in_text(body: &str, origins: &[String]) -> Vec<WrittenServer> {
    let mut found = Vec::new();
    let mut section = None;
    for (index, text) in body.lines().enumerate() {
        let words = super::quote::split(&text.replace('\t', " "));
        let mut words = words.iter().map(String::as_str);
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        if SECTIONS.contains(&first) {
            let name = second.filter(|_| ["backend", "listen"].contains(&first));
            section = name.map(str::to_owned);
            continue;
        }
        let is_ours = origins
            .get(index)
            .is_some_and(|origin| origin.contains("].servers["));
        if let (Some(backend), "server", Some(name), false) = (&section, first, second, is_ours) {
            let mut words = words.take_while(|word| !word.starts_with('#'));
            let is_disabled = words.any(|word| word == DISABLED);
            found.push(WrittenServer {
                backend: backend.clone(),
                name: name.to_owned(),
                asked: None,
                own: match is_disabled {
                    true => AdminState::Maint,
                    false => AdminState::Ready,
                },
                line: index,
                text: text.to_owned(),
            });
        }
    }
    found
}

/// Writes the line of `server` into `body` as it is to be now.
pub(super) fn put(body: &mut String, server: &WrittenServer) {
    let line = server.line();
    let line = line.as_deref().unwrap_or(&server.text);
    let mut changed = String::with_capacity(body.len() + DISABLED.len() + 1);
    for (index, text) in body.lines().enumerate() {
        changed.push_str(if index == server.line { line } else { text });
        changed.push('\n');
    }
    *body = changed;
}

#[cfg(test)]
#[path = "written_tests.rs"]
mod tests;
