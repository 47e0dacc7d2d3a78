//! What an agent reads from its own disk at its start: whatever stands there is read or refused with the file's name and
//! what is wrong, and what was read and is written again reads the same.
//!
//! An input is the file's name on the first line, and what stands in it.

#![no_main]

use std::cell::OnceCell;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hafleet_api::lb_agent::read_token;
use hafleet_identity::sealing::{Keyring, NodeKey};
use hafleet_model::FleetName;
use libfuzzer_sys::{Corpus, fuzz_target};
use tempfile::TempDir;

// The agent brings a cloud's whole client along; what reads its files needs none of it. These are the names that they use.
extern crate self as hafleet_discovery;
extern crate self as hafleet_dns;

/// The agent's own readers.
#[path = "../../crates/agent/src"]
#[allow(dead_code, unreachable_pub)]
mod agent {
    pub(crate) mod audit;
    pub(crate) mod config;
    pub(crate) mod limits;
    pub(crate) mod own;
    pub(crate) mod reloads;
    pub(crate) mod trust {
        pub(crate) mod tokens;

        #[allow(missing_docs)]
        pub(crate) mod joins {
            #[derive(Debug, Clone)]
            pub struct IssuerConfig {
                pub certificate: std::path::PathBuf,
                pub key: std::path::PathBuf,
                pub listen: std::net::SocketAddr,
                pub address: std::net::SocketAddr,
                pub valid_for: std::time::Duration,
            }
        }
        pub(crate) mod revocations {
            pub(crate) fn keep(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
                std::fs::write(path, bytes)
            }
        }
    }
}
#[path = "../../crates/haproxy/src/process/applied.rs"]
#[allow(dead_code)]
mod applied;
#[path = "../../crates/haproxy/src/process/identity.rs"]
#[allow(dead_code)]
mod identity;
#[path = "../../crates/cli/src/commands/questions/netrc.rs"]
mod netrc;

use agent::{audit, config, limits, own, reloads, trust};
use identity::ProcessId;

mod binary {
    pub(crate) use hafleet_haproxy::Version;
}
mod plan {
    pub(crate) use hafleet_haproxy::plan::Known;
}
mod render {
    pub(crate) use hafleet_haproxy::Listener;
}

/// The directory in which HAProxy's files are, as far as the notes on what was applied need one.
mod files {
    use std::path::{Path, PathBuf};

    #[derive(Debug)]
    pub(crate) struct FileError;

    pub(crate) struct Files(pub(crate) PathBuf);

    impl Files {
        pub(crate) fn applied(&self) -> PathBuf {
            self.0.clone()
        }

        pub(crate) fn config(&self) -> &Path {
            &self.0
        }

        pub(crate) fn generation_of(&self, _: &Path) -> Option<u64> {
            None
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
        std::fs::read_to_string(path)
            .map(Some)
            .map_err(|_| FileError)
    }

    pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
        std::fs::write(path, text).map_err(|_| FileError)
    }
}

/// The parts of other crates that the agent's file names.
#[allow(missing_docs)]
pub mod docker {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum DockerEngine {
        Socket(PathBuf),
        Loopback(SocketAddr),
        Tls {
            address: String,
            authority: PathBuf,
            certificate: PathBuf,
            key: PathBuf,
        },
    }
}
#[allow(missing_docs)]
pub mod etcd {
    use std::path::PathBuf;

    #[derive(Debug, Clone, Default, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct EtcdSettings {
        pub username: Option<String>,
        pub password_file: Option<PathBuf>,
        pub ca: Option<PathBuf>,
        pub certificate: Option<PathBuf>,
        pub key: Option<PathBuf>,
    }
}
#[path = "../../crates/dns/src/rfc2136"]
#[allow(missing_docs)]
pub mod rfc2136 {
    #[allow(dead_code)]
    mod key;

    pub use key::UpdateKey;

    fn absolute(name: &str) -> Result<hickory_proto::rr::Name, String> {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        hickory_proto::rr::Name::from_ascii(format!("{plain}.")).map_err(|error| error.to_string())
    }
}

thread_local! {
    static PLACE: OnceCell<TempDir> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return Corpus::Reject;
    };
    let (name, content) = (&input[..end], &input[end + 1..]);
    let Ok(name) = std::str::from_utf8(name) else {
        return Corpus::Reject;
    };
    PLACE.with(|place| {
        let place = place.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
        match read(name, content, place.path()) {
            Some(()) => Corpus::Keep,
            None => Corpus::Reject,
        }
    })
});

/// Reads `content` as the file `name`; none if there is no such file.
fn read(name: &str, content: &[u8], place: &Path) -> Option<()> {
    let path = place.join("file");
    let written = || write_for_oneself(&path, content).expect("it can be written");
    match name {
        "agent.toml" => {
            written();
            agent_file(&path);
        }
        "own-configuration.json" => {
            written();
            if let Ok(keeper) = own::OwnKeeper::open(path.clone()) {
                own_configuration(&keeper);
            }
        }
        "reloads.json" => {
            written();
            log_of_reloads(&path);
        }
        "join-tokens.json" => {
            written();
            join_tokens(&path);
        }
        "applied.json" => {
            written();
            notes(&path);
        }
        "node.key" => {
            written();
            let _ = NodeKey::load_or_create(&path);
        }
        "fleet-keys.json" => {
            written();
            fleet_keys(&path, place);
        }
        "lb-agent.token" => {
            written();
            if let Err(words) = read_token(&path) {
                assert!(words.contains("/file: "), "which file? {words}");
            }
        }
        ".netrc" => {
            let text = String::from_utf8_lossy(content);
            if let Some((user, password)) = netrc::login(&text, "lb1") {
                let words: Vec<_> = text.split_whitespace().collect();
                assert!(words.contains(&user.as_str()), "nobody wrote {user:?}");
                assert!(password.is_empty() || words.contains(&password.as_str()));
            }
        }
        _ => return None,
    }
    Some(())
}

/// Others may not read it: some files are refused where they may.
fn write_for_oneself(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened?.write_all(content)
}

fn agent_file(path: &Path) {
    match config::Config::load(path) {
        Ok(config) => {
            assert!(config.address.port() > 0);
            let _ = config.node_context();
            for seed in &config.seeds {
                let (_, port) = seed.rsplit_once(':').expect("a seed has a port");
                assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{seed}");
            }
        }
        Err(error) => {
            let words = error.to_string();
            assert!(!words.is_empty());
            let first = words.lines().next().unwrap_or_default();
            let place = path.display().to_string();
            assert!(
                first.starts_with(&place) || first.starts_with("environment"),
                "{words}"
            );
        }
    }
}

fn own_configuration(keeper: &own::OwnKeeper) {
    let own = keeper.newest().expect("it was read");
    let document = own.document().expect("it is one in form");
    assert_eq!(document.revision(), hafleet_model::Revision::OWN);
    let _ = (own.words(), own.report(None));
    let written = serde_json::to_vec(&*own).expect("JSON");
    let again: own::Own = serde_json::from_slice(&written).expect("it reads back");
    assert_eq!(again, *own);
}

fn log_of_reloads(path: &Path) {
    let log = reloads::ReloadLog::open(path.to_owned());
    let before = log.newest_first();
    if let Some(last) = before.first().cloned() {
        log.add(last);
        let after = reloads::ReloadLog::open(path.to_owned()).newest_first();
        assert_eq!(after, log.newest_first(), "it does not read back");
        assert!(after.len() <= 100, "{} are kept", after.len());
    }
}

fn join_tokens(path: &Path) {
    let Ok(tokens) = trust::tokens::Tokens::open(path.to_owned()) else {
        return;
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    for token in tokens.list(now) {
        let checked = tokens.check(&token.id, "a secret", None, now);
        assert!(checked.is_err(), "a digest is not its own secret");
        if let Ok(true) = tokens.remove(&token.id, now) {
            let again = trust::tokens::Tokens::open(path.to_owned()).expect("what was written");
            assert_eq!(again.list(now), tokens.list(now));
        }
    }
}

fn notes(path: &Path) {
    let files = files::Files(path.to_owned());
    if let Ok(applied::Restored::Applied(state)) = applied::read_applied(&files) {
        applied::write_applied(&files, &state).expect("it can be written");
        match applied::read_applied(&files) {
            Ok(applied::Restored::Applied(again)) => assert_eq!(again, state),
            other => panic!("what was written cannot be read: {other:?}"),
        }
    }
}

fn fleet_keys(path: &Path, place: &Path) {
    let own = NodeKey::load_or_create(&place.join("own.key")).expect("a key");
    let fleet = FleetName::new("shop").expect("a name");
    let _ = Keyring::open(own, fleet, path.to_owned());
}
