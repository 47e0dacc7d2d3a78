//! An agent that is not root: with a user of its own and the two capabilities that its unit leaves it, it does all that it
//! has to.

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use hafleet_api::v1;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

/// Nobody, who is there on every machine.
const USER: u32 = 65_534;
/// What the unit leaves.
const CAPABILITIES: &str = "+net_admin,+net_bind_service";
/// `CAP_NET_BIND_SERVICE` is bit 10, `CAP_NET_ADMIN` bit 12 (capabilities(7)).
const MASK: u64 = 1 << 10 | 1 << 12;

/// Gives `path` and all below it to [`USER`].
fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("root may give files away");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory").flatten() {
            give(&entry.path());
        }
    }
}

/// A fleet of one whose agent runs as [`USER`], with what else `haproxy` says of its HAProxy.
fn fleet(haproxy: &'static str) -> Fleet {
    let mut fleet = Fleet::builder()
        .nodes(1)
        .settings(move |settings| settings.haproxy.push(haproxy.to_owned()))
        .prepare();
    let program = fleet.scratch().path().join("hafleet");
    fs::copy(hafleet_tests::machine::hafleet(), &program).expect("a copy that others may run");
    let (user, kept) = (USER.to_string(), format!("-all,{CAPABILITIES}"));
    let words = [
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps",
        &kept,
        "--ambient-caps",
        &kept,
        "--bounding-set",
        &kept,
        "--",
    ];
    let settings = fleet.node_mut(1).settings_mut();
    settings.launcher = words.map(str::to_owned).to_vec();
    settings.program = program;
    let node = fleet.node(1);
    node.settings().write();
    give(&node.settings().home);
    give(&node.settings().identity);
    let open = fs::Permissions::from_mode(0o755);
    for directory in [fleet.scratch().path(), &fleet.scratch().path().join("pki")] {
        fs::set_permissions(directory, open.clone()).expect("a directory that others may enter");
    }
    fleet
}

fn reported(fleet: &Fleet) -> v1::NodeDetail {
    let words = ["node", "show", "n1", "--output", "json"];
    fleet.client().run(&words).expect_code(0).json()
}

/// The user and the effective capabilities of a process.
fn standing(pid: u32) -> (u32, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a field")
            .split_whitespace()
            .next()
            .expect("a value")
            .to_owned()
    };
    let mask = u64::from_str_radix(&field("CapEff:"), 16).expect("a mask");
    (field("Uid:").parse().expect("a user"), mask)
}

/// Starts the agent, has it serve on port 80 and reload, and returns how it handed over.
fn serve_and_reload(fleet: &Fleet) -> String {
    fleet.node(1).start_agent();
    fleet.wait_formed();
    let agent = fleet.node(1).agent_process();
    assert_eq!(standing(agent.pid), (USER, MASK));
    // Nobody but root, not even another process of its user, looks into its memory or its environment (proc(5)).
    for file in ["environ", "mem"] {
        let path = format!("/proc/{}/{file}", agent.pid);
        let owner = fs::metadata(path).expect("it runs").uid();
        assert_eq!(owner, 0, "{file}");
    }
    for marker in ["first", "second"] {
        let revision = fleet.apply(1, &fleet.spec_on(marker, &[80]));
        fleet.wait_converged(&revision);
    }
    let haproxy = fleet.node(1).haproxy();
    assert_eq!(standing(haproxy.pid).0, USER);
    let url = format!("http://{}/", fleet.node(1).address());
    wait_for("port 80 is served", hafleet_tests::fleet::PATIENCE, || {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--include", "--max-time", "5", &url]);
        let answer = fleet.outside().output(&mut curl);
        match answer.contains("second") {
            true => Ok(()),
            false => Err(answer),
        }
    });
    let detail = reported(fleet);
    let reloads = detail
        .reloads
        .iter()
        .filter(|reload| reload.error.is_empty());
    let handovers: Vec<_> = reloads.map(|reload| reload.handover.clone()).collect();
    handovers.join("; ")
}

#[test]
fn two_capabilities_are_enough_to_pass_sockets() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = fleet("handover = \"pass-fds\"");
    let handovers = serve_and_reload(&fleet);
    assert!(handovers.contains("pass-fds"), "{handovers}");
}

#[test]
fn two_capabilities_are_enough_to_drop_first_packets() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = fleet("handover = \"drop-syn\"");
    let handovers = serve_and_reload(&fleet);
    assert!(handovers.contains("drop-syn"), "{handovers}");
}

#[test]
fn two_capabilities_are_enough_to_have_the_kernel_move_connections() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = fleet("handover = \"migrate\"");
    let handovers = serve_and_reload(&fleet);
    assert!(handovers.contains("migrate"), "{handovers}");
}
