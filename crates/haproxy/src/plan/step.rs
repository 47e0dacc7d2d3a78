//! The steps of a plan, and the commands of the Runtime API that they are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::certificates::HeldCertificate;
use crate::render::RenderedServer;
use crate::runtime::{AdminState, Command, CommandError, MapEntry};

/// A server of a backend, as commands name it: `BACKEND/SERVER`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(String);

impl Target {
    /// The server `name` of `backend`.
    pub fn new(backend: &str, name: &str) -> Self {
        Self(format!("{backend}/{name}"))
    }

    pub(crate) fn of(server: &RenderedServer) -> Self {
        Self::new(&server.backend, &server.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A map of a running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapName {
    /// Its name, for people.
    pub name: String,
    /// Its id, for commands.
    pub id: u32,
}

impl MapName {
    fn word(&self) -> String {
        format!("#{}", self.id)
    }
}

/// What brings a running process closer to the wanted configuration. (Management Guide, section 9.3, for the commands.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send a server's traffic and checks to another place (`set server … addr … port …`).
    SetAddress {
        /// The server.
        target: Target,
        /// The new address.
        address: IpAddr,
        /// The new TCP port.
        port: u16,
    },
    /// Change a server's share of the load (`set server … weight …`).
    SetWeight {
        /// The server.
        target: Target,
        /// 0 to 256.
        weight: u16,
    },
    /// Have a server serve, drain or rest (`set server … state …`).
    SetState {
        /// The server.
        target: Target,
        /// The state.
        state: AdminState,
    },
    /// Check a server's health again (`enable health`).
    EnableCheck {
        /// The server.
        target: Target,
    },
    /// Check a server's health no more (`disable health`).
    DisableCheck {
        /// The server.
        target: Target,
    },
    /// Take a server that nothing checks for one that works (`set server … health up`).
    MarkUp {
        /// The server.
        target: Target,
    },
    /// Make a server (`add server`, and `enable health` if it is checked). It rests until its state is set.
    AddServer {
        /// The server.
        target: Target,
        /// Its address and settings, as `add server` takes them.
        words: Vec<String>,
        /// Whether it is checked.
        is_checked: bool,
    },
    /// Take a server away: it gets nothing more (`set server … state maint`), and is deleted (`del server`) when its
    /// connections have ended.
    RemoveServer(Target),
    /// Lead requests to a backend that no route led there (`add map`).
    AddEntry {
        /// The map of routes.
        map: MapName,
        /// Which requests.
        key: String,
        /// The backend, or the group of paths.
        value: String,
    },
    /// Lead requests to another backend (`set map`).
    SetEntry {
        /// The map of routes.
        map: MapName,
        /// Which requests.
        key: String,
        /// The backend, or the group of paths.
        value: String,
    },
    /// Lead requests nowhere in particular (`del map`).
    RemoveEntry {
        /// The map of routes.
        map: MapName,
        /// Which requests.
        key: String,
    },
    /// Replace a map whose order means something, in one stroke (`prepare map`, `commit map`).
    ReplaceMap {
        /// The map of routes.
        map: MapName,
        /// All that is to be in it.
        entries: Vec<MapEntry>,
    },
    /// Let a frontend serve again (`enable frontend`).
    EnableFrontend {
        /// The frontend's name.
        frontend: String,
    },
    /// Let a frontend have so many connections at once (`set maxconn frontend`).
    LimitFrontend {
        /// The frontend's name.
        frontend: String,
        /// How many.
        maxconn: u32,
    },
    /// Let a server have so many connections at once (`set maxconn server`).
    LimitServer {
        /// The server.
        target: Target,
        /// How many.
        maxconn: u32,
    },
    /// Let the process have as many connections at once as it was started for (`set maxconn global 0`).
    LiftLimit,
    /// Check another port of a server, or the server's own (`set server … check-port`).
    SetCheckPort {
        /// The server.
        target: Target,
        /// Which, if it is not the server's.
        port: Option<u16>,
    },
    /// Check the server's own address (`set server … check-addr`).
    ResetCheckAddress {
        /// The server.
        target: Target,
    },
    /// Serve another certificate in the place of one (`set ssl cert`, `commit ssl cert`).
    ReplaceCertificate(HeldCertificate),
}

impl Step {
    /// The first command of the Runtime API that it takes; a certificate's is sent with the PEM
    /// ([`crate::RuntimeSocket::replace_certificate`]).
    ///
    /// # Errors
    /// When a name cannot stand in a command.
    pub fn command(&self) -> Result<Command, CommandError> {
        match self {
            Self::SetAddress {
                target,
                address,
                port,
            } => {
                let (address, port) = (address.to_string(), port.to_string());
                Command::new(&["set", "server", &target.0, "addr", &address, "port", &port])
            }
            Self::SetWeight { target, weight } => {
                Command::new(&["set", "server", &target.0, "weight", &weight.to_string()])
            }
            Self::SetState { target, state } => {
                Command::new(&["set", "server", &target.0, "state", state.as_str()])
            }
            Self::EnableCheck { target } => Command::new(&["enable", "health", &target.0]),
            Self::DisableCheck { target } => Command::new(&["disable", "health", &target.0]),
            Self::MarkUp { target } => Command::new(&["set", "server", &target.0, "health", "up"]),
            Self::AddServer { target, words, .. } => {
                let words = words.iter().map(String::as_str);
                let all: Vec<_> = ["add", "server", &target.0]
                    .into_iter()
                    .chain(words)
                    .collect();
                Command::new(&all)
            }
            Self::RemoveServer(target) => {
                Command::new(&["set", "server", &target.0, "state", "maint"])
            }
            Self::AddEntry { map, key, value } => {
                Command::new(&["add", "map", &map.word(), key, value])
            }
            Self::SetEntry { map, key, value } => {
                Command::new(&["set", "map", &map.word(), key, value])
            }
            Self::RemoveEntry { map, key } => Command::new(&["del", "map", &map.word(), key]),
            Self::ReplaceMap { map, .. } => Command::new(&["prepare", "map", &map.word()]),
            Self::EnableFrontend { frontend } => Command::new(&["enable", "frontend", frontend]),
            Self::LimitFrontend { frontend, maxconn } => {
                Command::new(&["set", "maxconn", "frontend", frontend, &maxconn.to_string()])
            }
            Self::LimitServer { target, maxconn } => {
                Command::new(&["set", "maxconn", "server", &target.0, &maxconn.to_string()])
            }
            Self::LiftLimit => Ok(Command::fixed("set maxconn global 0")),
            Self::SetCheckPort { target, port } => {
                let port = port.unwrap_or(0).to_string();
                Command::new(&["set", "server", &target.0, "check-port", &port])
            }
            Self::ResetCheckAddress { target } => {
                Command::new(&["set", "server", &target.0, "check-addr", "0.0.0.0"])
            }
            Self::ReplaceCertificate(certificate) => {
                Command::new(&["set", "ssl", "cert", certificate.path()])
            }
        }
    }

    /// What it is about, for a plan's reason.
    pub(super) fn subject(&self) -> &'static str {
        match self {
            Self::SetAddress { .. } => "addresses of servers",
            Self::SetWeight { .. } => "weights of servers",
            Self::SetState { .. } => "states of servers",
            Self::EnableCheck { .. }
            | Self::DisableCheck { .. }
            | Self::SetCheckPort { .. }
            | Self::ResetCheckAddress { .. } => "health checks",
            Self::LimitFrontend { .. } | Self::LimitServer { .. } | Self::LiftLimit => {
                "limits of connections"
            }
            Self::MarkUp { .. } => "servers that are down",
            Self::AddServer { .. } => "servers more",
            Self::RemoveServer(_) => "servers less",
            Self::AddEntry { .. }
            | Self::SetEntry { .. }
            | Self::RemoveEntry { .. }
            | Self::ReplaceMap { .. } => "routes",
            Self::EnableFrontend { .. } => "frontends",
            Self::ReplaceCertificate(_) => "certificates",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAddress {
                target,
                address,
                port,
            } => {
                let place = SocketAddr::new(*address, *port);
                write!(f, "set address of {target} to {place}")
            }
            Self::SetWeight { target, weight } => {
                write!(f, "set weight of {target} to {weight}")
            }
            Self::SetState { target, state } => {
                write!(f, "set state of {target} to {}", state.as_str())
            }
            Self::EnableCheck { target } => write!(f, "check the health of {target} again"),
            Self::DisableCheck { target } => write!(f, "check the health of {target} no more"),
            Self::MarkUp { target } => write!(f, "take {target} for up"),
            Self::AddServer { target, .. } => write!(f, "add server {target}"),
            Self::RemoveServer(target) => write!(f, "remove server {target}"),
            Self::AddEntry { map, key, value } => {
                write!(f, "add {key} to {value} in map {}", map.name)
            }
            Self::SetEntry { map, key, value } => {
                write!(f, "set {key} to {value} in map {}", map.name)
            }
            Self::RemoveEntry { map, key } => write!(f, "remove {key} from map {}", map.name),
            Self::ReplaceMap { map, .. } => write!(f, "replace map {}", map.name),
            Self::EnableFrontend { frontend } => write!(f, "enable frontend {frontend}"),
            Self::LimitFrontend { frontend, maxconn } => {
                write!(f, "let frontend {frontend} have {maxconn} connections")
            }
            Self::LimitServer { target, maxconn } => {
                write!(f, "let {target} have {maxconn} connections")
            }
            Self::LiftLimit => f.write_str("lift the limit of all connections"),
            Self::SetCheckPort { target, port } => match port {
                Some(port) => write!(f, "check port {port} of {target}"),
                None => write!(f, "check the port of {target} itself"),
            },
            Self::ResetCheckAddress { target } => {
                write!(f, "check the address of {target} itself")
            }
            Self::ReplaceCertificate(certificate) => {
                write!(f, "replace certificate {}", certificate.name())
            }
        }
    }
}
