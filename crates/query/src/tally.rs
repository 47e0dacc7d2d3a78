//! How many servers of a backend are in which state, on one load balancer: the small part of its statistics from which
//! most questions are answered.

use std::collections::BTreeMap;

use crate::server::ServerState;
use crate::statistics::{RowKind, Statistics};

/// The most servers that a tally names.
const NAMED: usize = 5;

/// The servers of one backend on one load balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The backend.
    pub backend: String,
    /// Active servers, by state.
    pub active: BTreeMap<ServerState, u32>,
    /// Backup servers, by state: they serve only while no active server does.
    pub backup: BTreeMap<ServerState, u32>,
    /// The same without the servers that are asked about; equal to the others where none is.
    pub remaining: Remaining,
    /// Up to five servers that are not up, with HAProxy's words for their state.
    pub not_up: Vec<(String, String)>,
}

/// What is left of a backend without the servers that are asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Active servers, by state.
    pub active: BTreeMap<ServerState, u32>,
    /// Backup servers, by state.
    pub backup: BTreeMap<ServerState, u32>,
}

/// Some servers by state.
pub fn count(servers: &BTreeMap<ServerState, u32>, state: ServerState) -> u32 {
    servers.get(&state).copied().unwrap_or_default()
}

/// All servers whatever their state.
pub fn total(servers: &BTreeMap<ServerState, u32>) -> u32 {
    servers.values().sum()
}

impl Tally {
    /// Counts the servers of `backend`; none when the load balancer has no such backend. `without` says which servers are
    /// left out of what remains.
    pub fn of(page: &Statistics, backend: &str, without: impl Fn(&str) -> bool) -> Option<Self> {
        page.backend(backend)?;
        let mut tally = Self {
            backend: backend.to_owned(),
            ..Self::default()
        };
        for row in page
            .of(RowKind::Server)
            .filter(|row| row.proxy() == backend)
        {
            let status = row.field("status").unwrap_or_default();
            let state = ServerState::read(status, row.field("weight"));
            let is_backup = row.number("bck").is_some_and(|count| count > 0);
            let stays = !without(row.service());
            let (servers, remaining) = if is_backup {
                (&mut tally.backup, &mut tally.remaining.backup)
            } else {
                (&mut tally.active, &mut tally.remaining.active)
            };
            *servers.entry(state).or_default() += 1;
            if stays {
                *remaining.entry(state).or_default() += 1;
            }
            if state != ServerState::Up && tally.not_up.len() < NAMED {
                let words = if state == ServerState::Draining && !status.starts_with("DRAIN") {
                    format!("{status}, weight 0")
                } else {
                    status.to_owned()
                };
                tally.not_up.push((row.service().to_owned(), words));
            }
        }
        Some(tally)
    }

    /// Active servers that are up for sure.
    pub fn up(&self) -> u32 {
        count(&self.active, ServerState::Up)
    }

    /// Active servers, whatever their state.
    pub fn total(&self) -> u32 {
        total(&self.active)
    }

    /// The servers that are not up, in words; empty when all are.
    pub fn exceptions(&self) -> String {
        let not_up =
            self.total() + total(&self.backup) - self.up() - count(&self.backup, ServerState::Up);
        let named: Vec<_> = self
            .not_up
            .iter()
            .map(|(server, words)| format!("{server} {words}"))
            .collect();
        let unnamed = usize::try_from(not_up)
            .unwrap_or_default()
            .saturating_sub(named.len());
        match (named.is_empty(), unnamed) {
            (true, _) => String::new(),
            (false, 0) => named.join(", "),
            (false, more) => format!("{} and {more} more", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# pxname,svname,status,weight,act,bck,type,\n\
        app,s1,UP,1,1,0,2,\napp,s2,UP,0,1,0,2,\napp,s3,UP 1/3,1,1,0,2,\napp,b1,UP,1,0,1,2,\napp,b2,MAINT,1,0,1,2,\n\
        app,BACKEND,UP,1,1,1,1,\nother,s1,DOWN,1,1,0,2,\nother,BACKEND,DOWN,0,0,0,1,\n";

    #[test]
    fn backups_and_states_are_counted_apart() {
        let page = Statistics::parse(PAGE).unwrap();
        let tally = Tally::of(&page, "app", |server| server == "s1").unwrap();
        assert_eq!((tally.up(), tally.total()), (1, 3));
        assert_eq!(count(&tally.active, ServerState::Draining), 1);
        assert_eq!(count(&tally.active, ServerState::GoingDown), 1);
        assert_eq!(count(&tally.backup, ServerState::Up), 1);
        assert_eq!(count(&tally.backup, ServerState::Maintenance), 1);
        assert_eq!(count(&tally.remaining.active, ServerState::Up), 0);
        assert_eq!(total(&tally.remaining.active), 2);
        assert_eq!(tally.exceptions(), "s2 UP, weight 0, s3 UP 1/3, b2 MAINT");
    }

    #[test]
    fn a_backend_that_is_not_there_has_no_tally() {
        let page = Statistics::parse(PAGE).unwrap();
        assert_eq!(Tally::of(&page, "missing", |_| false), None);
    }
}
