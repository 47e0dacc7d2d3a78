//! Tokens are good once, for a while, for whom they name, and across a restart.

use std::sync::Arc;

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
}

fn token(id: &str, node: Option<&str>) -> KeptToken {
    KeptToken {
        id: id.into(),
        secret: Digest::of(b"secret"),
        node: node.map(self::id),
        addresses: Vec::new(),
        expires_at_ms: at(60_000).as_millisecond(),
        author: "ada (admin)".into(),
        used_by: None,
    }
}

fn open(directory: &tempfile::TempDir) -> Tokens {
    Tokens::open(directory.path().join("tokens.json")).unwrap()
}

#[test]
fn a_token_is_good_once_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = open(&directory);
    tokens.add(token("a", Some("lb9")), at(0)).unwrap();
    let tokens = open(&directory);
    assert!(tokens.check("a", "secret", None, at(1)).is_ok());
    assert_eq!(
        tokens.spend("a", "secret", &id("lb9"), at(2)).unwrap(),
        Ok(())
    );
    for tokens in [&tokens, &open(&directory)] {
        let again = tokens.spend("a", "secret", &id("lb9"), at(3)).unwrap();
        assert_eq!(again, Err(TokenRefusal::Used(id("lb9"))));
        assert!(tokens.has_named(&id("lb9")));
    }
}

#[test]
fn of_many_that_spend_a_token_at_once_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = Arc::new(open(&directory));
    tokens.add(token("a", None), at(0)).unwrap();
    let spend = |number: u8| {
        let tokens = Arc::clone(&tokens);
        std::thread::spawn(move || {
            let node = id(&format!("lb{number}"));
            tokens.spend("a", "secret", &node, at(1)).unwrap().is_ok()
        })
    };
    let spending: Vec<_> = (0..16).map(spend).collect();
    let spent = spending.into_iter().filter_map(|thread| thread.join().ok());
    assert_eq!(spent.filter(|spent| *spent).count(), 1);
}

#[test]
fn a_token_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = open(&directory);
    tokens.add(token("a", Some("lb9")), at(0)).unwrap();
    let check = |id, secret, node, now| tokens.check(id, secret, node, now).map(|_| ());
    assert_eq!(
        check("b", "secret", None, at(1)),
        Err(TokenRefusal::Unknown)
    );
    assert_eq!(check("a", "secre", None, at(1)), Err(TokenRefusal::Unknown));
    assert_eq!(check("a", "", None, at(1)), Err(TokenRefusal::Unknown));
    let other = id("lb8");
    assert_eq!(
        check("a", "secret", Some(&other), at(1)),
        Err(TokenRefusal::OtherNode(id("lb9")))
    );
    let late = check("a", "secret", None, at(60_000));
    assert_eq!(late, Err(TokenRefusal::Expired(at(60_000))));
    assert!(tokens.remove("a", at(1)).unwrap());
    assert!(!tokens.remove("a", at(1)).unwrap());
    assert_eq!(
        check("a", "secret", None, at(1)),
        Err(TokenRefusal::Unknown)
    );
}

#[test]
fn tokens_are_forgotten_some_time_after_their_end_and_are_limited() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = open(&directory);
    for number in 0..MAX_GOOD {
        let token = token(&number.to_string(), None);
        // Written down by the last of them.
        tokens.kept().push(token);
    }
    assert!(tokens.add(token("more", None), at(0)).is_err());
    assert_eq!(tokens.list(at(61_000)).len(), MAX_GOOD);
    let next_day = at(86_400_000 + 60_000);
    tokens
        .add(
            KeptToken {
                expires_at_ms: i64::MAX,
                ..token("more", None)
            },
            next_day,
        )
        .unwrap();
    assert_eq!(open(&directory).list(next_day).len(), 1);
}

#[test]
fn a_token_that_cannot_be_written_down_is_not_spent() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = open(&directory);
    tokens.add(token("a", None), at(0)).unwrap();
    let gone = directory.path().join("gone");
    let tokens = Tokens {
        path: gone.join("tokens.json"),
        ..tokens
    };
    assert!(tokens.spend("a", "secret", &id("lb9"), at(1)).is_err());
    assert!(tokens.check("a", "secret", None, at(1)).is_ok());
}
