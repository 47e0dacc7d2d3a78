//! Whatever stands in a TXT record of ownership is read or refused, and what was read is written to what reads the same. And
//! whatever a name server sends in place of a zone, there are record sets of it, or it is no transfer.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The crate brings a cloud's whole client along; these files need none of it.
#[path = "../../crates/dns/src/fence.rs"]
#[allow(dead_code)]
mod fence;
#[path = "../../crates/dns/src/record.rs"]
#[allow(dead_code)]
mod record;
#[path = "../../crates/dns/src/rfc2136"]
mod rfc2136 {
    #[allow(dead_code)]
    mod reading;

    use std::collections::BTreeSet;

    use hickory_proto::op::Message;

    use crate::record::{RecordData, normal};

    /// Takes the messages in `bytes`, each behind its length (RFC 1035 section 4.2.2), as they come over a connection.
    pub(crate) fn transfer(mut bytes: &[u8]) {
        let mut transfer = reading::Transfer::default();
        while let [high, low, rest @ ..] = bytes {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((message, rest)) = rest.split_at_checked(length) else {
                return;
            };
            bytes = rest;
            let Ok(message) = Message::from_vec(message) else {
                return;
            };
            if transfer.take(message.answers).is_err() {
                return;
            }
            if transfer.is_whole() {
                break;
            }
        }
        let sets = transfer.sets();
        let keys: BTreeSet<_> = sets.iter().map(|set| &set.key).collect();
        assert_eq!(keys.len(), sets.len(), "two sets of one name and type");
        for set in &sets {
            assert_eq!(set.key.name, normal(&set.key.name));
            let RecordData::Values { values, .. } = &set.data else {
                panic!("a transfer has no alias: {set:?}");
            };
            assert!(!values.is_empty(), "a set of nothing: {set:?}");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    rfc2136::transfer(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(read) = text.parse::<fence::Ownership>() {
        let again = read.to_string().parse::<fence::Ownership>();
        assert_eq!(again.as_ref().ok(), Some(&read), "{text:?}");
    }
    let normal = record::normal(text);
    assert_eq!(record::normal(&normal), normal, "{text:?}");
    let _ = fence::Ownership::record_name(text);
});
