//! Settings of the whole process, and the defaults of all proxies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TimeSpan;

/// HAProxy's `global` section: settings of the process. hafleet adds the runtime socket itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    /// Most connections of the process at once (`maxconn`). HAProxy derives one from the file limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Threads (`nbthread`). One per core if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// User that the process becomes after it has bound its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group that the process becomes after it has bound its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How long an old process may finish its connections after a reload (`hard-stop-after`). 10m if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_stop_after: Option<TimeSpan>,
    /// Over how long an old process spreads the closing of its idle connections after a reload (`close-spread-time`, HAProxy
    /// 2.6 and later; left out for older ones), so that clients do not all connect anew at once. At once if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_spread_time: Option<TimeSpan>,
    /// Further lines of this section, as HAProxy's manual has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<String>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Requests are read, so that they can be routed and logged one by one.
    #[default]
    Http,
    /// Bytes are passed on unread.
    Tcp,
}

impl Mode {
    /// HAProxy's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// HAProxy's `defaults` section: what frontends and backends have unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Timeouts. Absent ones of connect, client and server are 5s, 30s and 30s.
    pub timeouts: Timeouts,
    /// Most connections of each frontend at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Further lines of this section, as HAProxy's manual has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<String>,
}

/// HAProxy's `timeout` settings. Each is absent unless given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect to a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<TimeSpan>,
    /// Client silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<TimeSpan>,
    /// Server silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<TimeSpan>,
    /// A whole request's headers to arrive (`http-request`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_request: Option<TimeSpan>,
    /// Between two requests of one connection (`http-keep-alive`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_keep_alive: Option<TimeSpan>,
    /// In the queue for a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<TimeSpan>,
    /// Both sides silent in a tunnel such as a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TimeSpan>,
    /// A health check's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<TimeSpan>,
}

impl Timeouts {
    /// HAProxy's keyword of each timeout that is given, in the manual's spelling.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, TimeSpan)> {
        [
            ("connect", self.connect),
            ("client", self.client),
            ("server", self.server),
            ("http-request", self.http_request),
            ("http-keep-alive", self.http_keep_alive),
            ("queue", self.queue),
            ("tunnel", self.tunnel),
            ("check", self.check),
        ]
        .into_iter()
        .filter_map(|(keyword, span)| span.map(|span| (keyword, span)))
    }
}
