//! Real etcd clusters for tests: started, broken and mended by them, gone with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, DeleteOptions, Identity, Permission, PermissionType,
    TlsOptions,
};
use hafleet_discovery::etcd::EtcdSettings;
use hafleet_discovery::query::EtcdQuery;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// How long anything may take. Machines that run tests are slow at times.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// The prefix below which [`EtcdWorld::add`] puts servers.
pub(crate) const PREFIX: &str = "/hafleet/test/backends/web/";

/// A user's name and password.
const USER: (&str, &str) = ("agent", "a word of its own");

/// A cluster of etcd, each member at an address of its own in 127.0.0.0/8.
pub(crate) struct EtcdWorld {
    dir: TempDir,
    members: Vec<Member>,
    authority: Option<PathBuf>,
    has_users: bool,
}

struct Member {
    name: String,
    address: IpAddr,
    process: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id();
        let kill = format!("kill -{name} {id}");
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl EtcdWorld {
    /// One member that runs.
    pub(crate) async fn start() -> Self {
        Self::cluster(1).await
    }

    /// `size` members that run.
    pub(crate) async fn cluster(size: usize) -> Self {
        let mut world = Self::down(size);
        world.mend().await;
        world
    }

    /// `size` members that do not run yet.
    pub(crate) fn down(size: usize) -> Self {
        let members = (0..size).map(|index| Member {
            name: format!("m{index}"),
            address: free_address(),
            process: None,
        });
        Self {
            dir: tempfile::tempdir().unwrap(),
            members: members.collect(),
            authority: None,
            has_users: false,
        }
    }

    /// One member that speaks TLS and wants to see certificates.
    pub(crate) async fn with_tls() -> Self {
        let mut world = Self::down(1);
        let addresses: Vec<_> = world.members.iter().map(|member| member.address).collect();
        write_certificates(world.dir.path(), &addresses);
        world.authority = Some(world.dir.path().join("ca.pem"));
        world.mend().await;
        world
    }

    /// What a source is asked for.
    pub(crate) fn query(&self, prefix: &str) -> EtcdQuery {
        EtcdQuery {
            endpoints: self.members.iter().map(|member| self.url(member)).collect(),
            prefix: prefix.to_owned(),
        }
    }

    /// What an agent has to know to ask.
    pub(crate) fn settings(&self) -> EtcdSettings {
        let file = |name: &str| Some(self.dir.path().join(name));
        let mut settings = EtcdSettings::default();
        if self.authority.is_some() {
            settings.ca = file("ca.pem");
            settings.certificate = file("client.pem");
            settings.key = file("client.key");
        }
        if self.has_users {
            std::fs::write(self.dir.path().join("password"), USER.1).unwrap();
            settings.username = Some(USER.0.to_owned());
            settings.password_file = file("password");
        }
        settings
    }

    /// A server more.
    pub(crate) async fn add(&self, server: &str, value: &str) {
        self.put(&format!("{PREFIX}{server}"), value).await;
    }

    /// A server with another value.
    pub(crate) async fn change(&self, server: &str, value: &str) {
        self.add(server, value).await;
    }

    /// A server less.
    pub(crate) async fn remove(&self, server: &str) {
        self.delete(&format!("{PREFIX}{server}")).await;
    }

    /// All members die.
    pub(crate) fn break_down(&mut self) {
        for member in &mut self.members {
            member.kill();
        }
    }

    /// All members that do not run are started, with the data that they had, and answer.
    pub(crate) async fn mend(&mut self) {
        for index in 0..self.members.len() {
            if self.members[index].process.is_none() {
                let process = self.command(index).spawn().unwrap();
                self.members[index].process = Some(process);
            }
        }
        self.client().await;
    }

    /// All members stand still: they hold their connections and say nothing.
    pub(crate) fn freeze(&self) {
        self.members.iter().for_each(|member| member.signal("STOP"));
    }

    /// They go on.
    pub(crate) fn thaw(&self) {
        self.members.iter().for_each(|member| member.signal("CONT"));
    }

    /// The member that leads dies.
    pub(crate) async fn kill_leader(&mut self) {
        let index = self.leader().await;
        self.members[index].kill();
    }

    /// The member that leads stands still.
    pub(crate) async fn freeze_leader(&self) {
        let index = self.leader().await;
        self.members[index].signal("STOP");
    }

    /// Forgets the history up to now.
    pub(crate) async fn compact(&self) {
        let mut client = self.client().await;
        let response = client.get(PREFIX, None).await.unwrap();
        let revision = response.header().unwrap().revision();
        client.compact(revision, None).await.unwrap();
    }

    /// From now on nobody gets in without a password, and the agent only to what is below `prefix`.
    pub(crate) async fn demand_passwords(&mut self, prefix: &str) {
        let mut client = self.client().await;
        client.role_add("reader").await.unwrap();
        let permission = Permission::new(PermissionType::Read, prefix).with_prefix();
        client
            .role_grant_permission("reader", permission)
            .await
            .unwrap();
        for (user, password, role) in [("root", "root", "root"), (USER.0, USER.1, "reader")] {
            client.user_add(user, password, None).await.unwrap();
            client.user_grant_role(user, role).await.unwrap();
        }
        client.auth_enable().await.unwrap();
        self.has_users = true;
    }

    /// The agent's password is another one, which nobody told it.
    pub(crate) async fn change_password(&self) {
        let mut client = self.client().await;
        client
            .user_change_password(USER.0, "another")
            .await
            .unwrap();
    }

    pub(crate) async fn put(&self, key: &str, value: impl Into<Vec<u8>>) {
        let mut client = self.client().await;
        client.put(key, value, None).await.unwrap();
    }

    /// Puts many keys over one connection.
    pub(crate) async fn put_all(&self, pairs: impl IntoIterator<Item = (String, String)>) {
        let mut client = self.client().await;
        for (key, value) in pairs {
            client.put(key, value, None).await.unwrap();
        }
    }

    pub(crate) async fn delete(&self, key: &str) {
        let mut client = self.client().await;
        client.delete(key, None).await.unwrap();
    }

    /// Deletes all that is below a prefix, at one revision.
    pub(crate) async fn delete_below(&self, prefix: &str) {
        let mut client = self.client().await;
        let options = DeleteOptions::new().with_prefix();
        client.delete(prefix, Some(options)).await.unwrap();
    }

    /// Where the first member listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.members[0].address, CLIENT_PORT)
    }

    /// Waits until there are so many connections to the members, from any process of this machine.
    pub(crate) async fn connections_are(&self, wanted: usize) {
        let are = async {
            while self.connections() != wanted {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let are = timeout(DEADLINE, are).await;
        assert!(are.is_ok(), "{} connections", self.connections());
    }

    /// Established ones, by the kernel's table (`proc_pid_net(5)`).
    fn connections(&self) -> usize {
        let is_member = |text: &str| {
            self.members.iter().any(|member| match member.address {
                IpAddr::V4(v4) => {
                    let address = u32::from_ne_bytes(v4.octets());
                    text == format!("{address:08X}:{CLIENT_PORT:04X}")
                }
                IpAddr::V6(_) => false,
            })
        };
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let established = table.lines().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.get(3) == Some(&"01") && words.get(2).is_some_and(|remote| is_member(remote))
        });
        established.count()
    }

    async fn leader(&self) -> usize {
        let mut client = self.client().await;
        let leader = client.status().await.unwrap().leader();
        let members = client.member_list().await.unwrap();
        let mut members = members.members().iter();
        let name = members.find(|member| member.id() == leader).unwrap().name();
        self.members
            .iter()
            .position(|member| member.name == name)
            .unwrap()
    }

    /// A client of one member that runs, when it answers.
    async fn client(&self) -> Client {
        let connected = async {
            loop {
                for member in self
                    .members
                    .iter()
                    .filter(|member| member.process.is_some())
                {
                    if let Some(client) = self.try_connect(member).await {
                        return client;
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, connected)
            .await
            .expect("etcd does not answer")
    }

    async fn try_connect(&self, member: &Member) -> Option<Client> {
        let mut options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
        if self.authority.is_some() {
            let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap();
            let identity = Identity::from_pem(read("client.pem"), read("client.key"));
            let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca.pem")));
            options = options.with_tls(tls.identity(identity));
        }
        if self.has_users {
            options = options.with_user("root", "root");
        }
        let mut client = Client::connect([self.url(member)], Some(options))
            .await
            .ok()?;
        client.get("/", None).await.ok()?;
        Some(client)
    }

    fn url(&self, member: &Member) -> String {
        format!("{}://{}:{CLIENT_PORT}", self.scheme(), member.address)
    }

    fn scheme(&self) -> &'static str {
        match self.authority {
            Some(_) => "https",
            None => "http",
        }
    }

    fn command(&self, index: usize) -> Command {
        let member = &self.members[index];
        let peer = |member: &Member| format!("http://{}:{PEER_PORT}", member.address);
        let peers: Vec<_> = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.name, peer(member)))
            .collect();
        // It dies with the thread that started it, so that a test which is killed leaves nothing.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "etcd"])
            .args(["--log-level", "error", "--enable-grpc-gateway=false"])
            .args(["--name", &member.name, "--data-dir"])
            .arg(self.dir.path().join(&member.name))
            .args(["--listen-client-urls", &self.url(member)])
            .args(["--advertise-client-urls", &self.url(member)])
            .args(["--listen-peer-urls", &peer(member)])
            .args(["--initial-advertise-peer-urls", &peer(member)])
            .args(["--initial-cluster", &peers.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(authority) = &self.authority {
            command
                .args(["--client-cert-auth", "--trusted-ca-file"])
                .arg(authority)
                .arg("--cert-file")
                .arg(self.dir.path().join("server.pem"))
                .arg("--key-file")
                .arg(self.dir.path().join("server.key"));
        }
        command
    }
}

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// An address of this machine that no other test has: made of this process's id and a count.
fn free_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(127, high | 1, low, count);
        let is_free = |port| TcpListener::bind((address, port)).is_ok();
        if is_free(CLIENT_PORT) && is_free(PEER_PORT) {
            return address.into();
        }
    }
}

/// An authority, and certificates of it for the members at `addresses` and for a client.
fn write_certificates(dir: &Path, addresses: &[IpAddr]) {
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let mut params = CertificateParams::default();
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        let key = KeyPair::generate().unwrap();
        write(
            &format!("{name}.pem"),
            params.signed_by(&key, &issuer).unwrap().pem(),
        );
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
