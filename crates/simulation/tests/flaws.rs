//! The simulation notices a rule that is not kept.

use std::collections::BTreeSet;

use clap::ValueEnum as _;
use hafleet_simulation::flaw::Flaw;
use hafleet_simulation::mutations::{flawed, noticed};
use hafleet_simulation::plan::Plan;
use hafleet_simulation::run;

/// A seed in which each flaw is noticed. Where a simulation has come to mean something else since, `make
/// simulate-mutations` finds another.
const SEEN: &[(Flaw, u64)] = &[
    (Flaw::TermNotDurable, 10),
    (Flaw::RevisionNotDurable, 9),
    (Flaw::GenerationForgotten, 27),
    (Flaw::MajorityOfLive, 281),
    (Flaw::HeadsNotAsked, 760),
    (Flaw::LoserDropped, 32),
    (Flaw::AncestryNotFetched, 0),
    (Flaw::GapsLeft, 0),
    (Flaw::NothingRepaired, 0),
    (Flaw::ClaimsNotHeard, 0),
    (Flaw::OldestRunBelieved, 2),
    (Flaw::LeaseNotAwaited, 7),
    (Flaw::FenceNotCompared, 2021),
    (Flaw::BatchSplit, 6),
];

#[test]
fn each_rule_that_is_broken_is_noticed() {
    for (flaw, seed) in SEEN {
        let found = noticed(*flaw, [*seed]);
        let breaks = flaw.breaks();
        assert!(
            found.is_some(),
            "{flaw:?} breaks none of {breaks:?} in seed {seed}"
        );
    }
}

#[test]
fn no_flaw_is_left_out() {
    let seen: Vec<_> = SEEN.iter().map(|(flaw, _)| *flaw).collect();
    for flaw in Flaw::value_variants() {
        assert!(seen.contains(flaw), "{flaw:?}");
    }
    let broken: BTreeSet<_> = seen.iter().flat_map(|flaw| flaw.breaks()).collect();
    assert_eq!(
        broken.into_iter().copied().collect::<Vec<_>>(),
        ["I1", "I2", "I3", "I4", "I5", "I8", "I9"]
    );
}

#[test]
fn the_same_seeds_break_nothing_when_all_rules_are_kept() {
    for (flaw, seed) in SEEN {
        let plan = Plan {
            flaw: None,
            ..flawed(*seed, *flaw)
        };
        assert_eq!(run(&plan, false).violation, None, "seed {seed}");
    }
}
