//! Backends: the servers of an application, and how to choose among them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiscoveredServers, Mode, Source, TimeSpan, Timeouts};

/// HAProxy's `backend`: servers that are alike, and how requests are spread over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Unique among frontends and backends.
    pub name: String,
    /// What its servers speak.
    #[serde(default)]
    pub mode: Mode,
    /// HAProxy's `balance` algorithm with its arguments, such as `leastconn`, `hdr(X-User)` or `uri depth 2`.
    #[serde(default = "Backend::default_balance")]
    pub balance: String,
    /// How to tell whether a server works. Absent: servers are taken to be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Keep a client on one server by a cookie (mode http only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// Timeouts that differ from the defaults'.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// The servers that are always there.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Where further servers come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// What the servers from sources have in common.
    #[serde(default)]
    pub discovered: DiscoveredServers,
    /// Further lines of this section, as HAProxy's manual has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<String>,
}

impl Backend {
    /// Algorithms of HAProxy's `balance`, without arguments.
    pub const ALGORITHMS: [&'static str; 11] = [
        "roundrobin",
        "static-rr",
        "leastconn",
        "first",
        "source",
        "uri",
        "url_param",
        "hdr",
        "random",
        "rdp-cookie",
        "hash",
    ];

    /// A backend without servers, all else as a spec that does not say it.
    pub fn new(name: impl Into<String>, mode: Mode) -> Self {
        Self {
            name: name.into(),
            mode,
            balance: Self::default_balance(),
            health_check: None,
            cookie: None,
            timeouts: Timeouts::default(),
            servers: Vec::new(),
            sources: Vec::new(),
            discovered: DiscoveredServers::default(),
            raw: Vec::new(),
        }
    }

    fn default_balance() -> String {
        "roundrobin".into()
    }
}

/// What a health check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthCheckType {
    /// A request and its status.
    Http,
    /// A connection that is accepted.
    Tcp,
}

/// How to tell whether a server works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What it speaks.
    #[serde(rename = "type")]
    pub check_type: HealthCheckType,
    /// The path asked for (type http). `/` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The method used (type http). `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The `Host` header sent (type http).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Statuses that mean well, such as `200` or `200-399` (type http). `200-399` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<String>,
    /// Time between two checks (`inter`).
    #[serde(default = "HealthCheck::default_interval")]
    pub interval: TimeSpan,
    /// Good checks in a row that bring a server up.
    #[serde(default = "HealthCheck::default_rise")]
    pub rise: u16,
    /// Bad checks in a row that take a server down.
    #[serde(default = "HealthCheck::default_fall")]
    pub fall: u16,
    /// For so long after a server has come up again its share of the load grows to the whole (`slowstart`). Whole
    /// seconds; parts of one count as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<TimeSpan>,
    /// The port checked, if it is not the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl HealthCheck {
    fn default_interval() -> TimeSpan {
        TimeSpan::from_secs(2)
    }

    fn default_rise() -> u16 {
        2
    }

    fn default_fall() -> u16 {
        3
    }
}

/// Stickiness by a cookie that HAProxy inserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cookie {
    /// The cookie's name.
    pub name: String,
    /// Only sent over TLS.
    #[serde(default)]
    pub secure: bool,
    /// Hidden from scripts.
    #[serde(default = "Cookie::default_httponly")]
    pub httponly: bool,
    /// A cookie unused for so long is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxidle: Option<TimeSpan>,
    /// A cookie older than this is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxlife: Option<TimeSpan>,
}

impl Cookie {
    fn default_httponly() -> bool {
        true
    }
}

/// HAProxy's `server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Unique in its backend.
    pub name: String,
    /// An IPv4 or IPv6 address, or a host name that each node resolves when HAProxy starts.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Its share of the load, 0 (none) to 256.
    #[serde(default = "Server::default_weight")]
    pub weight: u16,
    /// Used only when no other server of the backend is up.
    #[serde(default)]
    pub backup: bool,
    /// Most connections to it at once; more wait in a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Speak TLS to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

impl Server {
    /// The largest weight (HAProxy's Configuration Manual, section 5.2, `weight`).
    pub const MAX_WEIGHT: u16 = 256;

    fn default_weight() -> u16 {
        100
    }
}

/// TLS to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Refuse a server whose certificate does not verify.
    #[serde(default = "ServerTls::default_verify")]
    pub verify: bool,
    /// File in the node's certificate directory with the authorities that may vouch for it. Absent: the system's
    /// authorities (needs HAProxy 2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name asked for (SNI), and expected in the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl ServerTls {
    fn default_verify() -> bool {
        true
    }
}
