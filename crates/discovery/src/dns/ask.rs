//! Asking name servers, one after the other, until one knows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use hafleet_model::spec::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::reply::{self, MOST_ALIASES, Records, Reply};
use crate::answer::SourceError;

/// The longest that one name server is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Name servers, each over UDP, and over TCP when its answer does not fit. The one that answered last is asked first.
pub(super) struct NameServers {
    servers: Vec<NameServer>,
    first: AtomicUsize,
}

struct NameServer {
    name: String,
    /// Of one only: hickory's own way from one to the next takes SERVFAIL for the last word.
    pool: NameServerPool<TokioRuntimeProvider>,
}

impl NameServers {
    /// Those given, or the system's if none is. Together they may take half of `limit`.
    ///
    /// # Errors
    /// When the system's configuration cannot be read or names none.
    pub(super) fn of(given: &BTreeSet<Resolver>, limit: Duration) -> Result<Self, SourceError> {
        let unconfigured = |error: NetError| SourceError::Unconfigured {
            what: "the system's name servers".to_owned(),
            why: format!("{error}: give `resolvers`, or see to /etc/resolv.conf"),
        };
        let configs = if given.is_empty() {
            let (system, _) = read_system_conf().map_err(unconfigured)?;
            system.name_servers
        } else {
            given
                .iter()
                .map(|Resolver(address)| config(*address))
                .collect()
        };
        let parts = u32::try_from(configs.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(2);
        let wait = (limit / parts.max(1)).min(LONGEST_WAIT);
        let servers: Result<_, _> = configs.into_iter().map(|one| server(one, wait)).collect();
        Ok(Self {
            servers: servers.map_err(unconfigured)?,
            first: AtomicUsize::new(0),
        })
    }

    /// All records of this name and type, aliases followed.
    ///
    /// # Errors
    /// When no name server says which there are; the error is that of the last one asked.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Records, SourceError> {
        let mut wanted = name.clone();
        let mut lives = Vec::new();
        for _ in 0..=MOST_ALIASES {
            match self.ask_any(&wanted, kind).await? {
                Reply::Known(mut records) => {
                    lives.extend(records.life);
                    records.life = lives.into_iter().min();
                    return Ok(records);
                }
                Reply::Alias(target, life) => {
                    lives.push(life);
                    wanted = target;
                }
            }
        }
        Err(SourceError::Malformed {
            what: name.to_string(),
            why: "its aliases have no end".to_owned(),
        })
    }

    async fn ask_any(&self, name: &Name, kind: RecordType) -> Result<Reply, SourceError> {
        let first = self.first.load(Ordering::Relaxed);
        let mut last = SourceError::Unconfigured {
            what: name.to_string(),
            why: "there is no name server".to_owned(),
        };
        for number in 0..self.servers.len() {
            let number = (first + number) % self.servers.len();
            let server = &self.servers[number];
            match reply::read(server.ask(name, kind).await, &server.name, name, kind) {
                Ok(reply) => {
                    self.first.store(number, Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl NameServer {
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, NetError> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        let mut replies = self.pool.lookup(Query::query(name.clone(), kind), options);
        match replies.next().await {
            Some(reply) => reply.map(DnsResponse::into_message),
            None => Err(NetError::NoConnections),
        }
    }
}

fn config(address: SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn server(config: NameServerConfig, wait: Duration) -> Result<NameServer, NetError> {
    let port = config.connections.first().map_or(53, |first| first.port);
    let address = SocketAddr::new(config.ip, port);
    let mut options = ResolverOpts::default();
    options.timeout = wait;
    let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
    Ok(NameServer {
        name: format!("name server {address}"),
        pool: NameServerPool::from_config([config], context, TokioRuntimeProvider::default()),
    })
}
