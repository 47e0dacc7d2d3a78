//! What one load balancer contributes to an answer: made where its statistics are, put together where the question was
//! asked.

use std::time::Duration;

use jiff::Timestamp;

use crate::answer::Missing;
use crate::info::ProcessInfo;
use crate::statistics::{Columns, RowKind, Selection, Statistics, StatisticsError};
use crate::tally::Tally;

/// The most names of backends that are told where the one that was asked about is not there.
const NAMED_BACKENDS: usize = 20;

/// What a question needs of each load balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How the servers of this backend stand.
    pub backend: Option<String>,
    /// How the backends of these servers stand, with them and without: `SERVER` or `BACKEND/SERVER`.
    pub servers: Vec<String>,
    /// How many connections there are.
    pub connections: bool,
    /// Certificates that end before this.
    pub certificates_until: Option<Timestamp>,
    /// Rows and columns of the statistics.
    pub table: Option<Selection>,
    /// Fields of the process.
    pub info: Columns,
}

impl Wanted {
    /// The kinds of rows that are needed, so that HAProxy need not write the others.
    pub fn kinds(&self) -> Vec<RowKind> {
        let mut kinds: Vec<RowKind> = self
            .table
            .iter()
            .flat_map(|table| table.kinds.iter().copied())
            .collect();
        if self.backend.is_some() || !self.servers.is_empty() {
            kinds.extend([RowKind::Backend, RowKind::Server]);
        }
        if self.connections {
            kinds.push(RowKind::Frontend);
        }
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Whether the process's own fields are needed.
    pub fn needs_info(&self) -> bool {
        self.info != Columns::default()
    }

    /// The map: what `reading` has of what is wanted.
    pub fn part(&self, reading: &Reading) -> Part {
        let page = &reading.statistics;
        let mut part = Part {
            facts: reading.facts.clone(),
            age: reading.age,
            ..Part::default()
        };
        if let Some(backend) = &self.backend {
            part.tallies.extend(Tally::of(page, backend, |_| false));
            if part.tallies.is_empty() {
                let names = page.of(RowKind::Backend).map(|row| row.proxy().to_owned());
                part.backends = names.take(NAMED_BACKENDS).collect();
            }
        }
        if !self.servers.is_empty() {
            part.tallies.extend(self.impacts(page));
        }
        if self.connections {
            let sum = |column| {
                let frontends = page.of(RowKind::Frontend);
                frontends
                    .filter_map(|row| row.number(column))
                    .fold(0, u64::saturating_add)
            };
            part.connections = Some(sum("scur"));
        }
        if let Some(until) = self.certificates_until {
            let certificates = reading.certificates.iter();
            part.certificates = certificates
                .filter(|certificate| certificate.not_after.is_none_or(|end| end <= until))
                .cloned()
                .collect();
            part.certificate_count = u32::try_from(reading.certificates.len()).unwrap_or(u32::MAX);
        }
        part.table = self.table.as_ref().map(|selection| page.select(selection));
        part.info = ProcessInfo::parse(&reading.info.lines(&self.info));
        part
    }

    /// The backends that have one of the servers, with them and without.
    pub(crate) fn impacts(&self, page: &Statistics) -> Vec<Tally> {
        let means = |backend: &str, server: &str| {
            self.servers
                .iter()
                .any(|wanted| match wanted.split_once('/') {
                    Some((of, name)) => of == backend && name == server,
                    None => wanted == server,
                })
        };
        let mut backends: Vec<&str> = page
            .of(RowKind::Server)
            .filter(|row| means(row.proxy(), row.service()))
            .map(crate::statistics::Row::proxy)
            .collect();
        backends.dedup();
        let tallies = backends.into_iter();
        tallies
            .filter_map(|backend| Tally::of(page, backend, |server| means(backend, server)))
            .collect()
    }
}

/// What is known of a load balancer besides HAProxy's own figures. Of one that no agent manages there is no more than its
/// name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The node's id, or where its statistics were read.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
    /// Where clients reach it.
    pub address: String,
    /// The agent's version.
    pub agent_version: String,
    /// The newest spec that it has stored, TERM.SEQUENCE.
    pub held_revision: String,
    /// The spec that its HAProxy runs, TERM.SEQUENCE.
    pub applied_revision: String,
    /// Why its HAProxy does not run the newest spec or endpoints; empty when it does, or is about to.
    pub apply_error: String,
    /// The endpoints that its HAProxy has, TERM.SEQUENCE.
    pub applied_endpoints: String,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether somebody drained it.
    pub is_drained: bool,
    /// Old HAProxy processes that are finishing.
    pub old_processes: u32,
    /// Connections that those still have.
    pub old_connections: u64,
}

/// A certificate and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// Which, such as `www.example.com.pem` or `of node lb1`.
    pub name: String,
    /// When it ends; none when it cannot be read.
    pub not_after: Option<Timestamp>,
}

/// All that was read of one load balancer.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Which, and how it stands.
    pub facts: Facts,
    /// Its statistics.
    pub statistics: Statistics,
    /// Its process.
    pub info: ProcessInfo,
    /// The certificates that it has.
    pub certificates: Vec<CertificateEnd>,
    /// Since its HAProxy wrote that.
    pub age: Duration,
}

/// What one load balancer contributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Which, and how it stands.
    pub facts: Facts,
    /// Since its HAProxy wrote that.
    pub age: Duration,
    /// The backends that were asked about.
    pub tallies: Vec<Tally>,
    /// The names of some backends, where the one that was asked about is not there.
    pub backends: Vec<String>,
    /// Connections of clients.
    pub connections: Option<u64>,
    /// Certificates that end early.
    pub certificates: Vec<CertificateEnd>,
    /// How many there are.
    pub certificate_count: u32,
    /// Rows and columns of the statistics.
    pub table: Option<Statistics>,
    /// Fields of the process.
    pub info: ProcessInfo,
}

impl Part {
    /// The table as text, for the wire; empty when there is none.
    pub fn table_text(&self) -> String {
        self.table
            .as_ref()
            .map(Statistics::to_csv)
            .unwrap_or_default()
    }

    /// Reads [`Self::table_text`].
    ///
    /// # Errors
    /// When it is no statistics page.
    pub fn read_table(text: &str) -> Result<Option<Statistics>, StatisticsError> {
        if text.is_empty() {
            return Ok(None);
        }
        Statistics::parse(text).map(Some)
    }
}

/// What was asked of all load balancers, and came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those that answered.
    pub parts: Vec<Part>,
    /// Those that did not.
    pub missing: Vec<Missing>,
    /// The newest spec that anybody is known to have, TERM.SEQUENCE; empty without agents, and before the first.
    pub newest_revision: String,
    /// The same of the endpoints.
    pub newest_endpoints: String,
}

impl Asked {
    /// Takes data that is older than `limit` for missing.
    #[must_use]
    pub fn no_older_than(self, limit: Duration) -> Self {
        let (old, parts): (Vec<_>, Vec<_>) =
            self.parts.into_iter().partition(|part| part.age > limit);
        let mut missing = self.missing;
        missing.extend(old.into_iter().map(|part| Missing {
            reason: format!(
                "its data is {} s old, and --max-age is {} s",
                part.age.as_secs(),
                limit.as_secs_f64()
            ),
            lb: part.facts.id,
        }));
        missing.sort_by(|one, other| one.lb.cmp(&other.lb));
        Self {
            parts,
            missing,
            ..self
        }
    }

    /// Whether so many are missing, or nobody answered, that there is no answer; in words.
    pub fn is_too_few(&self, allow_missing: u32) -> Option<String> {
        if self.parts.is_empty() {
            return Some(match self.missing.first() {
                Some(first) => format!("no load balancer answered; {}: {}", first.lb, first.reason),
                None => "there is no load balancer to ask".to_owned(),
            });
        }
        let missing = u32::try_from(self.missing.len()).unwrap_or(u32::MAX);
        if missing <= allow_missing {
            return None;
        }
        let all = self.missing.len() + self.parts.len();
        let named: Vec<_> = self
            .missing
            .iter()
            .take(5)
            .map(|missing| missing.lb.as_str())
            .collect();
        let more = self.missing.len() - named.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(format!(
            "{missing} of {all} load balancers did not answer: {}{more}",
            named.join(", ")
        ))
    }
}
