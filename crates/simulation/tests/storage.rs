//! The contract of storage, which the simulation's own has to keep as the real store does.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use hafleet_cluster::machines::{Change, Clock, Documents, KnownMember, Storage, blank_report};
use hafleet_cluster::{ConflictReason, Store, StoreError};
use hafleet_model::{Digest, Document, DocumentKind, Header, NodeId, Revision, Stamp, Term};
use hafleet_simulation::disk::{Blocks, MemoryStorage, Opened, Trouble};
use hafleet_simulation::rng::Rng;

const KIND: DocumentKind = DocumentKind::Spec;

fn both() -> [Arc<dyn Storage>; 2] {
    let blocks: Arc<Blocks> = Arc::default();
    [Arc::new(MemoryStorage::default()), on(&blocks)]
}

fn on(blocks: &Arc<Blocks>) -> Arc<Store> {
    let blocks = Arc::clone(blocks);
    Store::open_on("blocks", move || Opened(Arc::clone(&blocks))).unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn document(term: u64, sequence: u64, body: &str) -> Document {
    let header = Header {
        kind: KIND,
        stamp: Stamp {
            revision: Revision::new(Term(term), sequence),
            digest: Digest::of(body.as_bytes()),
        },
        parent: None,
        author: "ada".into(),
        comment: String::new(),
        written_at_ms: 1,
    };
    Document::new(header, body).unwrap()
}

#[test]
fn terms_and_generations_only_grow() {
    for storage in both() {
        assert_eq!(storage.raise_term(Term(7)).unwrap(), Term(7));
        assert_eq!(storage.raise_term(Term(3)).unwrap(), Term(7));
        assert_eq!(storage.highest_term().unwrap(), Term(7));
        assert_eq!(storage.begin_generation(&node("a"), 100).unwrap(), 100);
        assert_eq!(storage.begin_generation(&node("a"), 5).unwrap(), 101);
        storage.raise_generation(500).unwrap();
        assert_eq!(storage.begin_generation(&node("a"), 5).unwrap(), 501);
        assert!(storage.begin_generation(&node("b"), 5).is_err());
        assert!(!storage.is_established().unwrap());
        storage.establish().unwrap();
        assert!(storage.is_established().unwrap());
    }
}

#[test]
fn a_change_moves_revisions_between_line_and_conflicts() {
    for storage in both() {
        let (one, two, other) = (
            document(1, 1, "one"),
            document(1, 2, "two"),
            document(2, 2, "other"),
        );
        for document in [&one, &two] {
            let change = Change {
                put: Some(document.clone()),
                ..Change::default()
            };
            storage.change(KIND, &change).unwrap();
        }
        let change = Change {
            put: Some(other.clone()),
            lost: vec![(two.stamp(), ConflictReason::Fork)],
            now_ms: 9,
            ..Change::default()
        };
        storage.change(KIND, &change).unwrap();
        let line = storage.line(KIND).unwrap();
        let stamps: Vec<_> = line.iter().map(|record| record.stamp).collect();
        assert_eq!(stamps, [one.stamp(), other.stamp()]);
        let conflicts = storage.conflicts(KIND).unwrap();
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].header, *two.header());
        assert_eq!(
            (conflicts[0].reason, conflicts[0].found_at_ms),
            (ConflictReason::Fork, 9)
        );
        let body = storage.body(KIND, two.stamp()).unwrap();
        assert_eq!(body.as_deref(), Some("two"));

        // Between two others it is no conflict any more, and one that was never held is known by its stamp.
        let unseen = document(1, 3, "unseen");
        let change = Change {
            between: vec![two.stamp(), unseen.stamp()],
            ..Change::default()
        };
        storage.change(KIND, &change).unwrap();
        assert!(storage.conflicts(KIND).unwrap().is_empty());
        let line = storage.line(KIND).unwrap();
        let held: Vec<_> = line.iter().map(|record| record.header.is_some()).collect();
        assert_eq!(held, [true, true, false, true]);
        // What is in the line with all of it stays so: a change that failed may have come down.
        let again = Change {
            between: vec![one.stamp()],
            ..Change::default()
        };
        storage.change(KIND, &again).unwrap();
        assert!(storage.line(KIND).unwrap()[0].header.is_some());
        let change = Change {
            lost: vec![(unseen.stamp(), ConflictReason::Fork)],
            trimmed: vec![one.stamp()],
            conflict: Some((document(1, 9, "x"), ConflictReason::Divergent)),
            conflict_limit: Some(0),
            ..Change::default()
        };
        storage.change(KIND, &change).unwrap();
        assert!(storage.conflicts(KIND).unwrap().is_empty(), "none are kept");
        assert_eq!(storage.line(KIND).unwrap().len(), 2);
        assert_eq!(storage.body(KIND, one.stamp()).unwrap(), None);
    }
}

#[test]
fn one_leader_of_a_term_is_promised_it() {
    let leader = |name: &str| NodeId::new(name).unwrap();
    for storage in both() {
        let promise = |term, name: &str| storage.promise(Term(term), &leader(name)).unwrap();
        assert_eq!(promise(3, "a"), Term(3));
        assert_eq!(promise(3, "a"), Term(3));
        assert_eq!(promise(3, "b"), Term(4), "it has to claim above that");
        assert_eq!(storage.highest_term().unwrap(), Term(3));
        assert_eq!(promise(2, "a"), Term(3), "an earlier one is over");
        assert_eq!(promise(5, "b"), Term(5));
        assert_eq!(promise(5, "a"), Term(6));
        storage.raise_term(Term(7)).unwrap();
        assert_eq!(promise(5, "b"), Term(7), "somebody claims a later one");
        assert_eq!(promise(7, "a"), Term(7), "which was promised to nobody yet");
    }
}

#[test]
fn members_are_remembered_and_forgotten() {
    for storage in both() {
        let report = blank_report(node("a"), 3, "192.0.2.1:7400".parse().unwrap());
        let member = KnownMember {
            report,
            last_seen_ms: 5,
        };
        let seen = std::slice::from_ref(&member);
        storage.remember_members(seen, &[]).unwrap();
        assert_eq!(storage.members().unwrap(), seen);
        storage.remember_members(&[], &["a".to_owned()]).unwrap();
        assert!(storage.members().unwrap().is_empty());
    }
}

#[test]
fn the_write_in_which_the_power_fails_has_happened_or_not() {
    for is_last_kept in [true, false] {
        let memory = MemoryStorage::default();
        memory.raise_term(Term(1)).unwrap();
        memory.set_trouble(Trouble {
            power_fails_in: Some(1),
            is_last_kept,
            is_full: false,
        });
        assert!(memory.raise_term(Term(2)).is_err() && memory.is_dead());
        assert!(memory.highest_term().is_err(), "nothing is answered");
        memory.revive();
        let expected = if is_last_kept { Term(2) } else { Term(1) };
        assert_eq!(memory.highest_term().unwrap(), expected);
    }
}

#[test]
fn the_real_store_survives_a_loss_of_power_at_each_of_its_syncs() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let blocks: Arc<Blocks> = Arc::default();
        let store = on(&blocks);
        store.begin_generation(&node("a"), 1).unwrap();
        let mut durable = Term(0);
        blocks.set_trouble(Trouble {
            power_fails_in: Some(rng.between(1, 12)),
            is_last_kept: rng.happens(50),
            is_full: false,
        });
        let tried = (1..).map(Term).find(|term| {
            let raised = Storage::raise_term(&*store, *term);
            durable = *raised.as_ref().unwrap_or(&durable);
            raised.is_err()
        });
        drop(store);
        blocks.revive(&mut rng);
        let found = on(&blocks).highest_term().unwrap();
        assert!(
            found == durable || Some(found) == tried,
            "seed {seed}: {found} after {durable}"
        );
    }
}

/// Writes the successor of the newest.
fn append(documents: &Documents, body: &str) -> Result<Stamp, StoreError> {
    let written = documents.append(KIND, |newest| {
        let sequence = newest.map_or(0, |newest| newest.revision.sequence) + 1;
        Ok::<_, StoreError>(document(1, sequence, body))
    });
    written.map(|document| document.stamp())
}

#[test]
fn what_a_failed_write_has_left_on_the_disk_is_not_written_over() {
    let disk = Arc::new(MemoryStorage::default());
    let clock = Clock::of_machine();
    let documents = Documents::load(Arc::clone(&disk) as _, clock, 10, Arc::default()).unwrap();
    append(&documents, "one").unwrap();
    disk.set_trouble(Trouble {
        power_fails_in: Some(1),
        is_last_kept: true,
        is_full: false,
    });
    append(&documents, "two").unwrap_err();
    disk.revive();
    assert_eq!(append(&documents, "three").unwrap().revision.sequence, 3);
    let history = documents.history(KIND).unwrap();
    let bodies: Vec<_> = history
        .iter()
        .map(|header| documents.stamped(KIND, header.stamp).unwrap().unwrap())
        .map(|document| document.body().to_owned())
        .collect();
    assert_eq!(bodies, ["three", "two", "one"]);
}
