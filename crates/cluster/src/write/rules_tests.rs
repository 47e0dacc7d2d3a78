use std::collections::BTreeMap;

use super::*;
use crate::clock::Clock;
use crate::exchange::answer::{self, Refusal};
use crate::facts::blank_report;
use crate::store::Store;
use crate::view::{Liveness, Member, Standing};

fn node() -> NodeId {
    NodeId::new("a").unwrap()
}

/// A fleet of one that leads in `term`, as far as it has looked.
fn view(term: Term) -> Arc<View> {
    fleet(&["a"], term)
}

/// A fleet of which `a` leads in `term`.
fn fleet(names: &[&str], term: Term) -> Arc<View> {
    let member = |name: &&str| Member {
        report: std::sync::Arc::new(blank_report(
            NodeId::new(*name).unwrap(),
            1,
            "192.0.2.1:7400".parse().unwrap(),
        )),
        liveness: Liveness::Live,
        last_seen_ms: 0,
        is_self: *name == "a",
        link: None,
        lost: BTreeMap::new(),
        is_counted: true,
    };
    Arc::new(View {
        members: names.iter().map(member).collect(),
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing::of(&Role::Leader(term), &node(), term),
    })
}

fn begin(view: &Arc<View>) -> Write {
    begin_by(&node(), view)
}

fn begin_by(leader: &NodeId, view: &Arc<View>) -> Write {
    let request = WriteRequest {
        kind: DocumentKind::Spec,
        body: "body".into(),
        expect: Expect::Any,
        author: "ada".into(),
        comment: String::new(),
        force: false,
    };
    Write::begin(leader, request, view, None, 0).unwrap().0
}

#[test]
fn a_leader_that_has_promised_a_later_one_writes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    let documents = Documents::load(store, Clock::of_machine(), 10, Arc::default()).unwrap();
    documents.raise_term(Term(5)).unwrap();
    let view = view(Term(5));
    let other = NodeId::new("n9").unwrap();
    let (first, second) = (begin(&view), begin(&view));
    assert!(first.append(&documents, |_| true).is_ok());
    // A later leader hears what is newest here, and writes after that.
    assert_eq!(answer::heads(&documents, &other, Term(6)).unwrap().len(), 1);
    let late = second.append(&documents, |_| true);
    assert!(matches!(late, Err(WriteError::Overtaken)), "{late:?}");
    assert_eq!(documents.history(DocumentKind::Spec).unwrap().len(), 1);
    let refused = answer::heads(&documents, &node(), Term(5));
    assert!(matches!(refused, Err(Refusal::LaterTerm(Term(6)))));
}

#[test]
fn of_two_leaders_of_one_term_one_is_promised_it_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let other = NodeId::new("n9").unwrap();
    let load = || {
        let store = Store::open(&path).unwrap();
        Documents::load(store, Clock::of_machine(), 10, Arc::default()).unwrap()
    };
    let documents = load();
    assert!(answer::heads(&documents, &other, Term(5)).is_ok());
    drop(documents);
    let documents = load();
    let write = begin(&view(Term(5)));
    let refused = write.append(&documents, |_| true);
    assert!(matches!(refused, Err(WriteError::Overtaken)), "{refused:?}");
    // So it claims above that, and is no leader of the term in which the other one writes.
    assert_eq!(documents.highest_term().unwrap(), Term(6));
    let rival = answer::heads(&documents, &node(), Term(5));
    assert!(
        matches!(rival, Err(Refusal::LaterTerm(Term(6)))),
        "{rival:?}"
    );
    assert!(answer::heads(&documents, &node(), Term(7)).is_ok());
}

fn open(directory: &tempfile::TempDir, name: &str) -> Documents {
    let store = Store::open(directory.path().join(name)).unwrap();
    Documents::load(store, Clock::of_machine(), 10, Arc::default()).unwrap()
}

#[test]
fn what_a_majority_has_fetched_may_still_lose_against_a_later_leader() {
    let directory = tempfile::tempdir().unwrap();
    let id = |name: &str| NodeId::new(name).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| open(&directory, name));
    let names = ["a", "b", "c"];
    // The leader of term 1 writes, and is heard by nobody.
    let seen = fleet(&names, Term(1));
    let first = begin(&seen).append(&a, |_| true).unwrap();
    // The leader of term 2 has the promise of a majority, one of which fetches that write afterwards.
    for documents in [&b, &c] {
        assert!(
            answer::heads(documents, &id("b"), Term(2))
                .unwrap()
                .is_empty()
        );
    }
    let (document, ancestry) = answer::fetch(&a, DocumentKind::Spec, Some(first.stamp())).unwrap();
    crate::repair::rules::take_in(&c, document, &ancestry).unwrap();
    let ids = |names: &[&str]| names.iter().map(|name| id(name)).collect::<BTreeSet<_>>();
    let held = holding(&seen, &ids(&["a"]), &ids(&["a", "c"]));
    assert_eq!((held.nodes.len(), held.is_committed), (2, false));
    // Rightly so: what that leader writes wins, and the other is a conflict wherever it is known.
    let later = begin_by(&id("b"), &fleet(&names, Term(2)));
    let later = later.append(&b, |_| true).unwrap();
    let stored = answer::store(&c, (&id("b"), Term(2)), (*later).clone(), &[]).unwrap();
    assert_eq!(stored, crate::documents::Outcome::Adopted { lost: 1 });
    assert!(c.is_conflict(DocumentKind::Spec, first.stamp()));
    // What all have as their newest, or what a majority has stored for its leader, stays.
    assert!(holding(&seen, &ids(&["a"]), &ids(&names)).is_committed);
    assert!(holding(&seen, &ids(&["a", "b"]), &ids(&["a"])).is_committed);
}
