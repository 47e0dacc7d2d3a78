//! Questions over all load balancers: this node's own part of an answer, and the answers that it puts together out of
//! everybody's parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use hafleet_api::Failure;
use hafleet_api::query::{Questions, Terms};
use hafleet_cluster::{Liveness, Member, View};
use hafleet_identity::Credentials;
use hafleet_model::report::ApplyState;
use hafleet_model::{DocumentKind, NodeId, with_causes};
use hafleet_query::part::CertificateEnd;
use hafleet_query::{
    Answer, Asked, Check, Evaluation, Expression, Facts, Missing, Part, ProcessInfo, Reading,
    Statistics, Wanted,
};
use tokio::time::Instant;

use crate::fleet::AgentFleet;
use crate::forward::Forward;

/// A page without rows.
const NO_ROWS: &str = "# pxname,svname,type\n";

/// Answers questions with what this agent knows and what its peers tell.
#[derive(Clone)]
pub(crate) struct AgentQuestions {
    pub(crate) fleet: AgentFleet,
    pub(crate) credentials: Arc<Credentials>,
}

#[async_trait]
impl Questions for AgentQuestions {
    async fn check(&self, check: Check, terms: Terms) -> Answer {
        let asked = match check {
            // What everybody has applied is in the view, and need not be asked for.
            Check::Converged => self.as_seen(),
            _ => self.ask(&check.wanted(), terms).await,
        };
        check.answer(&asked, terms.allow_missing)
    }

    async fn evaluate(&self, expression: Expression, terms: Terms) -> Evaluation {
        let asked = self.ask(&expression.wanted(), terms).await;
        expression.answer(&asked, terms.allow_missing)
    }

    async fn part(&self, wanted: Wanted) -> Result<Part, Failure> {
        self.own_part(&wanted).await.map_err(Failure::Internal)
    }
}

impl AgentQuestions {
    fn view(&self) -> Arc<View> {
        self.fleet.cluster.view().borrow().clone()
    }

    /// Asks all known nodes for their part, this one included, all at once.
    pub(crate) async fn ask(&self, wanted: &Wanted, terms: Terms) -> Asked {
        let view = self.view();
        let parts = known(&view).map(|member| self.part_of(member, wanted, terms.node_timeout));
        let mut asked = beginning(&view);
        for (member, part) in known(&view).zip(join_all(parts).await) {
            match part {
                Ok(part) => asked.parts.push(part),
                Err(reason) => asked.missing.push(missing(&member.report.id, reason)),
            }
        }
        asked.no_older_than(terms.max_age)
    }

    /// Everybody's facts as gossip tells them, without asking anyone.
    fn as_seen(&self) -> Asked {
        let view = self.view();
        let mut asked = beginning(&view);
        for member in known(&view) {
            match &member.liveness {
                Liveness::Dead { reason } => {
                    asked.missing.push(missing(&member.report.id, dead(reason)));
                }
                Liveness::Live | Liveness::Suspect { .. } => asked.parts.push(Part {
                    facts: facts(&view, member),
                    ..Part::default()
                }),
            }
        }
        asked
    }

    async fn part_of(
        &self,
        member: &Member,
        wanted: &Wanted,
        timeout: Duration,
    ) -> Result<Part, String> {
        if let Liveness::Dead { reason } = &member.liveness {
            return Err(dead(reason));
        }
        let began = Instant::now();
        let id = &member.report.id;
        let part = async {
            if member.is_self {
                return self.own_part(wanted).await;
            }
            let forward =
                Forward::to(&self.fleet.cluster, id).map_err(|error| error.to_string())?;
            let part = forward.part(wanted, timeout).await?;
            if part.facts.id != id.to_string() {
                return Err(format!("{} answered in its place", part.facts.id));
            }
            Ok(part)
        };
        let part = tokio::time::timeout(timeout, part).await;
        part.map_err(|_| {
            format!(
                "it did not answer within {} ms",
                began.elapsed().as_millis()
            )
        })?
    }

    /// What this node contributes, or why it cannot.
    async fn own_part(&self, wanted: &Wanted) -> Result<Part, String> {
        let view = self.view();
        let own = view.own().ok_or("this node does not know itself yet")?;
        let seen = self.fleet.last_seen.borrow().clone();
        let connections = seen
            .old_processes
            .iter()
            .map(|old| u64::from(old.connections));
        let facts = Facts {
            is_drained: self
                .fleet
                .overrides
                .holding()
                .nodes
                .contains_key(&own.report.id),
            old_processes: u32::try_from(seen.old_processes.len()).unwrap_or(u32::MAX),
            old_connections: connections.sum(),
            ..facts(&view, own)
        };
        let (statistics, info) = self.statistics(wanted).await?;
        let certificates = match wanted.certificates_until {
            Some(_) => self.certificate_ends(&own.report.id)?,
            None => Vec::new(),
        };
        Ok(wanted.part(&Reading {
            facts,
            statistics,
            info,
            certificates,
            age: Duration::ZERO,
        }))
    }

    async fn statistics(&self, wanted: &Wanted) -> Result<(Statistics, ProcessInfo), String> {
        let mask = wanted
            .kinds()
            .into_iter()
            .map(hafleet_query::RowKind::mask)
            .sum();
        let needs_info = wanted.needs_info();
        let garbled = |error| format!("HAProxy's statistics cannot be read: {error}");
        if mask == 0 && !needs_info {
            let page = Statistics::parse(NO_ROWS).map_err(garbled)?;
            return Ok((page, ProcessInfo::default()));
        }
        let words = self.fleet.inspector.words(mask, needs_info).await;
        let words = words.map_err(|error| with_causes(&error))?;
        let words = words.ok_or("no HAProxy runs there")?;
        let page = if mask == 0 { NO_ROWS } else { &words.stat };
        let page = Statistics::parse(page).map_err(garbled)?;
        Ok((page, ProcessInfo::parse(&words.info)))
    }

    /// The certificates of the traffic that this node holds, and its own.
    fn certificate_ends(&self, id: &NodeId) -> Result<Vec<CertificateEnd>, String> {
        let list = self
            .fleet
            .certificate_list()
            .map_err(|error| error.to_string())?;
        let mut ends: Vec<_> = list
            .certificates
            .into_iter()
            .map(|certificate| {
                let bundle = certificate.bundle.as_ref().ok();
                CertificateEnd {
                    name: certificate.name.to_string(),
                    not_after: bundle.map(|bundle| {
                        let chain = bundle.chain().iter().map(|above| above.not_after);
                        chain.fold(bundle.leaf().not_after, Ord::min)
                    }),
                }
            })
            .collect();
        ends.push(CertificateEnd {
            name: format!("of node {id}"),
            not_after: Some(self.credentials.facts().not_after),
        });
        Ok(ends)
    }
}

/// All load balancers but those that are gone and that the fleet has removed; witnesses balance nothing.
fn known(view: &View) -> impl Iterator<Item = &Member> {
    let members = view
        .members
        .iter()
        .filter(|member| !member.report.is_witness);
    members.filter(|member| member.is_counted || member.liveness.is_live())
}

fn dead(reason: &str) -> String {
    format!("it is not live: {reason}")
}

fn missing(node: &NodeId, reason: String) -> Missing {
    Missing {
        lb: node.to_string(),
        reason,
    }
}

/// Nobody has answered yet; what the newest revisions are, and which nodes are only known by their address.
fn beginning(view: &View) -> Asked {
    let newest = |kind| {
        let live = view
            .members
            .iter()
            .filter(|member| member.liveness.is_live());
        let held = live.filter_map(|member| member.report.held.get(&kind));
        let newest = held.map(|stamp| stamp.revision).max();
        newest
            .map(|revision| revision.to_string())
            .unwrap_or_default()
    };
    let unmet = view.unmet_seeds.iter().map(|seed| Missing {
        lb: seed.clone(),
        reason: "it is one of the seeds, and nobody has met it yet".to_owned(),
    });
    Asked {
        parts: Vec::new(),
        missing: unmet.collect(),
        newest_revision: newest(DocumentKind::Spec),
        newest_endpoints: newest(DocumentKind::Endpoints),
    }
}

/// What a member says of itself.
fn facts(view: &View, member: &Member) -> Facts {
    let report = &member.report;
    let text = |revision: Option<hafleet_model::Revision>| {
        revision
            .map(|revision| revision.to_string())
            .unwrap_or_default()
    };
    let held = report.held.get(&DocumentKind::Spec);
    let apply_error = match (&report.own_configuration, &report.apply) {
        (Some(own), _) => format!("it runs a configuration of its own, set by {}", own.author),
        (
            None,
            ApplyState::Failed {
                revision, error, ..
            },
        ) => format!("it could not be brought to {revision}: {error}"),
        (None, ApplyState::Waiting | ApplyState::Applying { .. } | ApplyState::Applied { .. }) => {
            report.endpoints.error.clone().unwrap_or_default()
        }
    };
    Facts {
        id: report.id.to_string(),
        zone: report.zone.clone().unwrap_or_default(),
        address: report.data_address.to_string(),
        agent_version: report.version.clone(),
        held_revision: text(held.map(|stamp| stamp.revision)),
        applied_revision: text(report.apply.running()),
        apply_error,
        applied_endpoints: text(report.endpoints.applied),
        is_leader: view.leadership.leader.as_ref() == Some(&report.id),
        ..Facts::default()
    }
}
