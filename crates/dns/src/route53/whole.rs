//! Answers have to be whole: the SDK's reader takes a document that ends in the middle for one that has no more in it.

use aws_sdk_route53::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_route53::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_route53::error::BoxError;

/// An answer whose end is missing.
#[derive(Debug, thiserror::Error)]
#[error("the answer ends in the middle, after {0} bytes")]
struct CutShort(usize);

/// Looks at each answer's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole;

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "Whole"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        match response.body().bytes() {
            // Some answers, such as that of DeleteHealthCheck, may be empty.
            Some(body)
                if response.status().is_success() && !body.is_empty() && !ends_well(body) =>
            {
                Err(CutShort(body.len()).into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether the last thing in a document of XML is the end of an element `…Response`, or such an element without content.
fn ends_well(document: &[u8]) -> bool {
    let document = document.trim_ascii_end();
    let last = document.rsplit(|byte| *byte == b'<').next();
    let Some(tag) = last.and_then(|last| last.strip_suffix(b">")) else {
        return false;
    };
    let (name, is_end) = match (tag.strip_prefix(b"/"), tag.strip_suffix(b"/")) {
        (Some(name), _) => (name, true),
        (None, Some(name)) => (name, true),
        (None, None) => (tag, false),
    };
    let name = name
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    is_end && name.ends_with(b"Response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_document_is_seen() {
        let whole = b"<?xml version=\"1.0\"?><GetChangeResponse><ChangeInfo><Id>/change/C1</Id></ChangeInfo></GetChangeResponse>\n";
        let end = whole.len() - 1;
        for length in 0..end {
            assert!(!ends_well(&whole[..length]), "{length}");
        }
        assert!(ends_well(whole));
        assert!(ends_well(b"<DeleteHealthCheckResponse xmlns=\"x\"/>"));
    }
}
