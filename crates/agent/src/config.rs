//! The agent's file and its environment, read once at start into values that are valid.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Toml};
use figment::value::Value;
use hafleet_cluster::MEMBER_RETENTION;
use hafleet_discovery::docker::DockerEngine;
use hafleet_discovery::etcd::EtcdSettings;
use hafleet_dns::rfc2136::UpdateKey;
use hafleet_haproxy::{FirewallChoice, HandoverChoice, ProcessMode};
use hafleet_identity::IdentityFiles;
use hafleet_model::report::{NodeContext, NodeReport};
use hafleet_model::spec::{NodeAddress, TimeSpan};
use hafleet_model::{FleetName, NodeId};
use serde::Deserialize;

use crate::audit::AuditFileConfig;
use crate::trust::joins::IssuerConfig;

mod addresses;
mod audit;
mod dns_keys;
mod docker;
mod instance;
mod issuer;
mod lb_agent;
mod limits;

pub use addresses::AddressSource;
pub use instance::InstanceSource;
pub use lb_agent::LbAgentConfig;
pub use limits::LimitsConfig;

use addresses::AddressesSection;
use audit::AuditSection;
use dns_keys::DnsKeySection;
use docker::DockerSection;
use issuer::IssuerSection;
use lb_agent::LbAgentSection;
use limits::LimitsSection;

/// Before each key of the environment; two underscores stand between a section and its key.
const ENVIRONMENT_PREFIX: &str = "HAFLEET_AGENT_";

/// Everything an agent is told about itself and its machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name in the fleet.
    pub node_id: NodeId,
    /// The fleet.
    pub fleet: FleetName,
    /// Where others reach its gRPC port.
    pub address: SocketAddr,
    /// Where it listens; the same unless the machine is behind address translation.
    pub listen: SocketAddr,
    /// Agents to meet first, HOST:PORT.
    pub seeds: Vec<String>,
    /// Where it keeps its state.
    pub data_dir: PathBuf,
    /// Whether it runs no HAProxy: it counts when a majority is asked for and may lead, and is never in service.
    pub witness: bool,
    /// How long a node that is dead is kept, before the fleet goes on without it. The leader's counts.
    pub member_retention: Duration,
    /// Which instance of EC2 it is, where that is known.
    pub instance: Option<InstanceSource>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Where clients that resolve names in DNS are sent.
    pub addresses: BTreeMap<NodeAddress, AddressSource>,
    /// Its share of clients where names in DNS spread them by weight, 0 to 255.
    pub weight: u8,
    /// How often it gossips; the same in the whole fleet.
    pub gossip_interval: TimeSpan,
    /// Its certificate, key and authority.
    pub tls: IdentityFiles,
    /// The key of this node, to which the fleet's secrets are sealed. Made when there is none.
    pub node_key: PathBuf,
    /// Its HAProxy.
    pub haproxy: HaproxyConfig,
    /// How it makes itself known to etcd, where a spec has sources there.
    pub etcd: EtcdSettings,
    /// Its Docker engine, if it has one whose containers are servers.
    pub docker: Option<DockerEngine>,
    /// The keys with which updates of name servers are signed, by their names.
    pub dns_keys: BTreeMap<String, UpdateKey>,
    /// How much anybody may ask of its port.
    pub limits: LimitsConfig,
    /// Its log.
    pub log: LogConfig,
    /// Where its audit log is written, if to a file.
    pub audit: Option<AuditFileConfig>,
    /// Its issuer, if it certifies new nodes.
    pub issuer: Option<IssuerConfig>,
    /// The listener for callers of lb-agent, if it has one.
    pub lb_agent: Option<LbAgentConfig>,
}

impl Config {
    /// What a configuration of HAProxy may depend on besides the spec.
    pub fn node_context(&self) -> NodeContext {
        NodeContext {
            fleet: self.fleet.to_string(),
            id: self.node_id.clone(),
            address: self.haproxy.address,
            zone: self.zone.clone(),
            certificate_dir: self.haproxy.certificate_dir.display().to_string(),
        }
    }
}

/// The HAProxy beside the agent.
#[derive(Debug, Clone)]
pub struct HaproxyConfig {
    /// The program; looked up in PATH if absent.
    pub binary: Option<PathBuf>,
    /// Where clients reach it, and what a bind on `node` listens on.
    pub address: IpAddr,
    /// The certificates that binds name.
    pub certificate_dir: PathBuf,
    /// Where the directory is made in which the fleet's certificates are put for HAProxy, with their keys; with HAProxy's
    /// configuration if absent.
    pub secrets_dir: Option<PathBuf>,
    /// Where runtime sockets are put; their paths have to be short.
    pub runtime_dir: PathBuf,
    /// Who starts it.
    pub process: ProcessMode,
    /// Where it reads its configuration, if a service starts it.
    pub config_file: Option<PathBuf>,
    /// Where its master can be asked about reloads, if it has one.
    pub master_socket: Option<PathBuf>,
    /// How a new process takes over from the old one.
    pub handover: HandoverChoice,
    /// Which firewall is used where the handover needs one.
    pub firewall: FirewallChoice,
    /// The least time from one reload to the next; some jitter is added. Changes meanwhile are taken together.
    pub reload_min_interval: TimeSpan,
    /// How long new connections settle before an old process is told to finish, where the handover needs that.
    pub settle: TimeSpan,
}

/// The agent's log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// As text or as JSON, one object a line.
    pub format: LogFormat,
    /// Which lines, in the notation of tracing's `EnvFilter`.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A file or an environment that is no configuration; one line for each fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(Vec<String>);

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node_id: Option<String>,
    fleet: FleetName,
    address: IpAddr,
    #[serde(default = "default_port")]
    port: u16,
    listen: Option<IpAddr>,
    #[serde(default)]
    seeds: Vec<String>,
    #[serde(default = "default_data_dir")]
    data_dir: PathBuf,
    #[serde(default)]
    witness: bool,
    member_retention: Option<TimeSpan>,
    instance: Option<String>,
    zone: Option<String>,
    #[serde(default)]
    addresses: AddressesSection,
    #[serde(default = "NodeReport::default_weight")]
    weight: u8,
    gossip_interval: Option<TimeSpan>,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    secrets: SecretsSection,
    #[serde(default)]
    haproxy: HaproxySection,
    #[serde(default)]
    etcd: EtcdSettings,
    #[serde(default)]
    docker: DockerSection,
    #[serde(default)]
    dns_keys: BTreeMap<String, DnsKeySection>,
    #[serde(default)]
    limits: LimitsSection,
    #[serde(default)]
    log: LogSection,
    #[serde(default)]
    audit: AuditSection,
    issuer: Option<IssuerSection>,
    lb_agent: Option<LbAgentSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsSection {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Default for TlsSection {
    fn default() -> Self {
        let files = IdentityFiles::from_directory(Path::new("/etc/hafleet/identity"));
        Self {
            ca: files.ca,
            certificate: files.certificate,
            key: files.key,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecretsSection {
    key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HaproxySection {
    binary: Option<PathBuf>,
    address: Option<IpAddr>,
    certificate_dir: Option<PathBuf>,
    secrets_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    process: ProcessName,
    unit: Option<String>,
    script: Option<PathBuf>,
    reload_command: Option<Vec<String>>,
    start_command: Option<Vec<String>>,
    config_file: Option<PathBuf>,
    master_socket: Option<PathBuf>,
    handover: HandoverChoice,
    firewall: FirewallChoice,
    reload_min_interval: Option<TimeSpan>,
    settle: Option<TimeSpan>,
}

/// The values of `haproxy.process`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProcessName {
    #[default]
    Own,
    Systemd,
    Sysvinit,
    Command,
}

impl HaproxySection {
    /// Who starts HAProxy; each key that does not belong to the mode, or lacks, is a fault.
    fn process(&self, faults: &mut Vec<String>) -> ProcessMode {
        let name = self.process;
        let mut belongs = |key: &str, is_given: bool, to: ProcessName| {
            if is_given && name != to {
                let mode = format!("{to:?}").to_lowercase();
                faults.push(format!(
                    "haproxy.{key}: it is for process = \"{mode}\" only"
                ));
            }
        };
        belongs("unit", self.unit.is_some(), ProcessName::Systemd);
        belongs("script", self.script.is_some(), ProcessName::Sysvinit);
        let has_reload = self.reload_command.is_some();
        belongs("reload_command", has_reload, ProcessName::Command);
        let has_start = self.start_command.is_some();
        belongs("start_command", has_start, ProcessName::Command);
        if name != ProcessName::Own && self.config_file.is_none() {
            faults.push(
                "haproxy.config_file: it is required: where the service reads its configuration, such as \"/etc/haproxy/haproxy.cfg\""
                    .into(),
            );
        }
        match name {
            ProcessName::Own => ProcessMode::Own,
            ProcessName::Systemd => ProcessMode::Systemd {
                unit: self.unit.clone().unwrap_or("haproxy.service".into()),
            },
            ProcessName::Sysvinit => ProcessMode::Sysvinit {
                script: self
                    .script
                    .clone()
                    .unwrap_or_else(|| PathBuf::from("/etc/init.d/haproxy")),
            },
            ProcessName::Command => {
                if !has_reload {
                    faults.push(
                        "haproxy.reload_command: it is required: a list of the program and its arguments"
                            .into(),
                    );
                }
                ProcessMode::Command {
                    reload: self.reload_command.clone().unwrap_or_default(),
                    start: self.start_command.clone(),
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    format: LogFormat,
    filter: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".into(),
        }
    }
}

/// The port of agents unless told otherwise.
pub const DEFAULT_PORT: u16 = 7440;

fn default_port() -> u16 {
    DEFAULT_PORT
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hafleet")
}

impl Config {
    /// Reads `path`, and over it the environment: `HAFLEET_AGENT_FLEET` is `fleet`, `HAFLEET_AGENT_LOG__FORMAT` is
    /// `format` of the section `log`.
    ///
    /// # Errors
    /// Every fault, each naming the file or variable, the key, what was found and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        if !path.is_file() {
            let message = format!(
                "{}: there is no such file; see `hafleet agent --help`",
                path.display()
            );
            return Err(ConfigError(vec![message]));
        }
        let environment = Env::prefixed(ENVIRONMENT_PREFIX).split("__");
        let given = Figment::new()
            .merge(Toml::file_exact(path))
            .merge(environment);
        let file: File = given.extract().map_err(|errors| {
            let faults = errors.into_iter().map(|error| fault(path, &given, &error));
            ConfigError(faults.collect())
        })?;
        file.validate(path)
    }
}

impl File {
    fn validate(self, path: &Path) -> Result<Config, ConfigError> {
        let mut faults = Vec::new();
        let node_id = self
            .node_id
            .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned());
        let node_id = NodeId::new(node_id)
            .map_err(|error| faults.push(format!("node_id: {error}")))
            .ok();
        let mut seeds = Vec::new();
        for seed in &self.seeds {
            match with_port(seed) {
                Some(seed) => seeds.push(seed),
                None => faults.push(format!(
                    "seeds: {seed:?} is not an address: write HOST or HOST:PORT"
                )),
            }
        }
        if self.port == 0 {
            faults.push("port: 0 is not allowed: 1 to 65535 are".into());
        }
        for (key, address) in [
            ("address", Some(self.address)),
            ("haproxy.address", self.haproxy.address),
        ] {
            if let Some(address) = address.filter(IpAddr::is_unspecified) {
                faults.push(format!(
                    "{key}: {address} is no address that others can reach"
                ));
            }
        }
        let gossip_interval = self.gossip_interval.unwrap_or(DEFAULT_GOSSIP_INTERVAL);
        if gossip_interval < MIN_GOSSIP_INTERVAL || gossip_interval > MAX_GOSSIP_INTERVAL {
            faults.push(format!(
                "gossip_interval: {gossip_interval} is not allowed: {MIN_GOSSIP_INTERVAL} to {MAX_GOSSIP_INTERVAL} are"
            ));
        }
        let process = self.haproxy.process(&mut faults);
        let data_address = self.haproxy.address.unwrap_or(self.address);
        let addresses = self.addresses.read(data_address, &mut faults);
        let addresses = match self.witness {
            // Nobody is ever sent to it.
            true => BTreeMap::new(),
            false => addresses,
        };
        let instance = instance::read(self.instance.as_deref(), &mut faults);
        let docker = self.docker.engine(&mut faults);
        let listen = self.listen.unwrap_or(self.address);
        let issuer = self
            .issuer
            .map(|issuer| issuer.read(self.address, listen, self.port, &mut faults));
        let lb_agent = self
            .lb_agent
            .map(|section| section.read(self.witness, &mut faults));
        let audit = self.audit.read(&mut faults);
        let limits = self.limits.read(&mut faults);
        let dns_keys = dns_keys::read(&self.dns_keys, &mut faults);
        let Some(node_id) = node_id.filter(|_| faults.is_empty()) else {
            return Err(ConfigError(
                faults
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", path.display()))
                    .collect(),
            ));
        };
        Ok(Config {
            node_id,
            fleet: self.fleet,
            address: SocketAddr::new(self.address, self.port),
            listen: SocketAddr::new(self.listen.unwrap_or(self.address), self.port),
            seeds,
            haproxy: HaproxyConfig {
                binary: self.haproxy.binary,
                address: data_address,
                certificate_dir: self
                    .haproxy
                    .certificate_dir
                    .unwrap_or_else(|| PathBuf::from("/etc/hafleet/certificates")),
                secrets_dir: self.haproxy.secrets_dir,
                runtime_dir: self
                    .haproxy
                    .runtime_dir
                    .unwrap_or_else(|| self.data_dir.join("run")),
                process,
                config_file: self.haproxy.config_file,
                master_socket: self.haproxy.master_socket,
                handover: self.haproxy.handover,
                firewall: self.haproxy.firewall,
                reload_min_interval: self
                    .haproxy
                    .reload_min_interval
                    .unwrap_or(DEFAULT_RELOAD_MIN_INTERVAL),
                settle: self.haproxy.settle.unwrap_or(DEFAULT_SETTLE),
            },
            node_key: self
                .secrets
                .key_file
                .unwrap_or_else(|| self.data_dir.join("node.key")),
            data_dir: self.data_dir,
            witness: self.witness,
            member_retention: self
                .member_retention
                .map_or(MEMBER_RETENTION, TimeSpan::duration),
            instance,
            zone: self.zone,
            addresses,
            weight: self.weight,
            gossip_interval,
            tls: IdentityFiles {
                ca: self.tls.ca,
                certificate: self.tls.certificate,
                key: self.tls.key,
            },
            etcd: self.etcd,
            docker,
            dns_keys,
            limits,
            log: LogConfig {
                format: self.log.format,
                filter: self.log.filter,
            },
            audit,
            issuer,
            lb_agent,
        })
    }
}

/// How often agents gossip, unless the file says otherwise.
const DEFAULT_GOSSIP_INTERVAL: TimeSpan = TimeSpan::from_secs(1);
/// Below that, a node that is starved of its processor is taken for dead.
const MIN_GOSSIP_INTERVAL: TimeSpan = TimeSpan::from_millis(500);
/// Above that, a fleet takes minutes to notice who is gone.
const MAX_GOSSIP_INTERVAL: TimeSpan = TimeSpan::from_secs(10);
/// So that a burst of writes becomes one reload or two, and old processes do not pile up.
const DEFAULT_RELOAD_MIN_INTERVAL: TimeSpan = TimeSpan::from_secs(2);

/// Longer than the round trip of nearly all clients.
const DEFAULT_SETTLE: TimeSpan = TimeSpan::from_millis(200);

fn with_port(seed: &str) -> Option<String> {
    let (host, port) = match seed.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok()?)
        }
        Some(_) if seed.parse::<std::net::Ipv6Addr>().is_ok() => {
            return Some(format!("[{seed}]:{DEFAULT_PORT}"));
        }
        Some(_) => return None,
        None => (seed, DEFAULT_PORT),
    };
    let is_host = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.[]:".contains(c));
    (is_host && port != 0).then(|| format!("{host}:{port}"))
}

/// One fault of what was `given` by the file or the environment, in one line.
fn fault(path: &Path, given: &Figment, error: &figment::Error) -> String {
    let source = error.metadata.as_ref().map_or_else(
        || path.display().to_string(),
        |metadata| match &metadata.source {
            Some(figment::Source::File(file)) => file.display().to_string(),
            _ => "environment".to_owned(),
        },
    );
    let key = error.path.join(".");
    let problem = match &error.kind {
        Kind::UnknownField(found, known) => {
            let nearest = known.iter().max_by(|a, b| {
                strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b))
            });
            let hint = nearest
                .map(|nearest| format!("did you mean `{nearest}`? "))
                .unwrap_or_default();
            return format!(
                "{source}: {key}: unknown key `{found}`; {hint}known here: {}",
                known.join(", ")
            );
        }
        Kind::MissingField(field) => return format!("{source}: `{field}` is missing"),
        // The words of the type that would not have it, which do not always name what they got.
        Kind::Message(words) => {
            let value = given.find_value(&key).ok();
            match value.and_then(|value| written(&value)) {
                Some(value) if words.contains("IP address") => {
                    format!(
                        "`{value}` is no IP address: write one such as 192.0.2.1 or 2001:db8::1"
                    )
                }
                Some(value) if !words.contains(&value) => format!("{words}: found `{value}`"),
                _ => words.clone(),
            }
        }
        kind => kind.to_string(),
    };
    if key.is_empty() {
        format!("{source}: {problem}")
    } else {
        format!("{source}: {key}: {problem}")
    }
}

/// A single value as it was written.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| number.to_f64().map(|number| number.to_string())),
        _ => None,
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
