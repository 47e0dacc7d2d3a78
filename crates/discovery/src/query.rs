//! Queries: what a spec's sources come down to. However many backends want the same, it is asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hafleet_model::Spec;
use hafleet_model::spec::{DnsRecord, Resolver, Source};

/// One question to one source. Its text is how `hafleet sources` and the endpoints document name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// `DescribeInstances` with these filters.
    Ec2(Ec2Query),
    /// A name and a type.
    Dns(DnsQuery),
    /// All servers below a prefix.
    Etcd(EtcdQuery),
    /// All services below a prefix.
    Services(EtcdQuery),
    /// The containers of all nodes. Its answers are what nodes publish, not what the leader asks.
    Docker,
    /// A file.
    File(String),
}

/// A question to EC2: an instance has to match all that is given, and of each list any one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ec2Query {
    /// Ids and names.
    pub security_groups: BTreeSet<String>,
    /// Tags and values.
    pub tags: BTreeMap<String, String>,
    /// By name.
    pub auto_scaling_groups: BTreeSet<String>,
    /// By id.
    pub vpc: Option<String>,
    /// Other filters.
    pub filters: BTreeMap<String, BTreeSet<String>>,
    /// None: the agent's own.
    pub regions: BTreeSet<String>,
    /// ARNs; none: the agent's own credentials.
    pub roles: BTreeSet<String>,
}

/// A question to DNS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsQuery {
    /// The name.
    pub name: String,
    /// Which records.
    pub record: DnsRecord,
    /// Whom to ask; none: the system's.
    pub resolvers: BTreeSet<Resolver>,
}

/// A question to etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdQuery {
    /// The members' client URLs.
    pub endpoints: BTreeSet<String>,
    /// What the keys begin with.
    pub prefix: String,
}

impl Query {
    /// The question that `source` of the backend `backend` asks, in a fleet of the name `fleet`.
    pub fn of(source: &Source, backend: &str, spec: &Spec, fleet: &str) -> Self {
        match source {
            Source::Ec2(ec2) => Self::Ec2(Ec2Query {
                security_groups: set(&ec2.security_groups),
                tags: ec2.tags.clone(),
                auto_scaling_groups: set(&ec2.auto_scaling_groups),
                vpc: ec2.vpc.clone(),
                filters: ec2
                    .filters
                    .iter()
                    .map(|(name, values)| (name.clone(), set(values)))
                    .collect(),
                regions: set(&ec2.regions),
                roles: set(&ec2.roles),
            }),
            Source::Dns(dns) => Self::Dns(DnsQuery {
                name: dns.name.clone(),
                record: dns.record,
                resolvers: dns.resolvers.iter().copied().collect(),
            }),
            Source::Etcd(etcd) => {
                let whole = etcd.prefix.clone();
                let prefix = whole
                    .unwrap_or_else(|| format!("{}backends/{backend}/", etcd_prefix(spec, fleet)));
                Self::Etcd(EtcdQuery {
                    endpoints: etcd_endpoints(spec),
                    prefix,
                })
            }
            Source::Docker(_) => Self::Docker,
            Source::File(file) => Self::File(file.path.clone()),
        }
    }

    /// The question for whole services, if the spec wants them.
    pub fn of_services(spec: &Spec) -> Option<Self> {
        let source = spec.discovery.services.as_ref()?;
        Some(Self::Services(EtcdQuery {
            endpoints: etcd_endpoints(spec),
            prefix: source.prefix.clone(),
        }))
    }

    /// The kind's name, as in the spec.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ec2(_) => "ec2",
            Self::Dns(_) => "dns",
            Self::Etcd(_) => "etcd",
            Self::Services(_) => "services",
            Self::Docker => "docker",
            Self::File(_) => "file",
        }
    }
}

fn set(items: &[String]) -> BTreeSet<String> {
    items.iter().cloned().collect()
}

fn etcd_endpoints(spec: &Spec) -> BTreeSet<String> {
    spec.discovery
        .etcd
        .as_ref()
        .map(|etcd| set(&etcd.endpoints))
        .unwrap_or_default()
}

fn etcd_prefix(spec: &Spec, fleet: &str) -> String {
    let given = spec
        .discovery
        .etcd
        .as_ref()
        .and_then(|etcd| etcd.prefix.clone());
    let prefix = given.unwrap_or_else(|| format!("/hafleet/{fleet}/"));
    if prefix.ends_with('/') {
        prefix
    } else {
        format!("{prefix}/")
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Ec2(query) => query.fmt(f),
            Self::Dns(query) => query.fmt(f),
            Self::Etcd(query) | Self::Services(query) => write!(f, " {}", query.prefix),
            Self::Docker => Ok(()),
            Self::File(path) => write!(f, " {path}"),
        }
    }
}

impl fmt::Display for Ec2Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>().join(",");
        let mut part = |name: &str, value: String| {
            if value.is_empty() {
                Ok(())
            } else {
                write!(f, " {name}={value}")
            }
        };
        part("group", list(&self.security_groups))?;
        for (tag, value) in &self.tags {
            part(&format!("tag:{tag}"), value.clone())?;
        }
        part("asg", list(&self.auto_scaling_groups))?;
        part("vpc", self.vpc.clone().unwrap_or_default())?;
        for (filter, values) in &self.filters {
            part(filter, list(values))?;
        }
        part("region", list(&self.regions))?;
        part("role", list(&self.roles))
    }
}

impl fmt::Display for DnsQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = match self.record {
            DnsRecord::A => "A",
            DnsRecord::Aaaa => "AAAA",
            DnsRecord::Srv => "SRV",
        };
        write!(f, " {} {record}", self.name)?;
        for Resolver(address) in &self.resolvers {
            write!(f, " @{address}")?;
        }
        Ok(())
    }
}
