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
    let member = Member {
        report: std::sync::Arc::new(blank_report(node(), 1, "192.0.2.1:7400".parse().unwrap())),
        liveness: Liveness::Live,
        last_seen_ms: 0,
        is_self: true,
        link: None,
        lost: BTreeMap::new(),
        is_counted: true,
    };
    Arc::new(View {
        members: vec![member],
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing::of(&Role::Leader(term), &node(), term),
    })
}

fn begin(view: &Arc<View>) -> Write {
    let request = WriteRequest {
        kind: DocumentKind::Spec,
        body: "body".into(),
        expect: Expect::Any,
        author: "ada".into(),
        comment: String::new(),
        force: false,
    };
    Write::begin(&node(), request, view, None, 0).unwrap().0
}

#[test]
fn a_leader_that_has_promised_a_later_one_writes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    let documents = Documents::load(store, Clock::of_machine(), 10, Arc::default()).unwrap();
    documents.raise_term(Term(5)).unwrap();
    let view = view(Term(5));
    let (first, second) = (begin(&view), begin(&view));
    assert!(first.append(&documents, |_| true).is_ok());
    // A later leader hears what is newest here, and writes after that.
    assert_eq!(answer::heads(&documents, Term(6)).unwrap().len(), 1);
    let late = second.append(&documents, |_| true);
    assert!(matches!(late, Err(WriteError::Overtaken)), "{late:?}");
    assert_eq!(documents.history(DocumentKind::Spec).unwrap().len(), 1);
    let refused = answer::heads(&documents, Term(5));
    assert!(matches!(refused, Err(Refusal::LaterTerm(Term(6)))));
}
