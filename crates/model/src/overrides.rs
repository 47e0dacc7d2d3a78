//! The overrides document: what operators did by hand, on top of the spec and of what sources say.
//!
//! Its body is JSON with a version: `{"version":1,"nodes":{"lb-1":{"drain":true,…}},"servers":{"app/s1":{"state":"maint",…}}}`.
//! An override may expire. Whoever reads the document leaves out what has expired; the leader removes it in time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::DocumentKind;
use crate::name::NodeId;
use crate::revision::Stamp;

/// The most overrides that a fleet may have.
pub const MAX_OVERRIDES: usize = 10_000;

/// How many removed nodes and dismissed conflicts are kept, each: the oldest give way. A node that was removed so long ago
/// and comes back is a new one.
pub const MAX_KEPT: usize = 1_000;

/// A body that is no overrides document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverridesError {
    /// Not the JSON that is expected.
    #[error("the overrides document cannot be read: {0}")]
    Malformed(String),
    /// Of another version.
    #[error(
        "the overrides document has version {found}, and this version of hafleet reads version {}: install the later one",
        Overrides::VERSION
    )]
    OtherVersion {
        /// What it says.
        found: u32,
    },
    /// Too many.
    #[error("there are {found} overrides, and {MAX_OVERRIDES} are allowed: remove some")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// Which server of which backend, written `BACKEND/SERVER` as HAProxy's Runtime API does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerPath {
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub server: String,
}

/// A text that is no path of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a server: write BACKEND/SERVER, such as app/i-0123")]
pub struct ServerPathError {
    found: String,
}

impl FromStr for ServerPath {
    type Err = ServerPathError;

    fn from_str(text: &str) -> Result<Self, ServerPathError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
        };
        match text.split_once('/') {
            Some((backend, server)) if is_part(backend) && is_part(server) => Ok(Self {
                backend: backend.to_owned(),
                server: server.to_owned(),
            }),
            _ => Err(ServerPathError {
                found: text.chars().take(80).collect(),
            }),
        }
    }
}

impl TryFrom<String> for ServerPath {
    type Error = ServerPathError;

    fn try_from(text: String) -> Result<Self, ServerPathError> {
        text.parse()
    }
}

impl From<ServerPath> for String {
    fn from(path: ServerPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for ServerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

/// What may be asked of a server by hand (HAProxy's Management Guide, section 9.3, `set server … state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Serves.
    Ready,
    /// Finishes what it has; nothing new but what sticks to it.
    Drain,
    /// Out of service, and not checked.
    Maint,
}

/// Who did it, why, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// As their certificate names them.
    pub author: String,
    /// In their words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// In milliseconds since 1970, by the leader's clock.
    pub since_ms: i64,
    /// When it is over, likewise; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

impl Provenance {
    /// Whether it still holds at `now_ms`.
    pub fn holds(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// What was done to a node: it is drained, which takes it out of DNS while its HAProxy goes on serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrain {
    /// Who, why, how long.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// What was done to a server, on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOverride {
    /// Another state than the one it would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ServerState>,
    /// Another weight, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Who, why, how long.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// Why the fleet goes on without a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovalReason {
    /// It left.
    Left,
    /// Somebody said that it will not return.
    Forgotten,
    /// Its instance of EC2 is terminated.
    Terminated,
    /// It was dead for longer than the dead are kept.
    Expired,
}

impl RemovalReason {
    /// The word for it in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Forgotten => "forgotten",
            Self::Terminated => "terminated",
            Self::Expired => "expired",
        }
    }
}

/// A node without which the fleet goes on: it does not count when a majority is asked for, until it comes back and the
/// leader takes it in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The last run of it that was known. One that left is taken in again when it has begun another.
    pub generation: u64,
    /// Why.
    pub reason: RemovalReason,
    /// Who, and since when.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// A revision that lost in a conflict and about which nothing more is to be done. It stays where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dismissal {
    /// Of which document.
    pub kind: DocumentKind,
    /// Which revision.
    pub stamp: Stamp,
    /// Who said so, and why.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// All that was done by hand, and who is no longer in the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Drained nodes.
    pub nodes: BTreeMap<NodeId, NodeDrain>,
    /// Servers.
    pub servers: BTreeMap<ServerPath, ServerOverride>,
    /// Nodes without which the fleet goes on.
    pub removed: BTreeMap<NodeId, Removal>,
    /// Conflicts about which nothing more is to be done.
    pub dismissed: Vec<Dismissal>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    #[serde(default)]
    nodes: BTreeMap<NodeId, NodeDrain>,
    #[serde(default)]
    servers: BTreeMap<ServerPath, ServerOverride>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed: BTreeMap<NodeId, Removal>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dismissed: Vec<Dismissal>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Overrides {
    /// The version of the form that is written.
    pub const VERSION: u32 = 1;

    /// Reads a document's body.
    ///
    /// # Errors
    /// When it is not JSON of the known version and form, or has too much in it.
    pub fn parse(body: &str) -> Result<Self, OverridesError> {
        let malformed = |error: serde_json::Error| OverridesError::Malformed(error.to_string());
        let VersionOnly { version } = serde_json::from_str(body).map_err(malformed)?;
        if version != Self::VERSION {
            return Err(OverridesError::OtherVersion { found: version });
        }
        let body: Body = serde_json::from_str(body).map_err(malformed)?;
        let overrides = Self {
            nodes: body.nodes,
            servers: body.servers,
            removed: body.removed,
            dismissed: body.dismissed,
        };
        match overrides.count() {
            found if found > MAX_OVERRIDES => Err(OverridesError::TooMany { found }),
            _ => Ok(overrides),
        }
    }

    /// The document's body: the same overrides give the same bytes.
    pub fn body(&self) -> String {
        let body = Body {
            version: Self::VERSION,
            nodes: self.nodes.clone(),
            servers: self.servers.clone(),
            removed: self.removed.clone(),
            dismissed: self.dismissed.clone(),
        };
        // Texts and numbers under text keys: there is nothing in it that JSON could not hold.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// How many there are, against [`MAX_OVERRIDES`].
    pub fn count(&self) -> usize {
        self.nodes.len() + self.servers.len() + self.removed.len() + self.dismissed.len()
    }

    /// The fleet goes on without `node`. What was done to it by hand goes with it.
    pub fn remove(&mut self, node: NodeId, removal: Removal) {
        self.nodes.remove(&node);
        self.removed.insert(node, removal);
        while self.removed.len() > MAX_KEPT {
            let oldest = self.removed.iter();
            let oldest = oldest.min_by_key(|(_, removal)| removal.provenance.since_ms);
            let Some(oldest) = oldest.map(|(node, _)| node.clone()) else {
                return;
            };
            self.removed.remove(&oldest);
        }
    }

    /// Nothing more is to be done about a conflict.
    pub fn dismiss(&mut self, dismissal: Dismissal) {
        self.dismissed.push(dismissal);
        let excess = self.dismissed.len().saturating_sub(MAX_KEPT);
        self.dismissed.drain(..excess);
    }

    /// The dismissal of the revision `stamp`, if it was dismissed.
    pub fn dismissal(&self, kind: DocumentKind, stamp: Stamp) -> Option<&Dismissal> {
        let mut dismissed = self.dismissed.iter();
        dismissed.find(|dismissal| dismissal.kind == kind && dismissal.stamp == stamp)
    }

    /// Those that still hold at `now_ms`.
    pub fn holding(mut self, now_ms: i64) -> Self {
        self.nodes.retain(|_, drain| drain.provenance.holds(now_ms));
        self.servers
            .retain(|_, server| server.provenance.holds(now_ms));
        self
    }

    /// When the next of them is over, in milliseconds since 1970.
    pub fn next_expiry(&self) -> Option<i64> {
        let nodes = self.nodes.values().map(|drain| &drain.provenance);
        let servers = self.servers.values().map(|server| &server.provenance);
        nodes
            .chain(servers)
            .filter_map(|provenance| provenance.until_ms)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance(until_ms: Option<i64>) -> Provenance {
        Provenance {
            author: "ada".into(),
            comment: String::new(),
            since_ms: 1,
            until_ms,
        }
    }

    fn overrides() -> Overrides {
        let drain = NodeDrain {
            provenance: provenance(Some(10)),
        };
        let server = ServerOverride {
            state: Some(ServerState::Maint),
            weight: None,
            provenance: provenance(None),
        };
        Overrides {
            nodes: [(NodeId::new("lb-1").unwrap(), drain)].into(),
            servers: [("app/s1".parse().unwrap(), server)].into(),
            ..Overrides::default()
        }
    }

    #[test]
    fn the_removed_and_the_dismissed_are_kept_and_the_oldest_give_way() {
        let stamp = |sequence| Stamp {
            revision: crate::Revision::new(crate::Term(1), sequence),
            digest: crate::Digest::of(b"x"),
        };
        let mut overrides = overrides();
        for number in 0..=MAX_KEPT {
            let mut provenance = provenance(None);
            provenance.since_ms = i64::try_from(number).unwrap();
            let removal = Removal {
                generation: 7,
                reason: RemovalReason::Left,
                provenance: provenance.clone(),
            };
            overrides.remove(NodeId::new(format!("gone-{number}")).unwrap(), removal);
            overrides.dismiss(Dismissal {
                kind: DocumentKind::Spec,
                stamp: stamp(u64::try_from(number).unwrap()),
                provenance,
            });
        }
        assert_eq!(
            (overrides.removed.len(), overrides.dismissed.len()),
            (MAX_KEPT, MAX_KEPT)
        );
        assert!(
            !overrides
                .removed
                .contains_key(&NodeId::new("gone-0").unwrap())
        );
        assert!(overrides.dismissal(DocumentKind::Spec, stamp(0)).is_none());
        assert!(overrides.dismissal(DocumentKind::Spec, stamp(1)).is_some());
        assert!(
            overrides
                .dismissal(DocumentKind::Secrets, stamp(1))
                .is_none()
        );
        assert_eq!(Overrides::parse(&overrides.body()), Ok(overrides.clone()));
        assert_eq!(
            overrides.clone().holding(i64::MAX).removed,
            overrides.removed
        );
    }

    #[test]
    fn a_drain_ends_with_the_removal_of_its_node() {
        let mut overrides = overrides();
        let removal = Removal {
            generation: 1,
            reason: RemovalReason::Forgotten,
            provenance: provenance(None),
        };
        overrides.remove(NodeId::new("lb-1").unwrap(), removal);
        assert!(overrides.nodes.is_empty());
    }

    #[test]
    fn what_is_written_reads_back() {
        let body = overrides().body();
        assert!(
            body.contains(r#""servers":{"app/s1":{"state":"maint""#),
            "{body}"
        );
        assert_eq!(Overrides::parse(&body), Ok(overrides()));
    }

    #[test]
    fn what_has_expired_does_not_hold() {
        assert_eq!(overrides().next_expiry(), Some(10));
        assert_eq!(overrides().holding(9), overrides());
        assert!(overrides().holding(10).nodes.is_empty());
        assert_eq!(overrides().holding(10).servers.len(), 1);
    }

    #[test]
    fn bodies_and_paths_that_are_none_are_refused() {
        for body in [
            "",
            r#"{"version":9}"#,
            r#"{"version":1,"servers":{"app":{}}}"#,
        ] {
            assert!(Overrides::parse(body).is_err(), "{body}");
        }
        for path in ["", "app", "app/", "/s", "a/b/c", "a b/c", "a/b;c"] {
            assert!(path.parse::<ServerPath>().is_err(), "{path}");
        }
    }
}
