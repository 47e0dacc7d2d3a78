//! The audit logs of all live nodes in one.

use futures_util::future::join_all;
use hafleet_api::v1;
use hafleet_model::NodeId;

use super::AgentFleet;
use crate::forward::Forward;

impl AgentFleet {
    /// The newest `limit` records of all live nodes, newest first by their clocks.
    pub(crate) async fn audit_of_all(&self, limit: usize) -> v1::ListAuditResponse {
        let asked = self
            .others()
            .into_iter()
            .map(|node| self.audit_of(node, limit));
        let mut records = self.audit.newest(limit);
        let mut missing = Vec::new();
        for answer in join_all(asked).await {
            match answer {
                Ok(more) => records.extend(more),
                Err(why) => missing.push(why),
            }
        }
        let time = |record: &v1::AuditRecord| record.at.as_ref().map(|at| (at.seconds, at.nanos));
        records.sort_by_key(|record| std::cmp::Reverse(time(record)));
        records.truncate(limit);
        v1::ListAuditResponse { records, missing }
    }

    async fn audit_of(&self, node: NodeId, limit: usize) -> Result<Vec<v1::AuditRecord>, String> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        match Forward::to(&self.cluster, &node) {
            Ok(forward) => forward.audit(limit).await,
            Err(failure) => Err(format!("{node}: {failure}")),
        }
    }
}
