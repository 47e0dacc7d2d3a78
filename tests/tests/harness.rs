//! The harness itself: what a fault does, what a load counts, and that nothing is left behind.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use hafleet_tests::aws::Gate;
use hafleet_tests::backend::Backend;
use hafleet_tests::load::{Load, Plan};
use hafleet_tests::network::Network;
use hafleet_tests::request::{Fault, ask_from};
use hafleet_tests::scratch::Scratch;
use hafleet_tests::{Namespace, can_make_namespaces, wait_until};

const ONE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);

fn connected() -> (Namespace, Namespace, Network) {
    let (one, other, network) = (
        Namespace::new("one"),
        Namespace::new("other"),
        Network::new(),
    );
    network.attach(&one, ONE);
    network.attach(&other, OTHER);
    (one, other, network)
}

/// Asks once, and gives a busy machine time to answer.
fn ask_once(namespace: &Namespace, address: SocketAddr) -> Result<String, Fault> {
    ask_from(namespace, address, Duration::from_secs(5)).map(|answer| answer.body)
}

/// Asks once, and takes half a second without an answer for silence.
fn ask_in_vain(namespace: &Namespace, address: SocketAddr) -> Result<String, Fault> {
    ask_from(namespace, address, Duration::from_millis(500)).map(|answer| answer.body)
}

#[test]
fn a_cut_is_silent_and_heals() {
    if !can_make_namespaces() {
        return;
    }
    let (one, other, network) = connected();
    let backend = Backend::start(&other, (OTHER, 80).into(), "here");
    assert_eq!(ask_once(&one, backend.address()).as_deref(), Ok("here"));
    assert_eq!(ask_once(&one, (OTHER, 81).into()), Err(Fault::Refused));

    network.cut(ONE, OTHER);
    assert_eq!(ask_in_vain(&one, backend.address()), Err(Fault::TimedOut));
    network.heal(ONE, OTHER);
    assert_eq!(ask_once(&one, backend.address()).as_deref(), Ok("here"));
}

#[test]
fn a_gate_goes_also_after_the_network_that_it_is_in() {
    if !can_make_namespaces() {
        return;
    }
    let namespace = Namespace::new("one");
    let gate = namespace.run(|| {
        let behind = (Ipv4Addr::LOCALHOST, 9).into();
        Gate::before(behind)
    });
    drop(namespace);
    let (gone, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(gate);
        gone.send(())
    });
    let limit = Duration::from_secs(20);
    assert!(wait.recv_timeout(limit).is_ok(), "it does not go");
}

#[test]
fn a_load_is_steady_and_counts_each_kind_of_failure() {
    if !can_make_namespaces() {
        return;
    }
    let (one, other, _network) = connected();
    let backend = Backend::start(&other, (OTHER, 80).into(), "here");
    let targets = vec![backend.address(), (OTHER, 81).into()];
    let load = Load::start(&one, Plan { targets, rate: 400 });
    let begun = std::time::Instant::now();
    wait_until("a second passes", Duration::from_secs(5), || {
        begun.elapsed() > Duration::from_secs(1)
    });
    let outcome = load.stop();
    assert!((350..=800).contains(&outcome.sent), "{outcome}");
    assert_eq!(
        outcome.faults.keys().collect::<Vec<_>>(),
        [&Fault::Refused],
        "{outcome}"
    );
    assert!(
        outcome.failed().abs_diff(outcome.sent / 2) <= 1,
        "{outcome}"
    );
    assert_eq!(
        outcome.latency.len() + outcome.failed(),
        outcome.sent,
        "{outcome}"
    );
}

#[test]
fn a_plain_haproxy_passes_requests_on() {
    if !can_make_namespaces() {
        return;
    }
    let (one, other, _network) = connected();
    let backend = Backend::start(&one, (ONE, 80).into(), "here");
    let scratch = Scratch::new();
    let configuration = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         listen all\n bind {OTHER}:8080\n server s {}\n",
        backend.address()
    );
    let file = scratch.file("haproxy.cfg", &configuration);
    let mut command = Command::new("haproxy");
    other.output(command.arg("-D").arg("-f").arg(file).stderr(Stdio::null()));
    wait_until("HAProxy answers", Duration::from_secs(5), || {
        ask_once(&one, (OTHER, 8080).into()).as_deref() == Ok("here")
    });
    assert_eq!(other.processes().len(), 1);
}

#[test]
fn nothing_is_left_behind_even_by_a_panic() {
    if !can_make_namespaces() {
        return;
    }
    let (mut names, mut processes, mut path) = (Vec::new(), Vec::new(), None);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (one, other, _network) = connected();
        let scratch = Scratch::new();
        one.output(Command::new("sh").args(["-c", "sleep 1000 >/dev/null 2>&1 &"]));
        names = vec![one.name().to_owned(), other.name().to_owned()];
        wait_until("a process starts", Duration::from_secs(5), || {
            one.processes().len() == 1
        });
        processes = one.processes();
        path = Some(scratch.path().to_owned());
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    let listed: Vec<_> = fs::read_dir("/run/netns")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !listed
            .iter()
            .any(|name| names.iter().any(|own| name == own.as_str())),
        "{listed:?}"
    );
    assert!(!processes[0].is_running());
    assert!(!path.unwrap().exists());
}
