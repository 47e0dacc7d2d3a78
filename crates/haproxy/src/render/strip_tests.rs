use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;

use super::*;
use crate::render::render;

fn route(prefix: Option<&str>, strip_prefix: bool) -> Route {
    Route {
        host: None,
        path_prefix: prefix.map(str::to_owned),
        backend: "api".into(),
        strip_prefix,
    }
}

#[test]
fn only_what_is_there_is_taken_off() {
    for (prefix, is_stripping, expected) in [
        (Some("/api"), true, Some(4)),
        (Some("/api//"), true, Some(4)),
        (Some("/api"), false, None),
        (Some("/"), true, None),
        (None, true, None),
    ] {
        assert_eq!(length(&route(prefix, is_stripping)), expected, "{prefix:?}");
    }
}

#[test]
fn a_rule_that_is_no_look_up_keeps_what_one_would_have_found() {
    let mut lines = Lines::default();
    let line = lines.line("", "use_backend api if TRUE");
    note(line, &route(Some("/api"), true)).end();
    let text = lines.finish().unwrap().text;
    let condition = "{ str(api/4),set-var(txn.hafleet_backend) -m found }";
    assert_eq!(text.trim(), format!("use_backend api if TRUE {condition}"));
}

#[test]
fn backends_of_raw_sections_have_no_rules_to_do_it() {
    let text = "version: 1\nraw: |\n  backend own\nfrontends:\n- name: web\n  binds: [{port: 80}]\n  \
                routes: [{path_prefix: /api, backend: own, strip_prefix: true}]\n";
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: None,
        certificate_dir: "/etc/hafleet/certs".into(),
    };
    let error = render(&load(text).unwrap().spec, &node).unwrap_err();
    assert_eq!(error.0.0[0].path, "frontends[0].routes[0].strip_prefix");
}
