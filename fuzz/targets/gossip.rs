//! Whatever a peer sends as gossip is refused before chitchat sees it, or is taken by chitchat's own decoder; and whatever
//! it says of itself is a report, or none.

#![no_main]

use hafleet_model::{FleetName, NodeId};
use libfuzzer_sys::fuzz_target;

// What decides is no part of what the crate offers, so its source is built in here. These are the names that it uses.
#[path = "../../crates/cluster/src/facts.rs"]
#[allow(dead_code)]
mod facts;
#[path = "../../crates/cluster/src/gossip/frame.rs"]
#[allow(dead_code)]
mod frame;
#[path = "../../crates/cluster/src/limits.rs"]
#[allow(dead_code)]
mod limits;

fuzz_target!(|bytes: &[u8]| {
    let fleet = FleetName::new("shop").expect("a name");
    let me = NodeId::new("lb1").expect("a name");
    let rules = frame::FrameRules::new(fleet, me, 7);
    let _ = rules.check(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.lines();
    let id = lines.next().unwrap_or_default();
    let values = lines.filter_map(|line| line.split_once('='));
    let address = ([127, 0, 0, 1], 1).into();
    if let Ok(read) = facts::from_gossip(id, 1, address, values) {
        let written = facts::to_gossip(&read);
        for (key, value) in &written {
            assert!(value.len() <= facts::MAX_VALUE_LEN, "{key} is too long");
        }
        let values = written
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let again = facts::from_gossip(id, 1, address, values);
        assert!(
            again.is_ok(),
            "what was read is written so that it is refused: {again:?}"
        );
    }
});
