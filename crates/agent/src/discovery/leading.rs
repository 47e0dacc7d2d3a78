//! The loop that asks the sources while this node leads, and writes what they come to.
//!
//! Whoever leads next begins with the document as it is: until a source has answered to it, what that source had found
//! stays. Sources are asked by the leader alone; another node has none running.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_api::certificates::{CertificateChange, CertificateWrite};
use hafleet_api::fleet::Intent;
use hafleet_api::{Fleet as _, v1};
use hafleet_cluster::{Cluster, Expect, View, WriteError, WriteRequest};
use hafleet_discovery::{Judgement, Launch};
use hafleet_model::secrets::CertificateName;
use hafleet_model::{Document, DocumentKind, Endpoints, Header, Term, with_causes};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::board::{Board, Confirmed, Request, Unconfirmed};
use super::difference::{difference, is_same, without};
use super::lead::Lead;
use super::message::sources_of;
use super::standing::{self, Standing};
use crate::endpoints::{EndpointsKeeper, Newest};
use crate::fitness::Job;
use crate::fleet::AgentFleet;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// Sources tell of themselves; the timer is for what nobody tells of. A write that failed is tried again soon.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(5),
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(10),
};

/// How long a newer spec gets to come here before it is looked for again.
const CATCHING_UP: Duration = Duration::from_millis(200);
/// How often a write is tried anew in one round when another revision came before it.
const ATTEMPTS: u32 = 5;

/// Discovery, as the leader's work.
pub(crate) struct DiscoveryLoop {
    fleet: AgentFleet,
    cluster: Cluster,
    keeper: EndpointsKeeper,
    board: Board,
    launch: Arc<dyn Launch>,
    view: watch::Receiver<Arc<View>>,
    spec: watch::Receiver<Option<Arc<Document>>>,
    endpoints: watch::Receiver<Option<Arc<Document>>>,
    /// What of the view was last acted upon.
    seen: Option<Standing>,
    lead: Option<Lead>,
}

/// Why endpoints were not written.
enum Unwritten {
    /// Another revision came before.
    Overtaken,
    /// This.
    For(String),
}

/// Somebody who waits for what they confirmed to be written.
struct Waiting {
    gone: Vec<String>,
    reply: oneshot::Sender<Result<Confirmed, Unconfirmed>>,
}

impl DiscoveryLoop {
    pub(crate) fn new(fleet: AgentFleet, launch: Arc<dyn Launch>) -> Self {
        let cluster = fleet.cluster.clone();
        Self {
            keeper: fleet.endpoints.clone(),
            board: fleet.board.clone(),
            view: cluster.view(),
            spec: cluster.document(DocumentKind::Spec),
            endpoints: cluster.document(DocumentKind::Endpoints),
            seen: None,
            lead: None,
            fleet,
            cluster,
            launch,
        }
    }

    /// Ends all sources, and tells those who wait that this is not the node to ask.
    fn rest(&mut self, reason: &'static str) -> Outcome {
        self.lead = None;
        self.fleet.fitness.tell(Job::Discovery, None);
        self.board.show(None);
        for request in self.board.take() {
            if let Request::Confirm { reply, .. } = request {
                let _ = reply.send(Err(Unconfirmed::NotLeading));
            }
        }
        Outcome::Inert(reason)
    }

    /// Has an engine for this term and this spec.
    fn prepare(&mut self, term: Term) -> Result<(), String> {
        if self.lead.as_ref().is_none_or(|lead| lead.term != term) {
            let name = self.fleet.name.as_str();
            self.lead = Some(Lead::new(name, term, Arc::clone(&self.launch)));
        }
        let document = self.spec.borrow_and_update().clone();
        let (Some(lead), Some(document)) = (&mut self.lead, document) else {
            return Ok(());
        };
        lead.follow(&document)
    }

    /// Does what others asked for. Returns those who wait for it to be written, and who they are.
    fn serve(&mut self) -> (Vec<Waiting>, Option<String>) {
        let (mut waiting, mut who) = (Vec::new(), None);
        let Some(lead) = &mut self.lead else {
            return (waiting, who);
        };
        for request in self.board.take() {
            match request {
                Request::Publish { node, result } => {
                    lead.publish(node, result);
                }
                Request::Confirm {
                    backend,
                    author,
                    reply,
                } => match lead.confirm(&backend) {
                    Ok(gone) => {
                        tracing::info!(backend, author, ?gone, "let through");
                        waiting.push(Waiting { gone, reply });
                        who = Some(author);
                    }
                    Err(unconfirmed) => drop(reply.send(Err(unconfirmed))),
                },
            }
        }
        (waiting, who)
    }

    /// Decides, and writes what is different. The newest endpoints after that.
    async fn follow(&mut self, author: &str) -> Result<Option<Header>, String> {
        for _ in 0..ATTEMPTS {
            let newest = self.keeper.newest();
            let Some(lead) = &mut self.lead else {
                break;
            };
            if let Some(Standing { members, .. }) = &self.seen {
                lead.forget_strangers(&newest.found.endpoints, members);
            }
            let before = Arc::clone(&newest.found.endpoints);
            let judgement = lead.engine.decide(&before).clone();
            self.show();
            let kept = self.keep_certificates(&judgement).await;
            let lacking = kept.as_ref().err().map(|(names, _)| names);
            let wanted = match lacking {
                Some(names) => without(judgement.endpoints, names, &before),
                None => judgement.endpoints,
            };
            let kept = kept.map_err(|(_, reason)| reason);
            if newest.problem.is_none() && is_same(&before, &wanted) {
                return kept.map(|()| self.header());
            }
            match self.write(&newest, &wanted, author).await {
                Ok(header) => return kept.map(|()| Some(header)),
                Err(Unwritten::Overtaken) => {}
                Err(Unwritten::For(reason)) => return Err(reason),
            }
        }
        Err("the endpoints change all the time".to_owned())
    }

    async fn write(
        &self,
        newest: &Newest,
        wanted: &Endpoints,
        author: &str,
    ) -> Result<Header, Unwritten> {
        let body = wanted.body();
        // What no node could read is not given to them.
        Endpoints::parse(&body).map_err(|error| Unwritten::For(error.to_string()))?;
        let comment = difference(&newest.found.endpoints, wanted);
        let request = WriteRequest {
            kind: DocumentKind::Endpoints,
            body: body.into(),
            expect: newest
                .head
                .map_or(Expect::Absent, |head| Expect::Revision(head.revision)),
            author: author.to_owned(),
            comment: comment.clone(),
            force: false,
        };
        let written = self.cluster.write(request).await;
        let written = written.map_err(|error| match error {
            WriteError::Unexpected { .. } => Unwritten::Overtaken,
            error => Unwritten::For(with_causes(&error)),
        })?;
        let revision = written.header.stamp.revision;
        let stored_by = written.stored_by.len();
        tracing::info!(%revision, stored_by, change = comment, "endpoints");
        Ok(written.header)
    }

    /// Gives the fleet the certificates that came with services and that it does not have. Fails with those that it
    /// still does not have, and why.
    async fn keep_certificates(
        &self,
        judgement: &Judgement,
    ) -> Result<(), (BTreeSet<CertificateName>, String)> {
        if judgement.certificates.is_empty() {
            return Ok(());
        }
        let secrets = self.fleet.certificates.secrets().unwrap_or_default();
        let (mut lacking, mut reasons) = (BTreeSet::new(), Vec::new());
        for (name, pem) in &judgement.certificates {
            if secrets.get(name) == Some(pem) {
                continue;
            }
            let write = CertificateWrite {
                name: name.clone(),
                change: CertificateChange::Put {
                    pem: pem.clone(),
                    allow_expired: false,
                },
                intent: Intent {
                    author: self.author(),
                    comment: String::new(),
                    expect: None,
                    force: false,
                    is_forwarded: true,
                },
            };
            if let Err(failure) = self.fleet.write_certificate(write).await {
                reasons.push(format!("certificate {name}: {failure}"));
                lacking.insert(name.clone());
            }
        }
        match lacking.is_empty() {
            true => Ok(()),
            false => Err((lacking, reasons.join("; "))),
        }
    }

    fn show(&self) {
        let inability = self.lead.as_ref().and_then(Lead::inability);
        self.fleet.fitness.tell(Job::Discovery, inability);
        let status = self.lead.as_ref().map(|lead| lead.engine.status());
        let sources = sources_of(status.unwrap_or_default());
        self.board.show(Some(v1::ListSourcesResponse {
            leader: self.fleet.node.to_string(),
            ..sources
        }));
    }

    fn header(&self) -> Option<Header> {
        let newest = self.cluster.document(DocumentKind::Endpoints);
        let newest = newest.borrow().clone();
        newest.map(|document| document.header().clone())
    }

    fn author(&self) -> String {
        format!("{} (discovery)", self.fleet.node)
    }
}

#[async_trait]
impl Reconcile for DiscoveryLoop {
    const NAME: &'static str = "discovery";

    async fn changed(&mut self) {
        let engine = self.lead.as_ref().map(|lead| &lead.engine);
        let told = async {
            match engine {
                Some(engine) => engine.changed().await,
                None => std::future::pending().await,
            }
        };
        let (view, seen) = (&mut self.view, &self.seen);
        let stands_otherwise = async {
            while view.changed().await.is_ok() {
                if Some(Standing::of(&view.borrow_and_update())) != *seen {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => {}
            () = stands_otherwise => {}
            () = self.board.pinned() => {}
            Ok(()) = self.spec.changed() => {}
            Ok(()) = self.endpoints.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        self.endpoints.mark_unchanged();
        let view = Arc::clone(&self.view.borrow_and_update());
        let standing = Standing::of(&view);
        let term = standing.term;
        self.seen = Some(standing);
        let Some(term) = term else {
            return self.rest("another node leads, or none");
        };
        let spec = self.spec.borrow().clone();
        if standing::is_behind(&view, spec.map(|document| document.stamp())) {
            // By an older spec, servers of backends would go that it does not have yet.
            return Outcome::Deferred {
                until: Instant::now() + CATCHING_UP,
                reason: "another node has a newer spec, which is on its way",
            };
        }
        if let Err(error) = self.prepare(term) {
            return Outcome::Failed(error);
        }
        let (waiting, who) = self.serve();
        if self.lead.as_ref().is_none_or(|lead| lead.spec.is_none()) {
            self.show();
            return Outcome::Inert("the fleet has no spec yet");
        }
        let author = who.unwrap_or_else(|| self.author());
        let followed = self.follow(&author).await;
        for Waiting { gone, reply } in waiting {
            let _ = reply.send(match &followed {
                Ok(header) => Ok(Confirmed {
                    gone,
                    header: header.clone(),
                }),
                Err(error) => Err(Unconfirmed::Unwritten(error.clone())),
            });
        }
        match followed {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn end(&mut self) {
        self.rest("the agent stops");
    }
}
