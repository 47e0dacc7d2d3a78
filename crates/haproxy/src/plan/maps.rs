//! Maps of routes that differ from what is wanted.

use std::collections::BTreeMap;

use super::step::MapName;
use super::{Draft, Running, RunningMap, Step};
use crate::render::{Rendered, RenderedMap};

/// Adds the steps that make the maps those of `wanted`.
///
/// Maps stand in the order in which what is new has to come: first the paths of a host, then the host. What goes, goes the
/// other way round.
///
/// # Errors
/// Why only a new process will do.
pub(super) fn compare(
    draft: &mut Draft,
    running: &Running,
    wanted: &Rendered,
    is_same: bool,
) -> Result<(), String> {
    let mut removals = Vec::new();
    for map in wanted.maps() {
        let Some(found) = running.maps.get(&map.name) else {
            return Err(format!("HAProxy has not loaded map {}", map.name));
        };
        if found.entries == map.entries {
            continue;
        }
        let before = draft.steps.len() + removals.len();
        if map.is_ordered {
            draft.steps.push(Step::ReplaceMap {
                map: name(map, found),
                entries: map.entries.clone(),
            });
        } else {
            compare_entries(&mut draft.steps, &mut removals, map, found);
        }
        let differing = draft.steps.len() + removals.len() - before;
        if is_same && differing > 0 {
            let words = format!("map {}: {differing} entries were changed", map.name);
            draft.drift.push(words);
        }
    }
    draft.steps.extend(removals.into_iter().rev());
    Ok(())
}

fn name(map: &RenderedMap, found: &RunningMap) -> MapName {
    MapName {
        name: map.name.clone(),
        id: found.id,
    }
}

fn compare_entries(
    steps: &mut Vec<Step>,
    removals: &mut Vec<Step>,
    map: &RenderedMap,
    found: &RunningMap,
) {
    let mut now: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in &found.entries {
        now.entry(key).or_default().push(value);
    }
    for (key, value) in &map.entries {
        let (map, key_) = (name(map, found), key.clone());
        let value_ = value.clone();
        match now.remove(key.as_str()).as_deref() {
            Some([only]) if only == value => {}
            Some([_]) => steps.push(Step::SetEntry {
                map,
                key: key_,
                value: value_,
            }),
            None => steps.push(Step::AddEntry {
                map,
                key: key_,
                value: value_,
            }),
            // A key twice, which only a hand can do: all go, and one comes back.
            Some(_) => steps.extend([
                Step::RemoveEntry {
                    map: map.clone(),
                    key: key_.clone(),
                },
                Step::AddEntry {
                    map,
                    key: key_,
                    value: value_,
                },
            ]),
        }
    }
    removals.extend(now.into_keys().map(|key| Step::RemoveEntry {
        map: name(map, found),
        key: key.to_owned(),
    }));
}
