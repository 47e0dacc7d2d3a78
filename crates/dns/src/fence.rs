//! The fence: a record of ownership beside each published name, replaced by every write.
//!
//! A batch deletes the record exactly as it was last read and creates its successor. Providers apply a batch wholly or
//! not at all, so of two writers that read the same one, one fails. A successor is never equal to any earlier record: it
//! has a number that was drawn for it.

use std::fmt;
use std::str::FromStr;

use hafleet_model::{FleetName, NodeId, Term};

use crate::record::{RecordData, RecordSet, RecordType};

/// What the values of ownership records begin with.
const HERITAGE: &str = "heritage=hafleet";

/// How long resolvers may keep an ownership record, in seconds. Nobody resolves them.
const TTL: u32 = 60;

/// Who has a name, and since which write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The fleet that the name belongs to.
    pub fleet: FleetName,
    /// The term of the leader that wrote last.
    pub term: Term,
    /// That leader.
    pub leader: NodeId,
    /// Grows with each write.
    pub sequence: u64,
    /// Drawn for this write.
    pub nonce: u64,
    /// A mark of the authority of that fleet's certificates, which tells fleets of one name apart; none in records of agents
    /// that did not write it yet.
    pub authority: Option<String>,
}

/// A text that says nothing about ownership.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an ownership record of hafleet")]
pub struct OwnershipError {
    found: String,
}

impl Ownership {
    /// The name of the ownership record of `name`.
    pub fn record_name(name: &str) -> String {
        // A wildcard cannot be in the middle of a name.
        format!(
            "_hafleet.{}",
            crate::record::normal(name).replace('*', "wildcard")
        )
    }

    /// The record set that says so about `name`.
    pub fn record(&self, name: &str) -> RecordSet {
        let value = format!("\"{self}\"");
        RecordSet::simple(&Self::record_name(name), RecordType::Txt, TTL, [value])
    }

    /// What a record set at an ownership record's name says.
    ///
    /// # Errors
    /// When it is anything else: then the name belongs to nobody we know, and is not touched.
    pub fn read(record: &RecordSet) -> Result<Self, OwnershipError> {
        let unknown = || OwnershipError {
            found: format!("{:?}", record.data).chars().take(200).collect(),
        };
        let RecordData::Values { values, .. } = &record.data else {
            return Err(unknown());
        };
        match values.iter().collect::<Vec<_>>().as_slice() {
            [value] => value.trim_matches('"').parse(),
            _ => Err(unknown()),
        }
    }

    /// The record of the write after this one, by `leader` in `term`. `nonce` has to be drawn anew for each try.
    pub fn successor(&self, term: Term, leader: &NodeId, nonce: u64) -> Self {
        Self {
            fleet: self.fleet.clone(),
            term,
            leader: leader.clone(),
            sequence: self.sequence.saturating_add(1),
            nonce,
            authority: self.authority.clone(),
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fleet,
            term,
            leader,
            sequence,
            nonce,
            authority,
        } = self;
        write!(
            f,
            "{HERITAGE},fleet={fleet},term={},leader={leader},sequence={sequence},nonce={nonce:016x}",
            term.0
        )?;
        // At the end, where agents that do not know of it look no more.
        match authority {
            Some(authority) => write!(f, ",authority={authority}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Ownership {
    type Err = OwnershipError;

    fn from_str(text: &str) -> Result<Self, OwnershipError> {
        read(text).ok_or_else(|| OwnershipError {
            found: text.chars().take(200).collect(),
        })
    }
}

fn read(text: &str) -> Option<Ownership> {
    let mut parts = text.strip_prefix(HERITAGE)?.strip_prefix(',')?.split(',');
    let mut part = |name: &str| {
        parts
            .next()?
            .strip_prefix(name)?
            .strip_prefix('=')
            .map(str::to_owned)
    };
    Some(Ownership {
        fleet: FleetName::new(part("fleet")?).ok()?,
        term: Term(part("term")?.parse().ok()?),
        leader: NodeId::new(part("leader")?).ok()?,
        sequence: part("sequence")?.parse().ok()?,
        nonce: u64::from_str_radix(&part("nonce")?, 16).ok()?,
        authority: part("authority"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ownership() -> Ownership {
        Ownership {
            fleet: FleetName::new("shop").unwrap(),
            term: Term(7),
            leader: NodeId::new("lb-1").unwrap(),
            sequence: 3,
            nonce: 0xabc,
            authority: None,
        }
    }

    #[test]
    fn its_authority_is_read_where_it_is_there() {
        let old = ownership().to_string();
        let marked = Ownership {
            authority: Some("0a1b".to_owned()),
            ..ownership()
        };
        assert_eq!(marked.to_string(), format!("{old},authority=0a1b"));
        assert_eq!(marked.to_string().parse(), Ok(marked));
        assert_eq!(old.parse(), Ok(ownership()));
    }

    #[test]
    fn what_is_written_reads_back() {
        let record = ownership().record("*.Example.com.");
        assert_eq!(record.key.name, "_hafleet.wildcard.example.com");
        assert_eq!(Ownership::read(&record), Ok(ownership()));
    }

    #[test]
    fn a_successor_is_never_what_was_there() {
        let leader = NodeId::new("lb-1").unwrap();
        let next = ownership().successor(Term(7), &leader, 0xdef);
        assert_eq!((next.sequence, next.term), (4, Term(7)));
        assert_ne!(next.record("a.test"), ownership().record("a.test"));
    }

    #[test]
    fn records_of_others_are_not_ours() {
        for text in [
            "",
            "v=spf1 -all",
            "heritage=external-dns,external-dns/owner=x",
            "heritage=hafleet,fleet=,term=1,leader=a,sequence=1,nonce=1",
            "heritage=hafleet,fleet=a,term=x,leader=a,sequence=1,nonce=1",
        ] {
            assert!(text.parse::<Ownership>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "heritage=hafleet,.{0,80}") {
            let _ = text.parse::<Ownership>();
        }
    }
}
