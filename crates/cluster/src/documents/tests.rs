use std::collections::BTreeMap;

use hafleet_model::{Digest, Header, Revision};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::Store;

const KIND: DocumentKind = DocumentKind::Spec;

fn open(directory: &TempDir, limit: usize) -> Documents {
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    Documents::load(store, Clock::of_machine(), limit, Arc::default()).unwrap()
}

fn after(parent: Option<Stamp>, term: u64, body: &str) -> Document {
    after_of(KIND, parent, term, body)
}

fn after_of(kind: DocumentKind, parent: Option<Stamp>, term: u64, body: &str) -> Document {
    let sequence = parent.map_or(0, |parent| parent.revision.sequence) + 1;
    let stamp = Stamp {
        revision: Revision::new(Term(term), sequence),
        digest: Digest::of(body.as_bytes()),
    };
    let header = Header {
        kind,
        stamp,
        parent,
        author: "ada".into(),
        comment: String::new(),
        written_at_ms: 0,
    };
    Document::new(header, body).unwrap()
}

fn append(documents: &Documents, term: u64, body: &str) -> Document {
    let appended = documents.append(KIND, |newest| {
        Ok::<_, StoreError>(after(newest, term, body))
    });
    (*appended.unwrap()).clone()
}

fn bodies(documents: &Documents) -> Vec<String> {
    let history = documents.history(KIND).unwrap();
    let read = |header: Header| {
        documents
            .stamped(KIND, header.stamp)
            .unwrap()
            .unwrap()
            .body()
            .to_owned()
    };
    history.into_iter().map(read).collect()
}

#[test]
fn own_writes_make_a_line_that_survives() {
    let directory = tempfile::tempdir().unwrap();
    {
        let documents = open(&directory, 10);
        append(&documents, 1, "one");
        append(&documents, 2, "two");
    }
    let documents = open(&directory, 10);
    assert_eq!(documents.newest(KIND).unwrap().body(), "two");
    assert_eq!(bodies(&documents), ["two", "one"]);
    assert_eq!(
        documents
            .revision(KIND, Revision::new(Term(1), 1))
            .unwrap()
            .unwrap()
            .body(),
        "one"
    );
}

#[test]
fn the_line_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 3);
    let first = append(&documents, 1, "0");
    for number in 1..10 {
        append(&documents, 1, &number.to_string());
    }
    assert_eq!(bodies(&documents), ["9", "8", "7"]);
    assert!(documents.stamped(KIND, first.stamp()).unwrap().is_none());
}

#[test]
fn the_losing_side_of_a_fork_is_kept_with_its_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let common = append(&documents, 1, "common");
    append(&documents, 1, "mine");
    let theirs = after(Some(common.stamp()), 2, "theirs");
    let outcome = documents.adopt(theirs, &[common.stamp()], false).unwrap();
    assert_eq!(outcome, Outcome::Adopted { lost: 1 });
    drop(documents);

    let documents = open(&directory, 10);
    assert_eq!(bodies(&documents), ["theirs", "common"]);
    let conflicts = documents.conflicts(KIND);
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].reason, ConflictReason::Fork);
    let lost = documents
        .stamped(KIND, conflicts[0].header.stamp)
        .unwrap()
        .unwrap();
    assert_eq!(lost.body(), "mine");
}

#[test]
fn the_losing_side_of_a_fork_of_endpoints_is_dropped() {
    let kind = DocumentKind::Endpoints;
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let append = |body: &str| {
        let appended = documents.append(kind, |newest| {
            Ok::<_, StoreError>(after_of(kind, newest, 1, body))
        });
        appended.unwrap().stamp()
    };
    let (common, mine) = (append("common"), append("mine"));
    let theirs = after_of(kind, Some(common), 2, "theirs");
    let outcome = documents.adopt(theirs, &[common], false).unwrap();
    assert_eq!(outcome, Outcome::Adopted { lost: 0 });
    assert_eq!(documents.newest(kind).unwrap().body(), "theirs");
    assert!(documents.conflicts(kind).is_empty() && documents.lost().is_empty());
    assert!(documents.stamped(kind, mine).unwrap().is_none());

    // Neither what a peer of an earlier version keeps, nor what comes late, is a conflict.
    let late = after_of(kind, Some(common), 1, "mine");
    assert_eq!(documents.gather(late.clone()).unwrap(), Gathered::Known);
    documents.adopt(late, &[common], false).unwrap();
    assert!(documents.conflicts(kind).is_empty());
}

#[test]
fn a_gap_is_bridged_at_once_and_filled_later() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let one = append(&documents, 1, "one");
    let two = after(Some(one.stamp()), 1, "two");
    let three = after(Some(two.stamp()), 1, "three");
    let adopted = documents
        .adopt(three, &[two.stamp(), one.stamp()], false)
        .unwrap();
    assert_eq!(adopted, Outcome::Adopted { lost: 0 });
    assert_eq!(documents.missing(KIND).unwrap(), [two.stamp()]);
    assert_eq!(bodies(&documents), ["three", "one"]);
    assert_eq!(
        documents.adopt(two, &[one.stamp()], true).unwrap(),
        Outcome::Known
    );
    assert!(documents.missing(KIND).unwrap().is_empty());
    assert_eq!(bodies(&documents), ["three", "two", "one"]);
}

#[test]
fn two_bodies_under_one_revision_are_both_kept() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let mine = append(&documents, 1, "ours");
    let theirs = after(None, 1, "theirs");
    assert!(theirs.stamp() < mine.stamp());
    assert_eq!(
        documents.adopt(theirs.clone(), &[], false).unwrap(),
        Outcome::Divergent
    );
    assert_eq!(
        documents.adopt(theirs.clone(), &[], false).unwrap(),
        Outcome::Divergent
    );
    assert_eq!(documents.newest(KIND).unwrap().body(), "ours");
    assert_eq!(documents.conflicts(KIND).len(), 1);
    // The next revision decides between them.
    let next = after(Some(theirs.stamp()), 2, "next");
    assert_eq!(
        documents.adopt(next, &[theirs.stamp()], false).unwrap(),
        Outcome::Adopted { lost: 1 }
    );
    assert_eq!(bodies(&documents), ["next", "theirs"]);
    let conflicts = documents.conflicts(KIND);
    assert_eq!(conflicts.len(), 1);
    assert_eq!(
        documents
            .stamped(KIND, conflicts[0].header.stamp)
            .unwrap()
            .unwrap()
            .body(),
        "ours"
    );
}

#[test]
fn the_greater_of_two_bodies_under_one_revision_takes_the_place_of_the_lesser() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let mine = append(&documents, 1, "mine");
    let theirs = after(None, 1, "theirs");
    assert_eq!(
        documents.gather(theirs.clone()).unwrap(),
        Gathered::Ahead,
        "it is to be the newest, not a conflict"
    );
    assert_eq!(
        documents.adopt(theirs, &[], false).unwrap(),
        Outcome::Adopted { lost: 1 }
    );
    assert_eq!(bodies(&documents), ["theirs"]);
    drop(documents);

    let documents = open(&directory, 10);
    assert_eq!(bodies(&documents), ["theirs"]);
    let conflicts = documents.conflicts(KIND);
    let kept: Vec<_> = conflicts
        .iter()
        .map(|conflict| (conflict.header.stamp, conflict.reason))
        .collect();
    assert_eq!(kept, [(mine.stamp(), ConflictReason::Divergent)]);
}

#[test]
fn conflicts_of_peers_are_gathered_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 3);
    let lost: Vec<_> = (1..=5)
        .map(|term| after(None, term, &format!("lost {term}")))
        .collect();
    assert_eq!(
        documents.gather(lost[0].clone()).unwrap(),
        Gathered::Ahead,
        "nothing to compare it with yet"
    );
    let mine = append(&documents, 5, "mine");
    assert_eq!(documents.gather(mine).unwrap(), Gathered::Known);
    assert!(documents.lost().is_empty());
    for one in &lost {
        assert_eq!(documents.gather(one.clone()).unwrap(), Gathered::Kept);
        assert_eq!(documents.gather(one.clone()).unwrap(), Gathered::Known);
    }
    let digest = documents.lost();
    drop(documents);

    let documents = open(&directory, 3);
    assert_eq!(documents.lost(), digest);
    let kept: Vec<_> = documents
        .conflicts(KIND)
        .iter()
        .map(|conflict| (conflict.header.stamp, conflict.reason))
        .collect();
    let expected = [
        (lost[2].stamp(), ConflictReason::Fork),
        (lost[3].stamp(), ConflictReason::Fork),
        (lost[4].stamp(), ConflictReason::Divergent),
    ];
    assert_eq!(kept, expected);
    let body = documents.stamped(KIND, lost[2].stamp()).unwrap().unwrap();
    assert_eq!(body.body(), "lost 3");
    assert!(documents.stamped(KIND, lost[0].stamp()).unwrap().is_none());
}

#[test]
fn a_header_that_contradicts_its_ancestry_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let one = after(None, 1, "one");
    let two = after(Some(one.stamp()), 1, "two");
    let other = after(None, 1, "other");
    assert!(
        documents
            .adopt(two.clone(), &[other.stamp()], true)
            .is_err()
    );
    assert!(documents.adopt(two, &[one.stamp()], true).is_ok());
}

#[test]
fn watchers_see_each_newest_revision() {
    let directory = tempfile::tempdir().unwrap();
    let documents = open(&directory, 10);
    let mut watched = documents.watch(KIND);
    assert!(watched.borrow_and_update().is_none());
    append(&documents, 1, "one");
    assert!(watched.has_changed().unwrap());
    assert_eq!(watched.borrow_and_update().as_ref().unwrap().body(), "one");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    /// Two leaders write on two nodes, each hears of some of the other's revisions: whatever was acknowledged
    /// anywhere is still held there, in the line or among the conflicts, with its body (I4).
    #[test]
    fn no_acknowledged_revision_is_lost(steps in prop::collection::vec((0..2_usize, any::<bool>()), 1..14)) {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let nodes = [open(&directories[0], 100), open(&directories[1], 100)];
        let mut acknowledged: [BTreeMap<Stamp, String>; 2] = Default::default();
        let mut term = 0;
        for (number, (here, is_write)) in steps.into_iter().enumerate() {
            if is_write {
                term += 1;
                let body = format!("{number}");
                let written = append(&nodes[here], term, &body);
                acknowledged[here].insert(written.stamp(), body);
            } else if let Some(newest) = nodes[1 - here].newest(KIND) {
                let ancestry = nodes[1 - here].ancestry(KIND, newest.stamp());
                nodes[here].adopt((*newest).clone(), &ancestry, true).unwrap();
            }
            for (node, acknowledged) in nodes.iter().zip(&acknowledged) {
                for (stamp, body) in acknowledged {
                    let held = node.stamped(KIND, *stamp).unwrap();
                    prop_assert_eq!(held.as_ref().map(Document::body), Some(body.as_str()));
                }
            }
        }
    }
}
