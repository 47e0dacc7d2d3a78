//! Reloads whose new process cannot bind: nobody may notice but the one who asked.
//!
//! A port is taken in turn by a program that listens, which is seen before anything is started, and by one that has only
//! bound it, which only the new process finds out. Under plain `-sf` the old process pauses while the new one tries again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use hafleet_tests::Namespace;
use hafleet_tests::load::{Load, Outcome, Plan};
use rustix::net::{AddressFamily, SocketType, bind, socket};

use super::call::Ask;
use super::handovers::{RATE, kinds};
use super::plain::PlainHaproxy;
use super::site::{RoundTrip, Site, spec};
use crate::figure::{Figure, progress};
use crate::reloads::{count, pass};

const LISTENED: u16 = 8081;
const BOUND: u16 = 8082;
/// Reloads with plain `-sf`, each of which takes some seconds.
const PLAIN: u32 = 3;
/// Between two of them.
const APART: Duration = Duration::from_millis(200);

/// Fails so many times with ours, and a few times with plain `-sf`.
pub(crate) fn measure(rounds: u32) -> Vec<Figure> {
    let name = format!("failed new connections, {rounds} reloads that cannot bind, RTT 20 ms");
    let ours = match ours(rounds) {
        Ok((outcome, amiss)) => vec![
            Figure::exactly(&name, count(outcome.failed()), "of all", 0.0).beside(of(&outcome)),
            Figure::exactly(
                "of these, the last good file or process was not kept",
                f64::from(amiss),
                "of all",
                0.0,
            ),
        ],
        Err(why) => vec![Figure::missing(&name, "of all", &why)],
    };
    let name = format!("failed new connections, {PLAIN} such reloads with plain -sf");
    let plain = match plain() {
        Ok(outcome) => Figure::plain(&name, count(outcome.failed()), "of all").beside(of(&outcome)),
        Err(why) => Figure::missing(&name, "of all", &why),
    };
    ours.into_iter().chain([plain]).collect()
}

fn of(outcome: &Outcome) -> String {
    format!("of {}{}", outcome.sent, kinds(&outcome.faults))
}

fn ours(rounds: u32) -> Result<(Outcome, u32), String> {
    let site = Site::new(RoundTrip::Far);
    let _taken = Taken::new(&site.node);
    let (mut helper, _) = site.helper("auto")?;
    let good = spec("good", "");
    let started = helper.apply(&Ask::Apply { spec: good })?;
    let config = site.home().join("haproxy.cfg");
    let before = fs::read(&config).map_err(|error| error.to_string())?;
    let load = start(&site);
    let mut amiss = 0;
    for round in 1..=rounds {
        let port = if round % 2 == 0 { LISTENED } else { BOUND };
        let refused = helper.apply(&Ask::Apply { spec: bad(port) });
        let words = match refused {
            Ok(applied) => return Err(format!("it came to be served: {applied:?}")),
            Err(words) => words,
        };
        pass(APART);
        let is_same = fs::read(&config).is_ok_and(|now| now == before);
        if !is_same || haproxies(&site.node) != [started.pid] {
            amiss += 1;
        }
        let first = words.lines().next().unwrap_or_default();
        progress("reloads that cannot bind", round, rounds, first);
    }
    Ok((load.stop(), amiss))
}

fn plain() -> Result<Outcome, String> {
    let site = Site::new(RoundTrip::Far);
    let _taken = Taken::new(&site.node);
    let haproxy = PlainHaproxy::start(&site, &spec("good", ""))?;
    let load = start(&site);
    for round in 1..=PLAIN {
        pass(APART);
        if haproxy.reload(&bad(BOUND)).is_ok() {
            return Err("it came to be served".to_owned());
        }
        progress("the same with plain -sf", round, PLAIN, "it was refused");
    }
    pass(APART);
    Ok(load.stop())
}

fn start(site: &Site) -> Load {
    let targets = Site::targets();
    Load::start(
        &site.clients,
        Plan {
            targets,
            rate: RATE,
        },
    )
}

/// A spec that wants a port which is taken.
fn bad(port: u16) -> String {
    let more = format!("- {{name: more, binds: [{{port: {port}}}], default_backend: app}}\n");
    spec("bad", &more)
}

fn haproxies(namespace: &Namespace) -> Vec<u32> {
    let all = namespace.processes().into_iter();
    let all = all.filter(|process| process.program == "haproxy");
    all.map(|process| process.pid).collect()
}

/// Programs that have the ports.
struct Taken {
    _listened: TcpListener,
    _bound: OwnedFd,
}

impl Taken {
    fn new(namespace: &Namespace) -> Self {
        namespace.run(|| {
            let at = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            let bound = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
            bind(&bound, &at(BOUND)).expect("a port that nobody has");
            Self {
                _listened: TcpListener::bind(at(LISTENED)).expect("a port that nobody has"),
                _bound: bound,
            }
        })
    }
}
