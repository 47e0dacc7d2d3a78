//! The way to a fleet: the first endpoint that answers, with the caller's certificate.

use std::path::Path;
use std::time::Duration;

use hafleet_api::v1::admin_client::AdminClient;
use hafleet_identity::{ConnectError, Credentials, Expected, IdentityFiles};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::args::Target;
use crate::failure::{Exit, Failure};

/// The port of an endpoint that names none.
pub(crate) const DEFAULT_PORT: u16 = 7440;

/// A client of the administration API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The generated client, for the calls.
    pub admin: AdminClient<Channel>,
    /// The connection, for other services.
    pub channel: Channel,
    timeout: Duration,
}

impl Client {
    /// Connects to the first endpoint that answers.
    pub(crate) async fn connect(target: &Target) -> Result<Self, Failure> {
        if target.endpoint.is_empty() {
            return Err(Failure::invalid(
                "no endpoint: give --endpoint HOST:PORT, or set HAFLEET_ENDPOINT, to the address of any agent",
            ));
        }
        let credentials = credentials(target.identity.as_deref())?;
        let mut failures = Vec::new();
        for endpoint in &target.endpoint {
            match hafleet_identity::connect(&credentials, &with_port(endpoint), Expected::AnyNode)
                .await
            {
                Ok(connection) => {
                    let channel = connection.channel;
                    return Ok(Self {
                        admin: hafleet_api::client(channel.clone()),
                        channel,
                        timeout: target.call_timeout(),
                    });
                }
                Err(error) => failures.push(error),
            }
        }
        Err(no_endpoint(&failures))
    }

    /// A request that gives up after the caller's time-out.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.request_within(message, self.timeout)
    }

    /// A request that gives up after `timeout`.
    pub(crate) fn request_within<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }
}

/// The message of an answer, or the failure that the status stands for.
pub(crate) fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Result<T, Failure> {
    result
        .map(tonic::Response::into_inner)
        .map_err(Failure::from)
}

fn credentials(identity: Option<&Path>) -> Result<Credentials, Failure> {
    let Some(directory) = identity else {
        return Err(Failure::invalid(
            "no identity: give --identity DIR, or set HAFLEET_IDENTITY, to a directory that `hafleet pki issue` made",
        ));
    };
    Credentials::load(&IdentityFiles::from_directory(directory)).map_err(Failure::invalid)
}

fn with_port(endpoint: &str) -> String {
    let is_bare_v6 = endpoint.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = endpoint
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (is_bare_v6, has_port) {
        (true, _) => format!("[{endpoint}]:{DEFAULT_PORT}"),
        (false, true) => endpoint.to_owned(),
        (false, false) => format!("{endpoint}:{DEFAULT_PORT}"),
    }
}

/// What it means that no endpoint took the call.
pub(crate) fn no_endpoint(failures: &[ConnectError]) -> Failure {
    let is_refusal = |error: &ConnectError| {
        matches!(
            error,
            ConnectError::RefusedByUs { .. } | ConnectError::RefusedByThem { .. }
        )
    };
    let is_misuse = |error: &ConnectError| matches!(error, ConnectError::BadTarget { .. });
    let exit = if failures.iter().any(is_misuse) {
        Exit::Invalid
    } else if failures.iter().any(is_refusal) {
        Exit::Refused
    } else {
        Exit::Unreachable
    };
    let words: Vec<_> = failures.iter().map(ToString::to_string).collect();
    Failure::new(exit, words.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_without_a_port_get_the_default_one() {
        assert_eq!(with_port("lb1.example.com"), "lb1.example.com:7440");
        assert_eq!(with_port("127.0.0.11:1"), "127.0.0.11:1");
        assert_eq!(with_port("2001:db8::1"), "[2001:db8::1]:7440");
        assert_eq!(with_port("[2001:db8::1]:1"), "[2001:db8::1]:1");
    }
}
