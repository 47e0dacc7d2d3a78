//! Start and end of an agent: which part gets what, and in which order.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hafleet_api::query::QueryService;
use hafleet_api::{AdminService, Gate};
use hafleet_cluster::{
    Cluster, ClusterConfig, ClusterError, PeerServer, Store, StoreError, Timing,
};
use hafleet_discovery::docker::DockerEngine;
use hafleet_dns::Budget;
use hafleet_dns::route53::{Route53, Route53Settings};
use hafleet_dns::zones::Providers;
use hafleet_haproxy::{Binary, Inspector, OpenError, Proxy, Settings};
use hafleet_identity::sealing::SealingError;
use hafleet_identity::{Credentials, CredentialsError, Incoming};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::certificates::CertificateKeeper;
use crate::composer::Composer;
use crate::config::{Config, LbAgentConfig};
use crate::data_plane::{self, DataPlaneLoop};
use crate::discovery::{self, Board, ContainersLoop, DiscoveryLoop, Launcher};
use crate::endpoints::EndpointsKeeper;
use crate::fitness::{self, Fitness, FitnessLoop, Machine};
use crate::fleet::{AgentFleet, Leaving};
use crate::instance::{self, InstanceLoop};
use crate::limits::{RequestGuard, RequestLimits};
use crate::members::{self, MembersLoop};
use crate::overrides::OverridesKeeper;
use crate::overrides::expiry::{self, ExpiryLoop};
use crate::own::OwnKeeper;
use crate::publication::{self, Addresses, AddressesLoop, DnsBoard, PublicationLoop};
use crate::questions::AgentQuestions;
use crate::reloads::{ReloadLog, ReloadPace};
use crate::tasks::{Fall, Panics, Tasks};
use crate::trust::joins::{self, Issuing};
use crate::trust::renewal::{self, RenewalLoop};
use crate::trust::revocations::{self, RevocationKeeper, RevocationLoop};
use crate::trust::tokens::Tokens;
use crate::vault::{self, SealingLoop, Vault};
use crate::{hardening, lb_agent, log, overrides, reconcile};
use hafleet_model::spec::Publication;
use hafleet_model::with_causes;

/// How many connections may wait to be taken; the kernel's `net.core.somaxconn` bounds it as well.
const BACKLOG: u32 = 4096;

/// Why an agent did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The log's settings are wrong.
    #[error("{0}")]
    Log(String),
    /// The certificate, key or authority cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate is another node's.
    #[error(
        "{certificate} is the certificate of {found}, but this is node {node} of fleet {fleet}; issue one with `hafleet pki issue --node {node}`, or set node_id and fleet to the certificate's"
    )]
    WrongIdentity {
        /// The certificate's file.
        certificate: String,
        /// Whom it names.
        found: String,
        /// This node.
        node: String,
        /// Its fleet.
        fleet: String,
    },
    /// The certificate does not hold for the address that others are told.
    #[error(
        "{certificate} holds for {granted}, and `address` in agent.toml is {address}; issue one with `--address {address}`, or set address"
    )]
    AddressNotGranted {
        /// The certificate's file.
        certificate: String,
        /// The advertised address.
        address: IpAddr,
        /// Those in the certificate.
        granted: String,
    },
    /// The node's key, or the fleet's, cannot be used.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// A directory cannot be made.
    #[error("{path}: {source}; make it, or let the agent's user write there")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The issuer cannot be used.
    #[error("{0}")]
    Issuer(String),
    /// The listener for callers of lb-agent cannot be used.
    #[error("lb_agent: {0}")]
    LbAgent(String),
    /// The node's own configuration cannot be read.
    #[error(
        "{path}: {source}; it says what HAProxy is to run here in place of the fleet's spec: bring the file back, or remove it to follow the fleet"
    )]
    OwnConfiguration {
        /// Its file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The audit log cannot be written.
    #[error("audit.file: {source}; make its directory, or let the agent's user write there")]
    Audit {
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// HAProxy cannot be used.
    #[error(transparent)]
    Haproxy(#[from] OpenError),
    /// The port cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another agent running, or is `address` in agent.toml not one of this machine's?"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The cluster could not begin, or a part of it died.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A part that the cluster cannot do without has died.
    #[error("{0}")]
    Died(Arc<ClusterError>),
    /// A task has ended that should not, or panicked.
    #[error("{0}")]
    Fell(Fall),
    /// The gRPC server could not begin.
    #[error("the gRPC server: {0}")]
    Server(String),
    /// The operating system refused something that every agent needs.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// Everything that would keep an agent from starting with `config`, in words; empty if nothing would.
pub async fn check(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note = |problem: Option<String>| problems.extend(problem);
    note(log::filter(&config.log).err());
    let own = credentials(config);
    if let (Ok(own), Some(issuer)) = (&own, &config.issuer) {
        note(joins::issuer(&config.fleet, issuer, own).err());
    }
    if let (Ok(own), Some(lb_agent)) = (&own, &config.lb_agent) {
        let (unreadable, uncounted) = lb_agent::problems(&lb_agent.keys, own);
        let all = unreadable.into_iter().chain(uncounted);
        all.for_each(|problem| note(Some(format!("lb_agent: {problem}"))));
        let bound = listen(lb_agent.listen);
        note(bound.err().map(|error| error.to_string()));
    }
    note(own.err().map(|error| error.to_string()));
    note(config.etcd.check().err().map(|error| error.to_string()));
    if let Some(DockerEngine::Tls {
        authority,
        certificate,
        key,
        ..
    }) = &config.docker
    {
        for file in [authority, certificate, key] {
            let read = std::fs::read(file).err();
            note(read.map(|error| format!("docker: {}: {error}", file.display())));
        }
    }
    note(directories(config).err().map(|error| error.to_string()));
    if !config.witness {
        let settings = settings(config).validate();
        note(settings.err().map(|error| with_causes(&error)));
        let haproxy = Binary::find(config.haproxy.binary.as_deref()).await;
        note(haproxy.err().map(|error| with_causes(&error)));
    }
    note(listen(config.listen).err().map(|error| error.to_string()));
    for seed in &config.seeds {
        let unresolved = tokio::net::lookup_host(seed).await.err();
        note(unresolved.map(|error| format!("seeds: {seed} cannot be resolved: {error}")));
    }
    problems
}

/// Runs an agent until it is told to stop (SIGTERM or SIGINT) or its node has left the fleet. HAProxy goes on serving after
/// it, unless it was asked to stop with the node. For a process of its own: every panic in it ends the agent.
///
/// # Errors
/// Why it did not start, or which part of it died.
pub async fn run(config: Config) -> Result<(), AgentError> {
    log::begin(&config.log).map_err(AgentError::Log)?;
    hardening::keep_memory_private();
    let mut panics = Panics::watch();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let (cluster, leaving, mut tasks) = start(&config, &stop).await?;

    let ended = tokio::select! {
        _ = terminate.recv() => Ok(None),
        _ = interrupt.recv() => Ok(None),
        left = leaving.done() => Ok(Some(left)),
        error = cluster.failed() => Err(AgentError::Died(error)),
        // It says more of a panic than the end of its task does.
        fall = panics.first() => Err(AgentError::Fell(fall)),
        fall = tasks.fallen() => Err(AgentError::Fell(fall)),
    };
    match &ended {
        Ok(None) => tracing::info!("agent stops; HAProxy goes on serving"),
        Ok(Some(_)) => tracing::info!("this node has left the fleet, and its agent stops"),
        Err(error) => {
            tracing::error!(%error, "agent stops, to be started anew; HAProxy goes on serving");
        }
    }
    let end = async {
        cluster.shutdown().await;
        stop.cancel();
        // A reload that is under way is brought to its end.
        tasks.finish(DATA_PLANE).await;
    };
    if tokio::time::timeout(END, end).await.is_err() {
        tracing::error!("the agent does not come to its end, and is ended");
    }
    drop(tasks);
    if ended?.is_some_and(|left| left.stops_haproxy) && !config.witness {
        stop_haproxy(&config, HAPROXY_GRACE).await?;
    }
    Ok(())
}

/// Starts every part of an agent, until `stop`.
async fn start(
    config: &Config,
    stop: &CancellationToken,
) -> Result<(Cluster, Leaving, Tasks), AgentError> {
    let credentials = Arc::new(credentials(config)?);
    directories(config)?;
    let revocations = open_revocations(config, &credentials)?;
    let store = Store::open(config.data_dir.join("state.redb"))?;
    let listener = listen(config.listen)?;
    let callers = callers_of_lb_agent(config, &credentials).await?;
    let own = own_configuration(config)?;
    let (proxy, inspector) = haproxy(config).await?;
    let addresses = Addresses::new(config.addresses.clone());
    let known = addresses.at_start().await;
    let instance = InstanceLoop::at_start(config.instance.clone()).await;
    let vault = open_vault(config)?;
    let cluster_config = ClusterConfig {
        addresses: known.clone(),
        instance: instance.known(),
        sealing_key: Some(vault.recipient().to_string()),
        key_shares: Some(Arc::new(vault.clone())),
        ..cluster_config(config)
    };
    let (cluster, peers) = Cluster::start(cluster_config, store, Arc::clone(&credentials)).await?;
    tracing::info!(node = %config.node_id, fleet = %config.fleet, address = %config.address, "agent started");

    let mut tasks = Tasks::default();
    let audit = AuditLog::open(config.node_id.clone(), config.audit.clone())
        .map_err(|source| AgentError::Audit { source })?;
    let issuing = issuing(config, &credentials, &cluster, &audit).await?;
    let mut fleet = AgentFleet {
        name: config.fleet.clone(),
        node: config.node_id.clone(),
        cluster: cluster.clone(),
        certificates: CertificateKeeper::new(
            cluster.clone(),
            inspector.certificates().clone(),
            vault.clone(),
        ),
        inspector,
        is_witness: config.witness,
        endpoints: EndpointsKeeper::new(cluster.clone()),
        overrides: OverridesKeeper::new(cluster.clone()),
        own,
        board: Board::default(),
        dns: DnsBoard::default(),
        fitness: Fitness::default(),
        reloads: ReloadLog::open(config.data_dir.join("haproxy").join("reloads.json")),
        last_seen: watch::Sender::default().subscribe(),
        audit,
        revocations: revocations.clone(),
        issuing: issuing.as_ref().map(|(issuing, _)| Arc::clone(issuing)),
        leaving: Leaving::default(),
    };
    if let Some(proxy) = proxy {
        let data_plane = data_plane(config, &mut fleet, proxy);
        let data_plane = reconcile::run(data_plane, data_plane::PACE, stop.clone());
        tasks.spawn(DATA_PLANE, data_plane);
    }
    let addresses = AddressesLoop::new(addresses, known, cluster.clone());
    let addresses = reconcile::run(addresses, publication::ADDRESSES_PACE, stop.clone());
    tasks.spawn("addresses", addresses);
    let instance = instance.beside(cluster.clone());
    let instance = reconcile::run(instance, instance::PACE, stop.clone());
    tasks.spawn("instance", instance);
    tasks.spawn_fallible("issuer", joins::serve(issuing, stop.clone()));
    spawn_trust(&mut tasks, config, &fleet, &credentials, vault, stop);
    spawn_leaders_work(&mut tasks, config, &fleet, &credentials, stop);
    let leaving = fleet.leaving.clone();
    let limits = config.limits.clone();
    let incoming = Incoming::with_limits(listener, &credentials, limits.connections)
        .map_err(|error| AgentError::Server(error.to_string()))?;
    let gate = Gate::new(Arc::clone(&credentials), Arc::new(fleet.audit.clone()));
    let questions = AgentQuestions {
        fleet: fleet.clone(),
        credentials: Arc::clone(&credentials),
    };
    let lb_limits = (config.limits.connections.clone(), limits.requests.clone());
    let asked = questions.clone();
    let callers = lb_agent::serve(callers, asked, gate.clone(), lb_limits, stop.clone());
    tasks.spawn_fallible("listener for callers of lb-agent", callers);
    let server = serve(
        incoming,
        gate,
        limits.requests,
        fleet,
        questions,
        peers,
        stop.clone(),
    );
    let server = async move { server.await.map_err(|error| with_causes(&*error)) };
    tasks.spawn_fallible("gRPC server", server);
    Ok((cluster, leaving, tasks))
}

/// The name of the task that owns HAProxy.
const DATA_PLANE: &str = "HAProxy";
/// How long an agent may take to end; a reload is well within.
const END: Duration = Duration::from_secs(90);
/// How long an HAProxy that is stopped with its node has for its connections.
const HAPROXY_GRACE: Duration = Duration::from_secs(30);

/// This node's HAProxy; of a witness only what renders.
async fn haproxy(config: &Config) -> Result<(Option<Proxy>, Inspector), AgentError> {
    if config.witness {
        let inspector = Inspector::without_haproxy(settings(config)).await?;
        return Ok((None, inspector));
    }
    let proxy = Proxy::open(settings(config)).await?;
    let inspector = proxy.inspector();
    Ok((Some(proxy), inspector))
}

/// The loop that owns HAProxy; `fleet` hears from it what is seen of it.
fn data_plane(config: &Config, fleet: &mut AgentFleet, proxy: Proxy) -> DataPlaneLoop {
    let composer = Composer::new(
        fleet.inspector.clone(),
        fleet.certificates.clone(),
        fleet.endpoints.clone(),
        fleet.overrides.clone(),
    );
    let pace = ReloadPace::new(config.haproxy.reload_min_interval.duration());
    let (cluster, reloads) = (fleet.cluster.clone(), fleet.reloads.clone());
    let data_plane = DataPlaneLoop::new(proxy, cluster, composer, fleet.own.clone(), pace, reloads);
    fleet.last_seen = data_plane.last_seen();
    data_plane
}

/// Starts what keeps certificates, lists of revoked ones and the keys to the fleet's secrets good.
fn spawn_trust(
    tasks: &mut Tasks,
    config: &Config,
    fleet: &AgentFleet,
    credentials: &Arc<Credentials>,
    vault: Vault,
    stop: &CancellationToken,
) {
    let (node, cluster) = (&fleet.node, &fleet.cluster);
    let keeper = fleet.certificates.clone();
    let sealing = SealingLoop::new(node.clone(), cluster.clone(), vault, keeper);
    let sealing = reconcile::run(sealing, vault::PACE, stop.clone());
    tasks.spawn("sealing", sealing);
    let renewal = RenewalLoop::new(config.clone(), Arc::clone(credentials), cluster.clone());
    let renewal = reconcile::run(renewal, renewal::PACE, stop.clone());
    tasks.spawn("renewal", renewal);
    let revocations = RevocationLoop::new(fleet.revocations.clone(), cluster.clone());
    let revocations = reconcile::run(revocations, revocations::PACE, stop.clone());
    tasks.spawn("revocations", revocations);
}

/// Starts what every node has ready for when it leads.
fn spawn_leaders_work(
    tasks: &mut Tasks,
    config: &Config,
    fleet: &AgentFleet,
    credentials: &Arc<Credentials>,
    stop: &CancellationToken,
) {
    tasks.spawn("discovery", discover(config, fleet, stop.clone()));
    tasks.spawn(
        "publication",
        publish(config, fleet, credentials, stop.clone()),
    );
    let (node, cluster, overrides) = (&fleet.node, &fleet.cluster, &fleet.overrides);
    let expiry = ExpiryLoop::new(node.clone(), cluster, overrides.clone());
    let expiry = reconcile::run(expiry, expiry::PACE, stop.clone());
    tasks.spawn("expiry", expiry);
    let retention = config.member_retention;
    let members = MembersLoop::new(node.clone(), cluster, overrides.clone(), retention);
    let members = reconcile::run(members, members::PACE, stop.clone());
    tasks.spawn("members", members);
    let machine = Machine {
        data: config.data_dir.clone(),
        credentials: Arc::clone(credentials),
    };
    let fitness = FitnessLoop::new(cluster.clone(), &fleet.fitness, machine);
    let fitness = reconcile::run(fitness, fitness::PACE, stop.clone());
    tasks.spawn("fitness", fitness);
}

/// The listener for callers of lb-agent, if the agent's file has one.
async fn callers_of_lb_agent(
    config: &Config,
    credentials: &Credentials,
) -> Result<Option<(LbAgentConfig, TcpListener)>, AgentError> {
    let Some(lb_agent) = &config.lb_agent else {
        return Ok(None);
    };
    let (unreadable, uncounted) = lb_agent::problems(&lb_agent.keys, credentials);
    if !unreadable.is_empty() {
        return Err(AgentError::LbAgent(unreadable.join("; ")));
    }
    for problem in uncounted {
        tracing::warn!(problem, "a certificate of lb_agent does not count");
    }
    let listener = listen(lb_agent.listen)?;
    Ok(Some((lb_agent.clone(), listener)))
}

fn own_configuration(config: &Config) -> Result<OwnKeeper, AgentError> {
    let path = config.data_dir.join("own-configuration.json");
    OwnKeeper::open(path.clone()).map_err(|source| AgentError::OwnConfiguration {
        path: path.display().to_string(),
        source,
    })
}

fn open_revocations(
    config: &Config,
    credentials: &Arc<Credentials>,
) -> Result<RevocationKeeper, AgentError> {
    let path = config.data_dir.join("revocations");
    let opened = RevocationKeeper::open(Arc::clone(credentials), path.clone());
    opened.map_err(|source| AgentError::Directory {
        path: path.display().to_string(),
        source,
    })
}

fn open_vault(config: &Config) -> Result<Vault, SealingError> {
    let keyring = config.data_dir.join("fleet-keys.json");
    Vault::open(
        config.node_id.clone(),
        config.fleet.clone(),
        &config.node_key,
        keyring,
    )
}

/// This node's issuer and its port, if the agent's file names one.
async fn issuing(
    config: &Config,
    credentials: &Arc<Credentials>,
    cluster: &Cluster,
    audit: &AuditLog,
) -> Result<Option<(Arc<Issuing>, TcpListener)>, AgentError> {
    let Some(issuer) = &config.issuer else {
        return Ok(None);
    };
    joins::issuer(&config.fleet, issuer, credentials).map_err(AgentError::Issuer)?;
    let tokens = Issuing::tokens_in(&config.data_dir);
    let tokens = Tokens::open(tokens.clone()).map_err(|error| {
        let file = tokens.display();
        AgentError::Issuer(format!(
            "{file}: {error}; remove it, and the tokens in it are void"
        ))
    })?;
    let listener = listen(issuer.listen)?;
    let issuing = Issuing {
        fleet: config.fleet.clone(),
        node: config.node_id.clone(),
        config: issuer.clone(),
        tokens,
        credentials: Arc::clone(credentials),
        cluster: cluster.clone(),
        audit: audit.clone(),
    };
    Ok(Some((Arc::new(issuing), listener)))
}

/// Runs what asks for servers: the leader's sources, and this node's own containers.
fn discover(
    config: &Config,
    fleet: &AgentFleet,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let launcher = Launcher::new(config.etcd.clone(), fleet.certificates.clone());
    let leading = DiscoveryLoop::new(fleet.clone(), Arc::new(launcher));
    let leading = reconcile::run(leading, discovery::PACE, stop.clone());
    let containers = config.docker.clone().map(|engine| {
        let (node, cluster) = (fleet.node.clone(), fleet.cluster.clone());
        let containers = ContainersLoop::new(node, cluster, fleet.board.clone(), engine);
        reconcile::run(containers, discovery::CONTAINERS_PACE, stop)
    });
    async move {
        match containers {
            Some(containers) => drop(tokio::join!(leading, containers)),
            None => leading.await,
        }
    }
}

/// Runs what keeps names in DNS equal to the nodes in service.
fn publish(
    config: &Config,
    fleet: &AgentFleet,
    credentials: &Arc<Credentials>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let budget = Budget::new(Publication::default().requests_per_second);
    let route53 = Route53::new(Route53Settings::default(), budget.clone());
    let zones = Providers::new(route53, config.dns_keys.clone());
    let publication = PublicationLoop::new(
        fleet.clone(),
        Arc::clone(credentials),
        Arc::new(zones),
        budget,
    );
    reconcile::run(publication, publication::PACE, stop)
}

/// Ends the HAProxy that an agent with `config` has left running: softly, and by force after `grace`.
///
/// # Errors
/// When its directory cannot be used.
pub async fn stop_haproxy(config: &Config, grace: Duration) -> Result<(), AgentError> {
    Proxy::open(settings(config)).await?.stop(grace).await;
    Ok(())
}

async fn serve(
    incoming: Incoming,
    gate: Gate,
    limits: RequestLimits,
    fleet: AgentFleet,
    questions: AgentQuestions,
    peers: PeerServer,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status("hafleet.v1.Admin", tonic_health::ServingStatus::Serving)
        .await;
    health
        .set_service_status("hafleet.v1.Query", tonic_health::ServingStatus::Serving)
        .await;
    let server = limits.server();
    server
        .layer(RequestGuard::new(limits))
        .layer(gate)
        .add_service(health_service)
        .add_service(hafleet_api::reflection()?)
        .add_service(hafleet_api::reflection_v1alpha()?)
        .add_service(AdminService::server(Arc::new(fleet)))
        .add_service(QueryService::server(Arc::new(questions)))
        .add_service(peers)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

pub(crate) fn credentials(config: &Config) -> Result<Credentials, AgentError> {
    let credentials = Credentials::load(&config.tls)?;
    let expected = hafleet_identity::Identity::node(config.fleet.clone(), config.node_id.clone());
    if *credentials.identity() != expected {
        return Err(AgentError::WrongIdentity {
            certificate: config.tls.certificate.display().to_string(),
            found: credentials.identity().to_string(),
            node: config.node_id.to_string(),
            fleet: config.fleet.to_string(),
        });
    }
    let granted = &credentials.facts().addresses;
    if !granted.is_empty() && !granted.contains(&config.address.ip()) {
        let granted: Vec<_> = granted.iter().map(ToString::to_string).collect();
        return Err(AgentError::AddressNotGranted {
            certificate: config.tls.certificate.display().to_string(),
            address: config.address.ip(),
            granted: granted.join(", "),
        });
    }
    Ok(credentials)
}

fn directories(config: &Config) -> Result<(), AgentError> {
    for path in [
        &config.data_dir,
        &config.data_dir.join("haproxy"),
        &config.haproxy.runtime_dir,
    ] {
        make(path).map_err(|source| AgentError::Directory {
            path: path.display().to_string(),
            source,
        })?;
    }
    Ok(())
}

/// Makes a directory that others may not enter (mode 0750), and sees whether the agent may write there.
fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)?;
    rustix::fs::access(
        path,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )?;
    Ok(())
}

/// Takes `address`. Who is turned away is so after its connection is made: more may wait for that than the 128 of the
/// standard library, so that of a flood none takes the place of a node.
fn listen(address: SocketAddr) -> Result<TcpListener, AgentError> {
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| AgentError::Listen { address, source })
}

fn settings(config: &Config) -> Settings {
    let directory = config.data_dir.join("haproxy");
    Settings {
        binary: config.haproxy.binary.clone(),
        process: config.haproxy.process.clone(),
        config_file: config.haproxy.config_file.clone(),
        master_socket: config.haproxy.master_socket.clone(),
        handover: config.haproxy.handover,
        firewall: config.haproxy.firewall,
        settle: config.haproxy.settle.duration(),
        secrets_dir: config.haproxy.secrets_dir.clone(),
        ..Settings::new(
            config.node_context(),
            directory,
            &config.haproxy.runtime_dir,
        )
    }
}

fn cluster_config(config: &Config) -> ClusterConfig {
    ClusterConfig {
        data_address: config.haproxy.address,
        weight: config.weight,
        is_witness: config.witness,
        member_retention: config.member_retention,
        removed: overrides::removed,
        zone: config.zone.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seeds: config.seeds.clone(),
        timing: Timing::from_interval(config.gossip_interval.duration()),
        ..ClusterConfig::new(config.fleet.clone(), config.node_id.clone(), config.address)
    }
}
