use proptest::prelude::*;

use super::*;

const PREFIX: &str = "/hafleet/prod/backends/web/";

fn only(value: &str) -> Result<Found, String> {
    let keys = Keys::from_iter([(format!("{PREFIX}a"), value)]);
    let mut answer = answer(PREFIX, &keys);
    match (answer.found.pop(), answer.left_out.pop()) {
        (Some(found), None) => Ok(found),
        (None, Some(left_out)) => {
            assert_eq!(left_out.what, format!("{PREFIX}a"));
            Err(left_out.why)
        }
        both => panic!("{both:?}"),
    }
}

fn place_of(value: &str) -> (String, Option<u16>) {
    let found = only(value).unwrap();
    (found.addresses[0].ip.to_string(), found.port)
}

#[test]
fn addresses_come_with_and_without_a_port() {
    assert_eq!(place_of("192.0.2.7:80"), ("192.0.2.7".into(), Some(80)));
    assert_eq!(place_of(" 192.0.2.7\n"), ("192.0.2.7".into(), None));
    assert_eq!(
        place_of("[2001:db8::7]:80"),
        ("2001:db8::7".into(), Some(80))
    );
    assert_eq!(place_of("2001:db8::7"), ("2001:db8::7".into(), None));
    assert_eq!(place_of("[2001:db8::7]"), ("2001:db8::7".into(), None));
}

#[test]
fn json_says_all_of_a_server() {
    let value = r#"{"address":"192.0.2.7","port":80,"weight":0,"zone":"a","owner":"x"}"#;
    let found = only(value).unwrap();
    assert_eq!((found.port, found.weight), (Some(80), Some(0)));
    assert_eq!(found.zone.as_deref(), Some("a"));
    let (_, port) = place_of(r#"{"address":"192.0.2.7:81"}"#);
    assert_eq!(port, Some(81));
}

#[test]
fn what_cannot_be_used_is_named_with_its_reason() {
    for (value, words) in [
        ("", "not an IP address"),
        ("db.internal:80", "not an IP address"),
        ("192.0.2.7:0", "0 is not a port"),
        ("192.0.2.7:70000", "not an IP address"),
        ("{", "JSON"),
        ("{}", "address"),
        (r#"{"address":"192.0.2.7","port":"80"}"#, "JSON"),
        (r#"{"address":"192.0.2.7","weight":257}"#, "weight 257"),
        (r#"{"address":"192.0.2.7","zone":"a b"}"#, "no zone"),
    ] {
        let why = only(value).unwrap_err();
        assert!(why.contains(words), "{value}: {why}");
    }
}

#[test]
fn the_others_work_beside_what_cannot_be_used() {
    let good = (
        format!("{PREFIX}good").into_bytes(),
        b"192.0.2.7:80".to_vec(),
    );
    let bad = (format!("{PREFIX}bad").into_bytes(), vec![0xff]);
    let deep = (
        format!("{PREFIX}x/y").into_bytes(),
        b"192.0.2.8:80".to_vec(),
    );
    let other = (
        b"/hafleet/prod/backends/webs/z".to_vec(),
        b"192.0.2.9:80".to_vec(),
    );
    let answer = answer(PREFIX, &Keys::from_iter([good, bad, deep, other]));
    assert_eq!(answer.found.len(), 1);
    assert_eq!(answer.found[0].id, "good");
    assert_eq!(answer.left_out.len(), 2);
}

proptest! {
    #[test]
    fn nothing_that_is_written_there_panics_or_is_lost(
        pairs in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..12), prop::collection::vec(any::<u8>(), 0..40), 0..8)
    ) {
        let keys: Keys = pairs
            .iter()
            .map(|(key, value)| ([PREFIX.as_bytes(), key].concat(), value.clone()))
            .collect();
        let answer = answer(PREFIX, &keys);
        prop_assert_eq!(answer.found.len() + answer.left_out.len(), pairs.len());
    }

    #[test]
    fn texts_that_look_like_json_do_not_panic(value in r#"\{("address"|"port"|:|,|"1\.2\.3\.4"|[0-9]{1,6}|\}|"){0,12}"#) {
        let _ = only(&value);
    }
}
