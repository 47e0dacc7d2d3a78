use super::*;

/// Nodes `a`, `b` and `c`; time in milliseconds since the start.
struct World {
    leadership: Leadership,
    start: Instant,
    now: Instant,
    seen: Observation,
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn other(name: &str, presence: Presence, claim: Option<u64>) -> Candidate {
    Candidate {
        id: id(name),
        presence,
        is_fit: true,
        is_settling: false,
        claim: claim.map(Term),
        unanswered_since: None,
    }
}

impl World {
    /// The node `me`, among others that are live and claim nothing.
    fn new(me: &str, others: &[&str]) -> Self {
        let start = Instant::now();
        let others = others
            .iter()
            .map(|name| other(name, Presence::Live, None))
            .collect();
        let seen = Observation {
            others,
            unfit: None,
            highest_term: Term(0),
            has_everyone_answered: false,
            is_majority_connected: false,
        };
        Self {
            leadership: Leadership::new(id(me), Timing::default(), start),
            start,
            now: start,
            seen,
        }
    }

    fn set(&mut self, candidate: Candidate) {
        self.seen.highest_term = self
            .seen
            .highest_term
            .max(candidate.claim.unwrap_or_default());
        self.seen.others.retain(|other| other.id != candidate.id);
        self.seen.others.push(candidate);
    }

    fn look(&mut self) -> Decision {
        let decision = self.leadership.observe(self.now, &self.seen);
        if let Decision::Claim(term) = decision {
            self.seen.highest_term = term;
            self.leadership.claimed(term);
        }
        decision
    }

    /// Lets time pass as the driver does, until something is decided or `until_ms` is reached.
    fn pass_until(&mut self, until_ms: u64) -> Option<(u64, Decision)> {
        let end = self.start + Duration::from_millis(until_ms);
        while self.now < end {
            self.now += Duration::from_millis(100);
            let decision = self.look();
            if decision != Decision::Stay {
                let at = self.now.duration_since(self.start);
                return Some((u64::try_from(at.as_millis()).unwrap(), decision));
            }
        }
        None
    }

    fn leading(me: &str, others: &[&str]) -> Self {
        let mut world = Self::new(me, others);
        world.seen.has_everyone_answered = true;
        assert!(world.pass_until(20_000).is_some());
        world.seen.has_everyone_answered = false;
        world
    }
}

#[test]
fn the_lowest_of_a_fresh_fleet_claims_after_settling() {
    let mut lowest = World::new("a", &["b", "c"]);
    assert_eq!(
        lowest.pass_until(60_000),
        Some((10_000, Decision::Claim(Term(1))))
    );
    assert_eq!(*lowest.leadership.role(), Role::Leader(Term(1)));
}

#[test]
fn it_need_not_wait_once_everyone_has_answered() {
    let mut lowest = World::new("a", &["b", "c"]);
    lowest.seen.has_everyone_answered = true;
    assert_eq!(
        lowest.pass_until(60_000),
        Some((1_500, Decision::Claim(Term(1))))
    );
}

#[test]
fn the_others_give_it_time_and_then_take_their_turns() {
    let mut second = World::new("b", &["a", "c"]);
    assert_eq!(
        second.pass_until(60_000),
        Some((11_500, Decision::Claim(Term(1))))
    );
    let mut third = World::new("c", &["a", "b"]);
    assert_eq!(
        third.pass_until(60_000),
        Some((13_000, Decision::Claim(Term(1))))
    );
}

#[test]
fn a_live_claim_is_followed_at_once_and_for_good() {
    let mut world = World::new("a", &["b", "c"]);
    world.set(other("c", Presence::Live, Some(4)));
    assert_eq!(world.pass_until(120_000), None);
    assert_eq!(*world.leadership.role(), Role::Follower(id("c"), Term(4)));
}

#[test]
fn the_highest_term_holds_and_ties_go_to_the_lowest_id() {
    let mut world = World::new("d", &["a"]);
    world.set(other("b", Presence::Live, Some(4)));
    world.set(other("c", Presence::Live, Some(4)));
    world.look();
    assert_eq!(*world.leadership.role(), Role::Follower(id("b"), Term(4)));
    world.set(other("c", Presence::Live, Some(5)));
    world.look();
    assert_eq!(*world.leadership.role(), Role::Follower(id("c"), Term(5)));
}

#[test]
fn claims_of_the_dead_and_the_unfit_do_not_hold_but_their_terms_count() {
    let mut world = World::new("a", &[]);
    world.set(other("b", Presence::Silent, Some(7)));
    world.set(Candidate {
        is_fit: false,
        ..other("c", Presence::Live, Some(8))
    });
    assert_eq!(
        world.pass_until(60_000),
        Some((10_000, Decision::Claim(Term(9))))
    );
}

#[test]
fn a_leader_that_is_known_to_be_gone_is_replaced_soon() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(other("c", Presence::Gone, Some(3)));
    assert_eq!(
        world.pass_until(60_000),
        Some((31_600, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_leader_that_merely_fell_silent_is_given_the_full_time() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(other("c", Presence::Silent, Some(3)));
    assert_eq!(
        world.pass_until(60_000),
        Some((40_100, Decision::Claim(Term(4))))
    );
}

/// The node `a`, which has followed `c` for 30 s; then `c` is not heard of, and has not answered since `unanswered_ms`.
fn unanswered(unanswered_ms: u64) -> World {
    let mut world = World::new("a", &["b"]);
    world.seen.is_majority_connected = true;
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    let since = world.start + Duration::from_millis(unanswered_ms);
    world.set(Candidate {
        unanswered_since: Some(since),
        ..other("c", Presence::Silent, Some(3))
    });
    world
}

#[test]
fn a_leader_that_answers_nobody_is_replaced_sooner_by_a_majority() {
    assert_eq!(
        unanswered(28_000).pass_until(60_000),
        Some((34_000, Decision::Claim(Term(4)))),
        "six intervals after its connection broke"
    );
    assert_eq!(
        unanswered(1_000).pass_until(60_000),
        Some((33_100, Decision::Claim(Term(4)))),
        "a connection that broke long ago says little of now"
    );
}

#[test]
fn without_a_majority_a_leader_that_answers_nobody_is_given_the_full_time() {
    let mut world = unanswered(28_000);
    world.seen.is_majority_connected = false;
    assert_eq!(
        world.pass_until(60_000),
        Some((40_100, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_leader_that_others_hear_is_not_replaced_though_it_does_not_answer() {
    let mut world = unanswered(28_000);
    world.set(Candidate {
        unanswered_since: Some(world.start),
        ..other("c", Presence::Live, Some(3))
    });
    assert_eq!(world.pass_until(60_000), None);
    assert_eq!(*world.leadership.role(), Role::Follower(id("c"), Term(3)));
}

#[test]
fn one_that_was_stalled_takes_the_full_time_whatever_its_connections_say() {
    let mut world = unanswered(28_000);
    world.now += Duration::from_secs(20);
    let woke = world.now;
    assert_eq!(world.look(), Decision::Stay);
    let (at, decision) = world.pass_until(90_000).unwrap();
    assert_eq!(decision, Decision::Claim(Term(4)));
    let at = world.start + Duration::from_millis(at);
    assert_eq!(at - woke, Duration::from_secs(10));
}

#[test]
fn silence_that_turns_out_to_be_death_shortens_the_wait() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    world.pass_until(30_000);
    world.set(other("c", Presence::Silent, Some(3)));
    assert_eq!(world.pass_until(35_000), None);
    world.set(other("c", Presence::Gone, Some(3)));
    assert_eq!(
        world.pass_until(60_000),
        Some((35_100, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_node_that_has_just_started_does_not_replace_a_leader_in_haste() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(2_000), None);
    world.set(other("c", Presence::Gone, Some(3)));
    let (at, decision) = world.pass_until(60_000).unwrap();
    assert_eq!(decision, Decision::Claim(Term(4)));
    assert_eq!(
        at, 10_000,
        "not before it has been up for as long as settling takes"
    );
}

#[test]
fn a_leader_that_returns_in_time_is_followed_again() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    world.pass_until(30_000);
    world.set(other("c", Presence::Silent, Some(3)));
    assert_eq!(world.pass_until(39_000), None);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(39_500), None);
    assert_eq!(*world.leadership.role(), Role::Follower(id("c"), Term(3)));
    // The next silence is waited for from its own beginning.
    world.set(other("c", Presence::Silent, Some(3)));
    assert_eq!(
        world.pass_until(90_000),
        Some((49_600, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_leader_stays_when_an_earlier_node_joins() {
    let mut world = World::leading("b", &["c"]);
    world.set(other("a", Presence::Live, None));
    assert_eq!(world.pass_until(60_000), None);
    assert!(matches!(world.leadership.role(), Role::Leader(_)));
}

#[test]
fn a_leader_yields_to_a_higher_claim_and_to_an_equal_one_of_a_lower_id() {
    let mut world = World::leading("b", &["a", "c"]);
    world.set(other("c", Presence::Live, Some(1)));
    assert_eq!(
        world.look(),
        Decision::Stay,
        "an equal claim of a higher id gives way"
    );
    world.set(other("c", Presence::Live, Some(2)));
    assert_eq!(world.look(), Decision::Yield);
    assert_eq!(*world.leadership.role(), Role::Follower(id("c"), Term(2)));

    let mut world = World::leading("b", &["a", "c"]);
    world.set(other("a", Presence::Live, Some(1)));
    assert_eq!(world.look(), Decision::Yield);
}

#[test]
fn a_leader_that_sees_a_higher_term_of_nobody_live_claims_above_it() {
    let mut world = World::leading("a", &["b"]);
    world.set(other("c", Presence::Silent, Some(9)));
    assert_eq!(world.look(), Decision::Claim(Term(10)));
    assert_eq!(*world.leadership.role(), Role::Leader(Term(10)));
    assert_eq!(world.look(), Decision::Stay);
}

#[test]
fn a_claim_that_could_not_be_made_durable_is_asked_for_again() {
    let mut world = World::new("a", &[]);
    world.seen.has_everyone_answered = true;
    world.now += Duration::from_millis(900);
    world.leadership.observe(world.now, &world.seen);
    world.now += Duration::from_millis(900);
    assert_eq!(
        world.leadership.observe(world.now, &world.seen),
        Decision::Claim(Term(1))
    );
    assert!(!matches!(world.leadership.role(), Role::Leader(_)));
    world.now += Duration::from_millis(100);
    assert_eq!(
        world.leadership.observe(world.now, &world.seen),
        Decision::Claim(Term(1))
    );
}

#[test]
fn an_unfit_node_neither_claims_nor_leads_on() {
    let mut world = World::new("a", &["b"]);
    world.seen.unfit = Some("no route".into());
    assert_eq!(world.pass_until(60_000), None);
    assert_eq!(
        *world.leadership.role(),
        Role::Unfit {
            reason: "no route".into()
        }
    );

    let mut world = World::leading("a", &["b"]);
    world.seen.unfit = Some("no route".into());
    assert_eq!(world.look(), Decision::Yield);
    assert_eq!(world.leadership.claim(), None);
}

#[test]
fn a_node_that_has_just_started_has_no_turn_when_a_leader_is_replaced() {
    let settling = |name| Candidate {
        is_settling: true,
        ..other(name, Presence::Live, None)
    };
    let mut world = World::new("c", &["a", "b"]);
    world.set(other("d", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(settling("a"));
    world.set(settling("b"));
    world.set(other("d", Presence::Gone, Some(3)));
    assert_eq!(
        world.pass_until(60_000),
        Some((31_600, Decision::Claim(Term(4))))
    );
}

#[test]
fn in_a_fleet_that_has_just_started_everyone_has_a_turn() {
    let mut world = World::new("b", &[]);
    let lower = Candidate {
        is_settling: true,
        ..other("a", Presence::Live, None)
    };
    world.set(lower.clone());
    assert!(world.leadership.is_settling(world.now));
    assert_eq!(
        world.pass_until(60_000),
        Some((11_500, Decision::Claim(Term(1))))
    );
    assert!(!world.leadership.is_settling(world.now));
    // Once everyone has answered nobody looks around any more, so that the lower one claims at once too.
    let mut world = World::new("b", &[]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(lower);
    world.set(other("c", Presence::Gone, Some(3)));
    world.seen.has_everyone_answered = true;
    assert_eq!(
        world.pass_until(60_000),
        Some((33_100, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_leader_that_gives_up_is_replaced_soon() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(Candidate {
        is_fit: false,
        ..other("c", Presence::Live, None)
    });
    assert_eq!(
        world.pass_until(60_000),
        Some((31_600, Decision::Claim(Term(4))))
    );
}

#[test]
fn a_leader_that_was_stalled_looks_around_before_it_leads_on() {
    let mut world = World::leading("a", &["b"]);
    world.now += Duration::from_secs(8);
    assert_eq!(world.look(), Decision::Stay);
    assert!(matches!(world.leadership.role(), Role::Settling { .. }));
    let stalled_at = world.now;
    while !matches!(world.leadership.role(), Role::Leader(_)) {
        world.now += Duration::from_millis(100);
        assert_eq!(world.look(), Decision::Stay);
    }
    assert_eq!(world.now - stalled_at, Duration::from_secs(10));
}

#[test]
fn a_stalled_leader_yields_to_whoever_replaced_it() {
    let mut world = World::leading("a", &["b"]);
    world.now += Duration::from_secs(60);
    assert_eq!(world.look(), Decision::Stay);
    world.set(other("b", Presence::Live, Some(2)));
    assert_eq!(world.look(), Decision::Yield);
}

#[test]
fn after_a_short_stall_a_short_look_suffices() {
    let mut world = World::leading("a", &["b"]);
    world.now += Duration::from_millis(2_500);
    world.look();
    let stalled_at = world.now;
    while !matches!(world.leadership.role(), Role::Leader(_)) {
        world.now += Duration::from_millis(100);
        world.look();
    }
    assert_eq!(world.now - stalled_at, Duration::from_millis(1_500));
}

#[test]
fn a_stalled_follower_does_not_claim_on_what_it_knew_before() {
    let mut world = World::new("a", &["b"]);
    world.set(other("c", Presence::Live, Some(3)));
    assert_eq!(world.pass_until(30_000), None);
    world.set(other("c", Presence::Gone, Some(3)));
    world.look();
    world.now += Duration::from_secs(20);
    world.seen.has_everyone_answered = true;
    assert_eq!(world.look(), Decision::Stay);
    let (at, _) = world.pass_until(120_000).unwrap();
    assert_eq!(at, 60_000, "ten seconds after it woke");
}

#[test]
fn a_leader_that_ran_and_had_nothing_to_look_at_was_not_stalled() {
    let mut world = World::leading("a", &["b"]);
    for _ in 0..3 {
        world.now += Duration::from_millis(900);
        world.leadership.notice_stall(world.now);
    }
    world.look();
    assert!(matches!(world.leadership.role(), Role::Leader(_)));
    world.now += Duration::from_millis(1_100);
    world.leadership.notice_stall(world.now);
    world.look();
    assert!(matches!(world.leadership.role(), Role::Settling { .. }));
}
