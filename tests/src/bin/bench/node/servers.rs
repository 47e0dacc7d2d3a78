//! Many servers: one more while HAProxy runs, and what ten thousand cost.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hafleet_model::report::Change;
use hafleet_tests::backend::Backend;
use hafleet_tests::{Fleet, spec};

use super::call::{Answer, Applied, Ask, Helper};
use super::site::{RoundTrip, Site, TRAFFIC_PORT};
use crate::figure::{Figure, percentile_ms, progress};
use crate::reloads::pass;

/// The body by which the new server is known.
const NEW: &str = "new";
const NEW_SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 9010);
/// How long an agent settles before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);

/// Adds a server `rounds` times, and plans `plans` times.
pub(crate) fn measure(rounds: u32, plans: u32) -> Vec<Figure> {
    let added = one_more(rounds).unwrap_or_else(|why| {
        let name = "one server more in a backend of 1,000, plan to served, p50";
        vec![Figure::missing(name, "ms", &why)]
    });
    let planned = ten_thousand(plans).unwrap_or_else(|why| {
        let name = "10,000 servers: render and plan, p50";
        vec![Figure::missing(name, "ms", &why)]
    });
    [added, planned, vec![memory()]].concat()
}

/// In turns: one server more without a reload, and the same file with one. The servers that are there before have a weight
/// of 0, so that the first answer of all is the new server's.
fn one_more(rounds: u32) -> Result<Vec<Figure>, String> {
    let site = Site::new(RoundTrip::None);
    let _new = Backend::start(&site.node, NEW_SERVER.into(), NEW);
    let (mut helper, _) = site.helper("auto")?;
    let (mut running, mut reloaded) = (Vec::new(), Vec::new());
    let (mut applies, mut why) = (Vec::new(), String::new());
    helper.apply(&Ask::Apply {
        spec: thousand("0", false),
    })?;
    for round in 1..=rounds {
        let (before, after) = ((round - 1).to_string(), round.to_string());
        let added = add(&mut helper, &before, &before)?;
        if added.change != Change::Runtime {
            why = format!("; not without a reload: {}", added.reason);
        }
        running.push(added.served);
        applies.push(added.took);
        let with_reload = add(&mut helper, &before, &after)?;
        if with_reload.change != Change::Reload {
            return Err(format!("no reload but {:?}", with_reload.change));
        }
        reloaded.push(with_reload.served);
        let last = format!("{:.1} ms", added.served.as_secs_f64() * 1e3);
        progress("one server more in 1,000", round, rounds, &last);
    }
    let [p50, p99] = [50, 99].map(|percent| percentile_ms(&running, percent));
    let reload = percentile_ms(&reloaded, 50);
    let apply = percentile_ms(&applies, 50);
    let mut figure = Figure::under(
        "one server more in a backend of 1,000, plan to served, p50",
        p50,
        "ms",
        20.0,
    );
    figure.ok &= why.is_empty();
    Ok(vec![
        figure.beside(format!(
            "p99 {p99:.1} ms; the whole apply {apply:.1} ms; {rounds} times{why}"
        )),
        Figure::plain(
            "the same file with a reload, plan to served, p50",
            reload,
            "ms",
        )
        .beside(format!("p99 {:.1} ms", percentile_ms(&reloaded, 99))),
        Figure::over("times faster than that reload", reload / p50, "times", 10.0),
    ])
}

/// Takes the new server away, and brings it back.
fn add(helper: &mut Helper, before: &str, after: &str) -> Result<Applied, String> {
    helper.apply(&Ask::Apply {
        spec: thousand(before, false),
    })?;
    helper.apply(&Ask::Served {
        spec: thousand(after, true),
        address: (Ipv4Addr::LOCALHOST, TRAFFIC_PORT).into(),
        body: NEW.to_owned(),
    })
}

/// A backend of 1,000 servers without weight, and perhaps the new one. Another marker needs a reload.
fn thousand(marker: &str, is_new_there: bool) -> String {
    let mut text = frontend(marker, "app0");
    backend(&mut text, 0, 0);
    if is_new_there {
        let (address, port) = (Ipv4Addr::from(NEW_SERVER.0), NEW_SERVER.1);
        writeln!(
            text,
            "  - {{name: {NEW}, address: {address}, port: {port}, weight: 100}}"
        )
        .expect("text takes text");
    }
    text
}

fn frontend(marker: &str, backend: &str) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: {TRAFFIC_PORT}}}], default_backend: {backend}, \
         raw: [http-response set-header x-marker {marker}]}}\nbackends:\n"
    )
}

/// A backend of 1,000 servers that are not there.
fn backend(text: &mut String, number: u8, weight: u16) {
    writeln!(text, "- name: app{number}\n  servers:").expect("text takes text");
    for server in 0..1000_u16 {
        let [high, low] = server.to_be_bytes();
        let address = Ipv4Addr::new(127, number + 1, high, low);
        writeln!(
            text,
            "  - {{name: s{server}, address: {address}, port: 9000, weight: {weight}}}"
        )
        .expect("text takes text");
    }
}

fn ten_thousand(rounds: u32) -> Result<Vec<Figure>, String> {
    eprintln!("10,000 servers in 10 backends");
    let site = Site::new(RoundTrip::None);
    let (mut helper, _) = site.helper("auto")?;
    let all = |weight_of_last| {
        let mut text = frontend("0", "app0");
        for number in 0..10 {
            backend(&mut text, number, 100);
        }
        writeln!(
            text,
            "  - {{name: last, address: 127.0.0.2, port: 9000, weight: {weight_of_last}}}"
        )
        .expect("text takes text");
        text
    };
    helper.apply(&Ask::Apply { spec: all(100) })?;
    let planned = helper.ask(&Ask::Plan {
        spec: all(50),
        rounds,
    });
    let Answer::Planned { change, times } = planned else {
        return Err(format!("{planned:?}"));
    };
    if change != Change::Runtime {
        return Err(format!("a change of a weight is {change:?}"));
    }
    let (renders, plans): (Vec<_>, Vec<_>) = times.iter().copied().unzip();
    let both: Vec<_> = times.iter().map(|(render, plan)| *render + *plan).collect();
    let beside = format!(
        "p99 {:.1} ms; render {:.1}, ask and plan {:.1} ms at p50",
        percentile_ms(&both, 99),
        percentile_ms(&renders, 50),
        percentile_ms(&plans, 50)
    );
    let name = "10,000 servers: render and plan, p50";
    Ok(vec![
        Figure::under(name, percentile_ms(&both, 50), "ms", 50.0).beside(beside),
    ])
}

/// The memory of an agent, the only one of its fleet, that has brought its HAProxy to a spec of 10,000 servers.
fn memory() -> Figure {
    eprintln!("an agent with 10,000 servers");
    let fleet = Fleet::builder().nodes(1).start();
    let servers: Vec<SocketAddr> = (0..10_000)
        .map(|number| ([10, 77, 1, 1], 10_000 + number).into())
        .collect();
    let revision = fleet.apply(1, &spec::marked("many", &servers));
    fleet.wait_converged(&revision);
    pass(SETTLE);
    let agent = fleet.node(1).agent_process();
    #[expect(
        clippy::cast_precision_loss,
        reason = "sizes of processes are far below 2^52 bytes"
    )]
    let bytes = agent.resident_bytes() as f64;
    Figure::under(
        "10,000 servers: agent's resident memory",
        bytes / 1e6,
        "MB",
        100.0,
    )
}
