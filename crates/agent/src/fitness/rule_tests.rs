use super::*;

/// A node, and how it stands; time in seconds since the start.
struct World {
    rule: Rule,
    start: Instant,
    standing: Standing,
    inabilities: BTreeMap<Job, Inability>,
}

impl World {
    /// One that leads among others that could, and is refused credentials.
    fn refused() -> Self {
        let refused = Inability::Refused("no credentials".into());
        Self {
            rule: Rule::default(),
            start: Instant::now(),
            standing: Standing {
                leads: true,
                is_another_fit: true,
            },
            inabilities: [(Job::Publication, refused)].into(),
        }
    }

    fn at(&mut self, secs: u64) -> Option<String> {
        let now = self.start + Duration::from_secs(secs);
        self.rule.decide(now, self.standing, &self.inabilities)
    }

    fn due(&self) -> Option<u64> {
        let due = self.rule.due()?;
        Some(due.duration_since(self.start).as_secs())
    }
}

#[test]
fn a_leader_that_is_refused_yields_and_stays_unfit_for_a_while() {
    let mut world = World::refused();
    assert_eq!((world.at(0), world.due()), (None, Some(3)));
    assert_eq!(world.at(2), None);
    assert_eq!(world.at(3).as_deref(), Some("no credentials"));
    world.standing.leads = false;
    world.inabilities.clear();
    assert!(world.at(4).is_some(), "it is asked nothing any more");
    assert!(world.at(602).is_some());
    assert_eq!(world.at(603), None);
}

#[test]
fn silence_is_given_more_time_than_a_refusal() {
    let mut world = World::refused();
    let silent = Inability::Unreachable("no answer".into());
    world.inabilities = [(Job::Discovery, silent)].into();
    assert_eq!((world.at(0), world.due()), (None, Some(30)));
    assert_eq!(world.at(29), None);
    assert!(world.at(30).is_some());
}

#[test]
fn what_passes_does_not_count() {
    let mut world = World::refused();
    let inabilities = world.inabilities.clone();
    world.at(0);
    world.inabilities.clear();
    assert_eq!((world.at(2), world.due()), (None, None));
    world.inabilities = inabilities;
    assert_eq!((world.at(4), world.due()), (None, Some(7)));
}

#[test]
fn the_only_fit_node_leads_on_and_yields_when_another_is_there() {
    let mut world = World::refused();
    world.standing.is_another_fit = false;
    assert_eq!(world.at(0), None);
    assert_eq!(world.at(1_000), None);
    world.standing.is_another_fit = true;
    assert!(world.at(1_001).is_some());
}

#[test]
fn when_the_others_go_an_unfit_node_leads_after_all_and_is_given_its_time_again() {
    let mut world = World::refused();
    world.at(0);
    assert!(world.at(3).is_some());
    world.standing.is_another_fit = false;
    assert_eq!(world.at(5), None);
    world.standing.is_another_fit = true;
    assert_eq!(
        world.at(7),
        None,
        "two that became fit at once do not yield to each other at once"
    );
    assert!(world.at(8).is_some());
}

#[test]
fn each_yield_lasts_twice_as_long_until_all_was_well() {
    let mut world = World::refused();
    let refused = world.inabilities.clone();
    let mut now = 0;
    for hold in [600, 1_200, 2_400] {
        world.at(now);
        assert!(world.at(now + 3).is_some());
        assert_eq!(world.due(), Some(now + 3 + hold));
        now += 3 + hold;
    }
    world.inabilities.clear();
    world.at(now);
    world.at(now + 60);
    world.inabilities = refused;
    world.at(now + 61);
    assert!(world.at(now + 64).is_some());
    assert_eq!(world.due(), Some(now + 64 + 600));
}

#[test]
fn one_that_does_not_lead_is_unfit_while_its_store_fails_and_no_longer() {
    let mut world = World::refused();
    world.standing.leads = false;
    assert_eq!(world.at(0), None, "others publish");
    let failed = Inability::Refused("read-only".into());
    world.inabilities = [(Job::Storage, failed)].into();
    assert_eq!(world.at(1).as_deref(), Some("read-only"));
    world.standing.is_another_fit = false;
    assert_eq!(world.at(2), None, "somebody has to lead");
    world.standing.is_another_fit = true;
    assert!(world.at(3).is_some());
    world.inabilities.clear();
    assert_eq!(world.at(4), None);
}
