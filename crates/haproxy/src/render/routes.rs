//! Routes as maps, so that a host or a path more or less is an entry and not a rule.
//!
//! A spec says: the first route that matches decides. Maps know no order; they find a key, or the longest beginning of
//! one. So the routes are compiled into a form in which the most specific match is the first one.
//!
//! - Each host name, each wildcard and "any host" is a *group* with its own table of path prefixes, in which the longest
//!   one that matches decides. Keys are the group's name and the prefix: `shop.example.com/api/`.
//! - Within a group, a prefix that comes after a shorter one which covers it can never decide, and is left out. What is left
//!   has each longer prefix before its shorter ones, so that longest and first are the same.
//! - A request asks the table of its host name; if that has nothing for the path, that of the longest wildcard; then that of
//!   any host. Where a less specific route stands *before* a more specific one and overlaps it, it is entered in the more
//!   specific one's table as well, and so keeps its precedence.
//!
//! That last case can multiply entries. Beyond [`MAX_ENTRIES`] the routes stay rules, one a line.
//!
//! A route that takes its prefix off the path has the prefix's length after its backend's name, as `api/4`
//! ([`super::strip`]): what a look-up finds says both.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::spec::Route;

use super::condition::{HostPattern, normal_host, normal_prefix};
use super::strip;

/// The most entries that routes of one frontend may become.
const MAX_ENTRIES: usize = 100_000;

/// A map file of a frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMap {
    /// Its name, such as `web.paths`; the file's is that with `.map`.
    pub name: String,
    /// Keys and values, in the order of the file.
    pub entries: Vec<(String, String)>,
    /// Whether the order means something: the first key that is the end of a host decides.
    pub is_ordered: bool,
}

impl RenderedMap {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.map", self.name)
    }

    /// The content of its file (Configuration Manual, section 7.3.1, `map`).
    pub(crate) fn text(&self) -> String {
        let lines = self.entries.iter();
        lines
            .map(|(key, value)| format!("{key} {value}\n"))
            .collect()
    }
}

/// One route as the maps see it.
#[derive(Debug)]
struct Rule<'a> {
    host: Option<HostPattern>,
    prefix: String,
    /// Where it leads: a backend, and what becomes of the path.
    target: Cow<'a, str>,
}

/// The maps of `routes` of the frontend `name`: of host names, of wildcards, and of paths. None when they would be too large.
pub(super) fn maps(name: &str, routes: &[Route]) -> Option<[RenderedMap; 3]> {
    let tables = compile(routes, MAX_ENTRIES)?;
    let of = |kind: &str, entries, is_ordered| RenderedMap {
        name: format!("{name}.{kind}"),
        entries,
        is_ordered,
    };
    Some([
        of("paths", tables.paths, false),
        of("wildcards", tables.wildcards, true),
        of("hosts", tables.hosts, false),
    ])
}

/// The contents of the three maps.
#[derive(Debug, Default)]
struct Tables {
    hosts: Vec<(String, String)>,
    wildcards: Vec<(String, String)>,
    paths: Vec<(String, String)>,
}

fn compile(routes: &[Route], max_entries: usize) -> Option<Tables> {
    let rules: Vec<_> = routes
        .iter()
        .map(|route| Rule {
            host: route.host.as_deref().map(normal_host),
            prefix: route
                .path_prefix
                .as_deref()
                .map_or("/".to_owned(), normal_prefix),
            target: strip::target(route),
        })
        .collect();
    let mut of_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let (mut suffixes, mut general) = (BTreeSet::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        match &rule.host {
            Some(HostPattern::Exact(host)) => of_host.entry(host).or_default().push(index),
            Some(HostPattern::Below(suffix)) => {
                suffixes.insert(suffix.as_str());
                general.push(index);
            }
            None => general.push(index),
        }
    }
    let mut tables = Tables::default();
    for (host, own) in &of_host {
        let matching = general.iter().filter(|index| match &rules[**index].host {
            Some(HostPattern::Below(suffix)) => host.ends_with(suffix),
            _ => true,
        });
        let mut all: Vec<_> = matching.chain(own).copied().collect();
        all.sort_unstable();
        let is_own = |rule: &Rule<'_>| matches!(rule.host, Some(HostPattern::Exact(_)));
        let before = tables.paths.len();
        table(&rules, &all, is_own, host, &mut tables.paths);
        if tables.paths.len() > before {
            tables.hosts.push(((*host).to_owned(), (*host).to_owned()));
        }
        if tables.paths.len() > max_entries {
            return None;
        }
    }
    for suffix in &suffixes {
        let matching = general.iter().filter(|index| match &rules[**index].host {
            Some(HostPattern::Below(other)) => suffix.ends_with(other.as_str()),
            _ => true,
        });
        let all: Vec<_> = matching.copied().collect();
        let group = format!("*{suffix}");
        table(
            &rules,
            &all,
            |rule| rule.host.is_some(),
            &group,
            &mut tables.paths,
        );
        tables.wildcards.push(((*suffix).to_owned(), group));
        if tables.paths.len() > max_entries {
            return None;
        }
    }
    general.retain(|index| rules[*index].host.is_none());
    table(&rules, &general, |_| true, "", &mut tables.paths);
    tables.paths.sort_unstable();
    // The longest end of a host is to be found first.
    let by_length = |(suffix, _): &(String, String)| (usize::MAX - suffix.len(), suffix.clone());
    tables.wildcards.sort_by_key(by_length);
    (tables.paths.len() <= max_entries).then_some(tables)
}

/// Enters the table of one group: of `all` rules that match it, in the spec's order, those that are its own, and those
/// that stand before one that is entered and overlap it.
fn table(
    rules: &[Rule<'_>],
    all: &[usize],
    is_own: impl Fn(&Rule<'_>) -> bool,
    group: &str,
    entries: &mut Vec<(String, String)>,
) {
    let mut kept: Vec<&Rule<'_>> = Vec::new();
    for rule in all.iter().rev().map(|index| &rules[*index]) {
        let overlaps = |other: &&Rule<'_>| {
            rule.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&rule.prefix)
        };
        if is_own(rule) || kept.iter().any(overlaps) {
            kept.push(rule);
        }
    }
    let mut taken = BTreeSet::new();
    for rule in kept.into_iter().rev() {
        let is_covered = rule
            .prefix
            .match_indices('/')
            .any(|(at, _)| taken.contains(&rule.prefix[..=at]));
        if !is_covered {
            taken.insert(rule.prefix.as_str());
            entries.push((format!("{group}{}", rule.prefix), rule.target.to_string()));
        }
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
