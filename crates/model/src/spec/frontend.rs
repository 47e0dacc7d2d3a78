//! Frontends: where clients connect, and to which backend each request goes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Mode, Timeouts};

/// HAProxy's `frontend`: listeners, and the choice of a backend for what arrives there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Frontend {
    /// Unique among frontends and backends.
    pub name: String,
    /// What it speaks.
    #[serde(default)]
    pub mode: Mode,
    /// Where it listens; at least one.
    pub binds: Vec<Bind>,
    /// Most connections at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Timeouts that differ from the defaults'.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Requests answered with another place to go, in order, before routes (mode http only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// Requests sent to a backend; the first that matches decides (mode http only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Where all others go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_backend: Option<String>,
    /// Further lines of this section, as HAProxy's manual has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<String>,
}

impl Frontend {
    /// A frontend without binds, all else as a spec that does not say it.
    pub fn new(name: impl Into<String>, mode: Mode) -> Self {
        Self {
            name: name.into(),
            mode,
            binds: Vec::new(),
            maxconn: None,
            timeouts: Timeouts::default(),
            redirects: Vec::new(),
            routes: Vec::new(),
            default_backend: None,
            raw: Vec::new(),
        }
    }
}

/// HAProxy's `bind`: one address and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// `*` for all addresses of the machine, `node` for the address that the node's agent was told, or an IPv4 or
    /// IPv6 address.
    #[serde(default)]
    pub address: BindAddress,
    /// TCP port.
    pub port: u16,
    /// Decrypt TLS here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BindTls>,
    /// Clients are proxies that send the PROXY protocol (`accept-proxy`).
    #[serde(default)]
    pub accept_proxy: bool,
}

/// Where a bind listens.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub enum BindAddress {
    /// All addresses, IPv4 and IPv6.
    #[default]
    Any,
    /// The address that the node's agent was told clients use.
    Node,
    /// This address on every node.
    Ip(IpAddr),
}

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an address to listen on: write *, node, or an IPv4 or IPv6 address")]
pub struct BindAddressError {
    found: String,
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("*"),
            Self::Node => f.pad("node"),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl FromStr for BindAddress {
    type Err = BindAddressError;

    fn from_str(text: &str) -> Result<Self, BindAddressError> {
        match text {
            "*" => Ok(Self::Any),
            "node" => Ok(Self::Node),
            _ => text.parse().map(Self::Ip).map_err(|_| BindAddressError {
                found: text.chars().take(80).collect(),
            }),
        }
    }
}

impl TryFrom<String> for BindAddress {
    type Error = BindAddressError;
    fn try_from(text: String) -> Result<Self, BindAddressError> {
        text.parse()
    }
}

impl From<BindAddress> for String {
    fn from(address: BindAddress) -> String {
        address.to_string()
    }
}

impl JsonSchema for BindAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BindAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "*, node, or an IPv4 or IPv6 address",
            "default": "*",
            "examples": ["*", "node", "192.0.2.1", "2001:db8::1"]
        })
    }
}

/// TLS of a bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindTls {
    /// Each a PEM with a certificate, its chain and its key: the fleet's certificate of that name, or else a file in the
    /// node's certificate directory. The first serves clients whose name (SNI) none of them has.
    pub certificates: Vec<String>,
    /// Protocols offered (`alpn`), most wanted first. Absent: h2 and http/1.1 in mode http, none in mode tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// The oldest version accepted (`ssl-min-ver`).
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Clients must show a certificate that this file in the certificate directory vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.0
    #[serde(rename = "TLSv1.0")]
    V1_0,
    /// TLS 1.1
    #[serde(rename = "TLSv1.1")]
    V1_1,
    /// TLS 1.2
    #[default]
    #[serde(rename = "TLSv1.2")]
    V1_2,
    /// TLS 1.3
    #[serde(rename = "TLSv1.3")]
    V1_3,
}

impl TlsVersion {
    /// HAProxy's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "TLSv1.0",
            Self::V1_1 => "TLSv1.1",
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
        }
    }
}

/// Which requests go to which backend. All that is given has to match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The request's host, without port and regardless of case; `*.example.com` matches all names below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The beginning of the request's path in whole segments: `/api` matches `/api` and `/api/x`, not `/apix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// The name of a backend.
    pub backend: String,
    /// Take `path_prefix` off the path before the request goes to the backend.
    #[serde(default)]
    pub strip_prefix: bool,
}

/// Which requests are answered with another place to go. All that is given has to match; nothing given matches all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// As in a route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// As in a route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Where to go: exactly one of `scheme`, `prefix` and `location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// This text before the request's own path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Exactly this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Status code: 301, 302, 303, 307 or 308.
    #[serde(default = "Redirect::default_code")]
    pub code: u16,
}

impl Redirect {
    /// Status codes that HAProxy's `redirect` allows.
    pub const CODES: [u16; 5] = [301, 302, 303, 307, 308];

    fn default_code() -> u16 {
        302
    }
}

/// A scheme to which a request can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedirectScheme {
    /// Requests that came without TLS go to the same place with it.
    Https,
    /// Requests that came with TLS go to the same place without it.
    Http,
}
