//! A service that discovery found whole: not only its servers, but how requests come to it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A service out of etcd. It becomes a backend of its name, and a route or a frontend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// Its name, which is also its backend's and, without `upstreams`, its servers' in DNS.
    pub name: String,
    /// The TCP port of its servers.
    pub port: u16,
    /// HAProxy's `balance`, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
    /// Its servers, if they are not to be found in DNS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<SocketAddr>,
    /// How requests come to it.
    #[serde(flatten)]
    pub kind: ServiceKind,
}

/// How requests come to a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ServiceKind {
    /// By a route in a frontend of the spec. At least one of `domain` and `path_prefix` is there; both have to match.
    Http {
        /// The host that requests name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        /// What their paths begin with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path_prefix: Option<String>,
        /// The fleet's certificate that its domain is served with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<String>,
    },
    /// By a frontend of its own.
    Tcp {
        /// The port of that frontend.
        external_port: u16,
    },
}
