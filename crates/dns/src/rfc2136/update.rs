//! A batch of changes as one dynamic update.
//!
//! What a change takes for granted becomes a prerequisite (RFC 2136 section 2.4), since a server silently ignores updates that
//! do not fit, such as a CNAME beside other records (section 3.4.2.2).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, UpdateMessage as _};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType as WireType};

use super::absolute;
use crate::provider::Change;
use crate::record::{RecordData, RecordSet, RecordType};

/// The longest string of a TXT record, in bytes (RFC 1035 section 3.3.14).
const MAX_STRING: usize = 255;

/// The update; or what of the batch cannot be written down.
pub(super) fn request(zone: &Name, batch: &[Change]) -> Result<Message, String> {
    let mut query = Query::new();
    query
        .set_name(zone.clone())
        .set_query_class(DNSClass::IN)
        .set_query_type(WireType::SOA);
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Update);
    message.add_zone(query);
    let deleted: BTreeSet<_> = batch
        .iter()
        .filter_map(|change| match change {
            Change::Delete(set) => Some((&set.key.name, &set.key.record_type)),
            Change::Create(_) | Change::Upsert(_) => None,
        })
        .collect();
    for change in batch {
        let set = change.record();
        let (name, wire_type) = (absolute(&set.key.name)?, wire_type(set)?);
        let records = records(&name, set)?;
        match change {
            Change::Delete(_) => {
                message.add_pre_requisites(records.into_iter().map(|mut record| {
                    record.ttl = 0;
                    record
                }));
                message.add_update(mark(&name, wire_type, DNSClass::ANY));
            }
            Change::Create(_) => {
                for (absent, record_type) in absences(set, wire_type) {
                    if !deleted.contains(&(&set.key.name, &record_type)) {
                        message.add_pre_requisite(mark(&name, absent, DNSClass::NONE));
                    }
                }
                message.add_updates(records);
            }
            Change::Upsert(_) => {
                message.add_update(mark(&name, wire_type, DNSClass::ANY));
                message.add_updates(records);
            }
        }
    }
    Ok(message)
}

/// What may not be there for a set to be created: its own type, and what cannot be beside it (RFC 1034 section 3.6.2).
fn absences(set: &RecordSet, own: WireType) -> Vec<(WireType, RecordType)> {
    let mut absences = vec![(own, set.key.record_type.clone())];
    absences.extend(match set.key.record_type {
        RecordType::Cname => vec![
            (WireType::A, RecordType::A),
            (WireType::AAAA, RecordType::Aaaa),
            (WireType::TXT, RecordType::Txt),
        ],
        _ => vec![(WireType::CNAME, RecordType::Cname)],
    });
    absences
}

/// A record that stands for a whole set: to be absent (class NONE), or to be deleted (class ANY).
fn mark(name: &Name, wire_type: WireType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, wire_type);
    record.dns_class = class;
    record.into_record_of_rdata()
}

fn wire_type(set: &RecordSet) -> Result<WireType, String> {
    match &set.key {
        key if key.identifier.is_some() => {
            Err(format!("{key}: sets with identifiers are of Route53 alone"))
        }
        key => match key.record_type {
            RecordType::A => Ok(WireType::A),
            RecordType::Aaaa => Ok(WireType::AAAA),
            RecordType::Cname => Ok(WireType::CNAME),
            RecordType::Txt => Ok(WireType::TXT),
            RecordType::Other(_) => Err(format!("{key}: such records are not written")),
        },
    }
}

fn records(name: &Name, set: &RecordSet) -> Result<Vec<Record>, String> {
    let RecordData::Values { ttl, values } = &set.data else {
        return Err(format!("{}: alias records are of Route53 alone", set.key));
    };
    let record = |value: &String| {
        let data = data(&set.key.record_type, value)
            .map_err(|why| format!("{}: {value:?} {why}", set.key))?;
        Ok(Record::from_rdata(name.clone(), *ttl, data))
    };
    values.iter().map(record).collect()
}

fn data(record_type: &RecordType, value: &str) -> Result<RData, String> {
    let no_address = |_| "is not an address".to_owned();
    Ok(match record_type {
        RecordType::A => RData::A(A(value.parse::<Ipv4Addr>().map_err(no_address)?)),
        RecordType::Aaaa => RData::AAAA(AAAA(value.parse::<Ipv6Addr>().map_err(no_address)?)),
        RecordType::Cname => RData::CNAME(CNAME(absolute(value)?)),
        RecordType::Txt => RData::TXT(TXT::from_bytes(strings(value)?)),
        RecordType::Other(_) => return Err("is of a type that is not written".to_owned()),
    })
}

/// The strings of a text as zone files have it: each in quotes, with spaces between.
fn strings(value: &str) -> Result<Vec<&[u8]>, String> {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("is not in quotes")?;
    let strings: Vec<_> = inner.split("\" \"").map(str::as_bytes).collect();
    match strings.iter().all(|string| string.len() <= MAX_STRING) {
        true => Ok(strings),
        false => Err(format!("has a string of more than {MAX_STRING} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Name {
        absolute("test").unwrap()
    }

    #[test]
    fn a_swap_has_the_old_record_as_its_condition() {
        let text = |value: &str| {
            RecordSet::simple("x.test", RecordType::Txt, 60, [format!("\"{value}\"")])
        };
        let batch = [Change::Delete(text("a")), Change::Create(text("b"))];
        let message = request(&zone(), &batch).unwrap();
        let [condition, no_cname] = message.prerequisites() else {
            panic!("{message}");
        };
        assert_eq!((condition.dns_class, condition.ttl), (DNSClass::IN, 0));
        assert_eq!(condition.data.to_string(), "a");
        assert_eq!(
            (no_cname.dns_class, no_cname.record_type()),
            (DNSClass::NONE, WireType::CNAME)
        );
        assert_eq!(message.updates().len(), 2);
        assert_eq!(message.updates()[0].dns_class, DNSClass::ANY);
    }

    #[test]
    fn what_such_servers_do_not_have_is_refused() {
        let a = RecordSet::simple("x.test", RecordType::A, 60, ["192.0.2.1".to_owned()]);
        let mut identified = a.clone();
        identified.key = identified.key.with_identifier("b");
        let alias = RecordSet {
            data: RecordData::Alias {
                zone: "test".into(),
                target: "y.test".into(),
            },
            ..a.clone()
        };
        let bad = RecordSet::simple("x.test", RecordType::A, 60, ["2001:db8::1".to_owned()]);
        for set in [identified, alias, bad] {
            assert!(request(&zone(), &[Change::Create(set)]).is_err());
        }
        assert!(request(&zone(), &[Change::Create(a)]).is_ok());
    }
}
