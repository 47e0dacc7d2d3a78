//! How long `hafleet check rolling-restart` takes over real nodes with real HAProxies, from the start of the command to
//! its end, and how large the answer is.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hafleet_tests::backend::Backend;
use hafleet_tests::machine::hafleet;
use hafleet_tests::{Fleet, wait_for};

use crate::figure::{Figure, percentile_ms, progress};
use crate::neighbours;

/// How long the fleet may take until all servers are seen up.
const LIMIT: Duration = Duration::from_secs(300);

/// How large a fleet is asked.
pub(super) struct Size {
    pub(super) nodes: u8,
    pub(super) servers: usize,
}

/// A backend of so many servers, all of which are `server` and are checked now and then.
fn spec(server: &Backend, servers: usize) -> String {
    let mut text = String::from(
        "version: 1\nfrontends:\n  - name: web\n    binds:\n      - { address: node, port: 8080 }\n    default_backend: app\n\
         backends:\n  - name: app\n    health_check: { type: tcp, interval: 30s }\n    servers:\n",
    );
    let (address, port) = (server.address().ip(), server.address().port());
    for number in 1..=servers {
        writeln!(
            text,
            "      - {{ name: server{number}, address: {address}, port: {port} }}"
        )
        .expect("text takes text");
    }
    text
}

/// Asks again and again; each answer has to come within `limit_ms`.
pub(super) fn measure(size: &Size, rounds: u32, limit_ms: f64) -> Vec<Figure> {
    let Size { nodes, servers } = size;
    eprintln!("questions to {nodes} nodes with {servers} servers each");
    let name = |what: &str| format!("{what} over {nodes} nodes with {servers} servers each");
    let time = name("check rolling-restart, p99");
    if let Some(remedy) = neighbours::remedy_for(*nodes) {
        return vec![Figure::missing(&time, "ms", &remedy)];
    }
    let fleet = Fleet::builder().nodes(*nodes).start();
    let listening = fleet.start_servers([8101]);
    let server = listening.first().expect("a server");
    let revision = fleet.apply(1, &spec(server, *servers));
    fleet.wait_converged(&revision);
    wait_for("all servers are up on all nodes", LIMIT, || {
        let finished = fleet.client_of(1).run(&["check", "rolling-restart", "app"]);
        if finished.code == Some(0) {
            Ok(())
        } else {
            Err(finished)
        }
    });
    let mut times = Vec::new();
    for round in 1..=rounds {
        times.push(ask(&fleet));
        progress("a question", round, rounds, "answered");
    }
    let answer = fleet
        .client_of(1)
        .run(&["check", "rolling-restart", "app", "--output", "json"])
        .expect_code(0);
    let kilobytes = Duration::from_micros(answer.stdout.len() as u64).as_secs_f64() * 1e3;
    vec![
        Figure::under(&time, percentile_ms(&times, 99), "ms", limit_ms).beside(format!(
            "{rounds} times, the whole process; median {:.0} ms",
            percentile_ms(&times, 50)
        )),
        Figure::under(&name("its answer, as JSON"), kilobytes, "kB", 20.0),
    ]
}

/// One question, from the start of the command to its end.
fn ask(fleet: &Fleet) -> Duration {
    let client = fleet.client_of(1);
    let mut command = Command::new(hafleet());
    command.args(["check", "rolling-restart", "app"]);
    for endpoint in &client.endpoints {
        command.args(["--endpoint", endpoint]);
    }
    if let Some(identity) = &client.identity {
        command.arg("--identity").arg(identity);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = fleet.outside().spawn(&mut command);
    let status = child.wait().expect("a child can be waited for");
    let took = begun.elapsed();
    assert!(status.success(), "the answer changed: {status}");
    took
}
