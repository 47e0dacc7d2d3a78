//! What the leader is asked about names in DNS.

use hafleet_api::fleet::Intent;
use hafleet_api::{ON_BEHALF_OF, v1};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response};

use super::{Forward, QUESTION_TIMEOUT, Unanswered, on_behalf_of, unanswered, within};

/// The command that tells whether something was done.
const TELLING: &str = "hafleet dns";

impl Forward {
    /// Asks the other agent, which should lead, how names in DNS stand.
    pub(crate) async fn dns(mut self) -> Result<v1::ListDnsResponse, Unanswered> {
        let answer = self.admin.list_dns(question(v1::ListDnsRequest {})).await;
        answer
            .map(Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Asks it what it would change.
    pub(crate) async fn plan_dns(mut self) -> Result<v1::PlanDnsResponse, Unanswered> {
        let answer = self.admin.plan_dns(question(v1::PlanDnsRequest {})).await;
        answer
            .map(Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Has it take over a name.
    pub(crate) async fn adopt_dns(mut self, name: &str, intent: &Intent) -> Result<(), Unanswered> {
        let name = name.to_owned();
        let request = on_behalf_of(v1::AdoptDnsRequest { name }, intent);
        let answer = self.admin.adopt_dns(request).await;
        answer
            .map(drop)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Has it give names up; which they were.
    pub(crate) async fn release_dns(
        mut self,
        names: &[String],
        intent: &Intent,
    ) -> Result<Vec<String>, Unanswered> {
        let names = names.to_vec();
        let request = on_behalf_of(v1::ReleaseDnsRequest { names }, intent);
        let answer = self.admin.release_dns(request).await;
        answer
            .map(|answer| answer.into_inner().names)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }
}

/// A question that is not forwarded again.
fn question<T>(message: T) -> Request<T> {
    let mut request = within(message, QUESTION_TIMEOUT);
    let forwarded = AsciiMetadataValue::from_static("a question");
    request.metadata_mut().insert(ON_BEHALF_OF, forwarded);
    request
}
