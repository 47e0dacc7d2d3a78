//! The section `lb_agent` of the agent's file: the listener for callers of an older program.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hafleet_api::fleet::Scope;
use hafleet_api::lb_agent::{Keys, Local, StateWords, TokenFiles};
use serde::Deserialize;

/// Where lb-agent listened.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6666);

/// The listener for callers of lb-agent.
#[derive(Debug, Clone)]
pub struct LbAgentConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS, with the node's certificate.
    pub tls: bool,
    /// Whose configuration it changes.
    pub scope: Scope,
    /// The backend whose servers it tells.
    pub default_backend: String,
    /// Only those whose names begin so.
    pub only_prefix: String,
    /// In whose words their states are told.
    pub states: StateWords,
    /// By what callers are known.
    pub keys: Keys,
}

/// The section as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LbAgentSection {
    listen: Option<SocketAddr>,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    scope: ScopeName,
    default_backend: String,
    #[serde(default)]
    only_prefix: String,
    #[serde(default)]
    states: StatesName,
    certificate: Option<PathBuf>,
    #[serde(default)]
    tokens: Vec<TokenSection>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScopeName {
    #[default]
    Fleet,
    Node,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatesName {
    #[default]
    Haproxy,
    Elb,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSection {
    file: PathBuf,
    certificate: PathBuf,
}

impl LbAgentSection {
    /// Of an agent that runs an HAProxy, unless it is a witness.
    pub(super) fn read(self, is_witness: bool, faults: &mut Vec<String>) -> LbAgentConfig {
        let listen = self.listen.unwrap_or(DEFAULT_LISTEN);
        let is_loopback = listen.ip().is_loopback();
        if is_witness {
            faults.push("lb_agent: a witness runs no HAProxy: leave this part out".into());
        }
        if listen.port() == 0 {
            faults.push("lb_agent.listen: port 0 is not allowed: 1 to 65535 are".into());
        }
        if self.default_backend.is_empty() {
            faults.push("lb_agent.default_backend: it is empty: name a backend".into());
        }
        if !is_loopback && !self.tls {
            faults.push(format!(
                "lb_agent.listen: {listen} is not loopback, and whoever reaches it could change what is served: set lb_agent.tls = true, so that callers show a certificate of the fleet or one of lb_agent.tokens, or listen on 127.0.0.1"
            ));
        }
        let needs_person = is_loopback && self.tokens.is_empty();
        let local = match (needs_person, self.certificate) {
            (true, Some(certificate)) => Local::Person(certificate),
            (true, None) => Local::Node,
            (false, None) => Local::Refused,
            (false, Some(_)) => {
                faults.push(
                    "lb_agent.certificate: it is for callers on loopback without a token: leave it out where there are lb_agent.tokens, or where lb_agent.listen is not loopback"
                        .into(),
                );
                Local::Refused
            }
        };
        if local == Local::Node && self.scope == ScopeName::Fleet {
            faults.push(
                "lb_agent.certificate: it is required with scope = \"fleet\": the certificate of an administrator in whose name callers without a token change the fleet's spec (`hafleet pki issue --person lb-agent --role admin` makes one; its key is not needed here), or set lb_agent.scope = \"node\""
                    .into(),
            );
        }
        let tokens = self.tokens.into_iter().map(|token| TokenFiles {
            file: token.file,
            certificate: token.certificate,
        });
        LbAgentConfig {
            listen,
            tls: self.tls,
            scope: match self.scope {
                ScopeName::Fleet => Scope::Fleet,
                ScopeName::Node => Scope::ThisNode,
            },
            default_backend: self.default_backend,
            only_prefix: self.only_prefix,
            states: match self.states {
                StatesName::Haproxy => StateWords::Haproxy,
                StatesName::Elb => StateWords::Elb,
            },
            keys: Keys {
                tokens: tokens.collect(),
                local,
            },
        }
    }
}
