//! A server that is drained and removed while it has requests under way.

use std::net::SocketAddr;
use std::time::Duration;

use hafleet_haproxy::RuntimeSocket;
use hafleet_model::report::Change;
use hafleet_tests::backend::Backend;
use hafleet_tests::request::{Answer, Fault, ask};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::call::Ask;
use super::site::{RoundTrip, Site, TRAFFIC_PORT};
use crate::figure::Figure;
use crate::reloads::count;

/// Requests under way when the server is drained.
const UNDER_WAY: u64 = 500;
/// Requests that come after that.
const AFTER: u64 = 50;
/// How long the server takes for each.
const WORK: Duration = Duration::from_secs(3);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(15);

const LEAVING: ([u8; 4], u16) = ([127, 0, 0, 1], 9002);
const STAYING: ([u8; 4], u16) = ([127, 0, 0, 1], 9003);

/// Drains one server.
pub(crate) fn measure() -> Vec<Figure> {
    let name = format!("requests lost, a server drained and removed with {UNDER_WAY} under way");
    match drained() {
        Ok((lost, beside)) => {
            vec![Figure::exactly(&name, count(lost), "of all", 0.0).beside(beside)]
        }
        Err(why) => vec![Figure::missing(&name, "of all", &why)],
    }
}

/// Requests that were lost, and words on all.
fn drained() -> Result<(u64, String), String> {
    eprintln!("a server drained with {UNDER_WAY} requests under way");
    allow_many_files();
    let site = Site::new(RoundTrip::None);
    let _leaving = Backend::slow(&site.node, LEAVING.into(), "leaving", WORK);
    let _staying = Backend::start(&site.node, STAYING.into(), "staying");
    let (mut helper, _) = site.helper("auto")?;
    let both = spec(&[
        ("leaving", LEAVING.into(), 100),
        ("staying", STAYING.into(), 0),
    ]);
    let spread = spec(&[
        ("leaving", LEAVING.into(), 100),
        ("staying", STAYING.into(), 100),
    ]);
    let one = spec(&[("staying", STAYING.into(), 100)]);
    helper.apply(&Ask::Apply { spec: both })?;

    let target = Site::targets()[0];
    let old = site.clients.thread(move || requests(target, UNDER_WAY));
    let socket = RuntimeSocket::new(site.home().join("run/haproxy-1.sock"));
    wait_under_way(&socket)?;
    let drain = helper.apply(&Ask::Drain {
        spec: spread,
        backend: "app".into(),
        server: "leaving".into(),
    })?;
    let new = site.clients.run(|| requests(target, AFTER));
    let removed = helper.apply(&Ask::Apply { spec: one })?;
    let newer = site.clients.run(|| requests(target, AFTER));
    let is_finished = old.is_finished();
    let old = old.join().map_err(|_| "the clients panicked")?;

    let lost = |answers: &[Result<Answer, Fault>], by: &str| {
        let whole =
            |answer: &&Result<Answer, Fault>| answer.as_ref().is_ok_and(|answer| answer.body == by);
        answers.len() - answers.iter().filter(whole).count()
    };
    let all = [
        lost(&old, "leaving"),
        lost(&new, "staying"),
        lost(&newer, "staying"),
    ];
    if is_finished || [drain.change, removed.change] != [Change::Runtime; 2] {
        return Err(format!(
            "not as it was meant to be: drained by {:?} ({}), removed by {:?} ({}), all answered before: {is_finished}",
            drain.change, drain.reason, removed.change, removed.reason
        ));
    }
    let beside = format!(
        "{} of those under way, {} of {AFTER} while it drained, {} of {AFTER} after it was removed; {:.0} and {:.0} ms",
        all[0],
        all[1],
        all[2],
        drain.took.as_secs_f64() * 1e3,
        removed.took.as_secs_f64() * 1e3
    );
    Ok((all.iter().sum::<usize>() as u64, beside))
}

fn spec(servers: &[(&str, SocketAddr, u16)]) -> String {
    let servers = servers.iter().map(|(name, at, weight)| {
        let (address, port) = (at.ip(), at.port());
        format!("{{name: {name}, address: {address}, port: {port}, weight: {weight}}}")
    });
    let servers: Vec<_> = servers.collect();
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: {TRAFFIC_PORT}}}], default_backend: app}}\n\
         backends:\n- {{name: app, servers: [{}]}}\n",
        servers.join(", ")
    )
}

/// So many requests at once, on a connection each.
fn requests(target: SocketAddr, number: u64) -> Vec<Result<Answer, Fault>> {
    runtime().block_on(async {
        let mut all = JoinSet::new();
        for _ in 0..number {
            all.spawn(ask(target, "/", LIMIT));
        }
        all.join_all().await
    })
}

fn wait_under_way(socket: &RuntimeSocket) -> Result<(), String> {
    runtime().block_on(async {
        let all = async {
            loop {
                let stat = socket.stat().await.map_err(|error| error.to_string())?;
                let server = stat.server("app", "leaving");
                if server.and_then(|server| server.sessions) == Some(UNDER_WAY) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = tokio::time::timeout(WORK, all).await;
        limit.unwrap_or_else(|_| Err("the requests were not under way in time".to_owned()))
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Clients and servers are in this process: it needs more files than most shells allow.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, most);
}
