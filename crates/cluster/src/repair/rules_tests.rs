use std::collections::BTreeMap;
use std::sync::Arc;

use hafleet_model::{Digest, Header, Revision, Term};
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::facts::blank_report;
use crate::leadership::Role;
use crate::store::Store;
use crate::view::{Liveness, Member, Standing};

const KIND: DocumentKind = DocumentKind::Spec;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// The fleet as `me` sees it: all are live.
fn view(me: &str, others: &[&str]) -> View {
    let member = |name: &str, is_self| Member {
        report: blank_report(id(name), 1, "192.0.2.1:7400".parse().unwrap()).into(),
        liveness: Liveness::Live,
        last_seen_ms: 0,
        is_self,
        link: None,
        lost: BTreeMap::new(),
        is_counted: true,
    };
    let others = others.iter().map(|name| member(name, false));
    View {
        members: others.chain([member(me, true)]).collect(),
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing::of(&Role::Leader(Term(1)), &id(me), Term(1)),
    }
}

fn document(sequence: u64, parent: Option<Stamp>) -> Document {
    let body = format!("body {sequence}");
    let stamp = Stamp {
        revision: Revision::new(Term(1), sequence),
        digest: Digest::of(body.as_bytes()),
    };
    let header = Header {
        kind: KIND,
        stamp,
        parent,
        author: "ada".into(),
        comment: String::new(),
        written_at_ms: 0,
    };
    Document::new(header, body).unwrap()
}

/// Documents that have the second revision, and know the first by its stamp only.
fn with_a_gap(directory: &TempDir) -> Documents {
    let store = Store::open(directory.path().join("state.redb")).unwrap();
    let documents = Documents::load(store, Clock::of_machine(), 10, Arc::default()).unwrap();
    let first = document(1, None).stamp();
    let second = document(2, Some(first));
    documents.adopt(second, &[first], false).unwrap();
    assert_eq!(documents.missing(KIND).unwrap(), [first]);
    documents
}

fn course() -> Course {
    Course::new(KIND, Duration::ZERO, Duration::from_secs(1))
}

fn due(course: &mut Course, view: &View, documents: &Documents, now: Instant) -> Fetch {
    match course.next(view, documents, now) {
        Next::Fetch(fetch) => fetch,
        Next::Wait(wait) => panic!("nothing is due, for {wait:?}"),
    }
}

fn not_found() -> RepairError {
    RepairError::Ask(AskError::NotFound)
}

#[test]
fn what_all_say_they_do_not_have_is_not_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let documents = with_a_gap(&directory);
    let (mut course, now) = (course(), Instant::now());
    let both = view("a", &["b", "c"]);
    let mut fetch = due(&mut course, &both, &documents, now);
    while fetch.next_holder(|holder| Some(holder.clone())).is_some() {
        fetch.failed(not_found());
    }
    course.ended(fetch, false, now);
    let later = now + LONGEST_PAUSE;
    let next = course.next(&both, &documents, later);
    assert!(matches!(next, Next::Wait(None)), "{next:?}");
    // Somebody else may have it.
    let others = view("a", &["b", "d"]);
    due(&mut course, &others, &documents, later);
}

#[test]
fn one_that_could_not_be_asked_may_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let documents = with_a_gap(&directory);
    let view = view("a", &["b", "c"]);
    for connected in ["b", "c"] {
        let (mut course, now) = (course(), Instant::now());
        let mut fetch = due(&mut course, &view, &documents, now);
        let way = |holder: &NodeId| (holder.as_str() == connected).then_some(());
        while fetch.next_holder(way).is_some() {
            fetch.failed(not_found());
        }
        course.ended(fetch, false, now);
        let next = course.next(&view, &documents, now);
        assert!(matches!(next, Next::Wait(Some(_))), "{next:?}");
        let fetch = due(&mut course, &view, &documents, now + LONGEST_PAUSE);
        assert_eq!(fetch.stamp(), document(1, None).stamp());
    }
}

#[test]
fn the_failure_that_says_most_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let documents = with_a_gap(&directory);
    let timed_out = || RepairError::Ask(AskError::TimedOut(Duration::from_secs(1)));
    for failures in [
        [not_found(), timed_out()],
        [timed_out(), not_found()],
        [timed_out(), RepairError::NoHolder],
    ] {
        let mut fetch = due(
            &mut course(),
            &view("a", &["b"]),
            &documents,
            Instant::now(),
        );
        failures
            .into_iter()
            .for_each(|failure| fetch.failed(failure));
        let failure = fetch.failure();
        assert!(
            matches!(failure, RepairError::Ask(AskError::TimedOut(_))),
            "{failure:?}"
        );
    }
}
