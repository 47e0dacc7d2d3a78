//! A drained node is safe to stop when `--wait` says so, and not before: out of DNS, and without clients.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hafleet_api::v1;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::machine::hafleet;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

/// `node drain --wait` on its way.
struct Waiting {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

#[expect(clippy::expect_used, reason = "a test that cannot go on has to say so")]
impl Waiting {
    fn begin(fleet: &Fleet, words: &[&str]) -> Self {
        let client = fleet.client();
        let mut command = Command::new(hafleet());
        command.args(["node", "drain"]).args(words);
        for endpoint in &client.endpoints {
            command.args(["--endpoint", endpoint]);
        }
        if let Some(identity) = &client.identity {
            command.arg("--identity").arg(identity);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let mut child = match client.namespace {
            Some(namespace) => namespace.spawn(&mut command),
            None => command.spawn().expect("hafleet starts"),
        };
        let said = child.stderr.take().expect("it has a standard error");
        Self {
            child,
            said: BufReader::new(said),
        }
    }

    /// Reads on until it says `words`.
    #[track_caller]
    fn wait_said(&mut self, words: &str) {
        let mut all = String::new();
        while !all.contains(words) {
            let read = self.said.read_line(&mut all).expect("it can be read");
            assert!(read > 0, "it ended without {words:?}: {all}");
        }
    }

    fn is_waiting(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }

    /// The exit status, and what else it says.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).expect("it can be read");
        let status = self.child.wait().expect("it is a child");
        (status.code(), rest)
    }
}

fn connections(fleet: &Fleet, number: usize) -> Option<u64> {
    let id = fleet.node(number).id().to_owned();
    let words = ["node", "show", &id, "--output", "json"];
    let detail: v1::NodeDetail = fleet.client().run(&words).expect_code(0).json();
    detail.current_connections
}

#[track_caller]
fn wait_connections(fleet: &Fleet, number: usize, wanted: u64) {
    wait_for("connections are counted", PATIENCE, || {
        match connections(fleet, number) {
            Some(count) if count == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// A client of node `number` that keeps its connection.
#[expect(clippy::expect_used, reason = "a test that cannot go on has to say so")]
fn connect(fleet: &Fleet, number: usize) -> TcpStream {
    let target = fleet.node(number).traffic();
    let connected = fleet.outside().run(|| TcpStream::connect(target));
    let stream = connected.expect("HAProxy listens");
    wait_for(
        "the connection is counted",
        PATIENCE,
        || match connections(fleet, number) {
            Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    stream
}

#[test]
fn a_drain_waits_for_clients_and_gives_up_at_its_deadline() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let number = fleet.follower();
    let id = fleet.node(number).id().to_owned();
    wait_connections(&fleet, number, 0);
    let kept = connect(&fleet, number);

    let begun = Instant::now();
    let late = fleet
        .client()
        .run(&["node", "drain", &id, "--wait", "2s", "-m", "kernel"]);
    let late = late.expect_code(4);
    late.expect_complaint(&[
        "after 2s it is not safe to stop the node",
        "publishes nothing in DNS",
        "1 connection is left",
    ]);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());

    let mut waiting = Waiting::begin(&fleet, &[&id, "--wait", "60s"]);
    waiting.wait_said("1 connection is left");
    assert!(waiting.is_waiting());
    drop(kept);
    let (code, said) = waiting.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no connections are left"), "{said}");

    // It is drained already, and nobody is there: there is nothing to wait for.
    let words = ["node", "drain", &id, "--wait", "60s", "--output", "json"];
    let again = fleet.client().run(&words).expect_code(0);
    let written: v1::WriteOverrideResponse = again.json();
    assert!(written.committed, "{again}");

    // Without HAProxy there are no clients either.
    fleet.node(number).haproxy().kill();
    fleet
        .client()
        .run(&["node", "drain", &id, "--wait", "60s"])
        .expect_code(0);
}

#[test]
fn a_node_that_does_not_answer_is_not_said_to_be_safe_to_stop() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let number = fleet.follower();
    let id = fleet.node(number).id().to_owned();
    let other = fleet.leader();
    fleet.kill_agent(number);
    let late = fleet
        .client_of(other)
        .run(&["node", "drain", &id, "--wait", "2s"]);
    let late = late.expect_code(4);
    late.expect_complaint(&["connections are not known"]);
}
