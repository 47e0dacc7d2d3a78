//! Gossip about others, made up: what a node that was broken into could say with its certificate.

use chitchat::{ChitchatId, Serializable};

use crate::protobuf::field;

/// chitchat's mark and the version of its protocol, and the kind of message that says which nodes there are, and what they
/// say.
const SYN_ACK: [u8; 4] = [0x53, 0xb0, 0, 1];
/// How often the node is said to have been heard of: gossip takes none for alive of which it has heard once.
const HEARTBEATS: u64 = 3;

/// What is said of one run of a node, in chitchat's format.
#[derive(Debug, Clone)]
pub struct Hearsay {
    about: ChitchatId,
    said: Vec<(String, String, u64)>,
}

impl Hearsay {
    /// Of the run `generation` of the node `id`, which is at `address`.
    ///
    /// # Panics
    /// When that is not `IP:PORT`.
    pub fn about(id: &str, generation: u64, address: &str) -> Self {
        let address = address.parse().expect("IP:PORT");
        Self {
            about: ChitchatId::new(id, generation, address),
            said: Vec::new(),
        }
    }

    /// That `key` is `value` since its version `version`, which is higher than those before it.
    pub fn says(mut self, key: &str, value: &str, version: u64) -> Self {
        self.said.push((key.to_owned(), value.to_owned(), version));
        self
    }

    /// A call of `Peer.Gossip` that says so, in the name of the node that gossips at `speaker`.
    pub fn call(&self, speaker: &str) -> Vec<Vec<u8>> {
        // Frame.opening with Opening.address, then Frame.gossip (peer.proto).
        let opening = field(1, &field(1, speaker.as_bytes()));
        let messages = (1..=HEARTBEATS).map(|heartbeat| field(2, &self.message(heartbeat)));
        [opening].into_iter().chain(messages).collect()
    }

    fn message(&self, heartbeat: u64) -> Vec<u8> {
        let mut message = SYN_ACK.to_vec();
        1_u16.serialize(&mut message);
        self.about.serialize(&mut message);
        for counter in [heartbeat, 0, 0] {
            counter.serialize(&mut message);
        }
        message.extend(self.delta());
        message
    }

    fn delta(&self) -> Vec<u8> {
        let mut delta = vec![0];
        self.about.serialize(&mut delta);
        // Nothing was collected, and it begins at the beginning.
        0_u64.serialize(&mut delta);
        0_u64.serialize(&mut delta);
        for (key, value, version) in &self.said {
            delta.push(1);
            key.serialize(&mut delta);
            value.serialize(&mut delta);
            version.serialize(&mut delta);
            delta.push(0);
        }
        // One block as it is, and no more.
        let mut packed = vec![2];
        let len = u16::try_from(delta.len()).expect("a short delta");
        len.serialize(&mut packed);
        packed.extend(delta);
        packed.push(0);
        packed
    }
}
