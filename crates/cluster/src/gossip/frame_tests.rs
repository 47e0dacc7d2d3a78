use chitchat::Serializable;
use proptest::prelude::*;

use super::*;

fn rules() -> FrameRules {
    FrameRules::new(
        FleetName::new("shop").unwrap(),
        NodeId::new("me").unwrap(),
        5,
    )
}

fn node(name: &str, generation: u64) -> ChitchatId {
    ChitchatId::new(name, generation, "10.0.0.1:4433".parse().unwrap())
}

/// A message in chitchat's format, put together by hand.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u8) -> Self {
        let mut bytes = 45_139_u16.to_le_bytes().to_vec();
        bytes.extend([0, kind]);
        Self(bytes)
    }

    fn put(mut self, value: &impl Serializable) -> Self {
        value.serialize(&mut self.0);
        self
    }

    fn digest(mut self, nodes: &[(ChitchatId, [u64; 3])]) -> Self {
        self = self.put(&u16::try_from(nodes.len()).unwrap());
        for (id, counters) in nodes {
            self = self
                .put(id)
                .put(&counters[0])
                .put(&counters[1])
                .put(&counters[2]);
        }
        self
    }

    fn delta(self, operations: &[Operation<'_>]) -> Self {
        let mut block = Vec::new();
        for operation in operations {
            operation.write(&mut block);
        }
        let mut message = self.put(&2_u8).put(&u16::try_from(block.len()).unwrap());
        message.0.extend(block);
        message.put(&0_u8)
    }
}

#[derive(Debug)]
enum Operation<'a> {
    Node(ChitchatId, u64, u64),
    Value(&'a str, &'a str, u64, u8),
    Last(u64),
}

impl Operation<'_> {
    fn write(&self, block: &mut Vec<u8>) {
        match self {
            Self::Node(id, collected, from) => {
                block.push(0);
                id.serialize(block);
                collected.serialize(block);
                from.serialize(block);
            }
            Self::Value(key, value, version, status) => {
                block.push(1);
                (*key).to_owned().serialize(block);
                (*value).to_owned().serialize(block);
                version.serialize(block);
                block.push(*status);
            }
            Self::Last(version) => {
                block.push(2);
                version.serialize(block);
            }
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "reads better where it is called"
)]
fn refused(message: Message) -> FrameError {
    rules().check(&message.0).unwrap_err()
}

#[test]
fn what_chitchat_says_passes() {
    let fleet = "shop".to_owned();
    let syn = Message::new(0)
        .digest(&[(node("a", 1), [3, 0, 7]), (node("me", 5), [9, 0, 1])])
        .put(&fleet);
    rules().check(&syn.0).unwrap();
    let changes = [
        Operation::Node(node("a", 1), 0, 0),
        Operation::Value("zone", "b", 1, 0),
        Operation::Last(4),
    ];
    rules().check(&Message::new(2).delta(&changes).0).unwrap();
    rules()
        .check(&Message::new(1).digest(&[]).delta(&changes).0)
        .unwrap();
    rules().check(&Message::new(2).delta(&[]).0).unwrap();
    rules().check(&Message::new(3).0).unwrap();
}

#[test]
fn a_last_version_below_its_values_is_refused() {
    let changes = [
        Operation::Node(node("a", 1), 0, 0),
        Operation::Value("k", "v", 10, 0),
        Operation::Last(5),
    ];
    assert_eq!(
        refused(Message::new(2).delta(&changes)),
        FrameError::OutOfBounds {
            what: "a last version"
        }
    );
}

/// Should chitchat learn to refuse this itself, the rule can go.
#[test]
fn such_a_last_version_does_stop_chitchat() {
    let everyone = Message::new(0)
        .digest(&[(node("a", 1), [1, 0, 0])])
        .put(&"shop".to_owned());
    let changes = [
        Operation::Node(node("a", 1), 0, 0),
        Operation::Value("k", "v", 10, 0),
        Operation::Last(5),
    ];
    let messages = [everyone, Message::new(2).delta(&changes)];
    let messages =
        messages.map(|message| ChitchatMessage::deserialize(&mut message.0.as_slice()).unwrap());
    assert!(!survives(messages.into()));
}

#[test]
fn numbers_near_the_end_of_the_range_are_refused() {
    let changes = [
        Operation::Node(node("a", 1), 0, 0),
        Operation::Value("k", "v", u64::MAX, 0),
    ];
    assert!(matches!(
        refused(Message::new(2).delta(&changes)),
        FrameError::OutOfBounds { .. }
    ));
    let changes = [Operation::Node(node("a", 1), u64::MAX, 0)];
    assert!(matches!(
        refused(Message::new(2).delta(&changes)),
        FrameError::OutOfBounds { .. }
    ));
    let syn = Message::new(0)
        .digest(&[(node("a", 1), [u64::MAX, 0, 0])])
        .put(&"shop".to_owned());
    assert!(matches!(refused(syn), FrameError::OutOfBounds { .. }));
    let syn = Message::new(0)
        .digest(&[(node("a", u64::MAX), [1, 0, 0])])
        .put(&"shop".to_owned());
    assert!(matches!(refused(syn), FrameError::OutOfBounds { .. }));
}

#[test]
fn nobody_else_speaks_for_this_node() {
    let changes = [
        Operation::Node(node("me", 5), 0, 0),
        Operation::Value("claim", "9", 99, 0),
    ];
    assert_eq!(
        refused(Message::new(2).delta(&changes)),
        FrameError::SpeaksForUs
    );
    // Others may still have our past generations.
    let changes = [Operation::Node(node("me", 4), 0, 0), Operation::Last(3)];
    rules().check(&Message::new(2).delta(&changes).0).unwrap();
}

/// A peer that heard of our change 7 from a third node, and then gets our digest from before it, says so.
#[test]
fn our_own_words_may_come_back_to_us_and_no_others() {
    let rules = rules();
    rules.set_own_version(7);
    let said = |version| {
        [
            Operation::Node(node("me", 5), 0, 6),
            Operation::Value("apply", "…", version, 0),
        ]
    };
    let passed = rules.check(&Message::new(2).delta(&said(7)).0).unwrap();
    assert!(survives(vec![passed]));
    let cases: [&[Operation<'_>]; 3] = [
        &said(8),
        &[Operation::Node(node("me", 5), 0, 6), Operation::Last(8)],
        &[Operation::Node(node("me", 5), 8, 6), Operation::Last(7)],
    ];
    for changes in cases {
        let error = rules.check(&Message::new(2).delta(changes).0);
        assert_eq!(error.unwrap_err(), FrameError::SpeaksForUs, "{changes:?}");
    }
}

#[test]
fn that_this_node_was_spoken_for_is_noted() {
    let rules = rules();
    rules.set_own_version(7);
    let said = |version| {
        let changes = [
            Operation::Node(node("me", 5), 0, 6),
            Operation::Last(version),
        ];
        Message::new(2).delta(&changes).0
    };
    rules.check(&said(7)).unwrap();
    assert!(!rules.is_spoken_for());
    rules.check(&said(8)).unwrap_err();
    assert!(rules.is_spoken_for());
}

#[test]
fn word_of_a_later_run_of_this_node_is_noted() {
    let rules = rules();
    let digest = |generation| {
        Message::new(0)
            .digest(&[(node("me", generation), [3, 0, 7])])
            .put(&"shop".to_owned())
    };
    rules.check(&digest(5).0).unwrap();
    assert_eq!(rules.later_run(), None);
    assert_eq!(
        rules.check(&digest(6).0).unwrap_err(),
        FrameError::LaterRun { generation: 6 }
    );
    let changes = [Operation::Node(node("me", 9), 0, 0)];
    assert_eq!(
        rules.check(&Message::new(2).delta(&changes).0).unwrap_err(),
        FrameError::LaterRun { generation: 9 }
    );
    assert_eq!(rules.later_run(), Some(9));
    // One that would leave no room for the next is made up.
    assert!(matches!(
        rules.check(&digest(1 << 61).0).unwrap_err(),
        FrameError::OutOfBounds { .. }
    ));
    assert_eq!(rules.later_run(), Some(9));
}

#[test]
fn more_nodes_than_a_digest_can_hold_are_refused() {
    let rules = rules();
    let mut refused = None;
    for round in 0..100_u64 {
        let nodes: Vec<_> = (0..100)
            .map(|number| (node("x", round * 100 + number), [1, 0, 0]))
            .collect();
        let syn = Message::new(0).digest(&nodes).put(&"shop".to_owned());
        if let Err(error) = rules.check(&syn.0) {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(FrameError::TooManyNodes));
    // What chitchat has forgotten makes room again.
    rules.set_known([].iter());
    let syn = Message::new(0)
        .digest(&[(node("y", 1), [1, 0, 0])])
        .put(&"shop".to_owned());
    rules.check(&syn.0).unwrap();
}

#[test]
fn other_fleets_large_frames_bad_names_and_trailing_bytes_are_refused() {
    assert!(matches!(
        refused(Message::new(0).digest(&[]).put(&"other".to_owned())),
        FrameError::OtherFleet { .. }
    ));
    assert!(matches!(
        rules().check(&vec![0; 65_508]),
        Err(FrameError::TooLarge { len: 65_508 })
    ));
    let syn = Message::new(0)
        .digest(&[(node("a b", 1), [1, 0, 0])])
        .put(&"shop".to_owned());
    assert!(matches!(refused(syn), FrameError::BadNode(_)));
    assert!(matches!(
        refused(Message::new(3).put(&7_u8)),
        FrameError::Malformed { .. }
    ));
    assert!(matches!(
        refused(Message::new(9)),
        FrameError::Malformed { .. }
    ));
    let long = "x".repeat(MAX_VALUE_LEN + 1);
    let changes = [
        Operation::Node(node("a", 1), 0, 0),
        Operation::Value("k", &long, 1, 0),
    ];
    assert_eq!(
        refused(Message::new(2).delta(&changes)),
        FrameError::OutOfBounds { what: "a value" }
    );
    let orphan = [Operation::Value("k", "v", 1, 0)];
    assert!(matches!(
        refused(Message::new(2).delta(&orphan)),
        FrameError::Malformed { .. }
    ));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let packed = zstd::bulk::compress(&vec![0_u8; 60_000], 0).unwrap();
    let mut message = Message::new(2);
    for _ in 0..60 {
        message = message
            .put(&1_u8)
            .put(&u16::try_from(packed.len()).unwrap());
        message.0.extend(&packed);
    }
    let message = message.put(&0_u8);
    assert_eq!(
        refused(message),
        FrameError::OutOfBounds {
            what: "the unpacked length"
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(kind in 0..5_u8, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut message = Message::new(kind).0;
        message.extend(bytes);
        let _ = rules().check(&message);
    }

    /// What passes is applied by a real chitchat without a panic, whatever came before it.
    #[test]
    fn what_passes_does_not_stop_chitchat(deltas in prop::collection::vec(deltas(), 1..6)) {
        let rules = rules();
        let mut passed = Vec::new();
        let everyone: Vec<_> = (0..3).map(|number| (node(&format!("n{number}"), 1), [1, 0, 0])).collect();
        passed.push(rules.check(&Message::new(0).digest(&everyone).put(&"shop".to_owned()).0).unwrap());
        for operations in &deltas {
            passed.extend(rules.check(&Message::new(2).delta(operations).0).ok());
        }
        prop_assert!(survives(passed));
    }
}

fn deltas() -> impl Strategy<Value = Vec<Operation<'static>>> {
    let operation = prop_oneof![
        (0..3_u8, 0..12_u64, 0..12_u64).prop_map(|(number, collected, from)| Operation::Node(
            node(&format!("n{number}"), 1),
            collected,
            from
        )),
        (0..3_usize, 0..12_u64, 0..4_u8).prop_map(|(key, version, status)| Operation::Value(
            ["x", "y", "z"][key],
            "v",
            version,
            status
        )),
        (0..12_u64).prop_map(Operation::Last),
    ];
    prop::collection::vec(operation, 0..6)
}

/// Runs a chitchat that is sent `messages`, and tells whether it deals with all of them.
fn survives(messages: Vec<ChitchatMessage>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let (sender, frames) = tokio::sync::mpsc::channel(64);
        let processed = Arc::new(tokio::sync::Notify::new());
        let transport = super::super::GossipTransport::new(Arc::new(Nowhere), frames, processed);
        let config = chitchat::ChitchatConfig {
            chitchat_id: node("me", 5),
            cluster_id: "shop".into(),
            gossip_interval: std::time::Duration::from_secs(3600),
            listen_addr: "127.0.0.1:1".parse().unwrap(),
            seed_nodes: Vec::new(),
            failure_detector_config: chitchat::FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: std::time::Duration::from_secs(3600),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let handle = chitchat::spawn_chitchat(config, Vec::new(), &transport)
            .await
            .unwrap();
        for message in messages {
            if sender
                .send(("10.0.0.1:4433".parse().unwrap(), message))
                .await
                .is_err()
            {
                return false;
            }
        }
        // Closing the inbox ends gossip with an error; a panic would end it with another.
        drop(sender);
        let ended = handle.termination_watcher().await.unwrap_err();
        ended.to_string().contains("the inbox is closed")
    })
}

struct Nowhere;

impl super::super::Carrier for Nowhere {
    fn carry(&self, _to: SocketAddr, _frame: bytes::Bytes, _is_opening: bool) {}
}
