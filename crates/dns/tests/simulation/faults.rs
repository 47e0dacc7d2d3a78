//! Several leaders at once that stall, are cut off, lose answers and are throttled, over many seeds.
//!
//! The zone is the witness: at each batch that it applies it checks that no leader writes after its superseder, that no
//! ownership value comes twice, and that no name is emptied. When the faults end, the zone has to become what the leader of the
//! highest term wants; in one seed of three that leader's spec has a name less. A failure names its seed; `SEED=17` runs that
//! one alone, `SEEDS=5000` so many.

use std::sync::Arc;
use std::time::Duration;

use hafleet_dns::{Budget, Publisher};
use hafleet_model::Term;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::scene::{nodes, scene};
use crate::zone::{Access, Faults, OneZone, Zone};

/// So many seeds, each with 2 to 5 leaders.
const SEEDS: u64 = 240;

/// How long things go wrong.
const FAULTS: Duration = Duration::from_secs(400);

/// How long it may take until all is right, once nothing goes wrong any more: the longest pause, the longest stall and a
/// reading.
const SETTLED: Duration = Duration::from_secs(200);

#[derive(Default)]
struct Sum {
    leaders: u64,
    writes: usize,
    rounds: usize,
    stopped: usize,
}

#[test]
fn no_leader_ever_undoes_what_its_superseder_wrote() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Sum::default();
    for seed in seeds {
        let zone = Arc::new(Zone::default());
        let sum = simulated(seed, &zone);
        assert_eq!(zone.wrongs(), [""; 0], "seed {seed}");
        let expected = ["192.0.2.1", "192.0.2.2"];
        let kept = match gives_up(seed) {
            true => vec!["www.test"],
            false => vec!["www.test", "each.test"],
        };
        if gives_up(seed) {
            assert_eq!(zone.values("each.test"), [""; 0], "seed {seed}");
            assert_eq!(zone.owner("each.test"), None, "seed {seed}");
        }
        for name in kept {
            assert_eq!(zone.values(name), expected, "seed {seed}, {name}");
            let owner = zone.owner(name).unwrap();
            assert_eq!(owner.term, Term(sum.leaders), "seed {seed}");
        }
        all.writes += sum.writes;
        all.rounds += sum.rounds;
        all.stopped += sum.stopped;
    }
    println!(
        "{} rounds, {} names written, {} rounds met a rival",
        all.rounds, all.writes, all.stopped
    );
    assert!(all.stopped > 0, "faults that nobody meets show nothing");
}

#[test]
fn a_provider_without_exact_deletes_is_found_out() {
    let wrongs = (0..40).filter(|seed| {
        let zone = Arc::new(Zone::lax());
        simulated(*seed, &zone);
        !zone.wrongs().is_empty()
    });
    let wrongs = wrongs.count();
    println!("{wrongs} of 40 seeds");
    assert!(wrongs > 0, "the witness sees nothing");
}

/// Whether the last leader of that seed has a name less in its spec.
fn gives_up(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// Runs one seed to its end.
fn simulated(seed: u64, zone: &Arc<Zone>) -> Sum {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(seed, zone))
}

async fn run(seed: u64, zone: &Arc<Zone>) -> Sum {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = rng.random_range(2..=5u64);
    let begun = Instant::now();
    let leaders: Vec<_> = (1..=count)
        .map(|term| {
            let access = Access::new(zone, rng.next_u64());
            let leader = Leader {
                term,
                is_last: term == count,
                gives_up: term == count && gives_up(seed),
                access,
                rng: StdRng::seed_from_u64(rng.next_u64()),
                ends: begun + FAULTS,
            };
            tokio::spawn(leader.lead())
        })
        .collect();
    let mut sum = Sum {
        leaders: count,
        ..Sum::default()
    };
    for leader in leaders {
        let (rounds, stopped) = leader.await.unwrap();
        sum.rounds += rounds;
        sum.stopped += stopped;
    }
    sum.writes = zone.writes();
    sum
}

struct Leader {
    term: u64,
    is_last: bool,
    gives_up: bool,
    access: Arc<Access>,
    rng: StdRng,
    ends: Instant,
}

impl Leader {
    /// Leads from some time on, and does not stop when it is told of another: that is what the fence is for. Gives how many
    /// rounds it made, and how many met a rival.
    async fn lead(mut self) -> (usize, usize) {
        let seed = self.rng.next_u64();
        let zones = Arc::new(OneZone(self.access.clone()));
        let mut publisher = Publisher::seeded(zones, Budget::new(5), seed);
        let mut scene = scene(&format!("n{}", self.term), self.term);
        if self.gives_up {
            scene.publication.records.pop();
        }
        let late = FAULTS.mul_f64(0.6 * self.rng.random_range(0.0..1.0));
        sleep(late).await;
        let (mut rounds, mut stopped) = (0, 0);
        loop {
            let is_over = Instant::now() >= self.ends;
            if Instant::now() >= self.ends + SETTLED {
                return (rounds, stopped);
            }
            self.befall(is_over);
            scene.claimant.has_majority = match is_over {
                true => self.is_last,
                false => self.rng.random_range(0..100) < 50,
            };
            let is_up: [bool; 3] = match is_over {
                true => [true, true, false],
                false => std::array::from_fn(|_| self.rng.random_range(0..100) < 70),
            };
            scene.nodes = nodes(&is_up);
            let round = match is_over || self.rng.random_range(0..100) < 90 {
                true => publisher.round(&scene).await,
                // Some are dropped in the middle.
                false => {
                    let limit = Duration::from_millis(self.rng.random_range(0..3000));
                    let Ok(round) = tokio::time::timeout(limit, publisher.round(&scene)).await
                    else {
                        continue;
                    };
                    round
                }
            };
            rounds += 1;
            stopped += usize::from(round.rival.is_some());
            let something = Duration::from_secs_f64(self.rng.random_range(0.2..20.0));
            sleep(round.next.min(something)).await;
        }
    }

    fn befall(&mut self, is_over: bool) {
        let mut percent = |most: u8| self.rng.random_range(0..=most);
        let faults = Faults {
            is_down: percent(100) < 8,
            are_checks_refused: false,
            lost: percent(25),
            late: percent(15),
            throttled: percent(25),
            stalls: percent(20),
            delay: Duration::from_millis(u64::from(percent(200)) * 10),
            busy: Duration::from_millis(u64::from(percent(100)) * 5),
        };
        self.access.set(match is_over {
            true => Faults {
                delay: Duration::from_millis(50),
                ..Faults::default()
            },
            false => faults,
        });
    }
}
