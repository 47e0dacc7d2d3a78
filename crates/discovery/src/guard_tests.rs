use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits {
        max_shrink: 50,
        confirm: 3,
        interval: INTERVAL,
    }
}

fn set(keys: &str) -> BTreeSet<char> {
    keys.chars().collect()
}

/// A guard, what is served under it, and a clock that polls turn.
struct Scene {
    guard: Guard<char>,
    present: BTreeSet<char>,
    now: Instant,
}

impl Scene {
    fn new(present: &str) -> Self {
        Self {
            guard: Guard::new(limits()),
            present: set(present),
            now: Instant::now(),
        }
    }

    /// A source answers `wanted` right now; what is served after it.
    fn say(&mut self, wanted: &str) -> (String, Option<Reason>) {
        let wanted = set(wanted);
        let ruling = self.guard.rule(&self.present, &wanted, true, self.now);
        self.present = wanted.union(&ruling.kept).copied().collect();
        let served = self.present.iter().collect();
        (served, ruling.held.map(|held| held.reason))
    }

    /// The same, one interval later.
    fn poll(&mut self, wanted: &str) -> (String, Option<Reason>) {
        self.now += INTERVAL;
        self.say(wanted)
    }
}

#[test]
fn what_appears_and_a_little_that_goes_are_believed_at_once() {
    let mut scene = Scene::new("abcd");
    assert_eq!(scene.poll("abcdef"), ("abcdef".into(), None));
    assert_eq!(scene.poll("abc"), ("abc".into(), None));
}

#[test]
fn what_has_just_come_does_not_go_all_at_once() {
    let mut scene = Scene::new("");
    assert_eq!(scene.say("abcd"), ("abcd".into(), None));
    scene.now += INTERVAL / 2;
    let shrink = Reason::Shrink { going: 3, of: 4 };
    assert_eq!(scene.say("a"), ("abcd".into(), Some(shrink)));
}

#[test]
fn an_empty_answer_is_believed_when_it_has_come_three_times_in_a_row() {
    let mut scene = Scene::new("a");
    for _ in 0..2 {
        assert_eq!(scene.poll(""), ("a".into(), Some(Reason::Empty)));
    }
    assert_eq!(scene.poll(""), (String::new(), None));
}

#[test]
fn a_large_shrink_is_held_back_while_new_things_are_believed() {
    let mut scene = Scene::new("abcd");
    for _ in 0..2 {
        let (served, held) = scene.poll("ax");
        assert_eq!(served, "abcdx");
        assert!(
            matches!(held, Some(Reason::Shrink { going: 3, .. })),
            "{held:?}"
        );
    }
    assert_eq!(scene.poll("ax"), ("ax".into(), None));
    assert_eq!(scene.poll("a"), ("a".into(), None));
}

#[test]
fn a_full_answer_in_between_starts_the_count_anew() {
    let mut scene = Scene::new("abcd");
    scene.poll("");
    scene.poll("");
    assert_eq!(scene.poll("abcd"), ("abcd".into(), None));
    for _ in 0..2 {
        assert_eq!(scene.poll(""), ("abcd".into(), Some(Reason::Empty)));
    }
}

#[test]
fn a_failure_in_between_starts_the_count_anew() {
    let mut scene = Scene::new("a");
    scene.poll("");
    scene.poll("");
    scene.guard.interrupt();
    for _ in 0..2 {
        assert_eq!(scene.poll(""), ("a".into(), Some(Reason::Empty)));
    }
    assert_eq!(scene.poll(""), (String::new(), None));
}

#[test]
fn many_answers_in_a_moment_are_one_poll() {
    let mut scene = Scene::new("ab");
    for _ in 0..10 {
        assert_eq!(scene.say(""), ("ab".into(), Some(Reason::Empty)));
    }
}

#[test]
fn things_that_go_one_by_one_in_a_moment_go_together() {
    let mut scene = Scene::new("abcdef");
    scene.poll("abcdef");
    assert_eq!(scene.say("abcd").0, "abcd");
    assert_eq!(scene.say("abc").0, "abc");
    let (served, held) = scene.say("ab");
    assert_eq!(served, "abc");
    assert_eq!(held, Some(Reason::Shrink { going: 4, of: 6 }));
    assert_eq!(
        scene.poll("ab").0,
        "ab",
        "in the next interval it is one of three"
    );
}

#[test]
fn a_person_can_let_it_through() {
    let mut scene = Scene::new("abc");
    scene.poll("");
    scene.guard.confirm();
    assert_eq!(scene.say(""), (String::new(), None));
    scene.poll("abc");
    assert_eq!(scene.poll("").1, Some(Reason::Empty), "that held for once");
}

#[test]
fn what_comes_and_goes_stays_until_it_is_gone_for_good() {
    let mut scene = Scene::new("abcd");
    for _ in 0..3 {
        assert_eq!(scene.poll("abc").1, None);
        scene.poll("abcd");
    }
    assert_eq!(scene.poll("abc"), ("abcd".into(), Some(Reason::Flapping)));
    assert_eq!(scene.poll("abc"), ("abcd".into(), Some(Reason::Flapping)));
    assert_eq!(scene.poll("abc"), ("abc".into(), None));
    scene.now += INTERVAL * 40;
    scene.poll("abcd");
    assert_eq!(
        scene.poll("abc"),
        ("abc".into(), None),
        "forgotten after a while"
    );
}

proptest! {
    /// Whatever is said, nothing that is wanted is missing, and what lasts is believed in the end.
    #[test]
    fn the_truth_wins(answers in prop::collection::vec("[a-f]{0,6}", 1..30), last in "[a-f]{0,6}") {
        let mut scene = Scene::new("abcdef");
        for answer in answers {
            let (served, _) = scene.poll(&answer);
            prop_assert!(set(&answer).is_subset(&served.chars().collect()));
        }
        for _ in 0..4 {
            scene.poll(&last);
        }
        prop_assert_eq!(&scene.present, &set(&last));
    }

    /// No single answer takes more than is allowed.
    #[test]
    fn one_answer_never_takes_too_much(before in "[a-j]{1,10}", answer in "[a-j]{0,10}") {
        let mut scene = Scene::new(&before);
        let of = scene.present.len();
        let (served, _) = scene.poll(&answer);
        let left = set(&before).intersection(&served.chars().collect()).count();
        prop_assert!((of - left) * 100 <= of * 50);
    }
}
