//! What callers of lb-agent ask, done for the fleet or for this node ([`hafleet_api::lb_agent`]).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_api::fleet::{Fleet as _, Intent, Scope, Write, Written};
use hafleet_api::lb_agent::{Keys, LbAgent, Local, Settings, read_token};
use hafleet_api::query::{Questions as _, Terms};
use hafleet_api::{Failure, Gate};
use hafleet_cluster::View;
use hafleet_identity::{Credentials, Visitors};
use hafleet_model::report::ApplyState;
use hafleet_model::spec::{self, Publication};
use hafleet_model::{DocumentKind, Revision, with_causes};
use hafleet_query::{Asked, Missing};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::LbAgentConfig;
use crate::fleet::AgentFleet;
use crate::limits::RequestLimits;
use crate::own::{Own, OwnError};
use crate::questions::AgentQuestions;

/// How often a configuration is laid over a spec that somebody else has just changed.
const MAX_ATTEMPTS: u32 = 3;
/// How long this node's HAProxy may take to be brought to a spec: two reloads with the pause between them.
const APPLYING: Duration = Duration::from_secs(25);

/// Does what callers of lb-agent ask.
struct AgentLb {
    fleet: AgentFleet,
    questions: AgentQuestions,
    scope: Scope,
}

/// What is wrong with the files that `keys` name, in words. That a person's certificate does not count is no reason not to
/// start: it may end while the agent runs, too.
pub(crate) fn problems(keys: &Keys, credentials: &Credentials) -> (Vec<String>, Vec<String>) {
    let tokens = keys.tokens.iter().map(|token| &token.file);
    let unreadable = tokens.filter_map(|file| read_token(file).err());
    let certificates = keys.tokens.iter().map(|token| &token.certificate);
    let local = match &keys.local {
        Local::Person(certificate) => Some(certificate),
        Local::Node | Local::Refused => None,
    };
    let uncounted = certificates
        .chain(local)
        .filter_map(|file| credentials.vouch_for_person_in(file).err());
    (unreadable.collect(), uncounted.collect())
}

/// Serves the listener until `stop`.
pub(crate) async fn serve(
    listening: Option<(LbAgentConfig, TcpListener)>,
    questions: AgentQuestions,
    gate: Gate,
    limits: (hafleet_identity::ConnectionLimits, RequestLimits),
    stop: CancellationToken,
) -> Result<(), String> {
    let Some((config, listener)) = listening else {
        stop.cancelled().await;
        return Ok(());
    };
    let (connections, requests) = limits;
    let visitors = match config.tls {
        true => Visitors::over_tls(listener, &questions.credentials, connections)
            .map_err(|error| with_causes(&error))?,
        false => Visitors::in_clear(listener, connections),
    };
    tracing::info!(address = %config.listen, tls = config.tls, "listening for callers of lb-agent");
    let agent = AgentLb {
        fleet: questions.fleet.clone(),
        questions,
        scope: config.scope,
    };
    let settings = Settings {
        scope: config.scope,
        default_backend: config.default_backend,
        only_prefix: config.only_prefix,
        states: config.states,
        body_deadline: requests.message_deadline,
    };
    hafleet_api::lb_agent::serve(visitors, Arc::new(agent), gate, config.keys, settings, stop)
        .await;
    Ok(())
}

#[async_trait]
impl LbAgent for AgentLb {
    async fn configure(
        &self,
        configuration: String,
        author: String,
        comment: String,
    ) -> Result<Option<Revision>, Failure> {
        match self.scope {
            Scope::Fleet => {
                let revision = self.configure_fleet(&configuration, author, comment);
                revision.await.map(Some)
            }
            Scope::ThisNode => {
                let given = self.configure_node(&configuration, author, comment);
                given.await.map(|()| None)
            }
        }
    }

    async fn servers(&self, backend: &str, scope: Scope) -> Asked {
        let wanted = hafleet_api::lb_agent::wanted(backend);
        if scope == Scope::Fleet {
            return self.questions.ask(&wanted, Terms::default()).await;
        }
        match self.questions.part(wanted).await {
            Ok(part) => Asked {
                parts: vec![part],
                ..Asked::default()
            },
            Err(failure) => Asked {
                missing: vec![Missing {
                    lb: self.fleet.node.to_string(),
                    reason: failure.to_string(),
                }],
                ..Asked::default()
            },
        }
    }
}

impl AgentLb {
    async fn configure_node(
        &self,
        configuration: &str,
        author: String,
        comment: String,
    ) -> Result<(), Failure> {
        let spec = spec::of_haproxy_cfg(configuration, &Publication::default());
        self.fleet.check(&spec).await?;
        let given = self.fleet.own.give(Own::new(spec, author, comment)).await;
        given.map_err(|error| match error {
            OwnError::Slow => Failure::TimedOut(error.to_string()),
            OwnError::Keep { .. } | OwnError::Refused(_) => Failure::Internal(error.to_string()),
        })
    }

    async fn configure_fleet(
        &self,
        configuration: &str,
        author: String,
        comment: String,
    ) -> Result<Revision, Failure> {
        if let Some(own) = self.fleet.own.newest() {
            return Err(Failure::HasOwnConfiguration {
                node: self.fleet.node.clone(),
                own: own.words(),
            });
        }
        let mut attempts = 1;
        let written = loop {
            let written = self.write(configuration, &author, &comment).await;
            match written {
                Err(failure) if failure.is_conflict() && attempts < MAX_ATTEMPTS => attempts += 1,
                written => break written?,
            }
        };
        let revision = written.header.stamp.revision;
        if !written.is_committed {
            let stored: Vec<_> = written.stored_by.iter().map(ToString::to_string).collect();
            return Err(Failure::TimedOut(format!(
                "{revision} is stored by {} of {} nodes ({}), which is no majority: it may be lost; `hafleet spec history` tells",
                stored.len(),
                written.known_nodes,
                stored.join(", ")
            )));
        }
        self.applied(revision).await.map(|()| revision)
    }

    /// Writes the fleet's spec: the configuration, with the names in DNS that the fleet has now.
    async fn write(
        &self,
        configuration: &str,
        author: &str,
        comment: &str,
    ) -> Result<Written, Failure> {
        let current = self.fleet.cluster.document(DocumentKind::Spec);
        let current = current.borrow().clone();
        let publication = match &current {
            None => Publication::default(),
            Some(current) => {
                let loaded = spec::load(current.body()).map_err(|findings| {
                    let revision = current.revision();
                    Failure::Internal(format!(
                        "the names in DNS of the fleet's spec {revision} are to stay, and it cannot be read here: {findings}"
                    ))
                })?;
                loaded.spec.dns
            }
        };
        let write = Write {
            spec: spec::of_haproxy_cfg(configuration, &publication),
            intent: Intent {
                author: author.to_owned(),
                comment: comment.to_owned(),
                expect: current.map(|current| current.revision()),
                force: false,
                is_forwarded: false,
            },
        };
        self.fleet.apply(write).await
    }

    /// Waits until this node's HAProxy runs `revision`, or a later one.
    async fn applied(&self, revision: Revision) -> Result<(), Failure> {
        let mut view = self.fleet.cluster.view();
        let stands = |view: &View| {
            let apply = view.own().map(|own| own.report.apply.clone())?;
            match apply {
                apply if apply.running().is_some_and(|running| running >= revision) => Some(Ok(())),
                ApplyState::Failed {
                    revision: of,
                    error,
                    ..
                } if of >= revision => Some(Err(error)),
                _ => None,
            }
        };
        let told = view.wait_for(|view| stands(view).is_some());
        let told = timeout(APPLYING, told).await;
        let told = told.ok().and_then(Result::ok);
        match told.as_deref().and_then(|view| stands(view)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Failure::Internal(format!(
                "{revision} is the fleet's spec now, and HAProxy of {} could not be brought to it: {error}",
                self.fleet.node
            ))),
            None => Err(Failure::TimedOut(format!(
                "{revision} is the fleet's spec now, and HAProxy of {} was not brought to it within {APPLYING:?}; `hafleet status` tells how it goes",
                self.fleet.node
            ))),
        }
    }
}
