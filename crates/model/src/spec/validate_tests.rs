use super::*;
use crate::spec::load;

/// A spec of one frontend and one backend, with `frontend` and `backend` added to them.
fn spec_with(frontend: &str, backend: &str) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 80}}], default_backend: app{frontend}}}\n\
         backends:\n- {{name: app{backend}}}\n"
    )
}

fn faults(text: &str) -> Vec<Finding> {
    load(text)
        .err()
        .map(|findings| findings.0)
        .unwrap_or_default()
}

#[test]
fn each_rule_is_reported_at_its_path() {
    let cases = [
        (
            spec_with(", maxconn: 5", ", raw: ['option forwardfor']"),
            "",
        ),
        (
            spec_with(", routes: [{backend: app}]", ""),
            "frontends[0].routes[0]",
        ),
        (
            spec_with(", routes: [{host: 'a b', backend: app}]", ""),
            "frontends[0].routes[0].host",
        ),
        (
            spec_with(", routes: [{path_prefix: api, backend: app}]", ""),
            "frontends[0].routes[0].path_prefix",
        ),
        (
            spec_with(
                ", routes: [{host: a, strip_prefix: true, backend: app}]",
                "",
            ),
            "frontends[0].routes[0].strip_prefix",
        ),
        (
            spec_with(", redirects: [{code: 301}]", ""),
            "frontends[0].redirects[0]",
        ),
        (
            spec_with(", redirects: [{scheme: https, code: 200}]", ""),
            "frontends[0].redirects[0].code",
        ),
        (spec_with(", mode: tcp", ""), "frontends[0].default_backend"),
        (spec_with("", ", balance: best"), "backends[0].balance"),
        (
            spec_with("", ", balance: \"roundrobin\\nserver x\""),
            "backends[0].balance",
        ),
        (
            spec_with("", ", cookie: {name: 'A;B'}"),
            "backends[0].cookie.name",
        ),
        (
            spec_with("", ", health_check: {type: tcp, path: /}"),
            "backends[0].health_check.path",
        ),
        (
            spec_with("", ", health_check: {type: http, expect_status: ok}"),
            "backends[0].health_check.expect_status",
        ),
        (
            spec_with("", ", health_check: {type: tcp, rise: 0}"),
            "backends[0].health_check.rise",
        ),
        (
            spec_with("", ", servers: [{name: a, address: 'x y', port: 1}]"),
            "backends[0].servers[0].address",
        ),
        (
            spec_with("", ", servers: [{name: a, address: x, port: 0}]"),
            "backends[0].servers[0].port",
        ),
        (
            spec_with(
                "",
                ", servers: [{name: a, address: x, port: 1, weight: 257}]",
            ),
            "backends[0].servers[0].weight",
        ),
        (
            spec_with(
                "",
                ", servers: [{name: a, address: x, port: 1}, {name: a, address: y, port: 1}]",
            ),
            "backends[0].servers[1].name",
        ),
        (spec_with("", "}\n- {name: web"), "backends[1].name"),
    ];
    for (text, path) in cases {
        let found: Vec<_> = faults(&text)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        let expected: Vec<_> = Some(path)
            .filter(|path| !path.is_empty())
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn two_frontends_on_one_bind_are_refused_with_both_places() {
    let text = "version: 1\nfrontends:\n\
        - {name: a, binds: [{address: 192.0.2.1, port: 80}], default_backend: x}\n\
        - {name: b, binds: [{address: 192.0.2.2, port: 80}, {port: 80}], default_backend: x}\n\
        backends: [{name: x}]\n";
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "frontends[1].binds[1]");
    assert!(found[0].message.contains("frontends[0].binds[0]"));
}

#[test]
fn a_route_may_name_a_backend_of_a_raw_section() {
    let text = "version: 1\nraw: |\n  backend old\n    server a 127.0.0.1:1\n\
        frontends: [{name: a, binds: [{port: 80}], default_backend: old}]\n";
    assert_eq!(faults(text), []);
}

#[test]
fn raw_configuration_stands_alone() {
    assert_eq!(faults("version: 1\nhaproxy_cfg: |\n  global\n"), []);
    let found = faults("version: 1\nhaproxy_cfg: |\n  global\nbackends: [{name: x}]\n");
    assert_eq!(found[0].path, "haproxy_cfg");
}
