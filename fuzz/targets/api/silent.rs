//! An agent that refuses everything, after it was asked in terms that make sense.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use hafleet_api::audit::Recorder;
use hafleet_api::certificates::{CertificateList, CertificateStatus, CertificateWrite};
use hafleet_api::fleet::{
    FleetPlan, History, Intent, LeaderRole, Rendering, Rollback, Scope, Status, Write, Written,
};
use hafleet_api::lb_agent::LbAgent;
use hafleet_api::overrides::{Leave, OverrideWrite};
use hafleet_api::query::{Questions, Terms};
use hafleet_api::v1::publish_found_request::Said;
use hafleet_api::{Failure, Fleet, v1};
use hafleet_identity::Caller;
use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::Finding;
use hafleet_model::{FleetName, Header, NodeId, Revision, Term};
use hafleet_query::{
    Answer, Asked, Check, Evaluation, Expression, Facts, Part, ProcessInfo, Reading, Statistics,
    Wanted,
};

/// An agent that refuses.
pub(crate) struct Silent;

impl Recorder for Silent {
    fn record(&self, record: v1::AuditRecord) {
        assert!(
            record.method.chars().count() <= 120,
            "a long method is noted"
        );
        assert!(
            record.subject.chars().count() <= 200,
            "a long subject is noted"
        );
        assert!(
            record.message.chars().count() <= 400,
            "a long message is noted"
        );
    }
}

fn no<T>() -> Result<T, Failure> {
    Err(Failure::NoSpec)
}

/// A write by somebody, in words that fit into a document.
fn signed(intent: &Intent) {
    assert!(!intent.author.is_empty());
}

#[async_trait]
impl LbAgent for Silent {
    async fn configure(
        &self,
        configuration: String,
        author: String,
        comment: String,
    ) -> Result<Option<Revision>, Failure> {
        assert!(
            !configuration.trim().is_empty(),
            "nothing is no configuration"
        );
        assert!(!author.is_empty() && !comment.is_empty());
        Ok(Some(Revision::new(Term(3), 17)))
    }

    async fn servers(&self, backend: &str, scope: Scope) -> Asked {
        let page = format!(
            "# pxname,svname,type,status,weight,check_desc,last_chk\n\
             {backend},one,2,UP,100,Layer4 check passed,\n{backend},BACKEND,1,UP,100,,\n"
        );
        let part = |id: &str| Part {
            facts: Facts {
                id: id.to_owned(),
                ..Facts::default()
            },
            table: Statistics::parse(&page).ok(),
            ..Part::default()
        };
        let parts = match scope {
            Scope::ThisNode => vec![part("lb1")],
            Scope::Fleet => vec![part("lb1"), part("lb2")],
        };
        Asked {
            parts,
            ..Asked::default()
        }
    }
}

#[async_trait]
impl Questions for Silent {
    async fn check(&self, check: Check, _: Terms) -> Answer {
        check.answer(&Asked::default(), 0)
    }

    async fn evaluate(&self, expression: Expression, _: Terms) -> Evaluation {
        expression.answer(&Asked::default(), 0)
    }

    async fn part(&self, wanted: Wanted) -> Result<Part, Failure> {
        let page = "# pxname,svname,type,status\napp,one,2,UP\n";
        Ok(wanted.part(&Reading {
            facts: Facts::default(),
            statistics: Statistics::parse(page).expect("a page"),
            info: ProcessInfo::default(),
            certificates: Vec::new(),
            age: std::time::Duration::ZERO,
        }))
    }
}

#[async_trait]
impl Fleet for Silent {
    fn status(&self) -> Status {
        Status {
            fleet: FleetName::new("shop").expect("a name"),
            node: NodeId::new("lb1").expect("a name"),
            role: LeaderRole::Leader,
            leader: None,
            term: Term(1),
            nodes: Vec::new(),
            spec: None,
            endpoints: None,
            conflicts: Vec::new(),
            unmet_seeds: Vec::new(),
            removed: Vec::new(),
            majority: 1,
            at_ms: 0,
        }
    }

    fn watch(&self) -> BoxStream<'static, Status> {
        stream::empty().boxed()
    }

    async fn node(&self, _: Option<NodeId>) -> Result<v1::NodeDetail, Failure> {
        no()
    }

    async fn check(&self, spec: &str) -> Result<Vec<Finding>, Failure> {
        match hafleet_model::spec::load(spec) {
            Ok(_) => Ok(Vec::new()),
            Err(findings) => Err(Failure::InvalidSpec(findings)),
        }
    }

    async fn render(&self, _: Option<&str>, _: Option<NodeId>) -> Result<Rendering, Failure> {
        no()
    }

    async fn plan(&self, _: &str, _: Scope) -> Result<FleetPlan, Failure> {
        no()
    }

    async fn apply(&self, write: Write) -> Result<Written, Failure> {
        signed(&write.intent);
        no()
    }

    async fn rollback(&self, rollback: Rollback) -> Result<Written, Failure> {
        signed(&rollback.intent);
        no()
    }

    async fn spec(&self, _: Option<Revision>) -> Result<(Header, String), Failure> {
        no()
    }

    async fn history(&self) -> Result<History, Failure> {
        Ok(History::default())
    }

    async fn certificates(&self) -> Result<CertificateList, Failure> {
        no()
    }

    async fn certificate(&self, _: &CertificateName) -> Result<CertificateStatus, Failure> {
        no()
    }

    async fn write_certificate(&self, write: CertificateWrite) -> Result<Written, Failure> {
        signed(&write.intent);
        no()
    }

    async fn rotate_secrets_key(&self, intent: Intent) -> Result<Written, Failure> {
        signed(&intent);
        no()
    }

    async fn sources(&self, _: bool) -> Result<v1::ListSourcesResponse, Failure> {
        no()
    }

    async fn confirm_endpoints(
        &self,
        backend: String,
        intent: Intent,
    ) -> Result<v1::ConfirmEndpointsResponse, Failure> {
        signed(&intent);
        Err(Failure::InvalidArgument {
            field: "backend",
            problem: backend,
        })
    }

    async fn overrides(&self) -> Result<v1::ListOverridesResponse, Failure> {
        no()
    }

    async fn write_override(
        &self,
        write: OverrideWrite,
    ) -> Result<v1::WriteOverrideResponse, Failure> {
        signed(&write.intent);
        no()
    }

    async fn leave(&self, leave: Leave) -> Result<v1::WriteOverrideResponse, Failure> {
        signed(&leave.intent);
        no()
    }

    async fn follow_fleet(&self, _: Option<NodeId>) -> Result<v1::FollowFleetResponse, Failure> {
        no()
    }

    async fn dns(&self, _: bool) -> Result<v1::ListDnsResponse, Failure> {
        no()
    }

    async fn plan_dns(&self, _: bool) -> Result<v1::PlanDnsResponse, Failure> {
        no()
    }

    async fn adopt_dns(&self, _: String, intent: Intent) -> Result<(), Failure> {
        signed(&intent);
        no()
    }

    async fn release_dns(&self, _: Vec<String>, intent: Intent) -> Result<Vec<String>, Failure> {
        signed(&intent);
        no()
    }

    async fn audit(&self, _: usize, _: Scope) -> v1::ListAuditResponse {
        v1::ListAuditResponse::default()
    }

    async fn publish_revocations(
        &self,
        _: Vec<u8>,
    ) -> Result<v1::PublishRevocationsResponse, Failure> {
        no()
    }

    async fn revocations(&self, _: &str) -> Result<Vec<u8>, Failure> {
        no()
    }

    async fn create_join_token(
        &self,
        _: v1::CreateJoinTokenRequest,
        author: String,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        assert!(!author.is_empty());
        no()
    }

    async fn join_tokens(&self, _: Scope) -> v1::ListJoinTokensResponse {
        v1::ListJoinTokensResponse::default()
    }

    async fn remove_join_token(&self, _: String, _: Scope) -> Result<NodeId, Failure> {
        no()
    }

    async fn renew_certificate(&self, _: &Caller, _: Vec<u8>) -> Result<String, Failure> {
        no()
    }

    async fn publish_found(&self, _: NodeId, _: Said) -> Result<(), Failure> {
        no()
    }
}

/// The same as each of the things that are served over it.
pub(crate) fn shared() -> Arc<Silent> {
    Arc::new(Silent)
}
