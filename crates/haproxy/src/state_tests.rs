use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;

use super::*;
use crate::plan::Target;

fn rendered(backends: &str) -> Rendered {
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: None,
        certificate_dir: "/certs".into(),
    };
    let text = format!("version: 1\nbackends:\n{backends}");
    crate::render::render(&load(&text).unwrap().spec, &node).unwrap()
}

const SPEC: &str = "- {name: app, health_check: {type: http, path: /h}, servers: [{name: a, address: 192.0.2.1, port: 80}]}\n";
const ROW: &str = "3 app 1 a 192.0.2.1 0 0 7 7 99 8 2 0 6 0 0 0 - 80 - 0 0 - - 0";

fn text(reply: &str, before: &str, after: &str) -> String {
    let (known, wanted) = (Known::of(&rendered(before)), rendered(after));
    let (text, warming) = carry(reply, &known, &wanted, &Warming::default(), Instant::now());
    assert!(warming.is_empty());
    text
}

fn carried(row: &str, before: &str, after: &str) -> bool {
    let reply = format!("{EMPTY}{row}\n");
    let text = text(&reply, before, after);
    assert!(text.starts_with(EMPTY), "{text}");
    text.len() > EMPTY.len()
}

#[test]
fn a_server_that_is_what_it_was_keeps_its_state_and_gets_its_weight() {
    let text = text(&format!("{EMPTY}{ROW}\n"), SPEC, SPEC);
    let row = text.lines().nth(2).unwrap();
    assert_eq!(row, ROW.replace(" 7 7 ", " 100 100 "));
}

#[test]
fn a_server_that_changed_begins_afresh() {
    let changes = [
        ("192.0.2.1", "192.0.2.2"),
        ("port: 80", "port: 81"),
        ("port: 80", "port: 80, tls: {verify: false}"),
        ("path: /h", "path: /other"),
        ("type: http, path: /h", "type: http, path: /h, fall: 9"),
        ("name: a,", "name: b,"),
    ];
    for (old, new) in changes {
        assert!(!carried(ROW, SPEC, &SPEC.replace(old, new)), "{new}");
    }
    assert!(carried(
        ROW,
        SPEC,
        &SPEC.replace("name: app,", "name: app, timeouts: {server: 9s},")
    ));
    assert!(
        !carried(&ROW.replace(" 0 0 7", " 0 1 7"), SPEC, SPEC),
        "maintenance by hand"
    );
}

#[test]
fn what_is_not_understood_carries_nothing() {
    for reply in ["", "2\n", "1\n", "1\n# be_name\napp\n", "garbage"] {
        let text = text(reply, SPEC, SPEC);
        assert!(
            text.lines().count() <= 2 && text.starts_with("1\n# "),
            "{text}"
        );
    }
}

#[test]
fn a_slow_start_goes_on_as_a_weight_that_grows() {
    let spec = SPEC.replace("path: /h", "path: /h, slow_start: 200s");
    let (known, wanted) = (Known::of(&rendered(&spec)), rendered(&spec));
    let row = ROW.replace(".1 0 0 7 7 99", ".1 1 0 100 100 50");
    let reply = format!("{EMPTY}{row}\n");
    let now = Instant::now();
    let (text, warming) = carry(&reply, &known, &wanted, &Warming::default(), now);
    assert!(text.contains(" 192.0.2.1 2 0 25 100 50 "), "{text}");
    // And on over another reload.
    let later = now + Duration::from_secs(50);
    let reply = text.replace(" 50 8 ", " 1 8 ");
    let (text, mut warming) = carry(&reply, &known, &wanted, &warming, later);
    assert!(text.contains(" 192.0.2.1 2 0 50 100 1 "), "{text}");
    let due = warming.advance(later + Duration::from_secs(100));
    assert_eq!(due, [(Target::new("app", "a"), 100)]);
    assert!(warming.is_empty());
}

proptest::proptest! {
    /// Whatever a process says of its servers, what is carried over are rows of servers that there are, in the columns that
    /// it has named.
    #[test]
    fn no_reply_is_carried_that_is_none(
        head in "1?\n?(# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight)?",
        rows in "(\n[0-9a-z .:-]{0,40}|\n3 app 1 a 192.0.2.1 [0-9 -]{0,60}){0,5}",
        time in proptest::num::u64::ANY,
    ) {
        let slow = SPEC.replace("path: /h", "path: /h, slow_start: 1m");
        let (known, wanted) = (Known::of(&rendered(&slow)), rendered(&slow));
        let starting = ROW.replace("192.0.2.1 0 0", "192.0.2.1 1 0").replace(" 99 ", &format!(" {time} "));
        for reply in [format!("{head}{rows}"), format!("{EMPTY}{ROW}{rows}"), format!("{EMPTY}{starting}")] {
            let (carried, _) = carry(&reply, &known, &wanted, &Warming::default(), Instant::now());
            proptest::prop_assert!(carried.starts_with("1\n# "), "{}", carried);
            for row in carried.lines().skip(2) {
                let server: Vec<_> = row.split(' ').skip(1).step_by(2).take(2).collect();
                let is_ours = server == ["app", "a"];
                proptest::prop_assert!(is_ours || reply.lines().any(|line| line == row), "{}", row);
            }
        }
    }
}
