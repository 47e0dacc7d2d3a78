//! What discovery found for a fleet: through its agents' status, and through the servers that answer.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hafleet_api::v1;

use super::{Fleet, OUTSIDE, PATIENCE};
use crate::backend::Backend;
use crate::deadline::wait_for;
use crate::request::ask_from;

impl Fleet {
    /// Starts servers outside on `ports`, each of which answers with `s` and its port.
    pub fn start_servers(&self, ports: impl IntoIterator<Item = u16>) -> Vec<Backend> {
        let server = |port| {
            let address = SocketAddr::from((OUTSIDE, port));
            Backend::start(self.outside(), address, &format!("s{port}"))
        };
        ports.into_iter().map(server).collect()
    }

    /// Where servers outside are.
    pub fn outside_address(&self) -> Ipv4Addr {
        OUTSIDE
    }

    /// The sources, as an administrator who knows only node `number` sees them.
    ///
    /// # Errors
    /// What the command says when it fails.
    pub fn sources(&self, number: usize) -> Result<v1::ListSourcesResponse, String> {
        let finished = self.client_of(number).run(&["sources", "--output", "json"]);
        match finished.code {
            Some(0) => Ok(finished.json()),
            _ => Err(finished.to_string()),
        }
    }

    /// Waits until the sources satisfy `condition`, and returns them.
    pub fn wait_sources(
        &self,
        number: usize,
        what: &str,
        condition: impl Fn(&v1::ListSourcesResponse) -> bool,
    ) -> v1::ListSourcesResponse {
        wait_for(what, PATIENCE, || match self.sources(number) {
            Ok(sources) if condition(&sources) => Ok(sources),
            other => Err(format!("{other:#?}")),
        })
    }

    /// The revision of the endpoints that node `number` holds; empty before the first.
    pub fn endpoints(&self, number: usize) -> String {
        let status = self
            .status_of(number)
            .expect("a node that is asked for its revision answers");
        let endpoints = status.endpoints.map(|info| info.revision);
        endpoints.unwrap_or_default()
    }

    /// Waits until each of the nodes `numbers` sends requests to exactly `servers`, one after the other.
    pub fn wait_served_from(&self, numbers: &[usize], servers: &[Backend]) {
        let names: Vec<_> = servers.iter().map(name).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.wait_answered_by(numbers, &names);
    }

    /// Waits until each of the nodes `numbers` sends requests to exactly those servers that answer with `names`.
    pub fn wait_answered_by(&self, numbers: &[usize], names: &[&str]) {
        for number in numbers {
            let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
            wait_for("a node has exactly these servers", PATIENCE, || {
                let found = self.answering(*number, 2 * names.len())?;
                match found == wanted {
                    true => Ok(()),
                    false => Err(format!("node {number}: {found:?} answer, not {wanted:?}")),
                }
            });
        }
    }

    /// Asserts that node `number` sends requests to exactly `servers` now.
    #[track_caller]
    pub fn assert_served_from(&self, number: usize, servers: &[Backend]) {
        let wanted: BTreeSet<_> = servers.iter().map(name).collect();
        assert_eq!(self.answering(number, 2 * servers.len()), Ok(wanted));
    }

    /// Who answers `count` requests to node `number`.
    ///
    /// # Errors
    /// How one of them failed.
    fn answering(&self, number: usize, count: usize) -> Result<BTreeSet<String>, String> {
        let traffic = self.node(number).traffic();
        let ask = |_| {
            let answer = ask_from(self.outside(), traffic, Duration::from_secs(5));
            answer
                .map(|answer| answer.body)
                .map_err(|fault| format!("node {number}: {fault:?}"))
        };
        (0..count.max(1)).map(ask).collect()
    }
}

fn name(server: &Backend) -> String {
    format!("s{}", server.address().port())
}
