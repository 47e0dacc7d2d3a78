//! Reloads under load: what each way loses and how long it makes people wait, plain `haproxy -sf` beside ours.
//!
//! All ways take turns, each turn with a fresh HAProxy in fresh namespaces. A load with an open loop asks on a new
//! connection each time, and beside it clients that keep theirs. Reloads follow each other so closely that every request
//! of a turn falls into the second after one; a turn without reloads is there to compare with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hafleet_model::report::Change;
use hafleet_tests::kept::{KeptClients, KeptOutcome};
use hafleet_tests::load::{Load, Outcome, Plan};
use hafleet_tests::request::Fault;

use super::call::{Ask, Helper};
use super::plain::PlainHaproxy;
use super::site::{RoundTrip, Site, spec};
use crate::figure::{Figure, percentile_ms, progress};
use crate::reloads::{count, pass};

/// New connections a second, one request each.
pub(crate) const RATE: u32 = 1500;
/// Clients that keep their connections, and the time between two requests of one.
const KEPT: (u32, Duration) = (20, Duration::from_millis(50));
/// Turns of each way.
const TURNS: u32 = 5;
/// How long the load runs before the first reload.
const BEFORE: Duration = Duration::from_millis(500);
/// How long it runs after the last.
const AFTER: Duration = Duration::from_secs(1);

/// How one configuration gives way to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// It does not: to compare with.
    Still,
    /// The manual's way.
    Plain,
    /// A strategy of ours, by its name in the settings.
    Ours(&'static str),
}

const WAYS: [Way; 7] = [
    Way::Still,
    Way::Plain,
    Way::Ours("pass-fds"),
    Way::Ours("migrate"),
    Way::Ours("hold-syn"),
    Way::Ours("drop-syn"),
    Way::Ours("none"),
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Still => "no reload",
            Self::Plain => "plain -sf",
            Self::Ours(name) => name,
        }
    }

    /// Whether it promises to lose nothing.
    fn is_lossless(self) -> bool {
        matches!(self, Self::Ours(name) if name != "none")
    }

    /// Milliseconds that it may add to the 99.9th percentile.
    fn may_add(self, settle: Duration) -> Option<f64> {
        match self {
            Self::Ours("pass-fds" | "migrate") => Some(20.0),
            Self::Ours("hold-syn") => Some(settle.as_secs_f64() * 1e3 + 10.0),
            _ => None,
        }
    }
}

/// From one reload to the next.
fn apart(round_trip: RoundTrip) -> Duration {
    match round_trip {
        RoundTrip::None => Duration::from_millis(400),
        RoundTrip::Far => Duration::from_millis(750),
    }
}

/// What the turns of one way came to.
#[derive(Debug, Default)]
struct Tally {
    new: Outcome,
    kept: KeptOutcome,
    /// The 99.9th percentile of each turn's latencies.
    slowest: Vec<Duration>,
    reloads: Vec<Duration>,
    settle: Duration,
    handover: String,
}

/// Reloads so many times with each way, at each round trip.
pub(crate) fn measure(reloads: u32) -> Vec<Figure> {
    let mut tallies: BTreeMap<(usize, Way), Result<Tally, String>> = BTreeMap::new();
    let turns = TURNS.min(reloads);
    let total = turns * u32::try_from(WAYS.len() * 2).unwrap_or(u32::MAX);
    let (mut done, before) = (0, Pressure::now());
    for turn in 0..turns {
        let share = reloads * (turn + 1) / turns - reloads * turn / turns;
        for (place, round_trip) in RoundTrip::BOTH.into_iter().enumerate() {
            for way in WAYS {
                let tally = tallies.entry((place, way)).or_insert(Ok(Tally::default()));
                if let Ok(so_far) = tally
                    && let Err(why) = take_turn(way, round_trip, share, so_far)
                {
                    *tally = Err(why);
                }
                done += 1;
                let last = format!("{}, {}: {}", way.name(), round_trip.name(), words(tally));
                eprintln!("  {last}");
                progress("reloads under load, turns", done, total, way.name());
            }
        }
    }
    let contention = before.as_ref().and_then(contention);
    let places = RoundTrip::BOTH.into_iter().enumerate();
    let figures =
        places.flat_map(|(place, round_trip)| figures(&tallies, place, round_trip, reloads));
    contention.into_iter().chain(figures).collect()
}

/// One turn, counted into `tally`.
fn take_turn(
    way: Way,
    round_trip: RoundTrip,
    reloads: u32,
    tally: &mut Tally,
) -> Result<(), String> {
    let site = Site::new(round_trip);
    let mut haproxy = Haproxy::start(&site, way)?;
    let targets = Site::targets();
    let kept = KeptClients::start(&site.clients, targets[0], KEPT.0, KEPT.1);
    let rate = RATE;
    let load = Load::start(&site.clients, Plan { targets, rate });
    pass(BEFORE);
    let apart = apart(round_trip);
    if way == Way::Still {
        pass(apart * reloads / 2);
    } else {
        for number in 1..=reloads {
            let begun = Instant::now();
            tally.handover = haproxy.reload(&spec(&format!("reload-{number}"), ""))?;
            tally.reloads.push(begun.elapsed());
            pass(apart.saturating_sub(begun.elapsed()));
        }
    }
    pass(AFTER);
    let new = load.stop();
    tally.slowest.push(new.percentile(99.9));
    tally.new.add(&new);
    tally.kept.add(&kept.stop());
    tally.settle = haproxy.settle();
    Ok(())
}

/// One that can be reloaded.
enum Haproxy<'s> {
    Plain(PlainHaproxy<'s>),
    Ours(Helper, Duration),
}

impl<'s> Haproxy<'s> {
    fn start(site: &'s Site, way: Way) -> Result<Self, String> {
        let first = spec("reload-0", "");
        let strategy = match way {
            Way::Plain => return PlainHaproxy::start(site, &first).map(Self::Plain),
            Way::Still => "auto",
            Way::Ours(name) => name,
        };
        let (mut helper, settle) = site.helper(strategy)?;
        helper.apply(&Ask::Apply { spec: first })?;
        Ok(Self::Ours(helper, settle))
    }

    /// Reloads, and says how it handed over.
    fn reload(&mut self, spec: &str) -> Result<String, String> {
        match self {
            Self::Plain(haproxy) => haproxy.reload(spec).map(|()| String::new()),
            Self::Ours(helper, _) => {
                let spec = spec.to_owned();
                let applied = helper.apply(&Ask::Apply { spec })?;
                match applied.change {
                    Change::Reload => Ok(applied.handover),
                    other => Err(format!(
                        "it was no reload but {other:?}: {}",
                        applied.reason
                    )),
                }
            }
        }
    }

    fn settle(&self) -> Duration {
        match self {
            Self::Plain(_) => Duration::ZERO,
            Self::Ours(_, settle) => *settle,
        }
    }
}

fn words(tally: &Result<Tally, String>) -> String {
    match tally {
        Ok(tally) => format!(
            "{}; keep-alive: {} of {} lost",
            tally.new,
            tally.kept.lost(),
            tally.kept.asked
        ),
        Err(why) => format!("could not be measured: {why}"),
    }
}

fn figures(
    tallies: &BTreeMap<(usize, Way), Result<Tally, String>>,
    place: usize,
    round_trip: RoundTrip,
    reloads: u32,
) -> Vec<Figure> {
    let still = tallies.get(&(place, Way::Still));
    let still = still.and_then(|tally| tally.as_ref().ok());
    let mut all = Vec::new();
    for way in WAYS {
        let name = format!("{}, {}", way.name(), round_trip.name());
        match &tallies[&(place, way)] {
            Err(why) => all.push(Figure::missing(
                &format!("failed new connections, {name}"),
                "of all",
                why,
            )),
            Ok(tally) => {
                all.extend(losses(way, &name, tally, reloads));
                all.extend(still.map(|still| waiting(way, &name, tally, still, round_trip)));
            }
        }
    }
    all
}

/// New connections that failed, by kind, and requests that clients with a connection lost.
fn losses(way: Way, name: &str, tally: &Tally, reloads: u32) -> Vec<Figure> {
    let figure = |what: &str, value| {
        let name = format!("{what}, {name}");
        if way.is_lossless() {
            Figure::exactly(&name, count(value), "of all", 0.0)
        } else {
            Figure::plain(&name, count(value), "of all")
        }
    };
    let mut beside = format!("of {}{}", tally.new.sent, kinds(&tally.new.faults));
    if !tally.reloads.is_empty() {
        let p50 = percentile_ms(&tally.reloads, 50);
        beside += &format!("; {reloads} reloads of {p50:.0} ms");
    }
    if !tally.handover.is_empty() {
        beside += &format!("; {}", tally.handover);
    }
    let new = figure("failed new connections", tally.new.failed()).beside(beside);
    let by_kind = tally.new.faults.iter().map(|(fault, number)| {
        let name = format!("of these {fault}, {name}");
        Figure::plain(&name, count(*number), "of all")
    });
    let kept = figure("lost requests of keep-alive clients", tally.kept.lost()).beside(format!(
        "of {} on {} connections{}",
        tally.kept.asked,
        tally.kept.opened,
        kinds(&tally.kept.faults)
    ));
    [new].into_iter().chain(by_kind).chain([kept]).collect()
}

/// The latency that all but a thousandth of the requests did not exceed, against that without reloads: in each round of
/// turns, and of these the median, so that what else the machine does in some turns is not taken for reloads.
fn waiting(way: Way, name: &str, tally: &Tally, still: &Tally, round_trip: RoundTrip) -> Figure {
    let ms = |percent| tally.new.percentile(percent).as_secs_f64() * 1e3;
    let beside = format!(
        "of all turns: p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ms",
        ms(50.0),
        ms(99.0),
        ms(99.9),
        ms(100.0)
    );
    if way == Way::Still {
        let name = format!("latency p99.9, {name}");
        return Figure::plain(&name, percentile_ms(&tally.slowest, 50), "ms").beside(beside);
    }
    let name = format!("latency p99.9 more than without reloads, {name}");
    let rounds = tally.slowest.iter().zip(&still.slowest);
    let mut more: Vec<_> = rounds
        .map(|(with, without)| (with.as_secs_f64() - without.as_secs_f64()) * 1e3)
        .collect();
    more.sort_by(f64::total_cmp);
    let more = more[more.len() / 2];
    let limit = way.may_add(tally.settle);
    match limit.filter(|_| round_trip == RoundTrip::Far) {
        Some(limit) => Figure::under(&name, more, "ms", limit),
        None => Figure::plain(&name, more, "ms"),
    }
    .beside(beside)
}

/// For how much of the time since `before` something on the machine had to wait for a processor.
fn contention(before: &Pressure) -> Option<Figure> {
    let now = Pressure::now()?;
    let waited = now.waited.saturating_sub(before.waited);
    let share = waited.as_secs_f64() / (now.at - before.at).as_secs_f64() * 100.0;
    Some(
        Figure::plain("time in which something waited for a processor", share, "%")
            .beside("during the reloads below, and of the whole machine"),
    )
}

/// What the kernel counts of waiting for processors (`/proc/pressure/cpu`), where it does.
struct Pressure {
    at: Instant,
    waited: Duration,
}

impl Pressure {
    fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
        let total = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("total="));
        Some(Self {
            at: Instant::now(),
            waited: Duration::from_micros(total?.parse().ok()?),
        })
    }
}

/// How requests failed, after what they are counted of.
pub(crate) fn kinds(faults: &BTreeMap<Fault, u64>) -> String {
    let kinds = faults
        .iter()
        .map(|(fault, count)| format!("{count} {fault}"));
    let kinds: Vec<_> = kinds.collect();
    if kinds.is_empty() {
        return String::new();
    }
    format!(": {}", kinds.join(", "))
}
