//! The spec: what people write. Frontends, backends, and for full control templates or raw configuration.
//!
//! A spec enters through [`load`] and nowhere else: text becomes a [`LoadedSpec`] that is valid, or a list of
//! [`Finding`]s that each name the place, what was found and what is allowed.

mod backend;
mod finding;
mod frontend;
mod global;
mod load;
mod located;
mod publication;
mod source;
mod time;
mod validate;
mod whole;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use backend::{Backend, Cookie, HealthCheck, HealthCheckType, Server, ServerTls};
pub use finding::{Finding, Findings};
pub use frontend::{
    Bind, BindAddress, BindAddressError, BindTls, Frontend, Redirect, RedirectScheme, Route,
    TlsVersion,
};
pub use global::{Defaults, Global, Mode, Timeouts};
pub use load::{LoadedSpec, MAX_SPEC_BYTES, load};
pub use publication::{
    DnsAlias, DnsAliasType, DnsHealthCheck, DnsProvider, Drift, NodeAddress, Publication,
    PublishedName, Rfc2136, Routing,
};
pub use source::{
    DiscoveredServers, Discovery, DnsRecord, DnsSource, DockerSource, Ec2Address, Ec2Source, Etcd,
    EtcdSource, FileSource, Resolver, ResolverError, ServicesSource, Source, Standby,
};
pub use time::{TimeSpan, TimeSpanError};
pub use whole::of_haproxy_cfg;

/// Everything that people tell a fleet about the traffic it serves.
///
/// Most fleets use `frontends` and `backends`. Where those do not reach, every section takes `raw` lines; and
/// `template` or `haproxy_cfg` replace the generated configuration altogether.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The version of this format; 1.
    pub version: u32,
    /// Settings of the process.
    #[serde(default)]
    pub global: Global,
    /// Defaults of all frontends and backends.
    #[serde(default)]
    pub defaults: Defaults,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frontends: Vec<Frontend>,
    /// The applications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<Backend>,
    /// How servers are found that backends do not list.
    #[serde(default)]
    pub discovery: Discovery,
    /// The names in DNS through which clients find the nodes.
    #[serde(default)]
    pub dns: Publication,
    /// Further sections, as HAProxy's manual has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// A Jinja template of the whole configuration; the spec's other parts are its variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Values of your own for the template.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub vars: serde_json::Map<String, serde_json::Value>,
    /// The whole configuration as it is. Excludes everything but `version` and `dns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub haproxy_cfg: Option<String>,
}

impl Spec {
    /// The version of the format that this build reads.
    pub const VERSION: u32 = 1;

    /// The JSON Schema of a spec (draft 2020-12), for editors and other programs.
    pub fn json_schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self);
        schema.insert("title".into(), "hafleet spec".into());
        schema.to_value()
    }
}
