//! What all load balancers see of a backend's servers, and what that means for a roll. Values in, values out.

use std::collections::BTreeMap;

use hafleet_query::Expression;
use serde_json::Value;

use crate::failure::Failure;

/// The servers of one backend, as all load balancers see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Names, in the order of the configuration, with active servers before backups.
    order: Vec<String>,
    /// How many load balancers there are.
    lbs: usize,
    /// By server and load balancer.
    servers: BTreeMap<String, BTreeMap<String, Seen>>,
}

/// A server as one load balancer sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    state: String,
    sessions: u64,
    /// Its checks do not pass.
    is_failing: bool,
    address: String,
}

impl Seen {
    fn takes_traffic(&self) -> bool {
        matches!(self.state.as_str(), "up" | "going_down" | "unchecked")
    }

    fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "up" | "unchecked")
    }
}

/// The question whose value [`Sighting::read`] reads.
pub(super) fn question(backend: &str) -> Result<Expression, Failure> {
    let name = Value::from(backend).to_string();
    let is_failing = "has(s.check_health) && has(s.check_rise) && has(s.check_fall) \
        && s.check_health < s.check_rise + s.check_fall - 1";
    let text = format!(
        "lbs.map(lb, [[lb.id]] + lb.servers.filter(s, s.backend == {name}).map(s, \
         [s.name, s.state, string(s.scur + s.qcur), has(s.addr) ? s.addr : '', \
         {is_failing} ? 'failing' : '', s.backup ? 'backup' : '']))"
    );
    Expression::compile(&text).map_err(Failure::invalid)
}

impl Sighting {
    /// Reads the value of [`question`]; none when it has another form.
    pub(super) fn read(value: Value) -> Option<Self> {
        let lbs: Vec<Vec<Vec<String>>> = serde_json::from_value(value).ok()?;
        let mut sighting = Self {
            lbs: lbs.len(),
            ..Self::default()
        };
        let mut backups = Vec::new();
        for lb in &lbs {
            let (id, rows) = lb.split_first()?;
            for row in rows {
                let [name, state, sessions, address, failing, backup] = row.as_slice() else {
                    return None;
                };
                let seen = Seen {
                    state: state.clone(),
                    sessions: sessions.parse().ok()?,
                    is_failing: !failing.is_empty(),
                    address: address.clone(),
                };
                if !sighting.servers.contains_key(name) {
                    let order = if backup.is_empty() {
                        &mut sighting.order
                    } else {
                        &mut backups
                    };
                    order.push(name.clone());
                }
                let by_lb = sighting.servers.entry(name.clone()).or_default();
                by_lb.insert(id.first()?.clone(), seen);
            }
        }
        sighting.order.append(&mut backups);
        Some(sighting)
    }

    /// All servers, in the order in which they are rolled.
    pub(super) fn names(&self) -> &[String] {
        &self.order
    }

    fn of<'a>(&'a self, server: &str) -> impl Iterator<Item = (&'a String, &'a Seen)> + use<'a> {
        self.servers.get(server).into_iter().flatten()
    }

    /// Where it listens, and on which port, if a load balancer says so.
    pub(super) fn address(&self, server: &str) -> (String, String) {
        let address = self.of(server).find(|(_, seen)| !seen.address.is_empty());
        let address = address.map(|(_, seen)| seen.address.as_str());
        let (host, port) = address
            .and_then(|text| text.rsplit_once(':'))
            .unwrap_or(("", ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), port.to_owned())
    }

    /// Whether no load balancer sends it anything that is balanced.
    pub(super) fn is_out(&self, server: &str) -> bool {
        self.of(server).all(|(_, seen)| !seen.takes_traffic())
    }

    /// The load balancers that still send it traffic.
    pub(super) fn sending(&self, server: &str) -> Vec<&str> {
        let sending = self.of(server).filter(|(_, seen)| seen.takes_traffic());
        sending.map(|(lb, _)| lb.as_str()).collect()
    }

    /// Its sessions on all load balancers, and those that wait for it.
    pub(super) fn sessions(&self, server: &str) -> u64 {
        self.of(server).map(|(_, seen)| seen.sessions).sum()
    }

    /// The load balancers whose checks of it do not pass.
    pub(super) fn failing(&self, server: &str) -> Vec<&str> {
        let failing = self.of(server).filter(|(_, seen)| seen.is_failing);
        failing.map(|(lb, _)| lb.as_str()).collect()
    }

    /// The load balancers that see it up.
    pub(super) fn up(&self, server: &str) -> Vec<&str> {
        let up = self.of(server).filter(|(_, seen)| seen.is_up());
        up.map(|(lb, _)| lb.as_str()).collect()
    }

    /// Whether every load balancer sees it up.
    pub(super) fn is_up(&self, server: &str) -> bool {
        self.lbs > 0 && self.up(server).len() == self.lbs
    }

    /// Whether somebody has taken it out of service: it drains or is in maintenance on some load balancer.
    pub(super) fn is_taken_out(&self, server: &str) -> bool {
        let is_deliberate = |state: &str| matches!(state, "draining" | "maintenance" | "stopping");
        self.of(server).any(|(_, seen)| is_deliberate(&seen.state))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, state: &str, sessions: u64, failing: &str, backup: &str) -> Value {
        json!([
            name,
            state,
            sessions.to_string(),
            "10.0.0.5:8080",
            failing,
            backup
        ])
    }

    fn sighting() -> Sighting {
        let value = json!([
            [
                ["lb1"],
                row("b1", "up", 0, "", "backup"),
                row("s1", "up", 3, "", ""),
                row("s2", "draining", 1, "failing", "")
            ],
            [
                ["lb2"],
                row("b1", "up", 0, "", "backup"),
                row("s1", "going_down", 4, "failing", ""),
                row("s2", "down", 0, "", "")
            ],
        ]);
        Sighting::read(value).unwrap()
    }

    #[test]
    fn all_load_balancers_have_to_agree() {
        let seen = sighting();
        assert_eq!(seen.names(), ["s1", "s2", "b1"]);
        assert!(!seen.is_up("s1") && seen.is_up("b1") && !seen.is_up("nobody"));
        assert!(!seen.is_out("s1") && seen.is_out("s2"));
        assert!(seen.is_taken_out("s2") && !seen.is_taken_out("s1"));
        assert_eq!((seen.sessions("s1"), seen.sessions("s2")), (7, 1));
        assert_eq!(seen.sending("s1"), ["lb1", "lb2"]);
        assert_eq!(
            (seen.up("s1"), seen.failing("s1")),
            (vec!["lb1"], vec!["lb2"])
        );
        assert_eq!(seen.address("s1"), ("10.0.0.5".into(), "8080".into()));
    }

    #[test]
    fn a_server_that_one_does_not_have_is_not_up() {
        let value = json!([[["lb1"], row("s1", "up", 0, "", "")], [["lb2"]]]);
        let seen = Sighting::read(value).unwrap();
        assert!(!seen.is_up("s1"));
        assert!(!Sighting::default().is_up("s1"));
    }

    #[test]
    fn the_question_is_one_and_other_values_are_refused() {
        assert!(question("a\"b'").is_ok());
        for value in [json!(1), json!([[]]), json!([[["lb1"], ["s1"]]])] {
            assert_eq!(Sighting::read(value), None);
        }
    }
}
