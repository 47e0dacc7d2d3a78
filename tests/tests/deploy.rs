//! The units and scripts under `deploy/`, with stand-ins for the programs that they call.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hafleet_tests::scratch::Scratch;

/// What a script is told by variables.
type Environment<'a> = &'a [(&'a str, &'a str)];

/// Writes down its name and how it was called.
const CALLED: &str =
    "#!/bin/sh\nhere=$(dirname \"$0\")\necho \"$(basename \"$0\") $*\" >> \"$here/calls\"\n";

/// Where scripts find stand-ins for all that reaches beyond this machine.
struct Stage {
    scratch: Scratch,
}

#[expect(clippy::expect_used, reason = "a test that cannot go on has to say so")]
impl Stage {
    fn set() -> Self {
        let stage = Self {
            scratch: Scratch::new(),
        };
        stage.stand_in("sleep", "");
        stage.stand_in("hafleet", "");
        stage
    }

    /// A program `name` that goes on with `body` after it was noted.
    fn stand_in(&self, name: &str, body: &str) {
        let path = self.scratch.path().join(name);
        fs::write(&path, format!("{CALLED}{body}")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn run(&self, script: &str, arguments: &[&str], environment: Environment<'_>) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.scratch.path().display());
        let mut command = Command::new("/bin/sh");
        command.arg(deploy().join(script)).args(arguments);
        command.env_clear().env("PATH", path);
        command.env("DRAIN_MARK", self.mark());
        command.envs(environment.iter().copied());
        command.output().expect("sh runs")
    }

    fn mark(&self) -> PathBuf {
        self.scratch.path().join("state/drained")
    }

    /// What was called since the last time, without sleeps.
    fn calls(&self) -> Vec<String> {
        let path = self.scratch.path().join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        let calls = text.lines().filter(|line| !line.starts_with("sleep"));
        calls.map(str::to_owned).collect()
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

#[track_caller]
fn assert_ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

const NODE: Environment<'_> = &[("HAFLEET_NODE", "lb1")];

const HOOK: Environment<'_> = &[
    ("HAFLEET_NODE", "lb1"),
    ("LIFECYCLE_HOOK", "drain"),
    ("LIFECYCLE_GROUP", "balancers"),
];

/// A metadata service of an instance that is in service, then has no state, and then is to be terminated.
const METADATA: &str = r#"
for url; do :; done
case $url in
    */latest/api/token) echo token; exit ;;
    */instance-id) echo i-1; exit ;;
    */placement/region) echo eu-central-1; exit ;;
esac
echo . >> "$here/asked"
case $(wc -l < "$here/asked") in
    1) echo InService ;;
    2) exit 22 ;;
    *) echo Terminated ;;
esac
"#;

const DRAINED: &str = "node drain lb1 --wait 5m --for 1d -m balancers terminates i-1";
const COMPLETED: &str = "aws autoscaling complete-lifecycle-action --region eu-central-1 --lifecycle-hook-name drain \
                         --auto-scaling-group-name balancers --instance-id i-1 --lifecycle-action-result CONTINUE";

#[test]
fn an_instance_is_drained_when_its_group_terminates_it_and_not_before() {
    let stage = Stage::set();
    stage.stand_in("curl", METADATA);
    stage.stand_in("aws", "");
    assert_ends(&stage.run("aws/lifecycle-hook", &[], HOOK), 0);
    let calls = stage.calls();
    let asked: Vec<_> = calls
        .iter()
        .filter(|call| call.ends_with("autoscaling/target-lifecycle-state"))
        .collect();
    assert_eq!(asked.len(), 3, "{calls:#?}");
    for call in asked {
        assert!(call.contains("X-aws-ec2-metadata-token: token"), "{call}");
    }
    let others = calls.iter().filter(|call| !call.starts_with("curl"));
    let others: Vec<_> = others.map(String::as_str).collect();
    assert_eq!(others, [&format!("hafleet {DRAINED}"), COMPLETED]);
}

#[test]
fn a_hook_is_completed_though_draining_failed_and_asked_again_when_that_fails() {
    let stage = Stage::set();
    stage.stand_in("curl", METADATA);
    stage.stand_in("hafleet", "exit 4\n");
    stage.stand_in(
        "aws",
        "echo . >> \"$here/completed\"; [ \"$(wc -l < \"$here/completed\")\" -ge 3 ]\n",
    );
    let output = stage.run("aws/lifecycle-hook", &[], HOOK);
    assert_ends(&output, 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("draining ended with 4"));
    let calls = stage.calls();
    let completed = calls.iter().filter(|call| *call == COMPLETED).count();
    assert_eq!(completed, 3, "{calls:#?}");

    stage.stand_in("aws", "exit 255\n");
    let output = stage.run("aws/lifecycle-hook", &[], HOOK);
    assert_ends(&output, 1);
}

#[test]
fn scripts_say_what_they_lack() {
    let stage = Stage::set();
    let nothing: Environment<'_> = &[];
    let lacking = [
        ("aws/lifecycle-hook", "HAFLEET_NODE", &HOOK[1..]),
        ("aws/lifecycle-hook", "LIFECYCLE_HOOK", NODE),
        ("aws/lifecycle-hook", "LIFECYCLE_GROUP", &HOOK[..2]),
        ("systemd/hafleet-drain", "HAFLEET_NODE", nothing),
    ];
    for (script, name, environment) in lacking {
        let output = stage.run(script, &["stop"], environment);
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(name), "{name} is not in {said}");
    }
    assert_ends(&stage.run("systemd/hafleet-drain", &[], NODE), 2);
    assert_eq!(stage.calls(), Vec::<String>::new());
}

const NOBODY: &str = "echo '{\"nodes\": [], \"servers\": []}'\n";
const SOMEBODY: &str = "echo '{\"nodes\": [{\n  \"node_id\": \"lb1\"\n}]}'\n";
const LOOKED: &str = "hafleet overrides --output json";

#[test]
fn what_the_stop_of_a_machine_drained_its_start_takes_back() {
    let stage = Stage::set();
    stage.stand_in("hafleet", NOBODY);
    assert_ends(&stage.run("systemd/hafleet-drain", &["start"], NODE), 0);
    assert_eq!(stage.calls(), Vec::<String>::new(), "nothing to take back");

    assert_ends(&stage.run("systemd/hafleet-drain", &["stop"], NODE), 0);
    let drained = "hafleet node drain lb1 --wait 5m -m the machine stops";
    assert_eq!(stage.calls(), [LOOKED, drained]);
    assert!(stage.mark().exists());

    // While nobody answers, it asks again, and gives up some time.
    stage.stand_in("hafleet", "exit 4\n");
    let few = [NODE[0], ("START_ATTEMPTS", "3")];
    assert_ends(&stage.run("systemd/hafleet-drain", &["start"], &few), 1);
    assert_eq!(stage.calls().len(), 3);
    assert!(stage.mark().exists());
    stage.stand_in("hafleet", "");
    assert_ends(&stage.run("systemd/hafleet-drain", &["start"], NODE), 0);
    let undrained = "hafleet node undrain lb1 -m the machine has started";
    assert_eq!(stage.calls(), [undrained]);
    assert!(!stage.mark().exists());
}

#[test]
fn what_an_operator_drained_stays_so_over_a_restart_of_the_machine() {
    let stage = Stage::set();
    stage.stand_in("hafleet", SOMEBODY);
    assert_ends(&stage.run("systemd/hafleet-drain", &["stop"], NODE), 0);
    assert_ends(&stage.run("systemd/hafleet-drain", &["start"], NODE), 0);
    assert_eq!(stage.calls(), [LOOKED]);

    // Whether somebody did is not known.
    stage.stand_in("hafleet", "exit 4\n");
    assert_ends(&stage.run("systemd/hafleet-drain", &["stop"], NODE), 2);
    assert!(!stage.mark().exists());
}

#[test]
fn units_are_units() {
    let scratch = Scratch::new();
    for (unit, script) in [
        ("systemd/hafleet-drain.service", "systemd/hafleet-drain"),
        ("aws/hafleet-lifecycle-hook.service", "aws/lifecycle-hook"),
    ] {
        let script = deploy().join(script);
        let name = script.file_name().expect("a name").to_string_lossy();
        let installed = format!("/usr/local/lib/hafleet/{name}");
        let text = fs::read_to_string(deploy().join(unit)).expect("a unit");
        assert!(text.contains(&format!("={installed}")), "{text}");
        let text = text.replace(&installed, &script.display().to_string());
        let path = scratch
            .path()
            .join(Path::new(unit).file_name().expect("a name"));
        fs::write(&path, text).expect("a file");
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(&path);
        // Machines of containers do without systemd.
        let Ok(output) = verify.output() else {
            continue;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let file = path.file_name().expect("a name").to_string_lossy();
        let faults: Vec<_> = said.lines().filter(|line| line.contains(&*file)).collect();
        assert!(faults.is_empty(), "{said}");
    }
}

/// The agent's unit names nothing that systemd does not know, and leaves open no more than it has to.
#[test]
fn the_agents_unit_is_a_unit_and_closed_enough() {
    let scratch = Scratch::new();
    let text = fs::read_to_string(deploy().join("systemd/hafleet.service")).expect("a unit");
    let installed = "=/usr/local/bin/hafleet ";
    assert!(text.contains(installed), "{text}");
    let program = format!("={} ", hafleet_tests::machine::hafleet().display());
    let path = scratch.path().join("hafleet.service");
    fs::write(&path, text.replace(installed, &program)).expect("a file");
    // Of ten, which is a unit that says nothing; 2.4 is what two capabilities and the network cost.
    let words = [
        &["verify", "--man=no"][..],
        &["security", "--offline=true", "--no-pager", "--threshold=25"],
    ];
    for words in words {
        let mut analyze = Command::new("systemd-analyze");
        // Machines of containers do without systemd.
        if let Ok(output) = analyze.args(words).arg(&path).output() {
            assert_ends(&output, 0);
        }
    }
}

#[test]
fn scripts_pass_shellcheck_where_it_is() {
    for script in ["systemd/hafleet-drain", "aws/lifecycle-hook"] {
        let mut check = Command::new("shellcheck");
        check.args(["--shell=sh"]).arg(deploy().join(script));
        if let Ok(output) = check.output() {
            assert_ends(&output, 0);
        }
    }
}
