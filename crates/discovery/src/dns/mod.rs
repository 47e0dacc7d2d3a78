//! Servers that a name in DNS stands for. Every question reaches the name servers: nothing is kept here from one question
//! to the next, and `/etc/hosts` is not read.
//!
//! It is asked again when the answer's time to live is over, after a second at the least and after the interval at the
//! most. That a name does not exist, or has no such records, is an answer without servers (RFC 2308); everything else
//! that brings no records is an error.

mod ask;
mod reply;
mod srv;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use hafleet_model::spec::DnsRecord;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::{sleep, timeout};

use self::ask::NameServers;
use self::srv::Service;
use crate::answer::{Address, AddressKind, Answer, Condition, Found, LeftOut, SourceError};
use crate::pauses::Pauses;
use crate::query::DnsQuery;
use crate::source::{Answers, Source, SourceSettings};

/// Nothing is asked again sooner, whatever its time to live, unless the interval itself is shorter.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// So many targets of SRV records are asked for at once.
const TARGETS_AT_ONCE: usize = 8;

/// One name and type in DNS.
///
/// Of SRV records, those with the lowest priority are servers (RFC 2782: the others are for when these cannot be reached,
/// which health checks know and DNS does not). Each address of a target is a server; IPv6 is asked for where a target has
/// no IPv4 address, so that one with both is not there twice.
#[derive(Debug)]
pub struct DnsSource {
    query: DnsQuery,
    settings: SourceSettings,
}

/// A whole answer and how long it is good for, if it says so.
struct Whole {
    answer: Answer,
    life: Option<Duration>,
}

impl DnsSource {
    /// The source that asks `query`.
    pub fn new(query: DnsQuery, settings: SourceSettings) -> Self {
        Self { query, settings }
    }

    async fn poll(&self, answers: &Answers) {
        let SourceSettings { interval, .. } = self.settings;
        let limit = self.settings.timeout.min(interval);
        let mut pauses = Pauses::new(interval);
        let mut servers = None;
        loop {
            let asked = timeout(limit, self.ask(&mut servers, limit)).await;
            let whole = asked.unwrap_or_else(|_| {
                Err(SourceError::Unreachable {
                    what: self.query.name.clone(),
                    why: format!("there was no whole answer within {limit:?}"),
                })
            });
            let pause = match whole {
                Ok(Whole { answer, life }) => {
                    answers.put(Ok(answer));
                    let even = pauses.after_answer();
                    life.map_or(even, |life| even.min(life.max(SHORTEST_LIFE)))
                }
                Err(error) => {
                    // The system's name servers may be others by now.
                    servers = None;
                    answers.put(Err(error));
                    pauses.after_error()
                }
            };
            sleep(pause).await;
        }
    }

    async fn ask(
        &self,
        servers: &mut Option<NameServers>,
        limit: Duration,
    ) -> Result<Whole, SourceError> {
        let servers = match servers {
            Some(servers) => servers,
            None => servers.insert(NameServers::of(&self.query.resolvers, limit)?),
        };
        let name = fully_qualified(&self.query.name)?;
        match self.query.record {
            DnsRecord::A => addresses(servers, &name, RecordType::A).await,
            DnsRecord::Aaaa => addresses(servers, &name, RecordType::AAAA).await,
            DnsRecord::Srv => services(servers, &name).await,
        }
    }
}

#[async_trait]
impl Source for DnsSource {
    async fn run(self: Box<Self>, answers: Answers) {
        tokio::select! {
            () = answers.stopped() => {}
            () = self.poll(&answers) => {}
        }
    }
}

fn fully_qualified(text: &str) -> Result<Name, SourceError> {
    let name = Name::from_utf8(text).map(|mut name| {
        name.set_fqdn(true);
        name
    });
    name.map_err(|error| SourceError::Unconfigured {
        what: text.to_owned(),
        why: format!("it is no name of DNS: {error}"),
    })
}

async fn addresses(
    servers: &NameServers,
    name: &Name,
    kind: RecordType,
) -> Result<Whole, SourceError> {
    let records = servers.ask(name, kind).await?;
    let ips: BTreeSet<_> = records.data.iter().filter_map(RData::ip_addr).collect();
    let found = ips.into_iter().map(|ip| found(ip.to_string(), ip));
    Ok(Whole {
        answer: Answer {
            found: found.collect(),
            ..Answer::default()
        },
        life: records.life,
    })
}

async fn services(servers: &NameServers, name: &Name) -> Result<Whole, SourceError> {
    let records = servers.ask(name, RecordType::SRV).await?;
    let services = srv::chosen(records.data.iter().filter_map(|data| match data {
        RData::SRV(srv) => Some(srv),
        _ => None,
    }));
    let targets = services.iter().map(|service| service.target.clone());
    let targets: BTreeSet<_> = targets.collect();
    let asked = stream::iter(targets)
        .map(|target| async move {
            let known = both(servers, &target).await?;
            Ok((target, known))
        })
        .buffer_unordered(TARGETS_AT_ONCE);
    let known: BTreeMap<_, _> = asked.try_collect().await?;
    let lives = known.values().map(|(_, life)| *life);
    let life = lives.chain([records.life]).flatten().min();
    let mut answer = Answer::default();
    for service in &services {
        let ips = known.get(&service.target).map(|(ips, _)| ips);
        add(&mut answer, service, ips.unwrap_or(&BTreeSet::new()));
    }
    Ok(Whole { answer, life })
}

type Addresses = (BTreeSet<IpAddr>, Option<Duration>);

/// The IPv4 addresses of a target, or else its IPv6 addresses.
async fn both(servers: &NameServers, target: &Name) -> Result<Addresses, SourceError> {
    let mut lives = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let records = servers.ask(target, kind).await?;
        lives.push(records.life);
        let ips: BTreeSet<_> = records.data.iter().filter_map(RData::ip_addr).collect();
        if !ips.is_empty() {
            return Ok((ips, lives.into_iter().flatten().min()));
        }
    }
    Ok((BTreeSet::new(), lives.into_iter().flatten().min()))
}

/// A target with one address gives its server its own name, which stays when the address changes.
fn add(answer: &mut Answer, service: &Service, ips: &BTreeSet<IpAddr>) {
    let target = service.target.to_utf8();
    let id = format!("{}:{}", target.trim_end_matches('.'), service.port);
    if ips.is_empty() {
        answer.left_out.push(LeftOut {
            what: id,
            why: "the target of this SRV record has no address".to_owned(),
        });
        return;
    }
    for ip in ips {
        let id = if ips.len() == 1 {
            id.clone()
        } else {
            format!("{id}:{ip}")
        };
        answer.found.push(Found {
            port: Some(service.port),
            weight: service.weight,
            ..found(id, *ip)
        });
    }
}

fn found(id: String, ip: IpAddr) -> Found {
    Found {
        id,
        addresses: vec![Address {
            kind: AddressKind::Private,
            ip,
        }],
        port: None,
        weight: None,
        zone: None,
        condition: Condition::InService,
        labels: BTreeMap::new(),
    }
}
