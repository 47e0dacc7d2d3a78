//! What `show info` says of a process (Management Guide, section 9.3).

use std::collections::BTreeMap;

use crate::statistics::Columns;

/// The fields of a process, by HAProxy's names for them. Empty where nobody told, as on a statistics page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo(BTreeMap<String, String>);

/// The fields that HAProxy 2.4 to 3.2 have, and whether they are numbers.
const FIELDS: &[(&str, bool)] = &[
    ("ActivePeers", true),
    ("Build info", false),
    ("BusyPolling", true),
    ("BytesOutRate", true),
    ("CompressBpsIn", true),
    ("CompressBpsOut", true),
    ("CompressBpsRateLim", true),
    ("ConnRate", true),
    ("ConnRateLimit", true),
    ("ConnectedPeers", true),
    ("CumConns", true),
    ("CumRecvLogs", true),
    ("CumReq", true),
    ("CumSslConns", true),
    ("CurrConns", true),
    ("CurrSslConns", true),
    ("DebugCommandsIssued", true),
    ("DroppedLogs", true),
    ("FailedResolutions", true),
    ("Hard_maxconn", true),
    ("Idle_pct", true),
    ("Jobs", true),
    ("Listeners", true),
    ("MaxConnRate", true),
    ("MaxSessRate", true),
    ("MaxSslConns", true),
    ("MaxSslRate", true),
    ("Maxconn", true),
    ("Maxpipes", true),
    ("Maxsock", true),
    ("Memmax_MB", true),
    ("Memmax_bytes", true),
    ("Name", false),
    ("Nbproc", true),
    ("Nbthread", true),
    ("Pid", true),
    ("PipesFree", true),
    ("PipesUsed", true),
    ("PoolAlloc_MB", true),
    ("PoolAlloc_bytes", true),
    ("PoolFailed", true),
    ("PoolUsed_MB", true),
    ("PoolUsed_bytes", true),
    ("Process_num", true),
    ("Release_date", false),
    ("Run_queue", true),
    ("SessRate", true),
    ("SessRateLimit", true),
    ("SslBackendKeyRate", true),
    ("SslBackendMaxKeyRate", true),
    ("SslCacheLookups", true),
    ("SslCacheMisses", true),
    ("SslFrontendKeyRate", true),
    ("SslFrontendMaxKeyRate", true),
    ("SslFrontendSessionReuse_pct", true),
    ("SslRate", true),
    ("SslRateLimit", true),
    ("Start_time_sec", true),
    ("Stopping", true),
    ("Tainted", false),
    ("Tasks", true),
    ("TotalBytesOut", true),
    ("TotalSplicdedBytesOut", true),
    ("Ulimit-n", true),
    ("Unstoppable Jobs", true),
    ("Uptime", false),
    ("Uptime_sec", true),
    ("Version", false),
    ("node", false),
];

/// Whether the field `name` is a number; none where no version is known to have it.
pub fn is_number(name: &str) -> Option<bool> {
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, is_number)| *is_number)
}

/// The names of all known fields.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

impl ProcessInfo {
    /// Reads the lines `Name: value`. Others are passed over.
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Self(
            fields
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    /// The fields that are wanted, as lines that [`Self::parse`] reads.
    pub fn lines(&self, wanted: &Columns) -> String {
        let fields = self.0.iter().filter(|(name, _)| wanted.has(name));
        fields
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect()
    }

    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
