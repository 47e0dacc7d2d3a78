//! The endpoints document: the servers that discovery found for each backend, and the services it found whole.
//!
//! Its body is JSON with a version: `{"version":1,"backends":{"app":[{"name":"i-1","address":"192.0.2.7","port":80,
//! "weight":100,"source":"ec2 …"}]},"services":[…]}`. The leader writes it; every node puts it together with the spec by
//! [`effective_spec`] and renders the result.

mod effective;
mod placing;
mod service;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use effective::effective_spec;
pub use placing::{Unplaced, unplaced};
pub use service::{Service, ServiceKind};

/// The most servers that all backends together may have from sources.
pub const MAX_ENDPOINTS: usize = 50_000;

/// A body that is no endpoints document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// Not the JSON that is expected.
    #[error("the endpoints document cannot be read: {0}")]
    Malformed(String),
    /// Of another version.
    #[error(
        "the endpoints document has version {found}, and this version of hafleet reads version {}: install the later one",
        Endpoints::VERSION
    )]
    OtherVersion {
        /// What it says.
        found: u32,
    },
    /// Too many servers.
    #[error("the endpoints document has {found} servers, and {MAX_ENDPOINTS} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// One server that a source found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The server's name, unique in its backend, a name of HAProxy's.
    pub name: String,
    /// Where it is.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Its share of the load, 0 (what has begun there goes on, nothing new comes) to 256.
    pub weight: u16,
    /// Its availability zone, if the source knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Which source found it, as `hafleet sources` names that.
    pub source: String,
}

/// What discovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The servers of each backend, by backend, sorted by name.
    pub backends: BTreeMap<String, Vec<Endpoint>>,
    /// Services that are not in the spec, sorted by name.
    pub services: Vec<Service>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    backends: BTreeMap<String, Vec<Endpoint>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Endpoints {
    /// The version of the form that is written.
    pub const VERSION: u32 = 1;

    /// Reads a document's body.
    ///
    /// # Errors
    /// When it is not JSON of the known version and form, or has too many servers.
    pub fn parse(body: &str) -> Result<Self, EndpointsError> {
        let malformed = |error: serde_json::Error| EndpointsError::Malformed(error.to_string());
        let VersionOnly { version } = serde_json::from_str(body).map_err(malformed)?;
        if version != Self::VERSION {
            return Err(EndpointsError::OtherVersion { found: version });
        }
        let body: Body = serde_json::from_str(body).map_err(malformed)?;
        let found = body.backends.values().map(Vec::len).sum();
        if found > MAX_ENDPOINTS {
            return Err(EndpointsError::TooMany { found });
        }
        Ok(Self {
            backends: body.backends,
            services: body.services,
        }
        .in_order())
    }

    /// The document's body: the same endpoints give the same bytes, in whatever order they were found.
    pub fn body(&self) -> String {
        let Self { backends, services } = self.clone().in_order();
        let body = Body {
            version: Self::VERSION,
            backends,
            services,
        };
        // Texts and numbers under text keys: there is nothing in it that JSON could not hold.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// The servers of a backend; none if nothing is known of it.
    pub fn of(&self, backend: &str) -> &[Endpoint] {
        self.backends.get(backend).map_or(&[], Vec::as_slice)
    }

    fn in_order(mut self) -> Self {
        for servers in self.backends.values_mut() {
            servers.sort();
        }
        self.services.sort();
        self
    }
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
