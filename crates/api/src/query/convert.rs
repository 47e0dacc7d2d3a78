//! Questions, parts and answers, and their messages.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hafleet_query::checks::Share;
use hafleet_query::part::{CertificateEnd, Facts};
use hafleet_query::statistics::{Columns, RowKind, Selection};
use hafleet_query::tally::{Remaining, Tally};
use hafleet_query::{
    Answer, Check, Datum, Evaluation, Missing, Part, ProcessInfo, ServerState, Standing, Verdict,
    Wanted,
};
use jiff::Timestamp;

use super::Terms;
use crate::convert::{BadAnswer, bad, timestamp};
use crate::{Failure, v1};

/// The longest time that a question may name: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads the terms of a question; what is absent is as usual.
///
/// # Errors
/// When a time is negative or too long.
pub fn terms(message: Option<v1::QuestionTerms>) -> Result<Terms, Failure> {
    let usual = Terms::default();
    let Some(message) = message else {
        return Ok(usual);
    };
    let read = |field, given: Option<pbjson_types::Duration>, usual| match given {
        Some(given) => duration(field, &given),
        None => Ok(usual),
    };
    Ok(Terms {
        allow_missing: message.allow_missing,
        node_timeout: read(
            "terms.node_timeout",
            message.node_timeout,
            usual.node_timeout,
        )?,
        max_age: read("terms.max_age", message.max_age, usual.max_age)?,
    })
}

impl From<Terms> for v1::QuestionTerms {
    fn from(terms: Terms) -> Self {
        Self {
            allow_missing: terms.allow_missing,
            node_timeout: Some(span(terms.node_timeout)),
            max_age: Some(span(terms.max_age)),
        }
    }
}

fn duration(field: &'static str, given: &pbjson_types::Duration) -> Result<Duration, Failure> {
    let seconds = u64::try_from(given.seconds);
    let nanos = u32::try_from(given.nanos);
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) if seconds <= LONGEST.as_secs() && nanos < 1_000_000_000 => {
            Ok(Duration::new(seconds, nanos))
        }
        _ => Err(Failure::InvalidArgument {
            field,
            problem: format!("{} s is not a time of 0 s to 100 years", given.seconds),
        }),
    }
}

fn span(duration: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> Failure {
    Failure::InvalidArgument {
        field,
        problem: problem.into(),
    }
}

/// Reads a check. Now is this machine's time.
///
/// # Errors
/// When a field is missing or out of its range.
pub fn check(message: Option<v1::check_request::Check>) -> Result<Check, Failure> {
    use v1::check_request::Check as Message;
    let named = |field, name: String| {
        if name.is_empty() {
            return Err(invalid(field, "it is missing"));
        }
        Ok(name)
    };
    Ok(match message {
        Some(Message::RollingRestart(check)) => Check::RollingRestart {
            backend: named("rolling_restart.backend", check.backend)?,
            at_a_time: match check.at_a_time {
                0 => {
                    return Err(invalid(
                        "rolling_restart.at_a_time",
                        "it has to be 1 or more",
                    ));
                }
                at_a_time => at_a_time,
            },
            min_up: Share::from_millionths(check.min_up_millionths)
                .map_err(|error| invalid("rolling_restart.min_up_millionths", error.to_string()))?,
        },
        Some(Message::RestartImpact(check)) => {
            if check.servers.is_empty() {
                return Err(invalid("restart_impact.servers", "it is empty"));
            }
            Check::RestartImpact {
                servers: check.servers,
            }
        }
        Some(Message::Up(check)) => Check::Up {
            backend: named("up.backend", check.backend)?,
        },
        Some(Message::Converged(_)) => Check::Converged,
        Some(Message::Connections(check)) => Check::Connections {
            warn: check.warn,
            crit: check.crit,
        },
        Some(Message::Certificates(check)) => Check::Certificates {
            warn: duration("certificates.warn", &check.warn.unwrap_or_default())?,
            crit: duration("certificates.crit", &check.crit.unwrap_or_default())?,
            now: Timestamp::now(),
        },
        None => return Err(invalid("check", "it is missing")),
    })
}

impl From<Check> for v1::check_request::Check {
    fn from(check: Check) -> Self {
        match check {
            Check::RollingRestart {
                backend,
                at_a_time,
                min_up,
            } => Self::RollingRestart(v1::RollingRestartCheck {
                backend,
                at_a_time,
                min_up_millionths: min_up.millionths(),
            }),
            Check::RestartImpact { servers } => {
                Self::RestartImpact(v1::RestartImpactCheck { servers })
            }
            Check::Up { backend } => Self::Up(v1::UpCheck { backend }),
            Check::Converged => Self::Converged(v1::ConvergedCheck {}),
            Check::Connections { warn, crit } => {
                Self::Connections(v1::ConnectionsCheck { warn, crit })
            }
            Check::Certificates { warn, crit, .. } => Self::Certificates(v1::CertificatesCheck {
                warn: Some(span(warn)),
                crit: Some(span(crit)),
            }),
        }
    }
}

/// Reads what is wanted of a node.
///
/// # Errors
/// When a time is out of range.
pub fn wanted(message: v1::GetPartRequest) -> Result<Wanted, Failure> {
    let until = message.certificates_until.map(|until| {
        let read = Timestamp::new(until.seconds, until.nanos);
        read.map_err(|error| invalid("certificates_until", error.to_string()))
    });
    let table = message.table.map(|table| {
        let kinds = [
            (table.frontends, RowKind::Frontend),
            (table.backends, RowKind::Backend),
            (table.servers, RowKind::Server),
            (table.listeners, RowKind::Listener),
        ];
        let kinds = kinds.into_iter().filter(|(is_wanted, _)| *is_wanted);
        Selection {
            kinds: kinds.map(|(_, kind)| kind).collect(),
            columns: columns(table.columns),
            proxies: (!table.proxies.is_empty()).then(|| table.proxies.into_iter().collect()),
        }
    });
    Ok(Wanted {
        backend: (!message.backend.is_empty()).then_some(message.backend),
        servers: message.servers,
        connections: message.connections,
        certificates_until: until.transpose()?,
        table,
        info: columns(message.info),
    })
}

fn columns(message: Option<v1::NameSelection>) -> Columns {
    match message {
        Some(message) if message.all => Columns::All,
        Some(message) => Columns::Some(message.names.into_iter().collect()),
        None => Columns::default(),
    }
}

fn names(columns: Columns) -> v1::NameSelection {
    match columns {
        Columns::All => v1::NameSelection {
            names: Vec::new(),
            all: true,
        },
        Columns::Some(names) => v1::NameSelection {
            names: names.into_iter().collect(),
            all: false,
        },
    }
}

impl From<Wanted> for v1::GetPartRequest {
    fn from(wanted: Wanted) -> Self {
        let table = |table: Selection| v1::StatisticsSelection {
            frontends: table.kinds.contains(&RowKind::Frontend),
            backends: table.kinds.contains(&RowKind::Backend),
            servers: table.kinds.contains(&RowKind::Server),
            listeners: table.kinds.contains(&RowKind::Listener),
            columns: Some(names(table.columns)),
            proxies: table.proxies.into_iter().flatten().collect(),
        };
        let until = wanted.certificates_until;
        Self {
            backend: wanted.backend.unwrap_or_default(),
            servers: wanted.servers,
            connections: wanted.connections,
            certificates_until: until.map(|until| timestamp(until.as_millisecond())),
            table: wanted.table.map(table),
            info: Some(names(wanted.info)),
        }
    }
}

impl From<Part> for v1::NodePart {
    fn from(part: Part) -> Self {
        let table = part.table_text();
        let info = part.info.lines(&Columns::All);
        let certificate = |certificate: CertificateEnd| v1::CertificateEnd {
            name: certificate.name,
            not_after: certificate
                .not_after
                .map(|end| timestamp(end.as_millisecond())),
        };
        let facts = part.facts;
        Self {
            node_id: facts.id,
            zone: facts.zone,
            address: facts.address,
            agent_version: facts.agent_version,
            held_revision: facts.held_revision,
            applied_revision: facts.applied_revision,
            apply_error: facts.apply_error,
            applied_endpoints: facts.applied_endpoints,
            leader: facts.is_leader,
            drained: facts.is_drained,
            old_processes: facts.old_processes,
            old_connections: facts.old_connections,
            age: Some(span(part.age)),
            tallies: part.tallies.into_iter().map(Into::into).collect(),
            backends: part.backends,
            connections: part.connections,
            certificates: part.certificates.into_iter().map(certificate).collect(),
            certificate_count: part.certificate_count,
            table,
            info,
        }
    }
}

impl TryFrom<v1::NodePart> for Part {
    type Error = BadAnswer;

    fn try_from(message: v1::NodePart) -> Result<Self, BadAnswer> {
        let table = Self::read_table(&message.table);
        let age = message.age.unwrap_or_default();
        let certificate = |certificate: v1::CertificateEnd| {
            let end = certificate.not_after;
            CertificateEnd {
                name: certificate.name,
                not_after: end.and_then(|end| Timestamp::new(end.seconds, end.nanos).ok()),
            }
        };
        Ok(Self {
            age: duration("age", &age).map_err(bad("age"))?,
            tallies: message.tallies.into_iter().map(Into::into).collect(),
            backends: message.backends,
            connections: message.connections,
            certificates: message.certificates.into_iter().map(certificate).collect(),
            certificate_count: message.certificate_count,
            table: table.map_err(bad("table"))?,
            info: ProcessInfo::parse(&message.info),
            facts: Facts {
                id: message.node_id,
                zone: message.zone,
                address: message.address,
                agent_version: message.agent_version,
                held_revision: message.held_revision,
                applied_revision: message.applied_revision,
                apply_error: message.apply_error,
                applied_endpoints: message.applied_endpoints,
                is_leader: message.leader,
                is_drained: message.drained,
                old_processes: message.old_processes,
                old_connections: message.old_connections,
            },
        })
    }
}

impl From<Tally> for v1::BackendTally {
    fn from(tally: Tally) -> Self {
        let not_up = tally.not_up.into_iter();
        Self {
            backend: tally.backend,
            active: by_key(tally.active),
            backup: by_key(tally.backup),
            remaining_active: by_key(tally.remaining.active),
            remaining_backup: by_key(tally.remaining.backup),
            not_up: not_up
                .map(|(server, status)| v1::ServerStatus { server, status })
                .collect(),
        }
    }
}

impl From<v1::BackendTally> for Tally {
    fn from(message: v1::BackendTally) -> Self {
        let not_up = message.not_up.into_iter();
        Self {
            backend: message.backend,
            active: by_state(message.active),
            backup: by_state(message.backup),
            remaining: Remaining {
                active: by_state(message.remaining_active),
                backup: by_state(message.remaining_backup),
            },
            not_up: not_up
                .map(|server| (server.server, server.status))
                .collect(),
        }
    }
}

fn by_key(servers: BTreeMap<ServerState, u32>) -> HashMap<String, u32> {
    let servers = servers.into_iter();
    servers
        .map(|(state, count)| (state.key().to_owned(), count))
        .collect()
}

/// A state that this version does not know counts as unknown, and so for nothing.
fn by_state(servers: HashMap<String, u32>) -> BTreeMap<ServerState, u32> {
    let mut states = BTreeMap::new();
    for (key, count) in servers {
        let known = ServerState::ALL
            .into_iter()
            .find(|state| state.key() == key);
        let sum: &mut u32 = states
            .entry(known.unwrap_or(ServerState::Unknown))
            .or_default();
        *sum = sum.saturating_add(count);
    }
    states
}

fn standing(standing: Standing) -> v1::Standing {
    match standing {
        Standing::Ok => v1::Standing::Ok,
        Standing::Warning => v1::Standing::Warning,
        Standing::Critical => v1::Standing::Critical,
        Standing::Unknown => v1::Standing::Unknown,
    }
}

fn read_standing(message: v1::Standing) -> Standing {
    match message {
        v1::Standing::Ok => Standing::Ok,
        v1::Standing::Warning => Standing::Warning,
        v1::Standing::Critical => Standing::Critical,
        v1::Standing::Unknown | v1::Standing::Unspecified => Standing::Unknown,
    }
}

fn missing(missing: Missing) -> v1::MissingNode {
    v1::MissingNode {
        node_id: missing.lb,
        reason: missing.reason,
    }
}

fn read_missing(message: v1::MissingNode) -> Missing {
    Missing {
        lb: message.node_id,
        reason: message.reason,
    }
}

impl From<Answer> for v1::CheckAnswer {
    fn from(answer: Answer) -> Self {
        let verdict = |verdict: Verdict| v1::NodeVerdict {
            node_id: verdict.lb,
            standing: standing(verdict.standing).into(),
            words: verdict.words,
        };
        let datum = |datum: Datum| v1::PerformanceDatum {
            label: datum.label,
            value: datum.value,
            warn: datum.warn,
            crit: datum.crit,
            min: datum.min,
            max: datum.max,
        };
        Self {
            check: answer.check,
            standing: standing(answer.standing).into(),
            summary: answer.summary,
            performance: answer.performance.into_iter().map(datum).collect(),
            verdicts: answer.verdicts.into_iter().map(verdict).collect(),
            omitted: answer.omitted,
            missing: answer.missing.into_iter().map(missing).collect(),
        }
    }
}

impl From<v1::CheckAnswer> for Answer {
    fn from(message: v1::CheckAnswer) -> Self {
        let overall = read_standing(message.standing());
        let verdict = |verdict: v1::NodeVerdict| Verdict {
            standing: read_standing(verdict.standing()),
            lb: verdict.node_id,
            words: verdict.words,
        };
        let datum = |datum: v1::PerformanceDatum| Datum {
            label: datum.label,
            value: datum.value,
            warn: datum.warn,
            crit: datum.crit,
            min: datum.min,
            max: datum.max,
        };
        Self {
            check: message.check,
            standing: overall,
            summary: message.summary,
            performance: message.performance.into_iter().map(datum).collect(),
            verdicts: message.verdicts.into_iter().map(verdict).collect(),
            omitted: message.omitted,
            missing: message.missing.into_iter().map(read_missing).collect(),
        }
    }
}

impl From<Evaluation> for v1::EvaluateAnswer {
    fn from(evaluation: Evaluation) -> Self {
        let (value_json, unknown) = match evaluation.outcome {
            Ok(value) => (value.to_string(), String::new()),
            Err(words) => (String::new(), words),
        };
        Self {
            value_json,
            unknown,
            asked: evaluation.asked,
            missing: evaluation.missing.into_iter().map(missing).collect(),
        }
    }
}

impl TryFrom<v1::EvaluateAnswer> for Evaluation {
    type Error = BadAnswer;

    fn try_from(message: v1::EvaluateAnswer) -> Result<Self, BadAnswer> {
        let outcome = if message.value_json.is_empty() {
            Err(message.unknown)
        } else {
            let value = serde_json::from_str(&message.value_json);
            Ok(value.map_err(bad("value_json"))?)
        };
        Ok(Self {
            outcome,
            asked: message.asked,
            missing: message.missing.into_iter().map(read_missing).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hafleet_query::statistics::Statistics;

    #[test]
    fn parts_survive_the_wire() {
        let page = "# pxname,svname,status,weight,bck,type,\napp,s1,UP 1/3,1,0,2,\napp,BACKEND,UP,1,0,1,\n";
        let page = Statistics::parse(page).unwrap();
        let tally = Tally::of(&page, "app", |server| server == "s1").unwrap();
        let part = Part {
            facts: Facts {
                id: "lb1".into(),
                is_drained: true,
                old_connections: 7,
                ..Facts::default()
            },
            age: Duration::from_millis(1_250),
            tallies: vec![tally],
            connections: Some(3),
            certificates: vec![CertificateEnd {
                name: "a.pem".into(),
                not_after: Timestamp::from_millisecond(1_767_225_600_000).ok(),
            }],
            certificate_count: 2,
            table: Some(page.select(&Selection {
                kinds: RowKind::ALL.into_iter().collect(),
                columns: Columns::All,
                proxies: None,
            })),
            info: ProcessInfo::parse("Pid: 7\nUlimit-n: 100\n"),
            ..Part::default()
        };
        assert_eq!(
            Part::try_from(v1::NodePart::from(part.clone())).unwrap(),
            part
        );
    }

    #[test]
    fn questions_survive_the_wire() {
        let check = Check::RollingRestart {
            backend: "app".into(),
            at_a_time: 2,
            min_up: "80%".parse().unwrap(),
        };
        assert_eq!(super::check(Some(check.clone().into())).unwrap(), check);
        let wanted = Wanted {
            backend: Some("app".into()),
            connections: true,
            table: Some(Selection {
                kinds: [RowKind::Server].into(),
                columns: Columns::Some(["scur".to_owned()].into()),
                proxies: Some(["app".to_owned()].into()),
            }),
            info: Columns::All,
            ..Wanted::default()
        };
        assert_eq!(super::wanted(wanted.clone().into()).unwrap(), wanted);
    }

    #[test]
    fn what_a_question_lacks_is_named() {
        use v1::check_request::Check as Message;
        let words = |message| super::check(message).unwrap_err().to_string();
        assert_eq!(words(None), "check: it is missing");
        let check = v1::RollingRestartCheck {
            backend: "app".into(),
            ..v1::RollingRestartCheck::default()
        };
        assert!(words(Some(Message::RollingRestart(check))).contains("at_a_time: it has to be 1"));
        let check = v1::RollingRestartCheck {
            backend: "app".into(),
            at_a_time: 1,
            min_up_millionths: 1_000_001,
        };
        assert!(words(Some(Message::RollingRestart(check))).contains("is not a share"));
        let terms = v1::QuestionTerms {
            max_age: Some(pbjson_types::Duration {
                seconds: -1,
                nanos: 0,
            }),
            ..v1::QuestionTerms::default()
        };
        assert!(super::terms(Some(terms)).is_err());
    }
}
