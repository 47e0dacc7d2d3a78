use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;

use crate::runtime::{AdminState, ServersState};

use super::*;

fn node() -> NodeContext {
    NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: None,
        certificate_dir: "/certs".into(),
    }
}

fn rendered(servers: &str) -> Rendered {
    let text = format!("version: 1\nbackends:\n- name: app\n  servers: [{servers}]\n");
    crate::render::render(&load(&text).unwrap().spec, &node()).unwrap()
}

const V26: Version = DYNAMIC_SERVERS;
const A: &str = "{name: a, address: 192.0.2.1, port: 80, weight: 10}";

fn running(servers: &str, rows: &[&str]) -> Running {
    let before = rendered(servers);
    let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_fqdn srv_port srv_check_state\n";
    Running {
        servers: ServersState::parse(&format!("{header}{}\n", rows.join("\n"))).unwrap(),
        ..Running::unasked(V26, Some(Known::of(&before)))
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
fn servers_come_and_go_over_the_socket() {
    let rows = ["1 app 1 a 192.0.2.1 2 0 10 - 80"];
    let more = format!("{A}, {{name: b, address: 192.0.2.2, port: 80, maxconn: 9}}");
    let found = plan(Some(&running(A, &rows)), &rendered(&more));
    assert_eq!(found.change, Change::Runtime, "{found:?}");
    assert_eq!(found.drift, [""; 0]);
    let words: Vec<_> = found.steps.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["add server app/b", "set state of app/b to ready"]);
    assert_eq!(
        found.steps[0].command().unwrap().to_string(),
        "add server app/b 192.0.2.2:80 weight 100 maxconn 9"
    );
    let both = [rows[0], "1 app 2 b 192.0.2.2 2 0 100 - 80"];
    let found = plan(Some(&running(&more, &both)), &rendered(A));
    assert_eq!(found.steps, [Step::RemoveServer(Target::new("app", "b"))]);
    let old = Running {
        version: Version::OLDEST,
        ..running(A, &rows)
    };
    assert_eq!(plan(Some(&old), &rendered(&more)).change, Change::Reload);
}

#[test]
fn what_was_done_behind_our_back_is_put_right_and_said() {
    let cases = [
        (
            &["1 app 1 a 192.0.2.1 0 1 10 - 80 0"][..],
            "app/a is in state maint",
        ),
        (
            &["1 app 1 a 192.0.2.1 2 8 10 - 80 0"],
            "app/a is in state drain",
        ),
        (&["1 app 1 a 192.0.2.1 2 0 99 - 80 0"], "from 10 to 99"),
        (
            &["1 app 1 a 192.0.2.7 2 0 10 - 80 0"],
            "app/a was sent to 192.0.2.7",
        ),
        (&[], "app/a was removed"),
        (
            &[
                "1 app 1 a 192.0.2.1 2 0 10 - 80 0",
                "1 app 2 x 192.0.2.1 2 0 10 - 80 0",
            ],
            "app/x was added",
        ),
    ];
    for (rows, words) in cases {
        let found = plan(Some(&running(A, rows)), &rendered(A));
        assert_eq!(found.change, Change::Runtime, "{words}: {found:?}");
        assert_eq!(found.drift.len(), 1, "{words}");
        assert!(found.drift[0].contains(words), "{:?}", found.drift);
        assert!(found.reason.contains("behind"), "{}", found.reason);
    }
    let mut wanted = rendered(A);
    assert!(wanted.set_admin("app", "a", crate::runtime::AdminState::Maint));
    let found = plan(Some(&running(A, cases[0].0)), &wanted);
    assert_eq!(found.change, Change::Nothing, "wanted so: {found:?}");
}

#[test]
fn a_drain_that_is_asked_for_is_not_said_to_be_done_behind_our_back() {
    let row = "1 app 1 a 192.0.2.1 2 0 10 - 80";
    let mut wanted = rendered(A);
    assert!(wanted.set_admin("app", "a", crate::runtime::AdminState::Drain));
    let found = plan(Some(&running(A, &[row])), &wanted);
    assert_eq!((found.change, found.drift.len()), (Change::Runtime, 0));
    assert!(!found.reason.contains("behind"), "{}", found.reason);
}

fn checked(check: &str) -> Rendered {
    let text = format!("version: 1\nbackends:\n- {{name: app, servers: [{A}]{check}}}\n");
    crate::render::render(&load(&text).unwrap().spec, &node()).unwrap()
}

/// A process that was started with `loaded`, was brought to `now`, and says `bits` of the check of its server.
fn checking(loaded: &Rendered, now: &Rendered, bits: u8) -> Running {
    Running {
        applied: Some(Known::of(loaded).brought_to(now)),
        ..running(A, &[&format!("1 app 1 a 192.0.2.1 2 0 10 - 80 {bits}")])
    }
}

#[test]
fn checks_that_are_loaded_are_turned_on_and_off_over_the_socket() {
    let (off, on) = (checked(""), checked(", health_check: {type: http}"));
    let other = checked(", health_check: {type: http, path: /x}");
    let words = |running: &Running, wanted: &Rendered| {
        let found = plan(Some(running), wanted);
        assert_eq!(found.drift, [""; 0]);
        let steps: Vec<_> = found.steps.iter().map(ToString::to_string).collect();
        match found.change {
            Change::Reload => found.reason,
            _ => steps.join(", "),
        }
    };
    let no_more = "check the health of app/a no more";
    let again = "check the health of app/a again";
    let unloaded = "HAProxy has not loaded the health check of";
    assert_eq!(words(&checking(&on, &on, 6), &off), no_more);
    assert_eq!(words(&checking(&on, &off, 2), &off), "");
    assert_eq!(words(&checking(&on, &off, 2), &on), again);
    assert!(words(&checking(&on, &off, 2), &other).contains(unloaded));
    assert!(words(&checking(&on, &on, 6), &other).contains(unloaded));
    assert!(words(&checking(&off, &off, 0), &on).contains(unloaded));
    // A server that was added while nothing was checked.
    assert!(words(&checking(&on, &off, 0), &on).contains(unloaded));
}

#[test]
fn a_server_that_nothing_checks_is_not_left_down() {
    let off = checked("");
    let mut down = checking(&off, &off, 0);
    down.servers = running(A, &["1 app 1 a 192.0.2.1 0 0 10 - 80 0"]).servers;
    let found = plan(Some(&down), &off);
    assert_eq!(found.steps[0].to_string(), "take app/a for up");
    assert!(found.drift[0].contains("marked down"), "{:?}", found.drift);
}

#[test]
fn anything_else_is_a_reload_with_its_reason() {
    let rows = ["1 app 1 a 192.0.2.1 2 0 10 - 80"];
    let limited = "{name: a, address: 192.0.2.1, port: 80, weight: 10, maxconn: 5}";
    let found = plan(Some(&running(A, &rows)), &rendered(limited));
    assert_eq!(found.change, Change::Reload);
    assert_eq!(found.reason, "app/a changed beyond its address");

    let named = format!("{A}, {{name: b, address: app.example.com, port: 80}}");
    let found = plan(Some(&running(A, &rows)), &rendered(&named));
    assert_eq!(found.reason, "backend app changed");

    let unknown = Running {
        applied: None,
        ..running(A, &rows)
    };
    assert_eq!(plan(Some(&unknown), &rendered(A)).change, Change::Reload);
}

/// A configuration with the fleet's certificate `pem`, whose SHA-1 is `sha1`.
fn with_certificate(pem: &str, sha1: &str) -> Rendered {
    use crate::certificates::{FleetCertificate, Held};
    use hafleet_model::secrets::{CertificateName, Confidential};
    let certificate = FleetCertificate {
        name: CertificateName::new("www").unwrap(),
        pem: Confidential::new(pem),
        sha1: sha1.into(),
    };
    let held = Held::new(std::path::Path::new("/data"), vec![certificate]);
    let text = "version: 1\nfrontends: [{name: web, binds: [{port: 443, tls: {certificates: [www]}}], default_backend: app}]\nbackends: [{name: app}]\n";
    let node = node();
    let families = crate::render::Families::Both;
    crate::render::render_with(&load(text).unwrap().spec, &node, families, &held).unwrap()
}

fn serving(before: &Rendered, sha1: Option<Option<&str>>) -> Running {
    let served = sha1.map(|sha1| ("/data/www".to_owned(), sha1.map(str::to_owned)));
    Running {
        certificates: served.into_iter().collect(),
        ..Running::unasked(V26, Some(Known::of(before)))
    }
}

#[test]
fn a_certificate_in_use_is_replaced_without_a_reload() {
    let before = with_certificate("one", "aa");
    let same = plan(Some(&serving(&before, Some(Some("AA")))), &before);
    assert_eq!(same.change, Change::Nothing, "{same:?}");
    let cases = [
        (
            "another certificate",
            with_certificate("two", "bb"),
            Some(Some("AA")),
        ),
        (
            "another chain",
            with_certificate("one and more", "aa"),
            Some(Some("AA")),
        ),
        ("replaced by hand", before.clone(), Some(Some("CC"))),
        ("it cannot be asked", with_certificate("two", "bb"), None),
    ];
    for (what, wanted, served) in cases {
        let found = plan(Some(&serving(&before, served)), &wanted);
        assert_eq!(found.change, Change::Runtime, "{what}: {found:?}");
        assert_eq!(found.steps[0].to_string(), "replace certificate www");
    }
    let unloaded = plan(Some(&serving(&before, Some(None))), &before);
    assert_eq!(unloaded.change, Change::Reload, "{unloaded:?}");
}

/// A configuration of HAProxy's own, with what is asked of the servers in it.
fn whole(asked: &[(&str, AdminState)]) -> Rendered {
    let text = "version: 1\nhaproxy_cfg: |\n  backend app\n    server a 192.0.2.1:80\n    server b 192.0.2.2:80 disabled\n";
    let mut rendered = crate::render::render(&load(text).unwrap().spec, &node()).unwrap();
    for (server, admin) in asked {
        assert!(rendered.set_admin("app", server, *admin));
    }
    rendered
}

/// What is planned for `wanted` where `before` was asked, and the servers are in the states with these bits.
fn planned_in_text(before: &Rendered, bits: [u32; 2], wanted: &Rendered) -> Plan {
    let [a, b] = bits;
    let rows = [
        format!("1 app 1 a 192.0.2.1 2 {a} 1 - 80"),
        format!("1 app 2 b 192.0.2.2 0 {b} 1 - 80"),
    ];
    let running = Running {
        applied: Some(Known::of(before)),
        ..running("", &[rows[0].as_str(), rows[1].as_str()])
    };
    plan(Some(&running), wanted)
}

#[test]
fn servers_in_text_are_asked_and_let_go_without_a_reload() {
    let (none, drained) = (whole(&[]), whole(&[("a", AdminState::Drain)]));
    let maint = whole(&[("a", AdminState::Maint)]);
    let cases = [
        (
            &none,
            [0, 5],
            &drained,
            vec!["set server app/a state drain"],
        ),
        (&drained, [8, 5], &drained, vec![]),
        (
            &drained,
            [8, 5],
            &none,
            vec!["set server app/a state ready"],
        ),
        (
            &drained,
            [8, 5],
            &maint,
            vec!["set server app/a state maint"],
        ),
        // What nobody asked of hafleet is the text's, and whoever changed it at run time is left alone.
        (&none, [8, 0], &none, vec![]),
    ];
    for (before, bits, wanted, commands) in cases {
        let found = planned_in_text(before, bits, wanted);
        let steps = found.steps.iter().map(|step| step.command().unwrap());
        let steps: Vec<_> = steps.map(|command| command.to_string()).collect();
        assert_eq!(steps, commands, "{found:#?}");
        assert!(
            found.drift.is_empty() && found.change != Change::Reload,
            "{found:#?}"
        );
    }
}

#[test]
fn a_server_in_text_that_somebody_else_took_back_is_drift() {
    let drained = whole(&[("a", AdminState::Drain)]);
    let found = planned_in_text(&drained, [0, 5], &drained);
    assert_eq!(found.drift, ["app/a is in state ready"]);
    assert_eq!(found.steps.len(), 1);
    // Its text has it in maintenance: that is where it goes back to.
    let asked = whole(&[("b", AdminState::Drain)]);
    let found = planned_in_text(&asked, [0, 8], &whole(&[]));
    assert!(
        matches!(
            &found.steps[..],
            [Step::SetState {
                state: AdminState::Maint,
                ..
            }]
        ),
        "{found:#?}"
    );
}
