//! Another node's part of an answer.

use std::time::Duration;

use hafleet_api::v1;
use hafleet_query::{Part, Wanted};

use super::{Forward, within, words};

impl Forward {
    /// What the other node contributes to an answer, or why it does not, in words.
    pub(crate) async fn part(self, wanted: &Wanted, timeout: Duration) -> Result<Part, String> {
        let request = within(v1::GetPartRequest::from(wanted.clone()), timeout);
        let mut query = hafleet_api::query::client(self.channel);
        let answer = query.get_part(request).await;
        let answer = answer.map_err(|status| words(&status))?.into_inner();
        answer
            .try_into()
            .map_err(|error: hafleet_api::convert::BadAnswer| error.to_string())
    }
}
