//! The answer to `show info`.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its process id, in its own process namespace.
    pub pid: u32,
    /// Its version as the build has it, such as `2.6.12-1+deb12u4`.
    pub version: String,
    /// How long it runs, in whole seconds.
    pub uptime: Duration,
    /// Whether it was told to finish.
    pub is_stopping: bool,
    /// Client connections that are open.
    pub connections: u64,
    /// Client connections since its start.
    pub connections_total: u64,
    /// Requests since its start.
    pub requests_total: u64,
    /// Most client connections at once.
    pub max_connections: u64,
    fields: BTreeMap<String, String>,
}

impl Info {
    /// Any field by HAProxy's name for it, such as `Nbthread`; which there are depends on the version.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The most client connections at once, where somebody lowered it below what the process was started for.
    pub(crate) fn lowered_limit(&self) -> Option<u64> {
        let hard: u64 = self.field("Hard_maxconn")?.parse().ok()?;
        Some(self.max_connections).filter(|now| *now < hard)
    }

    pub(super) fn parse(reply: &str) -> Result<Self, String> {
        let fields: BTreeMap<_, _> = reply
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let text = |name: &str| fields.get(name).ok_or(format!("it has no field {name:?}"));
        let number = |name: &str| {
            let text = text(name)?;
            text.parse::<u64>()
                .map_err(|_| format!("{name} is {text:?} and not a number"))
        };
        let pid = number("Pid")?;
        Ok(Self {
            pid: u32::try_from(pid).map_err(|_| format!("Pid {pid} is too large"))?,
            version: text("Version")?.clone(),
            uptime: Duration::from_secs(number("Uptime_sec")?),
            is_stopping: number("Stopping")? != 0,
            connections: number("CurrConns")?,
            connections_total: number("CumConns")?,
            requests_total: number("CumReq")?,
            max_connections: number("Maxconn")?,
            fields,
        })
    }
}
