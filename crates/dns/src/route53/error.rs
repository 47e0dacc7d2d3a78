//! What the SDK's errors mean for a publisher: which say that nothing was done, and which leave it open.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_route53::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::provider::ProviderError;

/// The longest explanation that is passed on, in characters.
const MAX_WHY: usize = 400;

/// Codes with which Route53 asks to come later (Amazon Route 53 API Reference, `ChangeResourceRecordSets`, "Errors", and
/// "Common Errors").
const LATER: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "PriorRequestNotComplete",
];

/// Codes with which AWS refuses who asks ("Common Errors").
const REFUSED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "NotAuthorizedException",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// What went wrong with the request `what`.
pub(super) fn of_call<E>(what: &str, error: &SdkError<E>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let what = what.to_owned();
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            let why = match service.err().message() {
                Some(message) => format!("{code}: {message}"),
                None => format!("{code} {}", DisplayErrorContext(service.err())),
            };
            of_code(what, code, status, short(&why))
        }
        // Nothing was sent.
        _ if matches!(error, SdkError::ConstructionFailure(_)) || has_no_credentials(error) => {
            ProviderError::Refused {
                what,
                why: short(&DisplayErrorContext(error).to_string()),
            }
        }
        _ => ProviderError::Unknown {
            what,
            why: short(&DisplayErrorContext(error).to_string()),
        },
    }
}

/// `why` begins with the code. `InvalidChangeBatch` comes with an empty message in some versions of the API; the code is there
/// then.
fn of_code(what: String, code: &str, status: u16, why: String) -> ProviderError {
    if LATER.contains(&code) || status == 429 {
        ProviderError::Throttled { what, why }
    } else if REFUSED.contains(&code) || matches!(status, 401 | 403) {
        ProviderError::Refused { what, why }
    } else if code == "NoSuchHostedZone" {
        ProviderError::Zone { what, why }
    } else if (400..500).contains(&status) && !code.is_empty() {
        ProviderError::Rejected { what, why }
    } else {
        ProviderError::Unknown { what, why }
    }
}

/// Whether a request was not sent since nobody gives credentials for it. Those who were only too slow may do so later.
fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            return !matches!(credentials, CredentialsError::ProviderTimedOut(_));
        }
        next = error.source();
    }
    false
}

fn short(why: &str) -> String {
    match why.char_indices().nth(MAX_WHY) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, status: u16) -> ProviderError {
        of_code(
            "ChangeResourceRecordSets".into(),
            code,
            status,
            String::new(),
        )
    }

    #[test]
    fn what_was_not_done_is_told_from_what_may_have_been() {
        use ProviderError as E;
        assert!(matches!(of("InvalidChangeBatch", 400), E::Rejected { .. }));
        assert!(matches!(of("InvalidInput", 400), E::Rejected { .. }));
        assert!(matches!(of("NoSuchHealthCheck", 404), E::Rejected { .. }));
        assert!(matches!(
            of("PriorRequestNotComplete", 400),
            E::Throttled { .. }
        ));
        assert!(matches!(of("Throttling", 400), E::Throttled { .. }));
        assert!(matches!(of("NoSuchHostedZone", 404), E::Zone { .. }));
        assert!(matches!(of("AccessDenied", 403), E::Refused { .. }));
        assert!(matches!(of("InternalFailure", 500), E::Unknown { .. }));
        assert!(matches!(of("ServiceUnavailable", 503), E::Unknown { .. }));
        assert!(matches!(of("", 400), E::Unknown { .. }));
    }
}
