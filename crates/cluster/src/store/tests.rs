use std::fs;

use hafleet_model::{Digest, Document, DocumentKind, Header, Revision, Stamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn document(term: u64, sequence: u64, body: &str) -> Document {
    let stamp = Stamp {
        revision: Revision::new(Term(term), sequence),
        digest: Digest::of(body.as_bytes()),
    };
    let header = Header {
        kind: DocumentKind::Spec,
        stamp,
        parent: None,
        author: "ada (admin)".into(),
        comment: String::new(),
        written_at_ms: 1,
    };
    Document::new(header, body).unwrap()
}

fn put(document: &Document) -> Change {
    Change {
        put: Some(document.clone()),
        ..Change::default()
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let document = document(1, 1, "body");
    {
        let store = Store::open(&path).unwrap();
        assert_eq!(store.begin_generation(&node("a"), 0).unwrap(), 1);
        assert_eq!(store.raise_term(Term(7)).unwrap(), Term(7));
        store.change(DocumentKind::Spec, &put(&document)).unwrap();
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(store.begin_generation(&node("a"), 0).unwrap(), 2);
    assert_eq!(store.highest_term().unwrap(), Term(7));
    assert_eq!(
        store.raise_term(Term(3)).unwrap(),
        Term(7),
        "terms only grow"
    );
    let line = store.line(DocumentKind::Spec).unwrap();
    assert_eq!(
        line,
        [LineRecord {
            stamp: document.stamp(),
            header: Some(document.header().clone())
        }]
    );
    assert_eq!(
        store
            .body(DocumentKind::Spec, document.stamp())
            .unwrap()
            .unwrap(),
        "body"
    );
    assert!(store.line(DocumentKind::Endpoints).unwrap().is_empty());
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let _store = Store::open(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// What `kill -9` leaves: the file as it is while the store is open, between and during transactions.
#[test]
fn a_copy_taken_at_any_moment_opens_and_has_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    let copies = std::thread::scope(|scope| {
        let (acknowledge, acknowledged) = std::sync::mpsc::channel();
        let writing = Arc::clone(&store);
        scope.spawn(move || {
            for sequence in 1..=40 {
                let body = format!("{sequence}").repeat(3000);
                writing
                    .change(DocumentKind::Spec, &put(&document(1, sequence, &body)))
                    .unwrap();
                acknowledge.send(sequence).unwrap();
            }
        });
        let mut copies = Vec::new();
        for sequence in acknowledged {
            let copy = directory.path().join(format!("{sequence}.redb"));
            // A copy that another write overlaps is torn in a way that no crash is, so only the length of the
            // acknowledged line is asked of it, and only if the file did not change meanwhile.
            let before = fs::read(&path).unwrap();
            let after = fs::read(&path).unwrap();
            if before == after {
                fs::write(&copy, before).unwrap();
                copies.push((sequence, copy));
            }
        }
        copies
    });
    assert!(!copies.is_empty());
    for (sequence, copy) in copies {
        let store = Store::open(&copy).unwrap();
        let line = store.line(DocumentKind::Spec).unwrap();
        assert!(
            line.len() >= usize::try_from(sequence).unwrap(),
            "{} after {sequence}",
            line.len()
        );
        for record in line {
            let header = record.header.unwrap();
            let body = store
                .body(DocumentKind::Spec, header.stamp)
                .unwrap()
                .unwrap();
            assert!(Document::new(header, body).is_ok());
        }
    }
}

#[test]
fn another_agent_on_the_same_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let _first = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("state.redb is in use by another agent"),
        "{error}"
    );
}

#[test]
fn a_store_of_a_later_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    {
        let store = Store::open(&path).unwrap();
        store
            .write(|transaction, _| format::set_format(transaction, 99))
            .unwrap();
    }
    for _ in 0..2 {
        let error = Store::open(&path).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::TooNew {
                    found: 99,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    for content in [&b"not a store at all"[..], &[0; 4096], &[0xff; 100_000]] {
        fs::write(&path, content).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content, "it is left as it was");
    }
    let error = Store::open(directory.path().join("nowhere/state.redb")).unwrap_err();
    assert!(matches!(error, StoreError::File { .. }), "{error}");
}

/// Whatever becomes of the file, what is read of it is what was written, if anything is.
#[test]
fn a_damaged_store_is_refused_or_true() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let bodies: Vec<_> = (0..20_u64)
        .map(|number| format!("body {number} ").repeat(400))
        .collect();
    {
        let store = Store::open(&path).unwrap();
        store.begin_generation(&node("a"), 0).unwrap();
        for (number, body) in bodies.iter().enumerate() {
            let document = document(1, number as u64 + 1, body);
            store.change(DocumentKind::Spec, &put(&document)).unwrap();
        }
    }
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for seed in 0..120 {
        fs::write(&path, damage(whole.clone(), seed)).unwrap();
        let store = match Store::open(&path) {
            Ok(store) => store,
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
                refused += 1;
                continue;
            }
        };
        for record in store.line(DocumentKind::Spec).unwrap() {
            let body = store.body(DocumentKind::Spec, record.stamp).unwrap();
            let body = body.expect("a record has its body");
            assert!(bodies.contains(&body), "seed {seed}");
            assert_eq!(Digest::of(body.as_bytes()), record.stamp.digest);
        }
    }
    assert!(refused > 0);
}

/// Cuts the end off, or flips some bits, as `seed` says.
fn damage(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    if seed.is_multiple_of(4) {
        bytes.truncate(random.random_range(0..bytes.len()));
        return bytes;
    }
    for _ in 0..1 << random.random_range(0..12) {
        let place = random.random_range(0..bytes.len());
        bytes[place] ^= 1 << random.random_range(0..8);
    }
    bytes
}

#[test]
fn a_store_of_another_node_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    store.begin_generation(&node("a"), 0).unwrap();
    let error = store.begin_generation(&node("b"), 0).unwrap_err();
    assert!(matches!(error, StoreError::OtherNode { .. }), "{error}");
    assert_eq!(store.begin_generation(&node("a"), 0).unwrap(), 2);
}

/// The clock makes generations grow when the store was lost, and the store when the clock was set back.
#[test]
fn generations_grow_whatever_the_clock_says() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    let begin = |now_ms| store.begin_generation(&node("a"), now_ms).unwrap();
    assert_eq!(begin(1_000), 1_000);
    assert_eq!(begin(1_000), 1_001);
    assert_eq!(begin(3), 1_002);
    store.raise_generation(2_000).unwrap();
    store.raise_generation(1_500).unwrap();
    assert_eq!(begin(1_700), 2_001);
    let lost = tempfile::tempdir().unwrap();
    let store = Store::open(lost.path().join("state.redb")).unwrap();
    assert_eq!(store.begin_generation(&node("a"), 5_000).unwrap(), 5_000);
}

#[test]
fn members_are_remembered_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    let member = |name: &str| KnownMember {
        report: crate::facts::blank_report(node(name), 1, "10.0.0.1:1".parse().unwrap()),
        last_seen_ms: 5,
    };
    store
        .remember_members(&[member("a"), member("b")], &[])
        .unwrap();
    store.remember_members(&[], &["a".into()]).unwrap();
    assert_eq!(store.members().unwrap(), [member("b")]);
}

#[test]
fn what_is_erased_is_in_no_byte_of_the_file() {
    const SECRET: &str = "a text that was never to be there";
    let contains = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let mut windows = bytes.windows(SECRET.len());
        windows.any(|window| window == SECRET.as_bytes())
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    let (old, new) = (document(1, 1, SECRET), document(1, 2, "sealed"));
    store.raise_term(Term(7)).unwrap();
    store.begin_generation(&node("a"), 5).unwrap();
    store.change(DocumentKind::Spec, &put(&old)).unwrap();
    store.change(DocumentKind::Spec, &put(&new)).unwrap();
    let conflict = Change {
        conflict: Some((document(1, 3, SECRET), ConflictReason::Fork)),
        ..Change::default()
    };
    store.change(DocumentKind::Spec, &conflict).unwrap();
    assert!(contains(&path));

    let is_plain = |body: &str| body != "sealed";
    let erased = store.erase_bodies(DocumentKind::Spec, new.stamp(), is_plain);
    assert_eq!(erased.unwrap(), 2);
    store.rewrite().unwrap();
    assert!(!contains(&path));
    let again = store.erase_bodies(DocumentKind::Spec, new.stamp(), is_plain);
    assert_eq!(again.unwrap(), 0);

    // It goes on as before, now and when it is opened again.
    store
        .change(DocumentKind::Spec, &put(&document(1, 4, "sealed")))
        .unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.highest_term().unwrap(), Term(7));
    assert_eq!(store.line(DocumentKind::Spec).unwrap().len(), 3);
    assert_eq!(store.conflicts(DocumentKind::Spec).unwrap().len(), 1);
    let body = |document: &Document| store.body(DocumentKind::Spec, document.stamp()).unwrap();
    assert_eq!(body(&old), None);
    assert_eq!(body(&new).as_deref(), Some("sealed"));
    assert!(store.begin_generation(&node("b"), 5).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// As after an error of the disk.
fn lose(store: &Store) {
    drop(store.database.write().unwrap().take());
}

#[test]
fn what_is_gone_after_an_error_of_the_disk_is_not_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, aside) = (
        directory.path().join("state.redb"),
        directory.path().join("aside"),
    );
    let store = Store::open(&path).unwrap();
    store.begin_generation(&node("a"), 0).unwrap();
    store.promise(Term(4), &node("b")).unwrap();
    lose(&store);
    // Its disk is not mounted.
    fs::rename(&path, &aside).unwrap();
    for _ in 0..2 {
        let refused = store.promise(Term(4), &node("c")).unwrap_err().to_string();
        assert!(refused.contains("mount its disk"), "{refused}");
        assert!(!path.exists());
    }
    assert_eq!(store.highest_term().unwrap(), Term(4), "leaders lead on");
    // An empty store is there, as on the disk below; or one of another node.
    for owner in [None, Some("c")] {
        let other = Store::open(&path).unwrap();
        owner.map(|owner| other.begin_generation(&node(owner), 9).unwrap());
        drop(other);
        let refused = store.promise(Term(4), &node("c")).unwrap_err();
        assert!(matches!(&refused, StoreError::Replaced { .. }), "{refused}");
        fs::remove_file(&path).unwrap();
    }
    fs::rename(&aside, &path).unwrap();
    assert_eq!(
        store.promise(Term(4), &node("c")).unwrap(),
        Term(5),
        "what was promised is remembered"
    );
}

#[test]
fn a_copy_from_before_is_not_taken_for_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let copy = |name: &str| {
        let copy = directory.path().join(name);
        fs::copy(&path, &copy).unwrap();
        copy
    };
    let store = Store::open(&path).unwrap();
    store.begin_generation(&node("a"), 0).unwrap();
    drop(store);
    let earlier_run = copy("earlier run");
    let store = Store::open(&path).unwrap();
    store.begin_generation(&node("a"), 0).unwrap();
    lose(&store);
    let earlier = copy("earlier");
    store.raise_term(Term(2)).unwrap();
    lose(&store);
    let now = copy("now");
    for (other, said) in [(earlier_run, "from before"), (earlier, "its term is 0")] {
        fs::copy(other, &path).unwrap();
        let refused = store.line(DocumentKind::Spec).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    fs::copy(now, &path).unwrap();
    assert_eq!(store.raise_term(Term(3)).unwrap(), Term(3));
    assert!(store.line(DocumentKind::Spec).unwrap().is_empty());
}
