//! Status: as a table, as JSON and YAML of the API's own names, and again after each change.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::machine::hafleet;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

#[test]
fn status_is_for_people_and_for_programs() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, revision) = Fleet::serving();
    let client = fleet.client();
    for command in ["status", "nodes"] {
        let table = client.run(&[command]).expect_code(0);
        for word in ["n1", "n2", "n3", "live", &revision, "10.77.0.12", "2.6"] {
            assert!(
                table.stdout.contains(word),
                "{word:?} is missing in {table}"
            );
        }
        assert!(
            !table.stdout.contains('\x1b'),
            "no colours for a file: {table}"
        );
    }
    let json: serde_json::Value = client
        .run(&["status", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(json["fleet"], "shop");
    assert_eq!(json["spec"]["revision"], revision.as_str());
    for node in json["nodes"].as_array().into_iter().flatten() {
        assert_eq!(node["liveness"], "LIVENESS_LIVE", "{json:#}");
        assert_eq!(node["held_revision"], revision.as_str(), "{json:#}");
        assert_eq!(node["haproxy"]["health"], "HEALTH_UP", "{json:#}");
    }
    let yaml = client.run(&["status", "--output", "yaml"]).expect_code(0);
    for line in ["fleet: shop", "held_revision:", "LIVENESS_LIVE"] {
        assert!(yaml.stdout.contains(line), "{line:?} is missing in {yaml}");
    }
}

#[test]
fn a_watched_status_shows_each_change() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let (client, path) = (fleet.client_of(2), fleet.scratch().new_path("watched"));
    let mut command = Command::new(hafleet());
    command.args([
        "status",
        "--watch",
        "--output",
        "json",
        "--endpoint",
        &client.endpoints[0],
    ]);
    command
        .arg("--identity")
        .arg(client.identity.as_ref().expect("an administrator"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&path).expect("a file"));
    let mut watcher = fleet.outside().spawn(&mut command);

    let shows = |words: &str| {
        wait_for("a watcher shows a change", PATIENCE, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.contains(words) {
                Ok::<_, String>(())
            } else {
                Err(format!("no {words:?} in {text}"))
            }
        });
    };
    shows(&format!("\"{first}\""));
    let second = fleet.apply(1, &fleet.spec("second"));
    shows(&format!("\"{second}\""));
    fleet.kill_agent(3);
    shows("LIVENESS_DEAD");
    watcher.kill().expect("it watches until it is ended");
    watcher.wait().expect("a killed child can be waited for");
}
