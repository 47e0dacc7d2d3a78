//! The live screen, under a terminal of its own: it shows the fleet, does what it is told, and survives what happens to
//! the fleet.

use std::fs;
use std::io::Write as _;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hafleet_api::v1;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::machine::hafleet;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};
use serde_json::Value;

/// The height of its terminal.
const ROWS: u16 = 20;

/// A running `hafleet top` on a terminal that `script` makes. It ends when it is dropped.
struct Screen {
    process: Child,
    /// All that was printed so far.
    output: PathBuf,
    columns: u16,
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Screen {
    /// Of so many columns, looking every 200 ms, through the agents of the nodes `numbers`.
    fn start(fleet: &Fleet, columns: u16, numbers: &[usize]) -> Self {
        let client = fleet.client_as("ada", numbers);
        let output = fleet.scratch().new_path("screen");
        let mut words = format!(
            "stty rows {ROWS} cols {columns}; exec {} top --interval 200ms",
            hafleet().display()
        );
        for endpoint in &client.endpoints {
            words = format!("{words} --endpoint {endpoint}");
        }
        if let Some(identity) = &client.identity {
            words = format!("{words} --identity {}", identity.display());
        }
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--flush", "--command", &words])
            .arg(&output)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = fleet.outside().spawn(&mut command);
        Self {
            process,
            output,
            columns,
        }
    }

    fn press(&mut self, keys: &str) {
        let input = self.process.stdin.as_mut();
        let pressed = input.map(|input| {
            input.write_all(keys.as_bytes())?;
            input.flush()
        });
        assert!(matches!(pressed, Some(Ok(()))), "{pressed:?}");
    }

    /// What is on the terminal now, as a terminal shows what was printed.
    fn shown(&self) -> String {
        let [rows, columns] =
            [ROWS, self.columns].map(|size| NonZero::new(size).unwrap_or(NonZero::<u16>::MIN));
        let mut terminal = vt100::Parser::new(rows, columns, 0);
        terminal.process(&fs::read(&self.output).unwrap_or_default());
        terminal.screen().contents()
    }

    /// Waits until `words` are on the terminal.
    #[track_caller]
    fn wait_shown(&self, words: &str) {
        wait_for("it is on the screen", PATIENCE, || {
            let shown = self.shown();
            match shown.contains(words) {
                true => Ok(()),
                false => Err(format!("{words:?} is not on\n{shown}")),
            }
        });
    }

    /// Presses `q`, and waits for its end.
    fn quit(mut self) {
        self.press("q");
        let process = &mut self.process;
        let status = wait_for("it ends", PATIENCE, || {
            process.try_wait().ok().flatten().ok_or("it runs")
        });
        assert!(status.success(), "{status}");
    }
}

fn drained(fleet: &Fleet) -> Vec<String> {
    let words = ["overrides", "--output", "json"];
    let list: v1::ListOverridesResponse = fleet.client().run(&words).expect_code(0).json();
    let servers = list.servers.iter();
    servers.map(|server| server.server.clone()).collect()
}

#[test]
fn a_server_is_drained_and_readied_from_the_screen() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let mut screen = Screen::start(&fleet, 120, &[1]);
    for words in ["3 nodes", "app/s0", "app/s1", "no check", "q quit"] {
        screen.wait_shown(words);
    }
    screen.press("d");
    screen.wait_shown("drain app/s0 on all nodes? y/n");
    assert!(drained(&fleet).is_empty());
    screen.press("y");
    screen.wait_shown("stored by");
    assert_eq!(drained(&fleet), ["s0"]);
    screen.wait_shown("DRAIN");
    screen.press("r");
    screen.wait_shown("ready app/s0 on all nodes? y/n");
    screen.press("y");
    wait_for("it is back", PATIENCE, || {
        let drained = drained(&fleet);
        drained
            .is_empty()
            .then_some(())
            .ok_or(format!("{drained:?}"))
    });
    screen.press("1");
    screen.wait_shown("leads");
    screen.quit();
}

#[test]
fn nodes_and_endpoints_may_go() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    // Narrow, and through two endpoints, of which the first goes.
    let screen = Screen::start(&fleet, 40, &[1, 2]);
    screen.wait_shown("3 nodes");
    fleet.kill_agent(1);
    screen.wait_shown("no answer: n1");
    fleet.restart(1);
    fleet.kill_agent(2);
    screen.wait_shown("no answer: n2");
    screen.quit();
}

#[test]
fn programs_get_a_snapshot_a_line() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, revision) = Fleet::serving();
    let words = [
        "top",
        "--output",
        "json",
        "--count",
        "2",
        "--interval",
        "200ms",
    ];
    let finished = fleet.client().run(&words).expect_code(0);
    let lines: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{finished}");
    let snapshot: Value = serde_json::from_str(lines[1]).expect("JSON");
    assert_eq!(
        snapshot["nodes"].as_array().map(Vec::len),
        Some(3),
        "{snapshot}"
    );
    assert_eq!(
        snapshot["nodes"][0]["applied_revision"], *revision,
        "{snapshot}"
    );
    assert_eq!(
        snapshot["servers"][0]["states"]["no check"], 3,
        "{snapshot}"
    );
    assert_eq!(snapshot["backends"][0]["total"], 2, "{snapshot}");
    // Without a terminal there is no screen.
    let refused = fleet.client().run(&["top"]).expect_code(2);
    refused.expect_complaint(&["needs a terminal", "--output json"]);
}
