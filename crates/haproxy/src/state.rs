//! The state of servers, carried from a process to the one that takes its place: health, weight, slow start, and what an
//! operator asked of them.
//!
//! HAProxy writes it (`show servers state`) and reads it at its start (`server-state-file`, Configuration Manual, section
//! 3.1). It knows servers by their names alone; so those that are not what they were are left out, and begin afresh.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Known;
use crate::render::{Rendered, RenderedServer};
use crate::runtime::AdminState;
use crate::warming::Warming;

/// A state file in which no server has a state: all begin afresh.
pub(crate) const EMPTY: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
    bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
    srv_agent_addr srv_agent_port\n";

/// `srv_op_state` of a server in its slow start, and of one that has its whole share.
const STARTING: &str = "1";
const RUNNING: &str = "2";

/// The part of `reply`, the answer to `show servers state` of a process that was brought to `known`, that holds for
/// `wanted`, and the servers that are to go on warming, of which those `warming` did so before. Rows that are not understood
/// are left out.
pub(crate) fn carry(
    reply: &str,
    known: &Known,
    wanted: &Rendered,
    warming: &Warming,
    now: Instant,
) -> (String, Warming) {
    let mut goes_on = Warming::default();
    let mut lines = reply.lines();
    let (version, header) = (lines.next(), lines.next());
    let (Some("1"), Some(names)) = (version, header.and_then(|line| line.strip_prefix("# ")))
    else {
        return (EMPTY.to_owned(), goes_on);
    };
    let columns = Columns::of(names);
    let servers: BTreeMap<_, _> = wanted
        .servers()
        .map(|server| ((server.backend.as_str(), server.name.as_str()), server))
        .collect();
    let asked = asked_of_written(known, wanted);
    let mut carried = format!("1\n# {names}\n");
    let mut forms: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for line in lines {
        let mut row: Vec<&str> = line.split_whitespace().collect();
        let (Some(backend), Some(name)) =
            (columns.get(&row, "be_name"), columns.get(&row, "srv_name"))
        else {
            continue;
        };
        let Some(server) = servers.get(&(backend, name)) else {
            // One of a raw section.
            if wanted
                .skeleton()
                .has_same_sections(&known.skeleton, backend)
                && wanted.backends().iter().all(|known| known.name != backend)
                && asked
                    .get(&(backend, name))
                    .is_none_or(|asked| columns.admin(&row) == Some(*asked))
            {
                carried.push_str(line);
                carried.push('\n');
            }
            continue;
        };
        let forms = forms
            .entry(&server.backend)
            .or_insert_with(|| known.servers.forms(&server.backend));
        let is_same_check = known.checks.get(backend) == wanted.checks().get(backend);
        let is_same_form = forms.get(name) == Some(&server.form.as_str());
        if !is_same_check || !is_same_form || !columns.is_unmoved(&row, server) {
            continue;
        }
        let elapsed = warming.elapsed(server, now);
        let elapsed = elapsed.or_else(|| columns.warmed(&row));
        let elapsed = elapsed.filter(|_| server.is_weight_ours);
        let share = elapsed.and_then(|elapsed| goes_on.begin(server, elapsed, now));
        let weight = server.weight.to_string();
        let share_word = share.map(|share| share.to_string());
        if server.is_weight_ours {
            // Or a weight that was set at run time would outlive the one that is wanted now.
            let now = share_word.as_deref().unwrap_or(&weight);
            columns.set(&mut row, "srv_uweight", now);
            columns.set(&mut row, "srv_iweight", &weight);
        }
        if share.is_some() && columns.get(&row, "srv_op_state") == Some(STARTING) {
            columns.set(&mut row, "srv_op_state", RUNNING);
        }
        carried.push_str(&row.join(" "));
        carried.push('\n');
    }
    (carried, goes_on)
}

/// What is asked of the servers that stand in text, of which anything is or was. A row with another state is not carried: what
/// was asked of the process before would go on in the one that takes its place.
fn asked_of_written<'a>(
    known: &Known,
    wanted: &'a Rendered,
) -> BTreeMap<(&'a str, &'a str), AdminState> {
    let asked = wanted.written().iter().filter_map(|server| {
        let before = known.asked_of_written(server);
        let asked = server.asked.or(before.map(|_| server.own))?;
        Some(((server.backend.as_str(), server.name.as_str()), asked))
    });
    asked.collect()
}

/// Where each column is.
struct Columns<'a>(BTreeMap<&'a str, usize>);

impl<'a> Columns<'a> {
    fn of(names: &'a str) -> Self {
        let names = names.split_whitespace().enumerate();
        Self(names.map(|(index, name)| (name, index)).collect())
    }

    fn get<'r>(&self, row: &[&'r str], name: &str) -> Option<&'r str> {
        row.get(*self.0.get(name)?).copied()
    }

    fn set<'r>(&self, row: &mut [&'r str], name: &str, value: &'r str) {
        if let Some(cell) = self.0.get(name).and_then(|index| row.get_mut(*index)) {
            *cell = value;
        }
    }

    /// How long ago the slow start began in which the row's server is.
    fn warmed(&self, row: &[&str]) -> Option<Duration> {
        self.get(row, "srv_op_state")
            .filter(|state| *state == STARTING)?;
        let secs = self.get(row, "srv_time_since_last_change")?.parse().ok()?;
        Some(Duration::from_secs(secs))
    }

    /// Whether the row is of a server at the same place, in the state that is asked of it.
    fn is_unmoved(&self, row: &[&str], server: &RenderedServer) -> bool {
        let address = self.get(row, "srv_addr");
        let is_here = match server.address {
            Some(wanted) => address.and_then(|text| text.parse().ok()) == Some(wanted),
            // A host name is part of the form.
            None => true,
        };
        let port = self.get(row, "srv_port").and_then(|text| text.parse().ok());
        is_here && port == Some(server.port) && self.admin(row) == Some(server.admin)
    }

    /// What an operator asked of the row's server.
    fn admin(&self, row: &[&str]) -> Option<AdminState> {
        let bits = self.get(row, "srv_admin_state")?.parse().ok()?;
        Some(AdminState::of(bits))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
