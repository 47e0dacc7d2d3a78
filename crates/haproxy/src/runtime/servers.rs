//! The answer to `show servers state`: addresses, ports, weights and states as they are now.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One server as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub name: String,
    /// Its address; none when its host name has not been resolved.
    pub address: Option<IpAddr>,
    /// Its host name, if it was given by one.
    pub host_name: Option<String>,
    /// TCP port.
    pub port: u16,
    /// The weight that is in force (`srv_uweight`).
    pub weight: u16,
    /// Bits of the administrative state (`srv_admin_state`): 0x01, 0x02 and 0x20 are maintenance, 0x08 and 0x10 drain;
    /// 0x04 says that its configuration has `disabled`, whatever became of that.
    pub admin_state: u32,
    /// 0 stopped, 1 starting, 2 running, 3 stopping softly (`srv_op_state`).
    pub operational_state: u32,
    /// Bits of the check's state (`srv_check_state`): 0x02 it has one, 0x04 it is on, 0x08 it pauses. Absent where the
    /// version does not tell.
    pub check_state: Option<u32>,
    /// The port that is checked, if it is not the server's (`srv_check_port`).
    pub check_port: Option<u16>,
    /// The address that is checked, if it is not the server's (`srv_check_addr`).
    pub check_address: Option<IpAddr>,
}

impl ServerState {
    /// What an operator made of it over the runtime socket or the statistics page; maintenance that comes from elsewhere,
    /// such as a name that does not resolve, is not an operator's.
    pub fn admin(&self) -> AdminState {
        AdminState::of(self.admin_state)
    }

    /// Whether it has a health check that somebody turned off (`disable health`).
    pub fn is_check_off(&self) -> bool {
        self.check_state.is_some_and(|state| state & 0x06 == 0x02)
    }

    /// Whether its health is checked.
    pub fn is_check_on(&self) -> bool {
        self.check_state.is_some_and(|state| state & 0x06 == 0x06)
    }

    /// Whether it has a health check, on or off; unknown where the version does not tell.
    pub fn has_check(&self) -> Option<bool> {
        self.check_state.map(|state| state & 0x02 != 0)
    }

    /// Whether it takes nothing though it is neither in maintenance nor draining: its last check failed, or somebody said
    /// that it is down.
    pub fn is_held_down(&self) -> bool {
        self.admin_state & !0x04 == 0 && matches!(self.operational_state, 0 | 3)
    }
}

/// What an operator may ask of a server (Management Guide, section 9.3, `set server … state`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// It takes what is due to it.
    #[default]
    Ready,
    /// It finishes what it has, and takes sessions that persist on it.
    Drain,
    /// It finishes what it has, takes nothing more and is not checked.
    Maint,
}

impl AdminState {
    /// What the bits of `srv_admin_state` say of an operator's will.
    pub(crate) fn of(bits: u32) -> Self {
        match bits {
            bits if bits & 0x01 != 0 => Self::Maint,
            bits if bits & 0x08 != 0 => Self::Drain,
            _ => Self::Ready,
        }
    }

    /// HAProxy's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// All servers of a process, by backend and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServersState {
    backends: BTreeMap<String, BTreeMap<String, ServerState>>,
}

impl ServersState {
    /// The state of one server.
    pub fn get(&self, backend: &str, name: &str) -> Option<&ServerState> {
        self.backends.get(backend)?.get(name)
    }

    /// The servers of one backend, by name.
    pub fn of_backend(&self, backend: &str) -> impl Iterator<Item = &ServerState> {
        self.backends
            .get(backend)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// All servers, by backend and name.
    pub fn iter(&self) -> impl Iterator<Item = &ServerState> {
        self.backends.values().flat_map(BTreeMap::values)
    }

    /// Reads version 1 of the format, by the names of its columns (Management Guide, section 9.3).
    pub(crate) fn parse(reply: &str) -> Result<Self, String> {
        let mut lines = reply.lines();
        let version = lines.next().unwrap_or_default().trim();
        if version != "1" {
            let version: String = version.chars().take(40).collect();
            return Err(format!("format version {version:?} is not known: 1 is"));
        }
        let header = lines
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .ok_or("it has no line with the names of its columns")?;
        let columns: BTreeMap<_, _> = header
            .split_whitespace()
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        let mut backends: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let server = row(line, &columns)?;
            match backends.get_mut(&server.backend) {
                Some(servers) => {
                    servers.insert(server.name.clone(), server);
                }
                None => {
                    let name = server.backend.clone();
                    backends.insert(name, [(server.name.clone(), server)].into());
                }
            }
        }
        Ok(Self { backends })
    }
}

fn row(line: &str, columns: &BTreeMap<&str, usize>) -> Result<ServerState, String> {
    let cells: Vec<_> = line.split_whitespace().collect();
    let cell = |name: &str| {
        columns
            .get(name)
            .and_then(|index| cells.get(*index))
            .copied()
            .ok_or_else(|| format!("a line has no {name}"))
    };
    let number = |name: &str| {
        let text = cell(name)?;
        text.parse::<u32>()
            .map_err(|_| format!("{name} is {text:?} and not a number"))
    };
    let small = |name: &str| {
        u16::try_from(number(name)?).map_err(|_| format!("{name} is larger than 65535"))
    };
    Ok(ServerState {
        backend: cell("be_name")?.to_owned(),
        name: cell("srv_name")?.to_owned(),
        address: cell("srv_addr")?.parse().ok(),
        host_name: cell("srv_fqdn")
            .ok()
            .filter(|name| *name != "-")
            .map(str::to_owned),
        port: small("srv_port")?,
        weight: small("srv_uweight")?,
        admin_state: number("srv_admin_state")?,
        operational_state: number("srv_op_state")?,
        check_state: cell("srv_check_state")
            .ok()
            .and_then(|text| text.parse().ok()),
        check_port: small("srv_check_port").ok().filter(|port| *port != 0),
        // HAProxy has no word to take an address back, and takes an unspecified one for none.
        check_address: cell("srv_check_addr")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|address: &IpAddr| !address.is_unspecified()),
    })
}
