//! The keys of the traffic's certificates: served by every node, and to be found nowhere.

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hafleet_api::v1;
use hafleet_model::Digest;
use hafleet_tests::certificate::{Certificate, shown};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::protobuf::{field, varying};
use hafleet_tests::spec::MARKER;
use hafleet_tests::stranger::Stranger;
use hafleet_tests::wire::Wire;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for, wait_until};

const TLS_PORT: u16 = 8443;

/// A fleet whose certificates' files are not below `data`, as if that were the disk and they were in memory.
fn prepare(nodes: u8) -> Fleet {
    let builder = Fleet::builder().nodes(nodes).settings(|settings| {
        let memory = settings.home.join("memory");
        settings.haproxy.push(format!("secrets_dir = {memory:?}"));
        let filter = "hafleet=trace,hafleet_agent=trace,hafleet_cluster=trace,hafleet_identity=trace,hafleet_haproxy=trace,hafleet_api=trace,info";
        let environment = &mut settings.environment;
        environment.insert("HAFLEET_AGENT_LOG__FILTER".into(), filter.into());
    });
    let fleet = builder.prepare();
    for number in fleet.numbers() {
        fs::create_dir_all(fleet.node(number).settings().home.join("memory")).expect("a directory");
    }
    fleet
}

/// A spec that also serves TLS with `www.pem`.
fn spec(fleet: &Fleet, marker: &str) -> String {
    let bind = format!(
        "    binds:\n      - {{ address: node, port: {TLS_PORT}, tls: {{ certificates: [www.pem] }} }}\n"
    );
    fleet.spec(marker).replacen("    binds:\n", &bind, 1)
}

/// Gives the fleet a certificate, and returns a part of its key that nothing else has in it.
fn put(fleet: &Fleet, through: usize, name: &str) -> String {
    let made = Certificate::make(fleet.scratch().directory(name), name, "ec:prime256v1");
    let files = ["key.pem", "chain.pem", "cert.pem"].map(|file| made.file(file));
    let mut words = vec!["certificate", "put", "www.pem", "--output", "json"];
    words.extend(files.iter().map(String::as_str));
    let written: v1::WriteCertificateResponse =
        fleet.client_of(through).run(&words).expect_code(0).json();
    assert!(written.committed, "{written:?}");
    let key = fs::read_to_string(made.file("key.pem")).expect("a key");
    let line = key.lines().nth(1).expect("a line of the key");
    line[24..].to_owned()
}

fn wait_shown(fleet: &Fleet, number: usize, name: &str) {
    let address: SocketAddr = (fleet.node(number).address(), TLS_PORT).into();
    wait_for("a node shows a certificate", PATIENCE, || {
        let seen = shown(&fleet.client(), fleet.outside(), address);
        match seen.as_deref() == Some(name) {
            true => Ok(()),
            false => Err(format!(
                "node {number} shows {seen:?}, not {name}: {}",
                fleet.node(number).log_tail(5)
            )),
        }
    });
}

/// All files below `directory` that have `mark` in them.
fn files_with(directory: &Path, mark: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(files_with(&path, mark));
        } else if kind.is_file() && has(&fs::read(&path).unwrap_or_default(), mark) {
            found.push(path);
        }
    }
    found
}

fn has(bytes: &[u8], mark: &str) -> bool {
    bytes
        .windows(mark.len())
        .any(|window| window == mark.as_bytes())
}

/// Fails if `mark` is on a node's disk, in its log, in an argument or the environment of a process, or in an answer.
fn assert_nowhere(fleet: &Fleet, mark: &str) {
    for number in fleet.numbers() {
        let node = fleet.node(number);
        let home = &node.settings().home;
        assert_eq!(files_with(&home.join("data"), mark), Vec::<PathBuf>::new());
        assert_eq!(files_with(&home.join("run"), mark), Vec::<PathBuf>::new());
        let log = fs::read(node.settings().log()).expect("a log");
        assert!(!has(&log, mark), "the log of node {number} has it");
        for process in node.namespace().processes() {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{}/{file}", process.pid);
                let bytes = fs::read(path).unwrap_or_default();
                assert!(!has(&bytes, mark), "{file} of {process:?} has it");
            }
        }
        let peers = Stranger::new(node, &node.settings().identity);
        for kind in ["spec", "endpoints", "overrides", "secrets"] {
            let length = u8::try_from(kind.len()).expect("a short name");
            let request = [&[0x0a, length], kind.as_bytes()].concat();
            let path = "/hafleet.v1.Peer/FetchDocument";
            if let Ok(answer) = peers.call(node, path, vec![request]) {
                assert!(!has(&answer, mark), "{kind} has it on the wire");
            }
        }
    }
    for words in [
        &["status"][..],
        &["certificate", "list"],
        &["certificate", "show", "www.pem"],
        &["spec", "get"],
        &["spec", "history"],
        &["node", "show", "n1"],
        &["render"],
        &["sources"],
        &["overrides"],
    ] {
        for form in ["json", "text"] {
            let words = [words, &["--output", form]].concat();
            let answer = fleet.client_of(1).run(&words);
            let said = format!("{}{}", answer.stdout, answer.stderr);
            assert!(!said.contains(mark), "{words:?} shows it");
        }
    }
}

/// Fails if `mark` is anywhere but in the files that HAProxy reads, where it has to be.
fn assert_only_in_memory(fleet: &Fleet, mark: &str) {
    for number in fleet.numbers() {
        let memory = fleet.node(number).settings().home.join("memory");
        assert_ne!(files_with(&memory, mark), Vec::<PathBuf>::new());
    }
    assert_nowhere(fleet, mark);
}

#[test]
fn a_key_is_served_by_every_node_and_found_nowhere() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = prepare(3);
    let wires: Vec<_> = fleet
        .numbers()
        .into_iter()
        .map(|number| Wire::tap(fleet.node(number).namespace()))
        .collect();
    fleet.node(1).start_agent();
    fleet.node(2).start_agent();
    fleet.leader_among(&[1, 2]);
    let mark = put(&fleet, 1, "one.example.com");
    let revision = fleet.apply(1, &spec(&fleet, "first"));
    fleet.wait_applied(&[1, 2], &revision);

    // A node that comes after it was sealed is given the key, and goes on alone with it.
    fleet.node(3).start_agent();
    fleet.wait_formed();
    fleet.wait_converged(&revision);
    for number in fleet.numbers() {
        wait_shown(&fleet, number, "one.example.com");
    }
    assert_only_in_memory(&fleet, &mark);
    // Whoever listens hears the answers to clients, and nothing of the key, nor what agents tell each other.
    fleet.wait_served("first");
    for (number, wire) in fleet.numbers().into_iter().zip(&wires) {
        assert!(wire.has(MARKER), "nothing is heard at node {number}");
        for secret in [mark.as_str(), "hafleet.v1.Peer", "data_plane", "www.pem"] {
            assert!(
                !wire.has(secret),
                "{secret} is on the wire of node {number}"
            );
        }
    }
    drop(wires);
    let core = fleet.node(1).agent_process().pid;
    let limits = fs::read_to_string(format!("/proc/{core}/limits")).expect("limits");
    let line = limits.lines().find(|line| line.contains("core file size"));
    let soft = line.and_then(|line| line.split_whitespace().nth(4));
    assert_eq!(soft, Some("0"), "{limits}");

    // Alone, with nothing but its disk.
    fleet.node(1).kill_agent();
    fleet.node(2).kill_agent();
    fleet.node(3).kill_agent();
    fleet.node(3).haproxy().kill();
    wait_until("HAProxy is gone", Duration::from_secs(10), || {
        fleet.node(3).haproxies().is_empty()
    });
    let memory = fleet.node(3).settings().home.join("memory");
    fs::remove_dir_all(memory.join("certificates")).expect("the machine was started anew");
    fleet.node(3).start_agent();
    wait_shown(&fleet, 3, "one.example.com");
    assert_leaves_no_core(&fleet, 3);
}

/// Fails if an agent that aborts leaves its memory in a file, though its limit on that was lifted.
fn assert_leaves_no_core(fleet: &Fleet, number: usize) {
    let node = fleet.node(number);
    let process = node.agent_process();
    let pid = process.pid.to_string();
    let mut lift = Command::new("prlimit");
    lift.args(["--pid", &pid, "--core=unlimited:unlimited"]);
    let lifted = lift.status().expect("prlimit");
    assert!(lifted.success());
    process.signal(rustix::process::Signal::ABORT);
    let ended = wait_for("an agent aborts", PATIENCE, || {
        let ended = node.with_agent(hafleet_tests::agent::Agent::ended);
        ended.ok_or("it runs on")
    });
    assert_eq!(ended.signal(), Some(6), "{ended}");
    assert!(!ended.core_dumped(), "{ended}");
}

/// Hands node `number` secrets in clear, as a leader did of a version that sealed none, and the node stores them. Returns a
/// part of the key.
fn hand_over_in_clear(fleet: &Fleet, number: usize, name: &str) -> String {
    let made = Certificate::make(fleet.scratch().directory(name), name, "ec:prime256v1");
    let part = |file: &str| fs::read_to_string(made.file(file)).expect("a part of a PEM");
    let pem = [part("cert.pem"), part("chain.pem"), part("key.pem")].concat();
    let body = serde_json::json!({ "version": 1, "certificates": { "www.pem": { "pem": pem } } });
    let body = body.to_string();
    let status = fleet.status_of(number).expect("it answers");
    let term = status.leadership.unwrap_or_default().term + 1;
    let digest = Digest::of(body.as_bytes()).to_string();
    // StoreDocumentRequest, Document, Header and Stamp of peer.proto.
    let stamp = [varying(1, term), varying(2, 1), field(3, digest.as_bytes())].concat();
    let header = [
        field(1, b"secrets"),
        field(2, &stamp),
        field(4, b"ada (admin)"),
    ];
    let document = [field(1, &header.concat()), field(2, body.as_bytes())].concat();
    let request = [varying(1, term), field(2, &document)].concat();
    let speaker = Stranger::new(fleet.node(2), &fleet.node(2).settings().identity);
    let path = "/hafleet.v1.Peer/StoreDocument";
    let answer = speaker.call(fleet.node(number), path, vec![request]);
    assert_eq!(answer.as_deref().ok(), Some(&[8, 1][..]), "{answer:?}");
    let key = part("key.pem");
    let line = key.lines().nth(1).expect("a line of the key");
    line[24..].to_owned()
}

#[test]
fn what_was_stored_in_clear_is_sealed_and_erased_by_itself() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = prepare(2);
    for number in fleet.numbers() {
        fleet.node(number).start_agent();
    }
    fleet.wait_formed();
    let leader = fleet.leader();
    let mark = hand_over_in_clear(&fleet, leader, "old.example.com");
    let erased = "what was stored before it was sealed is erased";
    fleet.node(leader).wait_logged(erased);
    let revision = fleet.apply(1, &spec(&fleet, "first"));
    fleet.wait_converged(&revision);
    for number in fleet.numbers() {
        wait_shown(&fleet, number, "old.example.com");
        // Each erases what it was given before the leader sealed it.
        let data = fleet.node(number).settings().data();
        wait_until("it is erased", PATIENCE, || {
            files_with(&data, &mark).is_empty()
        });
    }
    assert_only_in_memory(&fleet, &mark);
    // Nor after a start with nothing but the disk.
    for number in fleet.numbers() {
        fleet.restart(number);
    }
    fleet.wait_formed();
    assert_only_in_memory(&fleet, &mark);
}

#[test]
fn another_key_takes_the_place_of_the_first_without_a_word_of_it() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = prepare(2);
    for number in fleet.numbers() {
        fleet.node(number).start_agent();
    }
    fleet.wait_formed();
    let rotate = ["secrets", "rotate-key", "--output", "json"];
    let refused = fleet.client_of(1).run(&rotate).expect_code(2);
    refused.expect_complaint(&["certificate put"]);
    let mark = put(&fleet, 1, "one.example.com");
    let revision = fleet.apply(1, &spec(&fleet, "first"));
    fleet.wait_converged(&revision);
    let before = keys(&fleet);
    let follower = fleet.follower();
    let rotated: v1::WriteCertificateResponse =
        fleet.client_of(follower).run(&rotate).expect_code(0).json();
    assert!(rotated.committed, "{rotated:?}");
    wait_until("all have the new key", PATIENCE, || {
        keys(&fleet)
            .iter()
            .zip(&before)
            .all(|(now, before)| *now == before + 1)
    });
    for number in fleet.numbers() {
        wait_shown(&fleet, number, "one.example.com");
    }
    let other = put(&fleet, follower, "two.example.com");
    for number in fleet.numbers() {
        wait_shown(&fleet, number, "two.example.com");
    }
    assert_nowhere(&fleet, &mark);
    assert_only_in_memory(&fleet, &other);
    let eve = fleet.authority().person("eve", "operator");
    assert!(eve.exists());
    let denied = fleet.client_as("eve", &[1]).run(&rotate);
    assert_ne!(denied.code, Some(0), "{denied}");
}

/// How many fleet keys each node keeps.
fn keys(fleet: &Fleet) -> Vec<usize> {
    let of = |number: usize| {
        let path = fleet
            .node(number)
            .settings()
            .home
            .join("data/fleet-keys.json");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.matches("\"share\"").count()
    };
    fleet.numbers().into_iter().map(of).collect()
}
