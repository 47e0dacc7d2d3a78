//! What the leader is asked about names in DNS.

use hafleet_api::v1;
use tonic::Response;

use super::{Forward, QUESTION_TIMEOUT, Unanswered, errand, unanswered, within};

/// The command that tells whether something was done.
const TELLING: &str = "hafleet dns";

impl Forward {
    /// Asks the other agent, which should lead, how names in DNS stand.
    pub(crate) async fn dns(mut self) -> Result<v1::ListDnsResponse, Unanswered> {
        let answer = self
            .admin
            .list_dns(within(v1::ListDnsRequest {}, QUESTION_TIMEOUT))
            .await;
        answer
            .map(Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Asks it what it would change.
    pub(crate) async fn plan_dns(mut self) -> Result<v1::PlanDnsResponse, Unanswered> {
        let answer = self
            .admin
            .plan_dns(within(v1::PlanDnsRequest {}, QUESTION_TIMEOUT))
            .await;
        answer
            .map(Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Has it take over a name.
    pub(crate) async fn adopt_dns(mut self, name: &str) -> Result<(), Unanswered> {
        let name = name.to_owned();
        let request = errand(v1::AdoptDnsRequest { name });
        let answer = self.admin.adopt_dns(request).await;
        answer
            .map(drop)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }

    /// Has it give names up; which they were.
    pub(crate) async fn release_dns(mut self, names: &[String]) -> Result<Vec<String>, Unanswered> {
        let names = names.to_vec();
        let request = errand(v1::ReleaseDnsRequest { names });
        let answer = self.admin.release_dns(request).await;
        answer
            .map(|answer| answer.into_inner().names)
            .map_err(|status| unanswered(&self.node, status, TELLING))
    }
}
