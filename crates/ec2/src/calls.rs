//! What is done at every call: it is counted, since AWS meters calls, and its answer has to be whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_ec2::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;

/// How many requests a client has sent, every attempt counted, since it was made. Those to STS, for roles, are not
/// among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// `DescribeInstances`, one for each page.
    pub describe_instances: u64,
    /// `DescribeAutoScalingGroups`, one for each page.
    pub describe_auto_scaling_groups: u64,
}

impl Calls {
    /// All of them.
    pub fn total(self) -> u64 {
        self.describe_instances + self.describe_auto_scaling_groups
    }
}

/// An answer whose end is missing.
#[derive(Debug, thiserror::Error)]
#[error("the answer ends in the middle, after {length} bytes")]
pub(crate) struct CutShort {
    length: usize,
}

/// Stands at each attempt of the calls of one client.
///
/// The SDK's reader takes a document that ends in the middle for one that has no more in it: the instances of half a page,
/// and no next page. HTTP notices that only where it knows the length. So the end is looked for here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// How many attempts there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        // A body that could not be read at all is an error already, and none is here.
        match response.body().bytes() {
            Some(body) if response.status().is_success() && !is_whole(body) => {
                Err(Box::new(CutShort { length: body.len() }))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a document of XML closes the element that it begins with, which for both APIs is `…Response`.
fn is_whole(body: &[u8]) -> bool {
    let end = body.trim_ascii_end();
    let last = end.rsplit(|byte| *byte == b'<').next().unwrap_or_default();
    last.starts_with(b"/") && last.ends_with(b"Response>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_its_end_is_not_whole() {
        let whole = b"<?xml version='1.0'?>\n<DescribeInstancesResponse xmlns='x'><reservationSet/></DescribeInstancesResponse>\n";
        assert!(is_whole(whole));
        for length in 0..whole.len() - 1 {
            assert!(!is_whole(&whole[..length]), "{length}");
        }
    }
}
