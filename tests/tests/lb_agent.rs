//! Callers of an older program, lb-agent, before a fleet on real HAProxy.

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hafleet_api::v1;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::machine::{python, repository};
use hafleet_tests::spec::MARKER;
use hafleet_tests::{Client, Fleet, can_make_namespaces, wait_for};
use serde_json::Value;

const LOCAL: &str = "http://127.0.0.1:6666";
const TOKEN: &str = "a-token-that-is-long-enough-for-this";

/// A fleet whose agents listen for callers of lb-agent as `part` says; `{pki}` stands for where certificates are.
fn listening(nodes: u8, part: &'static str) -> Fleet {
    let builder = Fleet::builder().nodes(nodes).settings(move |settings| {
        let pki = settings.identity.parent().expect("a directory").display();
        let part = part.replace("{pki}", &pki.to_string());
        let address = settings.address.to_string();
        let part = part.replace("{address}", &address);
        settings.parts = vec![format!("[lb_agent]\ndefault_backend = \"app\"\n{part}")];
    });
    let fleet = builder.prepare();
    fleet.authority().person("vic", "viewer");
    let token = fleet.authority().directory().with_file_name("token");
    fs::write(&token, TOKEN).expect("a token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("a private token");
    fleet
        .numbers()
        .into_iter()
        .for_each(|number| fleet.node(number).start_agent());
    fleet.wait_formed();
    fleet
}

/// A configuration that marks its answers with `marker`.
fn configuration(fleet: &Fleet, number: usize, marker: &str, port: u16) -> String {
    let (own, servers) = (fleet.node(number).address(), fleet.outside_address());
    format!(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\
         frontend web\n    bind {own}:8080\n    default_backend app\n    http-response set-header {MARKER} {marker}\n\
         backend app\n    server i-1 {servers}:{port} check inter 200ms\n    server web2 {servers}:8002\n"
    )
}

/// The same for all nodes of a fleet.
fn common(fleet: &Fleet, marker: &str, port: u16) -> String {
    let own = fleet.node(1).address().to_string();
    configuration(fleet, 1, marker, port).replace(&own, "*")
}

/// Runs curl on node `number`; its status and JSON.
fn curl(fleet: &Fleet, number: usize, arguments: &[&str]) -> (u16, Value) {
    let client = Client {
        namespace: Some(fleet.node(number).namespace()),
        ..fleet.client()
    };
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]);
    command.args(arguments);
    let finished = client.finish(command).expect_code(0);
    let (body, status) = finished
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .expect("a status");
    let body = serde_json::from_str(body).expect("an answer in JSON");
    (status.parse().expect("a status"), body)
}

/// Posts `configuration` to node `number`.
fn post(fleet: &Fleet, number: usize, configuration: &str, more: &[&str]) -> (u16, Value) {
    let file = fleet.scratch().file("posted.cfg", configuration);
    let body = format!("@{}", file.display());
    let mut arguments = vec!["--data-binary", &body];
    arguments.extend(more);
    if !more.iter().any(|word| word.starts_with("http")) {
        arguments.push("http://127.0.0.1:6666/reloadHaproxy");
    }
    curl(fleet, number, &arguments)
}

fn up_to_date() -> (u16, Value) {
    let message = serde_json::json!({"success": true, "message": "Haproxy up to date"});
    (200, message)
}

fn error_of(answer: &(u16, Value)) -> &str {
    answer.1["error"].as_str().unwrap_or_default()
}

/// What the agent of node `number` says that it runs in place of the fleet's spec.
fn own_of(fleet: &Fleet, number: usize, seen_from: usize) -> Option<v1::OwnConfiguration> {
    let status = fleet.status_of(seen_from).expect("a status");
    let id = fleet.node(number).id();
    let node = status.nodes.into_iter().find(|node| node.id == id);
    node.and_then(|node| node.own_configuration)
}

fn state_of(answer: &(u16, Value), server: &str) -> String {
    let servers = answer.1["message"].as_array().cloned().unwrap_or_default();
    let found = servers.iter().find(|item| item["instance_id"] == server);
    let words = found.map(|found| format!("{}: {}", found["state"], found["description"]));
    words.unwrap_or_default().replace('"', "")
}

#[test]
fn requests_calls_it_as_it_called_lb_agent() {
    let Some(python) = python().filter(|_| can_make_namespaces()) else {
        return;
    };
    let part = "default_backend = \"scaling_nodes\"\ncertificate = \"{pki}/ada/cert.pem\"";
    let fleet = Fleet::builder().settings(move |settings| {
        let pki = settings.identity.parent().expect("a directory").display();
        let part = part.replace("{pki}", &pki.to_string());
        settings.parts = vec![format!("[lb_agent]\n{part}")];
    });
    let fleet = fleet.start();
    let number = fleet.follower();
    let client = Client {
        namespace: Some(fleet.node(number).namespace()),
        ..fleet.client()
    };
    let servers = fleet.outside_address();
    let mut drive = Command::new(&python);
    drive
        .arg("-B")
        .arg(repository().join("tests/python/test_lb_agent.py"));
    drive
        .env("PORT", "8080")
        .env("SERVERS", format!("{servers}:8001,{servers}:8002"));
    let finished = client.finish(drive).expect_code(0);
    assert!(finished.stderr.contains("Ran 5 tests"), "{finished}");
    let spec = fleet
        .status_of(number)
        .expect("a status")
        .spec
        .expect("a spec");
    assert_eq!(spec.author, "ada (admin)");
    assert!(
        spec.comment
            .starts_with("POST /reloadHaproxy from 127.0.0.1:"),
        "{spec:?}"
    );
    fleet.wait_converged(&spec.revision);
}

#[test]
fn a_configuration_becomes_the_fleets_and_a_bad_one_changes_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = listening(
        3,
        "certificate = \"{pki}/ada/cert.pem\"\nonly_prefix = \"i-\"",
    );
    let number = fleet.follower();
    let first = common(&fleet, "first", 8001);
    assert_eq!(post(&fleet, number, &first, &[]), up_to_date());
    fleet.wait_served("first");
    let revision = fleet.current(number);

    let bad = post(
        &fleet,
        number,
        &first.replace("mode http", "mood http"),
        &[],
    );
    assert!(
        bad.0 == 400 && error_of(&bad).contains("line 2: unknown keyword 'mood'"),
        "{bad:?}"
    );
    let empty = post(&fleet, number, "", &[]);
    assert!(
        empty.0 == 400 && error_of(&empty).contains("empty"),
        "{empty:?}"
    );
    assert_eq!(fleet.current(number), revision);

    let padding = "# nothing, over and over again\n".repeat(5 * 1024 * 1024 / 31);
    let large = format!("{padding}{}", common(&fleet, "large", 8001));
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    assert_eq!(post(&fleet, number, &large, &chunked), up_to_date());
    fleet.wait_served("large");

    let (status, answer) = curl(&fleet, number, &["-X", "PUT", &format!("{LOCAL}/reload")]);
    assert_eq!(status, 405, "{answer}");
    let (status, answer) = curl(&fleet, number, &[&format!("{LOCAL}/stats")]);
    assert_eq!(status, 404, "{answer}");
    let audit = fleet
        .client_of(number)
        .run(&["audit", "--output", "json"])
        .expect_code(0);
    assert!(audit.stdout.contains("POST /reloadHaproxy"), "{audit}");
}

#[test]
fn a_fleet_answers_for_all_its_load_balancers_or_not_at_all() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = listening(3, "certificate = \"{pki}/ada/cert.pem\"");
    assert_eq!(
        post(&fleet, 1, &common(&fleet, "first", 8001), &[]),
        up_to_date()
    );
    let (node, whole) = (
        format!("{LOCAL}/getBackends"),
        format!("{LOCAL}/getBackends?scope=fleet"),
    );
    let wait = |url: &str, server: &str, words: &str| {
        wait_for("a server's state", PATIENCE, || {
            let answer = curl(&fleet, 1, &[url]);
            match state_of(&answer, server).starts_with(words) {
                true => Ok(()),
                false => Err(format!("{words}: {answer:?}")),
            }
        });
    };
    wait(&node, "i-1", "UP: Layer4 check passed");
    wait(&whole, "i-1", "UP: Layer4 check passed");
    wait(&whole, "web2", "no check: ");

    // What node 2 alone does not reach is in service nowhere.
    fleet
        .network()
        .cut(fleet.node(2).address(), fleet.outside_address());
    wait(&whole, "i-1", "DOWN: n2: ");
    wait(&node, "i-1", "UP: ");
    fleet
        .network()
        .heal(fleet.node(2).address(), fleet.outside_address());
    wait(&whole, "i-1", "UP: Layer4 check passed");

    let drained = fleet.client().run(&["server", "drain", "app/i-1"]);
    drained.expect_code(0);
    wait(&whole, "i-1", "DRAIN");
    fleet.stop(3);
    let missing = wait_for("an answer without a node", PATIENCE, || {
        let answer = curl(&fleet, 1, &[&whole]);
        if answer.0 == 503 {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert!(error_of(&missing).contains("n3: "), "{missing:?}");
    assert_eq!(curl(&fleet, 1, &[&node]).0, 200);
    fleet.go_on(3);
}

#[test]
fn a_public_listener_wants_a_token_or_a_certificate() {
    if !can_make_namespaces() {
        return;
    }
    let part = "listen = \"{address}:6666\"\ntls = true\ntokens = [\n\
                { file = \"{pki}/token\", certificate = \"{pki}/ada/cert.pem\" },\n]";
    let fleet = listening(1, part);
    let pki = fleet.authority().directory();
    let pki = |file: &str| pki.with_file_name(file).display().to_string();
    let url = format!("https://{}:6666/reload", fleet.node(1).address());
    let first = common(&fleet, "first", 8001);
    let trusting = ["--cacert", &pki("n1/ca.pem"), &url].map(str::to_owned);
    let ask = |configuration: &str, more: &[&str]| {
        let mut arguments: Vec<_> = trusting.iter().map(String::as_str).collect();
        arguments.extend(more);
        post(&fleet, 1, configuration, &arguments)
    };
    assert_eq!(ask(&first, &[]).0, 401);
    assert_eq!(
        ask(
            &first,
            &["-H", "Authorization: Bearer nobody-knows-this-one"]
        )
        .0,
        401
    );
    let viewer = ["--cert", &pki("vic/cert.pem"), "--key", &pki("vic/key.pem")];
    let denied = ask(&first, &viewer);
    assert!(
        denied.0 == 403 && error_of(&denied).contains("the role admin"),
        "{denied:?}"
    );
    assert_eq!(fleet.current(1), "", "nothing was changed");

    let token = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask(&first, &["-H", &token]), up_to_date());
    fleet.wait_served("first");
    let second = common(&fleet, "second", 8001);
    let admin = ["--cert", &pki("ada/cert.pem"), "--key", &pki("ada/key.pem")];
    assert_eq!(ask(&second, &admin), up_to_date());
    fleet.wait_served("second");

    let bare = fleet.node(1).settings().clone();
    let mut bare = bare;
    bare.parts = vec![format!(
        "[lb_agent]\ndefault_backend = \"app\"\nlisten = \"{}:6666\"",
        bare.address
    )];
    bare.home = fleet.scratch().directory("bare");
    bare.write();
    let client = fleet.client_of(1);
    let mut start = bare.command();
    start.arg("--check");
    client
        .finish(start)
        .expect_code(2)
        .expect_complaint(&["is not loopback", "lb_agent.tls = true"]);
    let finished = client.finish(bare.command()).expect_code(2);
    assert!(finished.stderr.contains("is not loopback"), "{finished}");
}

#[test]
fn a_node_keeps_a_configuration_of_its_own_until_it_is_told_to_follow_the_fleet() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = listening(3, "scope = \"node\"");
    let own = configuration(&fleet, 2, "own", 8001);
    assert_eq!(post(&fleet, 2, &own, &[]), up_to_date());
    fleet.wait_served_by(&[2], "own");
    let told = wait_for("another node hears of it", PATIENCE, || {
        own_of(&fleet, 2, 1).ok_or("it has not")
    });
    assert_eq!(told.author, "node n2");

    // The fleet's spec goes everywhere else.
    let spec = fleet.spec("fleet");
    let applied = fleet
        .client_of(1)
        .apply(&spec, &["--wait=60s"])
        .expect_code(0);
    assert!(
        applied
            .stderr
            .contains("n2 run configurations of their own"),
        "{applied}"
    );
    fleet.wait_served_by(&[1, 3], "fleet");
    fleet.wait_served_by(&[2], "own");
    let plan = fleet.client_of(1).run(&[
        "plan",
        path(&fleet.scratch().file("s.yaml", &fleet.spec("x"))),
    ]);
    assert!(plan.stdout.contains("a configuration of its own"), "{plan}");
    let check = fleet
        .client_of(1)
        .run(&["check", "converged"])
        .expect_code(2);
    assert!(
        check
            .stdout
            .contains("n2: CRITICAL: it runs a configuration of its own"),
        "{check}"
    );

    let bad = post(&fleet, 2, &own.replace("mode http", "mood http"), &[]);
    assert_eq!(bad.0, 400, "{bad:?}");
    // Valid on paper, and HAProxy cannot listen there.
    let foreign = own.replace(&fleet.node(2).address().to_string(), "192.0.2.77");
    let refused = post(&fleet, 2, &foreign, &[]);
    assert!(
        refused.0 == 500 && error_of(&refused).contains("runs what it ran before"),
        "{refused:?}"
    );
    fleet.wait_served_by(&[2], "own");

    fleet.restart(2);
    fleet.wait_formed();
    fleet.wait_served_by(&[2], "own");
    assert_eq!(own_of(&fleet, 2, 2).map(|own| own.since), Some(told.since));
    let shown = fleet.client_of(1).run(&["nodes"]).expect_code(0);
    let words = "n2: runs a configuration of its own, set by node n2";
    assert!(shown.stdout.contains(words), "{shown}");

    fleet
        .client_of(1)
        .run(&["node", "follow-fleet", "n2"])
        .expect_code(0);
    fleet.wait_served_by(&[2], "fleet");
    fleet.wait_converged(&fleet.current(1));
    assert_eq!(own_of(&fleet, 2, 2), None);
    fleet.restart(2);
    fleet.wait_served_by(&[2], "fleet");
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path of plain characters")
}
