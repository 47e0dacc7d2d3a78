//! The forms of answers: `{"success":true,"message":…}` and `{"success":false,"error":…}`, each with a true status.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use hafleet_model::spec::Finding;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use crate::Failure;
use crate::failure;

/// An answer, whose members come in the order in which lb-agent gave them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Answer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    header: Option<Extra>,
}

/// A header that belongs to a status.
type Extra = (HeaderName, &'static str);

impl Answer {
    pub(super) fn success(message: serde_json::Value) -> Self {
        Self {
            success: true,
            message: Some(message),
            error: None,
            status: StatusCode::OK,
            header: None,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        // Values of these types always have a JSON form.
        let mut body = serde_json::to_string(&self).unwrap_or_default();
        body.push('\n');
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some((name, value)) = self.header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Why a request is not done. Nothing was changed, unless the words say otherwise.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
    header: Option<Extra>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            header: None,
        }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    pub(super) fn unauthenticated(words: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, words)
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"hafleet\"")
    }

    pub(super) fn forbidden(words: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, words)
    }

    pub(super) fn unknown_path(path: &str) -> Self {
        let path: String = path.chars().take(80).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is nothing at {path}: /reloadHaproxy, /reload and /getBackends are"),
        )
    }

    pub(super) fn wrong_method(method: &Method, allowed: &'static str) -> Self {
        let words = format!("{method} is not for this path, only {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, words).with(header::ALLOW, allowed)
    }

    pub(super) fn bad_body(problem: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("the body: {problem}"))
    }

    pub(super) fn encoded(encoding: &HeaderValue) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the body is sent as {encoding:?}: send it as it is"),
        )
    }

    pub(super) fn slow(deadline: Duration) -> Self {
        let words = format!("the body did not come to its end within {deadline:?}");
        // What is left of it would be taken for the next request.
        Self::new(StatusCode::REQUEST_TIMEOUT, words).with(header::CONNECTION, "close")
    }

    pub(super) fn busy(limit: usize) -> Self {
        let words = format!("{limit} configurations are on their way already; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words).with(header::RETRY_AFTER, "5")
    }

    /// What it says.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    pub(super) fn answer(self) -> Answer {
        Answer {
            success: false,
            message: None,
            error: Some(self.words),
            status: self.status,
            header: self.header,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        if let Failure::InvalidSpec(findings) = &failure {
            return Self::new(StatusCode::BAD_REQUEST, of_findings(&findings.0));
        }
        if matches!(failure, Failure::HasOwnConfiguration { .. }) {
            return Self::new(StatusCode::CONFLICT, failure.to_string());
        }
        let status = Status::from(failure);
        let findings = failure::findings(&status);
        let words = match findings.is_empty() {
            true => status.message().to_owned(),
            false => of_findings(&findings),
        };
        Self::new(http_status(status.code()), words)
    }
}

/// What is wrong with a configuration. HAProxy names the lines that the caller has sent; where those stand in the spec, the
/// caller does not know.
fn of_findings(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| match finding.path.as_str() {
        "haproxy_cfg" => finding.message.clone(),
        _ => finding.to_string(),
    });
    let lines: Vec<_> = lines.collect();
    format!("the configuration is not valid: {}", lines.join("\n"))
}

/// The status of HTTP that says the same (google.rpc.Code names them).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        // Too few nodes, no leader: it may be done later.
        Code::FailedPrecondition | Code::Unavailable | Code::Cancelled => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
