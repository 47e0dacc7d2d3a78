//! The agent's unit as it is delivered, under a systemd that runs: the user, the capabilities and the sandbox that it gives
//! the agent are enough for all that an agent does, and it ends and comes back as the unit says.

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::process::Process;
use hafleet_tests::systemd::Systemd;
use hafleet_tests::{Fleet, can_make_namespaces, machine, wait_for, wait_until};

const UNIT: &str = "hafleet.service";
const LOG: &str = "/run/hafleet.log";
const FILE: &str = "/etc/hafleet/agent.toml";
/// A user of this machine alone.
const USER: u32 = 61_990;
/// `CAP_NET_BIND_SERVICE` is bit 10, `CAP_NET_ADMIN` bit 12 (capabilities(7)).
const CAPABILITIES: u64 = 1 << 10 | 1 << 12;
/// The node whose agent systemd starts.
const NODE: usize = 3;

/// The files of the machine, as somebody would lay them out who reads the unit's head.
fn lay_out(fleet: &Fleet, directory: &Path) {
    let files = directory.join("files");
    let (units, etc) = (files.join("units"), files.join("etc"));
    let extension = units.join(format!("{UNIT}.d"));
    let own = etc.join("hafleet");
    for directory in [&extension, &own.join("identity")] {
        fs::create_dir_all(directory).expect("a directory");
    }
    let unit = machine::repository().join("deploy/systemd").join(UNIT);
    fs::copy(unit, units.join(UNIT)).expect("the unit");
    let log = format!("[Service]\nStandardOutput=append:{LOG}\nStandardError=append:{LOG}\n");
    fs::write(extension.join("log.conf"), log).expect("an addition to the unit");
    for (file, line) in [
        (
            "passwd",
            format!("hafleet:x:{USER}:{USER}::/var/lib/hafleet:/usr/sbin/nologin\n"),
        ),
        ("group", format!("hafleet:x:{USER}:\n")),
    ] {
        let before = fs::read_to_string(Path::new("/etc").join(file)).expect("users and groups");
        fs::write(etc.join(file), before + &line).expect("users and groups");
    }
    let settings = fleet.node(NODE).settings();
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        let to = own.join("identity").join(file);
        fs::copy(settings.identity.join(file), &to).expect("a part of an identity");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o640)).expect("one's own file");
        chown(&to, Some(0), Some(USER)).expect("root may give files away");
    }
    fs::write(own.join("agent.toml"), file(fleet, "auto")).expect("the agent's file");
}

/// The agent's file, with a strategy of handovers.
fn file(fleet: &Fleet, handover: &str) -> String {
    let settings = fleet.node(NODE).settings();
    format!(
        "node_id = {:?}\nfleet = {:?}\naddress = \"{}\"\nseeds = {:?}\n\n[haproxy]\nhandover = {handover:?}\n\n\
         [log]\nformat = \"text\"\nfilter = \"info\"\n",
        settings.id, settings.fleet, settings.address, settings.seeds
    )
}

/// What becomes of the running agent.
fn agent(fleet: &Fleet) -> Process {
    wait_for("systemd runs an agent", PATIENCE, || {
        let all = fleet.node(NODE).namespace().processes();
        let mut agents = all.iter().filter(|process| process.program == "hafleet");
        match (agents.next(), agents.next()) {
            (Some(one), None) => Ok(one.clone()),
            _ => Err(format!("{all:?}")),
        }
    })
}

/// A line of `/proc/PID/status`.
fn field(process: &Process, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.expect("a field").to_owned()
}

fn assert_confined(process: &Process) {
    assert_eq!(field(process, "Uid:"), USER.to_string(), "{process:?}");
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        let kept = u64::from_str_radix(&field(process, set), 16).expect("a mask");
        assert_eq!(kept & !CAPABILITIES, 0, "{set} of {process:?}");
    }
    assert_eq!(field(process, "NoNewPrivs:"), "1", "{process:?}");
    assert_eq!(field(process, "Seccomp:"), "2", "{process:?}");
}

/// Applies one spec more, also on a port below 1024, and returns how node [`NODE`] handed over.
fn reload(fleet: &Fleet, marker: &str) -> String {
    let spec = fleet.spec_on(marker, &[hafleet_tests::spec::TRAFFIC_PORT, 80]);
    let revision = fleet.apply(1, &spec);
    fleet.wait_converged(&revision);
    fleet.wait_served(marker);
    let words = ["node", "show", fleet.node(NODE).id(), "--output", "json"];
    let detail: v1::NodeDetail = fleet.client().run(&words).expect_code(0).json();
    // The newest comes first.
    let last = detail.reloads.first();
    let last = last.expect("a reload is remembered");
    assert_eq!(last.error, "", "{last:?}");
    last.handover.clone()
}

/// As the others see the node.
fn liveness(fleet: &Fleet) -> Result<Liveness, String> {
    let status = fleet.status_of(1)?;
    let own = status
        .nodes
        .iter()
        .find(|node| node.id == fleet.node(NODE).id());
    own.map(v1::NodeStatus::liveness)
        .ok_or_else(|| format!("{status:#?}"))
}

fn wait_liveness(fleet: &Fleet, wanted: Liveness, within: Duration) {
    wait_for("a node is as it should be", within, || {
        match liveness(fleet)? {
            found if found == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

fn boot(fleet: &Fleet) -> Option<Systemd> {
    let directory = fleet.scratch().directory("machine");
    lay_out(fleet, &directory);
    Systemd::boot(fleet.node(NODE).namespace(), &directory)
}

#[test]
fn the_agents_unit_runs_confines_and_restarts_the_agent() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().prepare();
    let Some(systemd) = boot(&fleet) else {
        return;
    };
    for number in fleet.but(&[NODE]) {
        fleet.node(number).start_agent();
    }
    systemd.order(&["start", UNIT]);
    fleet.wait_formed();
    assert_confined(&agent(&fleet));

    // All handovers work under the sandbox.
    reload(&fleet, "first");
    let haproxy = fleet.node(NODE).haproxy();
    assert_confined(&haproxy);
    for strategy in ["pass-fds", "migrate", "hold-syn", "drop-syn"] {
        systemd.write(FILE, &file(&fleet, strategy));
        let before = fleet.node(NODE).haproxy();
        systemd.order(&["restart", UNIT]);
        wait_liveness(&fleet, Liveness::Live, PATIENCE);
        fleet.wait_formed();
        assert_eq!(fleet.node(NODE).haproxy(), before, "HAProxy lives on");
        let handover = reload(&fleet, &format!("by-{strategy}"));
        assert!(handover.starts_with(strategy), "{strategy}: {handover}");
    }

    // An agent that falls is started again.
    let before = agent(&fleet);
    before.kill();
    wait_until("systemd starts it again", PATIENCE, || {
        systemd.property(UNIT, "NRestarts") == "1"
    });
    assert_ne!(agent(&fleet), before);
    fleet.wait_formed();
    reload(&fleet, "restarted");

    // Stopped, it says goodbye, and its HAProxy serves on.
    let haproxy = fleet.node(NODE).haproxy();
    systemd.order(&["stop", UNIT]);
    assert_eq!(systemd.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(systemd.property(UNIT, "Result"), "success");
    // At once: not when it was silent for long.
    wait_liveness(&fleet, Liveness::Dead, Duration::from_secs(2));
    fleet.assert_serves(NODE, "restarted");
    assert_eq!(fleet.node(NODE).haproxy(), haproxy);
    systemd.order(&["start", UNIT]);
    fleet.wait_formed();
    assert_eq!(fleet.node(NODE).haproxy(), haproxy);
}

#[test]
fn an_agent_one_of_whose_tasks_falls_is_started_again_until_it_stays() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().prepare();
    let Some(systemd) = boot(&fleet) else {
        return;
    };
    let fault = format!("/units/{UNIT}.d/fault.conf");
    systemd.write(
        &fault,
        "[Service]\nEnvironment=HAFLEET_TEST_PANIC=members\n",
    );
    systemd.order(&["daemon-reload"]);
    systemd.order(&["start", UNIT]);
    wait_for("it falls again and again", PATIENCE, || {
        let restarts = systemd.property(UNIT, "NRestarts");
        match restarts.parse::<u32>() {
            Ok(2..) => Ok(()),
            _ => Err(restarts),
        }
    });
    let log = fs::read_to_string(systemd.file(LOG)).expect("the agent's log");
    assert!(log.contains("the task members panicked"), "{log}");
    fs::remove_file(systemd.file(&fault)).expect("a file of this test");
    systemd.order(&["daemon-reload"]);
    wait_for("it stays", PATIENCE, || fleet.status_of(NODE));

    // One that cannot do anything says why, to whoever looks at the unit.
    systemd.write(FILE, "node_id = 7\n");
    let _ = systemd.systemctl(&["restart", UNIT]);
    wait_for("it refuses its file", PATIENCE, || {
        let log = fs::read_to_string(systemd.file(LOG)).expect("the agent's log");
        match log.contains("node_id") {
            true => Ok(()),
            false => Err(log),
        }
    });
}
