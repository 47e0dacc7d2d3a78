//! From what runs and what is wanted to the least that makes them equal. Pure: values in, values out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use hafleet_model::Digest;
use hafleet_model::report::Change;
use serde::{Deserialize, Serialize};

use crate::certificates::HeldCertificate;
use crate::render::{Rendered, RenderedServer, Skeleton};
use crate::runtime::{Command, CommandError, ServersState};

/// A process that serves, as far as a plan needs to know it.
#[derive(Debug, Clone)]
pub struct Running {
    /// What it was last brought to; none when nobody knows, as after a loss of the agent's notes.
    pub applied: Option<Known>,
    /// Its servers as they are now.
    pub servers: ServersState,
    /// The SHA-1 of the certificates that it serves, by file; none for a file that it has not loaded. Only for files
    /// of the fleet's certificates that it could be asked for.
    pub certificates: BTreeMap<String, Option<String>>,
}

/// The configuration that a process was brought to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The digest of its body.
    pub digest: Digest,
    /// What of it only a reload can change.
    pub skeleton: Skeleton,
    /// The digest of each certificate of the fleet with its chain and key, by its file.
    #[serde(default)]
    pub certificates: BTreeMap<String, Digest>,
}

/// One command that brings a running server closer to the wanted configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send a server's traffic and checks to another place (`set server … addr … port …`).
    SetAddress {
        /// The backend's name.
        backend: String,
        /// The server's name.
        server: String,
        /// The new address.
        address: IpAddr,
        /// The new TCP port.
        port: u16,
    },
    /// Change a server's share of the load (`set server … weight …`).
    SetWeight {
        /// The backend's name.
        backend: String,
        /// The server's name.
        server: String,
        /// 0 to 256.
        weight: u16,
    },
    /// Serve another certificate in the place of one (`set ssl cert`, `commit ssl cert`).
    ReplaceCertificate(HeldCertificate),
}

impl Step {
    /// The command of the Runtime API that does it; for a certificate the first of two, which is sent with the PEM
    /// ([`crate::RuntimeSocket::replace_certificate`]).
    ///
    /// # Errors
    /// When a name cannot stand in a command.
    pub fn command(&self) -> Result<Command, CommandError> {
        match self {
            Self::SetAddress {
                backend,
                server,
                address,
                port,
            } => {
                let (target, address, port) = (
                    format!("{backend}/{server}"),
                    address.to_string(),
                    port.to_string(),
                );
                Command::new(&["set", "server", &target, "addr", &address, "port", &port])
            }
            Self::SetWeight {
                backend,
                server,
                weight,
            } => {
                let (target, weight) = (format!("{backend}/{server}"), weight.to_string());
                Command::new(&["set", "server", &target, "weight", &weight])
            }
            Self::ReplaceCertificate(certificate) => {
                Command::new(&["set", "ssl", "cert", certificate.path()])
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAddress {
                backend,
                server,
                address,
                port,
            } => write!(
                f,
                "set address of {backend}/{server} to {}",
                std::net::SocketAddr::new(*address, *port)
            ),
            Self::SetWeight {
                backend,
                server,
                weight,
            } => write!(f, "set weight of {backend}/{server} to {weight}"),
            Self::ReplaceCertificate(certificate) => {
                write!(f, "replace certificate {}", certificate.name())
            }
        }
    }
}

/// What it takes to bring HAProxy to a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How deep the change goes.
    pub change: Change,
    /// The commands, for [`Change::Runtime`]; otherwise none.
    pub steps: Vec<Step>,
    /// Why it is so, for people.
    pub reason: String,
}

impl Plan {
    /// A plan without commands.
    pub(crate) fn whole(change: Change, reason: impl Into<String>) -> Self {
        Self {
            change,
            steps: Vec::new(),
            reason: reason.into(),
        }
    }
}

/// The least that brings what runs (none when HAProxy does not) to `wanted`.
pub fn plan(running: Option<&Running>, wanted: &Rendered) -> Plan {
    let Some(running) = running else {
        return Plan::whole(Change::Start, "HAProxy does not run");
    };
    let Some(known) = &running.applied else {
        return Plan::whole(Change::Reload, "what HAProxy runs is not known");
    };
    if let Some(difference) = wanted.skeleton().difference_from(&known.skeleton) {
        return Plan::whole(Change::Reload, difference);
    }
    let mut steps = Vec::new();
    for server in wanted.servers() {
        let Some(state) = running.servers.get(&server.backend, &server.name) else {
            let reason = format!("{}/{} is missing in HAProxy", server.backend, server.name);
            return Plan::whole(Change::Reload, reason);
        };
        steps.extend(steps_for(server, state.address, state.port, state.weight));
    }
    let server_steps = steps.len();
    for certificate in wanted.certificates() {
        match certificate_step(running, known, certificate) {
            Ok(step) => steps.extend(step),
            Err(reason) => return Plan::whole(Change::Reload, reason),
        }
    }
    match (steps.len(), wanted.digest() == known.digest) {
        (0, true) => Plan::whole(Change::Nothing, "HAProxy runs it already"),
        (0, false) => Plan::whole(Change::Nothing, "HAProxy's servers are like that already"),
        (_, is_same) => {
            let reason = if steps.len() > server_steps {
                "certificates and at most addresses, ports and weights of servers differ"
            } else if is_same {
                "servers were changed behind hafleet's back"
            } else {
                "only addresses, ports and weights of servers differ"
            };
            Plan {
                change: Change::Runtime,
                steps,
                reason: reason.to_owned(),
            }
        }
    }
}

/// What has a process serve `certificate`, or why only a new process can.
fn certificate_step(
    running: &Running,
    known: &Known,
    certificate: &HeldCertificate,
) -> Result<Option<Step>, String> {
    let path = certificate.path();
    let is_noted = known.certificates.get(path) == Some(&certificate.digest());
    let is_served = match running.certificates.get(path) {
        Some(Some(sha1)) => certificate.is_served_as(sha1),
        Some(None) => {
            return Err(format!(
                "HAProxy has not loaded certificate {}",
                certificate.name()
            ));
        }
        None => true,
    };
    let step = || Step::ReplaceCertificate(certificate.clone());
    Ok((!is_noted || !is_served).then(step))
}

fn steps_for(
    server: &RenderedServer,
    address: Option<IpAddr>,
    port: u16,
    weight: u16,
) -> impl Iterator<Item = Step> {
    let moved = server
        .address
        .filter(|wanted| address != Some(*wanted) || port != server.port)
        .map(|address| Step::SetAddress {
            backend: server.backend.clone(),
            server: server.name.clone(),
            address,
            port: server.port,
        });
    let weighed = (server.is_weight_ours && weight != server.weight).then(|| Step::SetWeight {
        backend: server.backend.clone(),
        server: server.name.clone(),
        weight: server.weight,
    });
    moved.into_iter().chain(weighed)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
