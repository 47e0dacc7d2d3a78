use std::collections::BTreeSet;

use hafleet_model::{Digest, Revision, Term};
use proptest::prelude::*;

use super::*;

fn stamp(term: u64, sequence: u64) -> Stamp {
    stamp_of(term, sequence, "")
}

fn stamp_of(term: u64, sequence: u64, body: &str) -> Stamp {
    Stamp {
        revision: Revision::new(Term(term), sequence),
        digest: Digest::of(format!("{term}.{sequence}{body}").as_bytes()),
    }
}

fn line(stamps: &[Stamp]) -> Line {
    Line::new(stamps.to_vec())
}

fn adopt(between: &[Stamp], lost: &[Stamp]) -> Judgement {
    Judgement::Adopt(Adoption {
        between: between.to_vec(),
        lost: lost.to_vec(),
    })
}

#[test]
fn a_child_of_the_newest_extends_the_line() {
    let own = line(&[stamp(1, 1), stamp(1, 2)]);
    assert_eq!(own.judge(stamp(1, 3), &[stamp(1, 2)]), adopt(&[], &[]));
}

#[test]
fn revisions_that_were_missed_are_named() {
    let own = line(&[stamp(1, 1)]);
    let judged = own.judge(stamp(2, 4), &[stamp(1, 3), stamp(1, 2), stamp(1, 1)]);
    assert_eq!(judged, adopt(&[stamp(1, 2), stamp(1, 3)], &[]));
}

#[test]
fn own_revisions_outside_the_ancestry_are_lost_not_forgotten() {
    let own = line(&[stamp(1, 1), stamp(2, 2), stamp(2, 3)]);
    assert_eq!(
        own.judge(stamp(3, 2), &[stamp(1, 1)]),
        adopt(&[], &[stamp(2, 2), stamp(2, 3)])
    );
}

#[test]
fn a_line_with_nothing_in_common_is_lost_whole() {
    let own = line(&[stamp(1, 1), stamp(1, 2)]);
    let judged = own.judge(stamp(3, 2), &[stamp(3, 1)]);
    assert_eq!(judged, adopt(&[stamp(3, 1)], &[stamp(1, 1), stamp(1, 2)]));
}

#[test]
fn a_short_ancestry_is_not_taken_for_a_fork() {
    let own = line(&[stamp(1, 1)]);
    assert_eq!(
        own.judge(stamp(1, 9), &[stamp(1, 8)]),
        Judgement::NeedsAncestry
    );
    assert_eq!(
        own.judge_finally(stamp(1, 9), &[stamp(1, 8)]),
        adopt(&[stamp(1, 8)], &[stamp(1, 1)])
    );
}

#[test]
fn an_empty_line_asks_for_all_that_came_before() {
    let own = Line::default();
    assert_eq!(own.judge(stamp(1, 1), &[]), adopt(&[], &[]));
    assert_eq!(
        own.judge(stamp(1, 3), &[stamp(1, 2)]),
        Judgement::NeedsAncestry
    );
    assert_eq!(
        own.judge(stamp(1, 2), &[stamp(1, 1)]),
        adopt(&[stamp(1, 1)], &[])
    );
}

#[test]
fn of_two_bodies_under_the_newest_revision_all_prefer_the_same() {
    let mut both = [stamp_of(1, 2, "one"), stamp_of(1, 2, "other")];
    both.sort();
    let [lesser, greater] = both;
    let has_greater = line(&[stamp(1, 1), greater]);
    assert_eq!(
        has_greater.judge(lesser, &[stamp(1, 1)]),
        Judgement::Divergent
    );
    let has_lesser = line(&[stamp(1, 1), lesser]);
    assert_eq!(
        has_lesser.judge(greater, &[stamp(1, 1)]),
        adopt(&[], &[lesser])
    );
}

#[test]
fn an_earlier_revision_with_another_digest_does_not_come_back() {
    let own = line(&[stamp(1, 1), stamp(1, 2)]);
    for body in ["one", "other"] {
        assert_eq!(own.judge(stamp_of(1, 1, body), &[]), Judgement::Divergent);
    }
}

#[test]
fn an_older_revision_is_known_lost_or_too_old_to_tell() {
    let own = line(&[stamp(1, 1), stamp(3, 2)]);
    assert_eq!(own.judge(stamp(1, 1), &[]), Judgement::Known);
    assert_eq!(own.judge(stamp(2, 2), &[stamp(1, 1)]), Judgement::Lost);
    let trimmed = line(&[stamp(1, 5), stamp(1, 6)]);
    assert_eq!(trimmed.judge(stamp(1, 3), &[]), Judgement::Older);
}

#[test]
fn ancestries_that_cannot_be_are_refused() {
    assert!(check_ancestry(stamp(2, 3), &[stamp(2, 2), stamp(1, 1)]).is_ok());
    assert!(check_ancestry(stamp(1, 0), &[]).is_err());
    assert!(check_ancestry(stamp(1, 3), &[stamp(2, 2)]).is_err());
    assert!(check_ancestry(stamp(1, 3), &[stamp(1, 1)]).is_err());
    assert!(check_ancestry(stamp(1, 1), &[stamp(1, 0)]).is_err());
    assert!(check_ancestry(stamp(1, u64::MAX), &[stamp(1, 0)]).is_err());
}

/// A tree of revisions: each names its parent by position and raises the term by 0 to 2.
fn trees() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0..20_usize, 0..3_u64), 1..20)
}

fn grow(tree: &[(usize, u64)]) -> Vec<Vec<Stamp>> {
    let mut paths: Vec<Vec<Stamp>> = vec![Vec::new()];
    for (number, (parent, rise)) in tree.iter().enumerate() {
        let mut path = paths.get(parent % paths.len()).unwrap().clone();
        let (term, sequence) = path.last().map_or((1, 0), |last| {
            (last.revision.term.0, last.revision.sequence)
        });
        path.push(stamp_of(term + rise, sequence + 1, &number.to_string()));
        paths.push(path);
    }
    paths.into_iter().skip(1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever arrives in whatever order: what was once stored is in the line or among the conflicts (I4), the
    /// line stays one of parents and children, and its newest never goes back.
    #[test]
    fn nothing_stored_is_ever_lost(tree in trees(), order in prop::collection::vec(0..20_usize, 1..60), cut in 0..4_usize) {
        let paths = grow(&tree);
        let mut own = Line::default();
        let (mut stored, mut conflicts) = (BTreeSet::new(), BTreeSet::new());
        for pick in order {
            let path = paths.get(pick % paths.len()).unwrap();
            let (incoming, before) = path.split_last().unwrap();
            let mut ancestry: Vec<_> = before.iter().rev().copied().collect();
            let full = ancestry.clone();
            ancestry.truncate(cut);
            prop_assert!(check_ancestry(*incoming, &ancestry).is_ok());
            let previous = own.head();
            let mut judged = own.judge(*incoming, &ancestry);
            if judged == Judgement::NeedsAncestry {
                judged = own.judge(*incoming, &full);
            }
            match judged {
                Judgement::Known => {}
                Judgement::Lost | Judgement::Divergent => {
                    stored.insert(*incoming);
                    conflicts.insert(*incoming);
                }
                Judgement::Adopt(adoption) => {
                    stored.insert(*incoming);
                    conflicts.extend(adoption.lost.iter().copied());
                    own.adopt(*incoming, &adoption);
                }
                Judgement::Older | Judgement::NeedsAncestry => prop_assert!(false, "{judged:?} with all ancestry known"),
            }
            prop_assert!(own.head() >= previous);
            let in_order = own.stamps().windows(2).all(|pair| check_ancestry(pair[1], &pair[..1]).is_ok());
            prop_assert!(in_order);
            for stamp in &stored {
                prop_assert!(own.contains(*stamp) || conflicts.contains(stamp), "{} is gone", stamp);
            }
        }
    }

    /// Two nodes that have seen the same revisions end in the same one, whatever the order, even where two bodies bear
    /// the highest revision.
    #[test]
    fn order_of_arrival_does_not_matter(tree in trees(), order in prop::collection::vec(0..20_usize, 20..40)) {
        let paths = grow(&tree);
        let highest = paths.iter().filter_map(|path| path.last()).max().copied().unwrap();
        let mut own = Line::default();
        for pick in order.into_iter().chain(0..paths.len()) {
            let path = paths.get(pick % paths.len()).unwrap();
            let (incoming, before) = path.split_last().unwrap();
            let ancestry: Vec<_> = before.iter().rev().copied().collect();
            if let Judgement::Adopt(adoption) = own.judge(*incoming, &ancestry) {
                own.adopt(*incoming, &adoption);
            }
        }
        prop_assert_eq!(own.head(), Some(highest));
    }
}
