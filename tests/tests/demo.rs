//! The demo: it serves, says so, ends when it is told to, and leaves nothing behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hafleet_tests::demo::Demo;
use hafleet_tests::machine::hafleet;
use hafleet_tests::scratch::Scratch;
use hafleet_tests::{Client, can_make_namespaces, wait_until};

fn start(arguments: &[&str]) -> Demo {
    Demo::start(&hafleet(), Scratch::new(), arguments, |_| {})
}

#[test]
fn a_demo_serves_and_ends_by_itself() {
    if !can_make_namespaces() {
        return;
    }
    let mut demo = start(&["--for", "10s"]);
    demo.wait_ready();
    [11, 12, 13]
        .into_iter()
        .for_each(|node| demo.assert_serves(node));
    let said = demo.said();
    for word in ["127.0.0.11:8080", "HAFLEET_ENDPOINT", "HAFLEET_IDENTITY"] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
    let client = demo.client("127.0.0.12:7440");
    assert_eq!(
        client
            .status()
            .map(|status| status.nodes.len())
            .unwrap_or(0),
        3,
        "{said}"
    );
    demo.end();
    demo.assert_left_nothing();
}

#[test]
fn a_demo_of_two_ends_when_it_is_interrupted() {
    if !can_make_namespaces() {
        return;
    }
    let mut demo = start(&["--nodes", "2"]);
    demo.wait_ready();
    [11, 12]
        .into_iter()
        .for_each(|node| demo.assert_serves(node));
    demo.interrupt();
    demo.end();
    demo.assert_left_nothing();
}

#[test]
fn a_demo_needs_no_root() {
    if !can_make_namespaces() {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.path().join("hafleet");
    fs::copy(hafleet(), &program).expect("a copy that everybody can run");
    for directory in ["demo", "home", "tmp", "run", "here"] {
        let path = scratch.directory(directory);
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("a directory of nobody");
    }
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))
        .expect("a directory for everybody");
    let as_nobody = |command: &mut Command| {
        use std::os::unix::process::CommandExt as _;
        command
            .uid(65534)
            .gid(65534)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    };
    let mut demo = Demo::start(&program, scratch, &["--for", "5s"], as_nobody);
    demo.wait_ready();
    [11, 12, 13]
        .into_iter()
        .for_each(|node| demo.assert_serves(node));
    demo.end();
    demo.assert_left_nothing();
}

#[test]
fn a_demo_says_what_is_in_its_way() {
    if !can_make_namespaces() {
        return;
    }
    let mut first = start(&["--nodes", "1"]);
    first.wait_ready();
    let scratch = Scratch::new();
    let client = Client {
        namespace: Some(first.namespace()),
        endpoints: vec![],
        identity: None,
        scratch: &scratch,
    };
    let dir = scratch.directory("second").display().to_string();
    let second = client
        .run(&["demo", "--nodes", "1", "--dir", &dir, "--for", "1s"])
        .expect_code(1);
    second.expect_complaint(&["127.0.0.11"]);
    first.assert_serves(11);

    let missing = client.run_with(&["demo", "--dir", &dir, "--for", "1s"], |command| {
        command.env("PATH", "/nowhere");
    });
    assert!(matches!(missing.code, Some(1 | 2)), "{missing}");
    missing.expect_complaint(&["haproxy"]);
    first.interrupt();
    first.end();
    wait_until("nothing is left", Duration::from_secs(10), || {
        first.namespace().processes().is_empty()
    });
}
