//! Rolling deployments over a fleet: nobody is sent to a server while its command runs, a failure stops it, and it goes on
//! where it stopped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hafleet_api::v1;
use hafleet_tests::backend::Backend;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::load::{Load, Plan};
use hafleet_tests::machine::hafleet;
use hafleet_tests::{Finished, Fleet, can_make_namespaces, wait_for};
use serde_json::Value;

/// A fleet of three whose backend `app` has four servers that are checked, each called as it answers.
struct Rolled {
    fleet: Fleet,
    servers: Vec<Backend>,
    state: PathBuf,
}

/// Short times, for checks every 100 ms.
const TIMES: [&str; 6] = [
    "--settle",
    "400ms",
    "--drain-timeout",
    "20s",
    "--up-timeout",
    "30s",
];

impl Rolled {
    fn serving() -> Self {
        let fleet = Fleet::builder().start();
        let servers = fleet.start_servers(8101..8105);
        let mut spec = String::from(
            "version: 1\nfrontends:\n  - name: web\n    binds:\n      - { address: node, port: 8080 }\n    default_backend: app\n\
             backends:\n  - name: app\n    health_check: { type: http, path: /, interval: 100ms }\n    servers:\n",
        );
        for server in &servers {
            let (address, port) = (server.address().ip(), server.address().port());
            spec += &format!("      - {{ name: s{port}, address: {address}, port: {port} }}\n");
        }
        let revision = fleet.apply(1, &spec);
        fleet.wait_converged(&revision);
        let state = fleet.scratch().directory("state");
        let rolled = Self {
            fleet,
            servers,
            state,
        };
        wait_for("all servers are up", PATIENCE, || {
            let finished = rolled.fleet.client().run(&["check", "up", "app"]);
            match finished.code {
                Some(0) => Ok(()),
                _ => Err(finished),
            }
        });
        rolled
    }

    /// Runs `roll app` with these words.
    fn roll(&self, words: &[&str]) -> Finished {
        self.run(&[&["app"], &TIMES[..], words].concat())
    }

    /// Runs `roll`. Who is asked stands before its words, since all that follows `--` is the command's.
    fn run(&self, words: &[&str]) -> Finished {
        let client = self.fleet.client();
        let mut command = Command::new(hafleet());
        command.arg("roll").env("XDG_STATE_HOME", &self.state);
        for endpoint in &client.endpoints {
            command.args(["--endpoint", endpoint]);
        }
        if let Some(identity) = &client.identity {
            command.arg("--identity").arg(identity);
        }
        command.args(words);
        client.finish(command)
    }

    /// The servers for which a command ran, in order, as it noted them in a file called `name`.
    fn noted(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.state.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A script that notes its server in the file `name`, before `more`.
    fn script(&self, name: &str, more: &str) -> String {
        let file = self.state.join(name);
        format!("echo $HAFLEET_SERVER >> {}; {more}", file.display())
    }

    fn by_hand(&self) -> Vec<v1::ServerOverride> {
        let words = ["overrides", "--output", "json"];
        let list = self.fleet.client().run(&words).expect_code(0);
        list.json::<v1::ListOverridesResponse>().servers
    }

    fn load(&self) -> Load {
        let numbers = self.fleet.numbers().into_iter();
        let targets = numbers.map(|number| self.fleet.node(number).traffic());
        let plan = Plan {
            targets: targets.collect(),
            rate: 100,
        };
        Load::start(self.fleet.outside(), plan)
    }
}

fn events(finished: &Finished) -> Vec<Value> {
    let lines = finished.stdout.lines();
    let events: Result<Vec<_>, _> = lines.map(serde_json::from_str).collect();
    assert!(events.is_ok(), "an event a line: {finished}");
    events.unwrap_or_default()
}

#[test]
fn a_deployment_rolls_over_all_servers_and_no_request_fails() {
    if !can_make_namespaces() {
        return;
    }
    let rolled = Rolled::serving();
    let load = rolled.load();
    let script = rolled.script("ran", "echo deploying {address}:{port} of {backend}");
    let words = ["--at-a-time", "2", "--min-up", "50%", "--output", "json"];
    let command = ["--", "sh", "-c", &script];
    let finished = rolled.roll(&[&words[..], &command].concat()).expect_code(0);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");

    let mut ran = rolled.noted("ran");
    ran.sort_unstable();
    assert_eq!(ran, ["s8101", "s8102", "s8103", "s8104"]);
    let events = events(&finished);
    let of = |kind: &str| -> Vec<&Value> {
        events
            .iter()
            .filter(|event| event["event"] == kind)
            .collect()
    };
    assert_eq!((of("safe").len(), of("up").len()), (2, 4), "{finished}");
    for drained in of("drained") {
        assert_eq!(drained["sessions"], 0, "{finished}");
    }
    let address = rolled.servers[0].address();
    let printed = of("output")
        .into_iter()
        .find(|output| output["server"] == "s8101");
    let line = printed.map(|output| &output["line"]);
    assert_eq!(
        line,
        Some(&Value::from(format!("deploying {address} of app"))),
        "{finished}"
    );
    assert_eq!(
        of("done")[0]["done"].as_array().map(Vec::len),
        Some(4),
        "{finished}"
    );
    // A batch begins when the one before it is up.
    let position = |kind: &str, server: &str| {
        let found = events
            .iter()
            .position(|event| event["event"] == kind && event["server"] == server);
        found.expect("an event of each server")
    };
    assert!(
        position("draining", "s8102") < position("up", "s8101"),
        "{finished}"
    );
    assert!(
        position("up", "s8102") < position("draining", "s8103"),
        "{finished}"
    );
    assert!(rolled.by_hand().is_empty());
    rolled
        .roll(&["--resume"])
        .expect_code(2)
        .expect_complaint(&["no roll of app to resume"]);
}

#[test]
fn it_stops_at_the_first_failure_and_goes_on_from_there() {
    if !can_make_namespaces() {
        return;
    }
    let rolled = Rolled::serving();
    let mended = rolled.state.join("mended");
    let script = format!(
        "test $HAFLEET_SERVER != s8102 || test -e {} || exit 7",
        mended.display()
    );
    let script = rolled.script("ran", &script);
    let words = [
        "--at-a-time",
        "1",
        "--min-up",
        "50%",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let finished = rolled.roll(&words).expect_code(1).expect_complaint(&[
        "s8102: the command ended with exit status: 7",
        "1 of 4 servers are done, 2 untouched",
        "still in drain: s8102",
        "hafleet server ready app/s8102",
        "--resume",
    ]);
    assert!(
        finished.stdout.contains("s8101: up on all load balancers"),
        "{finished}"
    );
    assert_eq!(rolled.noted("ran"), ["s8101", "s8102"]);
    let by_hand = rolled.by_hand();
    let names: Vec<_> = by_hand
        .iter()
        .map(|server| server.server.as_str())
        .collect();
    assert_eq!(names, ["s8102"], "{by_hand:#?}");
    let provenance = by_hand[0].provenance.clone().unwrap_or_default();
    assert!(
        provenance.comment.starts_with("roll: sh -c"),
        "{provenance:?}"
    );

    // Begun again by mistake it does nothing.
    let again = rolled.roll(&words).expect_code(3);
    again.expect_complaint(&["1 done; it left s8102 out of service", "--resume"]);

    fs::write(&mended, "").expect("a file");
    let finished = rolled.roll(&["--resume"]).expect_code(0);
    assert!(
        finished.stdout.contains("app: 4 servers done"),
        "{finished}"
    );
    assert_eq!(
        rolled.noted("ran"),
        ["s8101", "s8102", "s8102", "s8103", "s8104"]
    );
    assert!(rolled.by_hand().is_empty());
    rolled
        .fleet
        .wait_served_from(&rolled.fleet.numbers(), &rolled.servers);
}

#[test]
fn what_is_not_safe_is_refused_before_anything_is_touched() {
    if !can_make_namespaces() {
        return;
    }
    let mut rolled = Rolled::serving();
    let script = rolled.script("ran", "true");
    let command = ["--", "sh", "-c", &script];
    let refused = rolled.roll(&command).expect_code(3);
    refused.expect_complaint(&[
        "not safe to take 2 out of service",
        "4 of 4 up, 2 during a restart, 4 needed",
    ]);
    assert!(rolled.by_hand().is_empty() && rolled.noted("ran").is_empty());
    rolled
        .roll(&["--resume"])
        .expect_code(2)
        .expect_complaint(&["no roll of app"]);

    // What others took out is left alone, and counts as out.
    let client = rolled.fleet.client();
    let maint = ["server", "maint", "app/s8104", "-m", "disks", "--wait"];
    client.run(&maint).expect_code(0);
    let refused = rolled.roll(&[&["--min-up", "75%", "--at-a-time", "1"], &command[..]].concat());
    refused
        .expect_code(3)
        .expect_complaint(&["3 of 4 up, 2 during a restart, 3 needed"]);
    let words = [&["--min-up", "50%", "--at-a-time", "1"], &command[..]].concat();
    let finished = rolled.roll(&words).expect_code(0);
    assert!(
        finished
            .stdout
            .contains("s8104: left alone: taken out by ada (admin): disks"),
        "{finished}"
    );
    assert_eq!(rolled.noted("ran"), ["s8101", "s8102", "s8103"]);
    assert_eq!(rolled.by_hand().len(), 1);

    // Without one load balancer nobody knows.
    rolled.fleet.kill_agent(3);
    let refused = rolled.roll(&words).expect_code(3);
    refused.expect_complaint(&["did not answer: n3"]);
    assert_eq!(rolled.noted("ran").len(), 3);

    for (words, complaint) in [
        (
            &["ap", "--", "true"][..],
            "no load balancer has a backend ap",
        ),
        (&["app"], "no command"),
    ] {
        let refused = rolled.run(&[&["--allow-missing", "1"], words].concat());
        assert!(refused.stderr.contains(complaint), "{refused}");
        assert!(matches!(refused.code, Some(2 | 3)), "{refused}");
    }
    rolled.servers.clear();
}

#[test]
fn a_server_that_does_not_come_up_stays_in_drain() {
    if !can_make_namespaces() {
        return;
    }
    let mut rolled = Rolled::serving();
    // The command "breaks" its server: nobody listens there any more.
    let server = rolled.servers.remove(0);
    let stop = rolled.state.join("stop");
    let script = format!(
        "echo stopping; touch {}; while test -e {}; do sleep 0.05; done",
        stop.display(),
        stop.display()
    );
    let words = [
        "--at-a-time",
        "1",
        "--min-up",
        "50%",
        "--up-timeout",
        "2s",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let words = [&["app", "--settle", "1s"], &words[..]].concat();
    let finished = std::thread::scope(|scope| {
        let ended = scope.spawn(|| rolled.run(&words));
        wait_for("the command runs", PATIENCE, || {
            stop.exists().then_some(()).ok_or("it does not")
        });
        drop(server);
        fs::remove_file(&stop).expect("the command made it");
        ended.join().expect("the command ends")
    });
    let finished = finished.expect_code(1);
    finished.expect_complaint(&[
        "s8101: its checks do not pass on n1, n2, n3",
        "0 of 4 servers are done, 3 untouched",
        "still in drain: s8101",
    ]);
    assert_eq!(rolled.by_hand().len(), 1);
    rolled
        .fleet
        .wait_served_from(&rolled.fleet.numbers(), &rolled.servers);
}

#[test]
fn told_to_stop_it_leaves_nothing_half_done() {
    if !can_make_namespaces() {
        return;
    }
    let rolled = Rolled::serving();
    let once = rolled.script("ran", "kill -INT $PPID; sleep 0.3");
    let options = ["--at-a-time", "1", "--min-up", "50%"];
    let finished = rolled.roll(&[&options[..], &["--", "sh", "-c", &once]].concat());
    finished.expect_code(1).expect_complaint(&[
        "stopped, as was asked",
        "1 of 4 servers are done, 3 untouched",
    ]);
    assert_eq!(rolled.noted("ran"), ["s8101"]);
    assert!(rolled.by_hand().is_empty());

    // Told twice, it ends the command.
    let twice = rolled.script(
        "ran",
        "kill -INT $PPID; sleep 0.3; kill -INT $PPID; sleep 1000",
    );
    let finished = rolled.roll(&["--resume", "--", "sh", "-c", &twice]);
    finished.expect_code(1).expect_complaint(&[
        "s8102: the command was ended, as was asked",
        "still in drain: s8102",
    ]);
    assert_eq!(rolled.by_hand().len(), 1);
    rolled.roll(&["--resume", "--", "true"]).expect_code(0);
    assert!(rolled.by_hand().is_empty());
    rolled
        .fleet
        .wait_served_from(&rolled.fleet.numbers(), &rolled.servers);
}
