use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;

use super::*;

fn rendered(servers: &str) -> Rendered {
    let text = format!("version: 1\nbackends:\n- name: app\n  servers: [{servers}]\n");
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: None,
        certificate_dir: "/certs".into(),
    };
    crate::render::render(&load(&text).unwrap().spec, &node).unwrap()
}

const A: &str = "{name: a, address: 192.0.2.1, port: 80, weight: 10}";

fn running(servers: &str, rows: &[&str]) -> Running {
    let before = rendered(servers);
    let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_fqdn srv_port\n";
    Running {
        applied: Some(Known {
            digest: before.digest(),
            skeleton: before.skeleton().clone(),
        }),
        servers: ServersState::parse(&format!("{header}{}\n", rows.join("\n"))).unwrap(),
    }
}

#[test]
fn what_runs_already_needs_nothing() {
    let found = plan(
        Some(&running(A, &["1 app 1 a 192.0.2.1 2 0 10 - 80"])),
        &rendered(A),
    );
    assert_eq!((found.change, found.steps.len()), (Change::Nothing, 0));
}

#[test]
fn what_does_not_run_is_started() {
    assert_eq!(plan(None, &rendered(A)).change, Change::Start);
}

#[test]
fn moved_and_weighed_servers_are_told_over_the_socket() {
    let wanted = rendered(
        "{name: a, address: 192.0.2.9, port: 81, weight: 50}, {name: b, address: '2001:db8::1', port: 80, weight: 0}",
    );
    let before = format!("{A}, {{name: b, address: '2001:db8::1', port: 80, weight: 1}}");
    let rows = [
        "1 app 1 a 192.0.2.1 2 0 10 - 80",
        "1 app 2 b 2001:db8::1 2 0 1 - 80",
    ];
    let found = plan(Some(&running(&before, &rows)), &wanted);
    assert_eq!(found.change, Change::Runtime);
    let words: Vec<_> = found.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "set address of app/a to 192.0.2.9:81",
            "set weight of app/a to 50",
            "set weight of app/b to 0"
        ]
    );
    let command = found.steps[0].command().unwrap().to_string();
    assert_eq!(command, "set server app/a addr 192.0.2.9 port 81");
}

#[test]
fn what_was_changed_by_hand_is_set_back() {
    let found = plan(
        Some(&running(A, &["1 app 1 a 192.0.2.1 2 0 99 - 80"])),
        &rendered(A),
    );
    assert_eq!(found.change, Change::Runtime);
    assert!(found.reason.contains("behind"), "{}", found.reason);
}

#[test]
fn the_state_decides_and_not_the_memory() {
    let moved = "{name: a, address: 192.0.2.9, port: 80, weight: 10}";
    let found = plan(
        Some(&running(A, &["1 app 1 a 192.0.2.9 2 0 10 - 80"])),
        &rendered(moved),
    );
    assert_eq!(found.change, Change::Nothing);
}

#[test]
fn anything_else_is_a_reload_with_its_reason() {
    let rows = ["1 app 1 a 192.0.2.1 2 0 10 - 80"];
    let more = format!("{A}, {{name: b, address: 192.0.2.2, port: 80}}");
    let found = plan(Some(&running(A, &rows)), &rendered(&more));
    assert_eq!(found.change, Change::Reload);
    assert_eq!(found.reason, "backend app changed");

    let found = plan(Some(&running(A, &[])), &rendered(A));
    assert_eq!(found.change, Change::Reload);
    assert!(found.reason.contains("app/a is missing"));

    let unknown = Running {
        applied: None,
        ..running(A, &rows)
    };
    assert_eq!(plan(Some(&unknown), &rendered(A)).change, Change::Reload);
}
