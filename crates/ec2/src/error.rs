//! Why there is no answer, and how that is read from what the SDK says.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::calls::CutShort;

/// The longest explanation that is passed on, in characters. A denial can carry kilobytes of encoded policy.
const MAX_WHY: usize = 400;

/// Why there is no answer. It is never to be taken for an answer without instances.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ec2Error {
    /// It was not reached, was too slow, or said that something of its own is broken. Transient.
    #[error("{what} does not answer: {why}")]
    Unreachable {
        /// Which call, where and as whom.
        what: String,
        /// What was seen.
        why: String,
    },
    /// There are no credentials, they are not taken, or they do not allow the call. It stays until someone acts.
    #[error("{what} refuses: {why}")]
    Refused {
        /// Which call, where and as whom.
        what: String,
        /// What was said.
        why: String,
    },
    /// The account has made too many calls, not only ours (`RequestLimitExceeded`). Transient: ask later, and less.
    #[error("{what} wants fewer calls: {why}")]
    Throttled {
        /// Which call, where and as whom.
        what: String,
        /// What was said.
        why: String,
    },
    /// The answer is not whole, or none that EC2 gives. Transient.
    #[error("{what} gave no whole answer: {why}")]
    Malformed {
        /// Which call, where and as whom.
        what: String,
        /// What was seen.
        why: String,
    },
    /// The question cannot be asked. It stays until the query or the settings change.
    #[error("{what} cannot be asked: {why}")]
    Unconfigured {
        /// What about the question.
        what: String,
        /// What to change.
        why: String,
    },
}

/// Codes with which AWS asks for fewer calls (Amazon EC2 API Reference, "Error codes"; Auto Scaling, "Common Errors").
const THROTTLED: &[&str] = &[
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "EC2ThrottledException",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "SlowDown",
];

/// Codes with which AWS refuses who asks (the same pages).
const REFUSED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "PendingVerification",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

impl Ec2Error {
    pub(crate) fn unconfigured(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unconfigured {
            what: what.into(),
            why: why.into(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed {
            what: what.into(),
            why: why.into(),
        }
    }

    /// What went wrong with the call `what`.
    pub(crate) fn of_call<E>(what: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let what = what.to_owned();
        if let SdkError::ServiceError(service) = error
            && let Some(code) = service.err().code()
        {
            let message = service.err().message().unwrap_or_default();
            let why = short(&format!("{code}: {message}"));
            return Self::of_code(what, code, service.raw().status().as_u16(), why);
        }
        let why = short(&causes(error));
        if let Some(credentials) = find::<CredentialsError>(error) {
            return Self::of_credentials(what, credentials);
        }
        if find::<CutShort>(error).is_some() {
            return Self::Malformed { what, why };
        }
        match error {
            SdkError::ResponseError(_) => Self::Malformed { what, why },
            SdkError::ServiceError(service) => {
                Self::of_code(what, "", service.raw().status().as_u16(), why)
            }
            SdkError::ConstructionFailure(_) => Self::Unconfigured { what, why },
            _ => Self::Unreachable { what, why },
        }
    }

    fn of_code(what: String, code: &str, status: u16, why: String) -> Self {
        if THROTTLED.contains(&code) || status == 429 {
            Self::Throttled { what, why }
        } else if REFUSED.contains(&code) || matches!(status, 401 | 403) {
            Self::Refused { what, why }
        } else if status >= 500 {
            Self::Unreachable { what, why }
        } else if code.is_empty() {
            Self::Malformed { what, why }
        } else {
            Self::Unconfigured { what, why }
        }
    }

    fn of_credentials(what: String, error: &CredentialsError) -> Self {
        let why = short(&causes(error));
        let is_out_of_reach = matches!(error, CredentialsError::ProviderTimedOut(_))
            || find::<ConnectorError>(error).is_some();
        if is_out_of_reach {
            Self::Unreachable { what, why }
        } else {
            Self::Refused { what, why }
        }
    }
}

/// The first cause of that type.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with all its causes. The SDK repeats itself; a cause that the words before it have already is left out.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

fn short(words: &str) -> String {
    match words.char_indices().nth(MAX_WHY) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, status: u16) -> Ec2Error {
        Ec2Error::of_code("EC2".into(), code, status, String::new())
    }

    #[test]
    fn a_request_for_fewer_calls_is_told_from_a_broken_service() {
        // EC2 says so with 503, which alone is a broken service.
        assert!(matches!(
            of("RequestLimitExceeded", 503),
            Ec2Error::Throttled { .. }
        ));
        assert!(matches!(
            of("Unavailable", 503),
            Ec2Error::Unreachable { .. }
        ));
        assert!(matches!(of("", 429), Ec2Error::Throttled { .. }));
    }

    #[test]
    fn who_asks_is_told_from_what_is_asked() {
        assert!(matches!(
            of("UnauthorizedOperation", 403),
            Ec2Error::Refused { .. }
        ));
        assert!(matches!(of("AuthFailure", 401), Ec2Error::Refused { .. }));
        assert!(matches!(
            of("RequestExpired", 400),
            Ec2Error::Refused { .. }
        ));
        assert!(matches!(
            of("InvalidParameterValue", 400),
            Ec2Error::Unconfigured { .. }
        ));
        assert!(matches!(of("", 404), Ec2Error::Malformed { .. }));
    }

    #[test]
    fn explanations_are_kept_short() {
        assert_eq!(short("why"), "why");
        assert_eq!(short(&"é".repeat(5000)).chars().count(), MAX_WHY + 1);
    }
}
