//! The answer to `show stat`: counters and states of frontends, backends and servers.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};

/// What a line of statistics is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatKind {
    /// A whole frontend.
    Frontend,
    /// A whole backend.
    Backend,
    /// A server.
    Server,
    /// One bind of a frontend (only with `option socket-stats`).
    Listener,
}

/// Whether a frontend serves (`status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontendState {
    /// It does; or it is full, which is no state that somebody put it in.
    Open,
    /// Somebody turned it off (`disable frontend`).
    Paused,
    /// Somebody ended it (`shutdown frontend`).
    ShutDown,
}

/// One line of statistics. A field is absent where HAProxy leaves it empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The frontend's or backend's name (`pxname`).
    pub proxy: String,
    /// The server's name, or `FRONTEND` or `BACKEND` (`svname`).
    pub service: String,
    /// What it is about (`type`).
    pub kind: StatKind,
    /// Such as `OPEN`, `UP`, `DOWN`, `MAINT`, `UP 1/3`, `no check`.
    pub status: String,
    /// Most sessions at once (`slim`); absent for servers without a limit.
    pub sessions_limit: Option<u32>,
    /// Sessions that are open (`scur`).
    pub sessions: Option<u64>,
    /// Sessions since the start (`stot`).
    pub sessions_total: Option<u64>,
    /// Bytes from clients (`bin`).
    pub bytes_in: Option<u64>,
    /// Bytes to clients (`bout`).
    pub bytes_out: Option<u64>,
    /// The weight in force, for a backend the sum of its servers' (`weight`).
    pub weight: Option<u64>,
    /// Requests since the start (`req_tot`, frontends and backends).
    pub requests_total: Option<u64>,
    /// Responses with status 5xx (`hrsp_5xx`).
    pub responses_5xx: Option<u64>,
    fields: BTreeMap<String, String>,
}

impl Stat {
    /// Whether it serves, for a frontend.
    pub(crate) fn frontend_state(&self) -> FrontendState {
        match self.status.as_str() {
            "PAUSED" => FrontendState::Paused,
            "STOP" => FrontendState::ShutDown,
            _ => FrontendState::Open,
        }
    }

    /// Any field by HAProxy's name for it, such as `qcur`; which there are depends on the version.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// The statistics of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats(pub Vec<Stat>);

impl Stats {
    /// The line of one server.
    pub fn server(&self, backend: &str, name: &str) -> Option<&Stat> {
        self.0.iter().find(|stat| {
            stat.kind == StatKind::Server && stat.proxy == backend && stat.service == name
        })
    }

    /// Reads the table by the names of its columns (Management Guide, section 9.1).
    pub(super) fn parse(reply: &str) -> Result<Self, String> {
        let table = reply
            .strip_prefix("# ")
            .ok_or("it does not begin with the names of its columns")?;
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .from_reader(table.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let rows = reader.records().map(|record| {
            let record = record.map_err(|error| error.to_string())?;
            row(&header, &record)
        });
        rows.collect::<Result<_, _>>().map(Self)
    }
}

fn row(header: &StringRecord, record: &StringRecord) -> Result<Stat, String> {
    let fields: BTreeMap<_, _> = header
        .iter()
        .zip(record)
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let text = |name: &str| {
        fields
            .get(name)
            .cloned()
            .ok_or_else(|| format!("a line has no {name}"))
    };
    let number = |name: &str| fields.get(name).and_then(|text| text.parse().ok());
    let kind = match text("type")?.as_str() {
        "0" => StatKind::Frontend,
        "1" => StatKind::Backend,
        "2" => StatKind::Server,
        "3" => StatKind::Listener,
        other => return Err(format!("type {other:?} is not known: 0 to 3 are")),
    };
    Ok(Stat {
        proxy: text("pxname")?,
        service: text("svname")?,
        kind,
        status: text("status")?,
        sessions_limit: fields.get("slim").and_then(|text| text.parse().ok()),
        sessions: number("scur"),
        sessions_total: number("stot"),
        bytes_in: number("bin"),
        bytes_out: number("bout"),
        weight: number("weight"),
        requests_total: number("req_tot"),
        responses_5xx: number("hrsp_5xx"),
        fields,
    })
}
