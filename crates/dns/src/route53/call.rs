//! One request: a token of the budget, and what its failure means.

use std::error::Error;
use std::future::Future;

use aws_sdk_route53::Client;
use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};

use super::error::of_call;
use crate::budget::Budget;
use crate::provider::ProviderError;

/// What requests about one zone are made with.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) budget: Budget,
    /// The zone, as the spec names it.
    pub(super) zone: String,
}

impl Api {
    /// Makes the request `action` when it is its turn.
    pub(super) async fn ask<T, E>(
        &self,
        action: &str,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, ProviderError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.budget.turn().await;
        let answer = Box::pin(request).await;
        let answer = answer.map_err(|error| of_call(&format!("{action} of {}", self.zone), &error));
        if matches!(answer, Err(ProviderError::Throttled { .. })) {
            self.budget.throttled();
        }
        answer
    }
}
