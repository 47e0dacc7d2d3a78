//! A zone transfer, and the record sets in it.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType as WireType};

use crate::record::{Policy, RecordData, RecordKey, RecordSet, RecordType};

/// The question for a whole zone (RFC 5936 section 2.1).
pub(super) fn request(zone: &Name) -> Message {
    let mut query = Query::new();
    query
        .set_name(zone.clone())
        .set_query_class(DNSClass::IN)
        .set_query_type(WireType::AXFR);
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.add_query(query);
    message
}

/// What a transfer gave so far. It begins and ends with the zone's SOA record; without the second one it is not whole.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    begun: Option<SOA>,
    is_over: bool,
    sets: BTreeMap<RecordKey, (u32, BTreeSet<String>)>,
}

/// A transfer that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransferError {
    #[error("the transfer does not begin with the zone's SOA record")]
    NoBeginning,
    #[error("the zone changed while it was transferred")]
    Changed,
    #[error("a message of the transfer is empty")]
    Empty,
}

impl Transfer {
    pub(super) fn take(&mut self, records: Vec<Record>) -> Result<(), TransferError> {
        if records.is_empty() {
            return Err(TransferError::Empty);
        }
        for record in records {
            match (&record.data, &self.begun) {
                (RData::SOA(soa), None) => self.begun = Some(soa.clone()),
                (RData::SOA(soa), Some(begun)) if soa == begun => self.is_over = true,
                (RData::SOA(_), Some(_)) => return Err(TransferError::Changed),
                (_, None) => return Err(TransferError::NoBeginning),
                (_, Some(_)) => self.add(&record),
            }
        }
        Ok(())
    }

    /// Whether its end was seen.
    pub(super) fn is_whole(&self) -> bool {
        self.is_over
    }

    fn add(&mut self, record: &Record) {
        let Some((record_type, value)) = value(&record.data) else {
            return;
        };
        let key = RecordKey::new(&record.name.to_ascii(), record_type);
        let set = self.sets.entry(key).or_default();
        set.0 = record.ttl;
        set.1.insert(value);
    }

    pub(super) fn sets(self) -> Vec<RecordSet> {
        let sets = self.sets.into_iter();
        sets.map(|(key, (ttl, values))| RecordSet {
            key,
            data: RecordData::Values { ttl, values },
            policy: Policy::Simple,
            health_check: None,
        })
        .collect()
    }
}

/// The records that are looked at; all others of a zone are nobody's business.
fn value(data: &RData) -> Option<(RecordType, String)> {
    Some(match data {
        RData::A(address) => (RecordType::A, address.to_string()),
        RData::AAAA(address) => (RecordType::Aaaa, address.to_string()),
        RData::CNAME(name) => (RecordType::Cname, crate::record::normal(&name.0.to_ascii())),
        RData::TXT(text) => {
            let parts = text.txt_data.iter();
            let quoted = parts.map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
            (RecordType::Txt, quoted.collect::<Vec<_>>().join(" "))
        }
        _ => return None,
    })
}
