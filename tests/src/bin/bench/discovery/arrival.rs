//! The wait for a new server: on all nodes at once, each asked again and again on new connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hafleet_tests::Fleet;
use hafleet_tests::backend::Backend;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::request::ask;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::figure::{Figure, percentile_ms};
use crate::served::targets;

/// Time between two requests to one node.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// The moment at which the last node had it, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

/// A wait under way.
pub(super) struct Awaited {
    name: String,
    last: JoinHandle<Option<Arrival>>,
}

impl Awaited {
    /// Asks all nodes of `fleet` from now on, until each has given an answer of the server `name`.
    pub(super) fn on_all(fleet: &Fleet, name: &str) -> Self {
        let (targets, wanted) = (targets(fleet), name.to_owned());
        let last = fleet.outside().thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut waits = JoinSet::new();
                for target in targets {
                    waits.spawn(answers(target, wanted.clone()));
                }
                let all = waits.join_all().await;
                let all: Option<Vec<_>> = all.into_iter().collect();
                all.and_then(|times| times.into_iter().max())
            })
        });
        Self {
            name: name.to_owned(),
            last,
        }
    }

    /// When the last node had it.
    ///
    /// # Errors
    /// When that was not within [`PATIENCE`].
    pub(super) fn last(self) -> Result<Arrival, String> {
        let last = self.last.join().map_err(|_| "the wait panicked")?;
        last.ok_or_else(|| format!("{} was not served within {PATIENCE:?}", self.name))
    }
}

async fn answers(target: SocketAddr, name: String) -> Option<Arrival> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = ask(target, "/", PATIENCE).await;
        if answer.is_ok_and(|answer| answer.body == name) {
            return Some(Arrival {
                at: Instant::now(),
                wall: SystemTime::now(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
    None
}

/// A server outside that answers with `s` and its port, at whichever address of that place it is asked.
pub(super) fn server(fleet: &Fleet, port: u16) -> (Backend, String) {
    let (any, name) = (Ipv4Addr::UNSPECIFIED, format!("s{port}"));
    let server = Backend::start(fleet.outside(), (any, port).into(), &name);
    (server, name)
}

/// The figures of times that must be under `limit_ms` at the 99th percentile.
pub(super) fn figures(name: &str, times: &[Duration], limit_ms: f64, beside: &str) -> Vec<Figure> {
    let [p50, p99, most] = [50, 99, 100].map(|percent| percentile_ms(times, percent));
    let rounds = times.len();
    vec![
        Figure::plain(&format!("{name}, p50"), p50, "ms").beside(beside),
        Figure::under(&format!("{name}, p99"), p99, "ms", limit_ms)
            .beside(format!("{rounds} times, max {most:.0} ms")),
    ]
}
