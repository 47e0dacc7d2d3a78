//! What of a configuration only a reload can change, section by section.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hafleet_model::Digest;
use serde::{Deserialize, Serialize};

/// Words that begin a section (Configuration Manual, table of contents, and the list in HAProxy 3.x).
pub(super) const SECTIONS: [&str; 21] = [
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
    "dynamic-update",
];

/// A configuration without what the Runtime API can change: two renderings with equal skeletons differ at most in the
/// addresses, ports and weights of servers that both have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Skeleton {
    sections: Vec<(String, Digest)>,
}

impl Skeleton {
    /// The skeleton of a configuration in which changeable values are blanked out already.
    pub(super) fn of(shape: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in shape.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if SECTIONS.contains(&first) {
                let name = words.next().unwrap_or_default();
                let header = format!("{first} {name}").trim_end().to_owned();
                sections.push((header, String::new()));
            } else if sections.is_empty() && !first.is_empty() {
                sections.push(("the beginning".to_owned(), String::new()));
            }
            if let Some((_, text)) = sections.last_mut() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        let digested =
            |(header, text): (String, String)| (header, Digest::of(text.trim_end().as_bytes()));
        Self {
            sections: sections.into_iter().map(digested).collect(),
        }
    }

    /// How `self` differs from the `earlier` one, in words for people; nothing when they are equal.
    pub fn difference_from(&self, earlier: &Self) -> Option<String> {
        if self == earlier {
            return None;
        }
        let (old, new) = (earlier.by_header(), self.by_header());
        let keys_without = |some: &BTreeMap<&str, Vec<Digest>>,
                            others: &BTreeMap<&str, Vec<Digest>>| {
            let keys = some.keys().filter(|key| !others.contains_key(*key));
            keys.map(|key| (*key).to_owned()).collect::<Vec<_>>()
        };
        let changed = new
            .iter()
            .filter(|(key, digests)| old.get(*key).is_some_and(|before| before != *digests))
            .map(|(key, _)| (*key).to_owned());
        let parts = [
            ("changed", changed.collect()),
            ("added", keys_without(&new, &old)),
            ("removed", keys_without(&old, &new)),
        ];
        let mut words = String::new();
        for (verb, headers) in parts {
            append(&mut words, verb, &headers);
        }
        if words.is_empty() {
            words.push_str("sections stand in another order");
        }
        Some(words)
    }

    /// Whether sections called `name`, such as `backend name` and `listen name`, are there and are what they were.
    pub(crate) fn has_same_sections(&self, earlier: &Self, name: &str) -> bool {
        let of = |skeleton: &Self| -> Vec<(String, Digest)> {
            let sections = skeleton.sections.iter();
            let named = sections.filter(|(header, _)| header.split(' ').nth(1) == Some(name));
            named.cloned().collect()
        };
        let now = of(self);
        !now.is_empty() && now == of(earlier)
    }

    fn by_header(&self) -> BTreeMap<&str, Vec<Digest>> {
        let mut map: BTreeMap<&str, Vec<Digest>> = BTreeMap::new();
        for (header, digest) in &self.sections {
            map.entry(header).or_default().push(*digest);
        }
        map
    }
}

/// Adds `frontend web and backend app changed` to a sentence, naming at most four.
fn append(words: &mut String, verb: &str, headers: &[String]) {
    let Some((last, others)) = headers.split_last() else {
        return;
    };
    if !words.is_empty() {
        words.push_str("; ");
    }
    let named = match others.len() {
        0 => last.clone(),
        1..=3 => format!("{} and {last}", others.join(", ")),
        more => format!("{} and {} others", others[..3].join(", "), more - 2),
    };
    let _ = write!(words, "{named} {verb}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_sections() {
        let before = Skeleton::of("global\n  maxconn 1\nfrontend web\n  bind :1\nbackend old\n");
        let after = Skeleton::of("global\n  maxconn 2\nfrontend web\n  bind :1\nbackend new\n");
        assert_eq!(
            after.difference_from(&before).unwrap(),
            "global changed; backend new added; backend old removed"
        );
        assert_eq!(after.difference_from(&after), None);
    }

    #[test]
    fn a_new_order_is_a_difference() {
        let before = Skeleton::of("backend a\nbackend b\n");
        let after = Skeleton::of("backend b\nbackend a\n");
        assert!(after.difference_from(&before).unwrap().contains("order"));
    }

    #[test]
    fn many_sections_are_counted() {
        let text: String = (0..9).map(|n| format!("backend b{n}\n")).collect();
        let words = Skeleton::of(&text)
            .difference_from(&Skeleton::of(""))
            .unwrap();
        assert_eq!(
            words,
            "backend b0, backend b1, backend b2 and 6 others added"
        );
    }
}
