//! The demo's directory: an authority, a certificate and a file for each agent, and an administrator's identity.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hafleet_api::v1;
use hafleet_identity::{Authority, IssueRequest, PersonName, Principal, Role};
use hafleet_model::{FleetName, NodeId};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{at, missing};
use crate::args::Target;
use crate::client::DEFAULT_PORT;
use crate::commands::pki::ledger;
use crate::failure::Failure;

/// The port of traffic in the demo's spec.
const TRAFFIC_PORT: u16 = 8080;
/// The last byte of the first load balancer's address.
const FIRST_ADDRESS: u8 = 11;
/// Marks a directory as a demo's, so that it may be used again.
const MARK: &str = ".hafleet-demo";

/// One load balancer of the demo.
pub(super) struct DemoNode {
    /// Its name.
    pub(super) id: NodeId,
    /// Its address, for traffic and for its agent.
    pub(super) address: IpAddr,
    /// Its directory.
    pub(super) dir: PathBuf,
}

impl DemoNode {
    /// The agent's file.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }

    /// Where its agent's process id is kept.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.dir.join("agent.pid")
    }
}

/// Where everything of the demo is.
pub(super) struct Layout {
    root: PathBuf,
    /// Removed at the end, when the user named no directory.
    temporary: Option<TempDir>,
    nodes: Vec<DemoNode>,
}

impl Layout {
    /// Makes the directory and writes what the agents need.
    pub(super) fn create(count: u8, dir: Option<&Path>) -> Result<Self, Failure> {
        let (root, temporary) = match dir {
            Some(dir) => (prepare(dir)?, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("hafleet-demo-").tempdir();
                let temporary = temporary.context("the temporary directory")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let nodes = (0..count)
            .map(|index| node(&root, index))
            .collect::<Result<Vec<_>, _>>()?;
        let layout = Self {
            root,
            temporary,
            nodes,
        };
        layout.write().map_err(Failure::from)?;
        Ok(layout)
    }

    /// Where everything is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The load balancers.
    pub(super) fn nodes(&self) -> &[DemoNode] {
        &self.nodes
    }

    /// The administrator's identity.
    pub(super) fn admin(&self) -> PathBuf {
        self.root.join("admin")
    }

    /// All agents, as the administrator.
    pub(super) fn target(&self) -> Target {
        Target {
            endpoint: self
                .nodes
                .iter()
                .map(|node| format!("{}:{DEFAULT_PORT}", node.address))
                .collect(),
            identity: Some(self.admin()),
            timeout: Some(Duration::from_secs(30)),
        }
    }

    /// The process id of the leader's agent.
    pub(super) fn pid_of_leader(&self, status: &v1::FleetStatus) -> Option<u32> {
        let leader = &status.leadership.as_ref()?.leader;
        let node = self.nodes.iter().find(|node| node.id.as_str() == leader)?;
        std::fs::read_to_string(node.pid_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Says which address is taken before anything is started.
    pub(super) async fn find_taken_addresses(&self) -> Result<(), Failure> {
        for node in &self.nodes {
            for port in [DEFAULT_PORT, TRAFFIC_PORT] {
                if let Err(error) = TcpListener::bind((node.address, port)).await {
                    let what = format!("{}:{port} cannot be bound ({error})", node.address);
                    return Err(missing(
                        &what,
                        "end the program that listens there, perhaps another demo",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Removes the directory, unless the user named it.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        match self.temporary {
            Some(temporary) => temporary.close().context("the demo's directory"),
            None => Ok(()),
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let authority = Authority::create(FleetName::new("demo")?)?;
        let pki = self.root.join("pki");
        at(&pki, std::fs::create_dir_all(&pki))?;
        authority.save(&pki)?;
        let admin = Principal::Person {
            name: PersonName::new("demo")?,
            role: Role::Admin,
        };
        let issue = |request: &IssueRequest, dir: &Path| issue(&authority, &pki, request, dir);
        issue(&IssueRequest::new(admin), &self.admin())?;
        let seeds: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("\"{}:{DEFAULT_PORT}\"", node.address))
            .collect();
        for node in &self.nodes {
            let request = IssueRequest::node(node.id.clone(), vec![node.address]);
            issue(&request, &node.dir.join("identity"))?;
            let certificates = node.dir.join("certificates");
            at(&certificates, std::fs::create_dir_all(&certificates))?;
            at(
                &node.config(),
                std::fs::write(node.config(), agent_file(node, &seeds.join(", "))),
            )?;
        }
        Ok(())
    }
}

/// Takes a directory that is new, empty, or an earlier demo's.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    at(dir, std::fs::create_dir_all(dir))?;
    let dir = at(dir, std::fs::canonicalize(dir))?;
    let entries: Vec<_> = at(&dir, std::fs::read_dir(&dir))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    let mark = dir.join(MARK);
    if !entries.is_empty() && !mark.is_file() {
        let message = format!(
            "{} has files that are not a demo's: give --dir a new or empty directory",
            dir.display()
        );
        return Err(Failure::invalid(message));
    }
    for entry in entries {
        let removed = if entry.is_dir() {
            std::fs::remove_dir_all(&entry)
        } else {
            std::fs::remove_file(&entry)
        };
        at(&entry, removed)?;
    }
    at(
        &mark,
        std::fs::write(
            &mark,
            "made by `hafleet demo`; it empties this directory when it is started again\n",
        ),
    )?;
    Ok(dir)
}

fn node(root: &Path, index: u8) -> anyhow::Result<DemoNode> {
    let id = NodeId::new(format!("lb{}", u32::from(index) + 1))?;
    // 127.0.0.21 to 24 are the servers'.
    let last = FIRST_ADDRESS + index + if index >= 10 { 14 } else { 0 };
    Ok(DemoNode {
        dir: root.join(id.as_str()),
        address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)),
        id,
    })
}

fn issue(
    authority: &Authority,
    pki: &Path,
    request: &IssueRequest,
    dir: &Path,
) -> anyhow::Result<()> {
    at(dir, std::fs::create_dir_all(dir))?;
    let issued = authority.issue(request)?;
    ledger::note(pki, &issued)?;
    issued.save(authority.certificate_pem(), dir)?;
    Ok(())
}

fn agent_file(node: &DemoNode, seeds: &str) -> String {
    let dir = node.dir.display();
    format!(
        "node_id = \"{id}\"\nfleet = \"demo\"\naddress = \"{address}\"\nseeds = [{seeds}]\n\
         data_dir = {data:?}\n\n[tls]\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\n\
         [haproxy]\ncertificate_dir = {certificates:?}\n",
        id = node.id,
        address = node.address,
        data = format!("{dir}/data"),
        ca = format!("{dir}/identity/ca.pem"),
        certificate = format!("{dir}/identity/cert.pem"),
        key = format!("{dir}/identity/key.pem"),
        certificates = format!("{dir}/certificates"),
    )
}
