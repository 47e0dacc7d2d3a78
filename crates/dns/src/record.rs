//! Record sets, as providers keep them.

use std::collections::BTreeSet;
use std::fmt;

/// A set of records of one name and type, and among several of those the one with this identifier (Amazon Route 53 API
/// Reference, `ResourceRecordSet`; RFC 2136 has no identifiers).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordSet {
    /// Which one.
    pub key: RecordKey,
    /// What it holds.
    pub data: RecordData,
    /// How it is chosen among the sets of its name and type.
    pub policy: Policy,
    /// The id of the health check that it depends on.
    pub health_check: Option<String>,
}

/// Which record set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The name in lower case without the dot at its end.
    pub name: String,
    /// The type.
    pub record_type: RecordType,
    /// Tells sets of one name and type apart; none where there is one only.
    pub identifier: Option<String>,
}

/// Types of records that are published or looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another name.
    Cname,
    /// Text; ownership is one.
    Txt,
    /// Any other, which is never touched.
    Other(String),
}

/// What a record set holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordData {
    /// Values, as they are written in a zone file.
    Values {
        /// How long resolvers may keep them, in seconds.
        ttl: u32,
        /// Addresses, a name, or quoted texts.
        values: BTreeSet<String>,
    },
    /// Stands for another set of the same zone (Route53's alias records).
    Alias {
        /// The zone of the target.
        zone: String,
        /// The target's name.
        target: String,
    },
}

/// How a record set is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// It is the only one.
    #[default]
    Simple,
    /// With up to seven others.
    Multivalue,
    /// By its share of all weights, 0 to 255.
    Weighted(u8),
    /// While it is healthy.
    Primary,
    /// While the primary is not.
    Secondary,
    /// In a way that is not used here; such a set is never touched.
    Other,
}

impl RecordKey {
    /// The only set of a name and type.
    pub fn new(name: &str, record_type: RecordType) -> Self {
        Self {
            name: normal(name),
            record_type,
            identifier: None,
        }
    }

    /// One of several sets.
    pub fn with_identifier(self, identifier: impl Into<String>) -> Self {
        Self {
            identifier: Some(identifier.into()),
            ..self
        }
    }
}

impl RecordSet {
    /// A set of values that is alone under its name and type.
    pub fn simple(
        name: &str,
        record_type: RecordType,
        ttl: u32,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            key: RecordKey::new(name, record_type),
            data: RecordData::Values {
                ttl,
                values: values.into_iter().collect(),
            },
            policy: Policy::Simple,
            health_check: None,
        }
    }
}

impl RecordType {
    /// The type's name in DNS.
    pub fn as_str(&self) -> &str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
            Self::Other(name) => name,
        }
    }

    /// The type of that name.
    pub fn named(name: &str) -> Self {
        match name {
            "A" => Self::A,
            "AAAA" => Self::Aaaa,
            "CNAME" => Self::Cname,
            "TXT" => Self::Txt,
            _ => Self::Other(name.to_owned()),
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.record_type.as_str())?;
        match &self.identifier {
            Some(identifier) => write!(f, " {identifier}"),
            None => Ok(()),
        }
    }
}

/// A name as it is compared: lower case, without the dot at its end, `*` as itself (Route53 answers `\052`).
pub fn normal(name: &str) -> String {
    name.trim_end_matches('.')
        .replace("\\052", "*")
        .to_ascii_lowercase()
}
