use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hafleet_model::{FleetName, NodeId};

use super::*;

const TEXT: &str = "the text that nobody else may read";

fn fleet() -> FleetName {
    FleetName::new("shop").unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn addressees(keys: &[(&str, &NodeKey)]) -> Addressees {
    let one = |(name, key): &(&str, &NodeKey)| (node(name), key.recipient());
    keys.iter().map(one).collect()
}

fn keyring(directory: &std::path::Path) -> Keyring {
    let own = NodeKey::load_or_create(&directory.join("node.key")).unwrap();
    Keyring::open(own, fleet(), directory.join("fleet-keys.json")).unwrap()
}

#[test]
fn those_who_are_meant_read_it_and_nobody_else() {
    let [one, two, other] = [(); 3].map(|()| NodeKey::generate().unwrap());
    let key = FleetKey::generate().unwrap();
    let to = addressees(&[("lb1", &one), ("lb2", &two)]);
    let sealed = SealedText::seal(TEXT, &key, &to, &fleet()).unwrap();
    let body = sealed.body();
    assert!(!body.contains("nobody else"), "{body}");
    assert!(SealedText::is_sealed(&body));
    let read = SealedText::parse(&body).unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.nodes().collect::<Vec<_>>(), ["lb1", "lb2"]);
    for own in [&one, &two] {
        let found = read.key_for(own, &fleet()).unwrap().unwrap();
        assert_eq!(found.id(), key.id());
        assert_eq!(read.open(&found, &fleet()).unwrap().as_str(), TEXT);
    }
    assert!(read.key_for(&other, &fleet()).unwrap().is_none());
    let elsewhere = FleetName::new("other").unwrap();
    assert!(read.key_for(&one, &elsewhere).is_err());
    assert!(read.open(&key, &elsewhere).is_err());
    assert!(read.open(&FleetKey::generate().unwrap(), &fleet()).is_err());
}

#[test]
fn what_was_changed_is_refused() {
    let own = NodeKey::generate().unwrap();
    let key = FleetKey::generate().unwrap();
    let sealed = SealedText::seal(TEXT, &key, &addressees(&[("lb1", &own)]), &fleet()).unwrap();
    let body = sealed.body();
    let mut opened = 0;
    for at in 0..body.len() {
        let mut bytes = body.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        let Ok(changed) = SealedText::parse(&changed) else {
            continue;
        };
        let Ok(Some(found)) = changed.key_for(&own, &fleet()) else {
            continue;
        };
        // What is left are the names of nodes, which people read and nothing rests upon.
        if let Ok(text) = changed.open(&found, &fleet()) {
            assert_eq!(text.as_str(), TEXT);
            opened += 1;
        }
    }
    assert!(opened <= "lb1".len(), "{opened} changes went unnoticed");
}

#[test]
fn the_same_text_is_never_sealed_to_the_same_bytes() {
    let own = NodeKey::generate().unwrap();
    let key = FleetKey::generate().unwrap();
    let seal = || SealedText::seal(TEXT, &key, &addressees(&[("lb1", &own)]), &fleet());
    assert_ne!(seal().unwrap().body(), seal().unwrap().body());
}

#[test]
fn a_node_goes_on_with_the_keys_that_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let key = FleetKey::generate().unwrap();
    let mut ring = keyring(directory.path());
    assert!(ring.learn(key.clone()).unwrap());
    assert!(!ring.learn(key.clone()).unwrap());
    let again = keyring(directory.path());
    assert_eq!(again.recipient(), ring.recipient());
    assert_eq!(again.get(&key.id()).unwrap().id(), key.id());
    for file in ["node.key", "fleet-keys.json"] {
        let mode = fs::metadata(directory.path().join(file)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{file}");
    }

    // With another key of its own it has nothing, and says so instead of ending.
    fs::remove_file(directory.path().join("node.key")).unwrap();
    let other = keyring(directory.path());
    assert!(other.get(&key.id()).is_none());
}

#[test]
fn a_node_that_came_later_is_given_the_key() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut first, mut second) = (keyring(first.path()), keyring(second.path()));
    let key = FleetKey::generate().unwrap();
    first.learn(key.clone()).unwrap();
    let share = first.share(&key.id(), &second.recipient()).unwrap();
    let sealed = SealedText::seal(TEXT, &key, &Addressees::new(), &fleet()).unwrap();
    assert!(matches!(
        second.read(&sealed),
        Err(SealingError::UnknownKey { .. })
    ));
    let other = FleetKey::generate().unwrap().id();
    assert!(!second.learn_sealed(&share, &other).unwrap());
    assert!(second.learn_sealed(&share, &key.id()).unwrap());
    assert_eq!(second.read(&sealed).unwrap().as_str(), TEXT);
    let unknown = first.share(&other, &second.recipient()).unwrap_err();
    assert!(matches!(unknown, SealingError::UnknownKey { .. }));
}

#[test]
fn files_that_are_none_are_refused_with_the_way_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    for text in ["", "x", "hafleet-node-key-1 ", "hafleet-node-key-1 AAAA\n"] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = NodeKey::load_or_create(&path).unwrap_err().to_string();
        assert!(
            error.contains("node.key") && error.contains("move it away"),
            "{error}"
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = NodeKey::load_or_create(&path).unwrap_err();
    assert!(
        matches!(error, SealingError::Exposed { mode: 0o640, .. }),
        "{error}"
    );
    for text in [
        "",
        "[]",
        "{}",
        r#"{"version":9,"keys":[]}"#,
        r#"{"version":1,"keys":[1]}"#,
    ] {
        let path = directory.path().join("keys");
        fs::write(&path, text).unwrap();
        let own = NodeKey::generate().unwrap();
        assert!(Keyring::open(own, fleet(), path).is_err(), "{text}");
    }
}

#[test]
fn no_key_is_in_debug_output() {
    let own = NodeKey::generate().unwrap();
    let key = FleetKey::generate().unwrap();
    let shown = format!("{own:?} {key:?}");
    assert!(shown.contains(&key.id().to_string()), "{shown}");
    assert!(shown.len() < 250, "{shown}");
}

#[test]
fn noise_is_refused() {
    for text in ["", "{}", r#"{"version":2}"#, r#"{"version":2,"sealed":{}}"#] {
        assert!(SealedText::parse(text).is_err(), "{text}");
    }
    assert!(!SealedText::is_sealed(r#"{"version":1,"certificates":{}}"#));
    for text in ["", "AAAA", "?"] {
        assert!(text.parse::<Recipient>().is_err(), "{text}");
        assert!(text.parse::<KeyId>().is_err(), "{text}");
    }
}
