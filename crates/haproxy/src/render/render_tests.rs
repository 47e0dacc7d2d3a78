use hafleet_model::NodeId;
use hafleet_model::spec::load;
use proptest::prelude::*;

use super::*;

fn node() -> NodeContext {
    NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: Some("a".into()),
        certificate_dir: "/etc/hafleet/certs".into(),
    }
}

fn rendered(text: &str) -> Rendered {
    let loaded = load(text).unwrap();
    render(&loaded.spec, &node()).unwrap()
}

fn faults(spec: &Spec) -> Vec<Finding> {
    render(spec, &node())
        .err()
        .map(|error| error.0.0)
        .unwrap_or_default()
}

const FULL: &str = r"
version: 1
global: {maxconn: 1000, threads: 2, user: haproxy, raw: ['log 127.0.0.1 local0']}
defaults: {timeouts: {connect: 1s, queue: 3s}, raw: ['no option dontlognull']}
frontends:
- name: web
  binds:
  - {port: 80}
  - {port: 443, address: node, accept_proxy: true, tls: {certificates: [a.pem, b.pem], client_ca: ca.pem}}
  - {port: 81, address: '2001:db8::1'}
  maxconn: 500
  timeouts: {client: 10s}
  redirects:
  - {host: old.example.com, prefix: 'https://new.example.com/100%', code: 301}
  - {scheme: https, path_prefix: /secure}
  routes:
  - {host: API.example.com, path_prefix: /v1/, backend: app}
  - {host: '*.example.com', backend: app}
  default_backend: app
  raw: ['http-request deny if { path /x }']
backends:
- name: app
  balance: hdr(X-User)
  cookie: {name: S, secure: true, maxidle: 30m}
  health_check: {type: http, path: /health, host: app.example.com, port: 9000}
  servers:
  - {name: b, address: '2001:db8::2', port: 8080, backup: true}
  - {name: a, address: 192.0.2.1, port: 8080, weight: 50, maxconn: 9}
  - {name: c, address: app.example.com, port: 443, tls: {server_name: app.example.com}}
  - {name: d, address: 192.0.2.2, port: 443, tls: {verify: false}}
- {name: tcp, mode: tcp, health_check: {type: tcp}}
raw: |
  listen stats
    bind 127.0.0.1:9999
";

const FULL_TEXT: &str = "global
    maxconn 1000
    nbthread 2
    user haproxy
    hard-stop-after 10m
    log 127.0.0.1 local0

defaults
    mode http
    option idle-close-on-response
    load-server-state-from-file global
    option redispatch
    option dontlognull
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout queue 3s
    no option dontlognull

frontend web
    mode http
    bind [::]:80 v4v6
    bind 192.0.2.10:443 accept-proxy ssl crt /etc/hafleet/certs/a.pem crt /etc/hafleet/certs/b.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2 ca-file /etc/hafleet/certs/ca.pem verify required
    bind [2001:db8::1]:81
    maxconn 500
    timeout client 10s
    http-request set-var(txn.hafleet_host) 'req.hdr(host),lower,regsub(:[0-9]*$,),rtrim(.)'
    http-request deny if { path /x }
    http-request redirect prefix https://new.example.com/100%% code 301 if { var(txn.hafleet_host) -m str -- old.example.com }
    http-request redirect scheme https code 302 if !{ ssl_fc } { path,concat(/) -m beg -- /secure/ }
    use_backend %[var(txn.hafleet_backend)] if { path,concat(/),set-var(txn.hafleet_path) -m found } { \"var(txn.hafleet_host),map_str('${HAFLEET_MAPS}/web.hosts.map'),concat(,txn.hafleet_path),set-var(txn.hafleet_route)\" -m found } { \"var(txn.hafleet_route),map_beg('${HAFLEET_MAPS}/web.paths.map'),set-var(txn.hafleet_backend)\" -m found }
    use_backend %[var(txn.hafleet_backend)] if { \"var(txn.hafleet_host),map_end('${HAFLEET_MAPS}/web.wildcards.map'),concat(,txn.hafleet_path),set-var(txn.hafleet_route)\" -m found } { \"var(txn.hafleet_route),map_beg('${HAFLEET_MAPS}/web.paths.map'),set-var(txn.hafleet_backend)\" -m found }
    use_backend %[var(txn.hafleet_backend)] if { \"var(txn.hafleet_path),map_beg('${HAFLEET_MAPS}/web.paths.map'),set-var(txn.hafleet_backend)\" -m found }
    default_backend app

backend app
    mode http
    balance hdr(X-User)
    cookie S insert indirect nocache httponly secure maxidle 30m
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host app.example.com
    http-check expect status 200-399
    server a 192.0.2.1:8080 weight 50 maxconn 9 cookie a check inter 2s rise 2 fall 3 port 9000
    server b [2001:db8::2]:8080 weight 100 backup cookie b check inter 2s rise 2 fall 3 port 9000
    server c app.example.com:443 init-addr last,libc,none weight 100 cookie c ssl verify required ca-file @system-ca sni str(app.example.com) verifyhost app.example.com check inter 2s rise 2 fall 3 port 9000 check-sni app.example.com
    server d 192.0.2.2:443 weight 100 cookie d ssl verify none check inter 2s rise 2 fall 3 port 9000

backend tcp
    mode tcp
    balance roundrobin

listen stats
  bind 127.0.0.1:9999
";

#[test]
fn everything_a_spec_can_say_is_written() {
    let found = rendered(FULL);
    assert_eq!(found.body(), FULL_TEXT);
    assert_eq!(found, rendered(FULL), "the same again");
    let maps = found.maps().iter();
    let maps: Vec<_> = maps.map(|map| (map.file_name(), map.text())).collect();
    let expected = [
        (
            "web.paths.map",
            "*.example.com/ app\napi.example.com/v1/ app\n",
        ),
        ("web.wildcards.map", ".example.com *.example.com\n"),
        ("web.hosts.map", "api.example.com api.example.com\n"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(maps, expected);
}

#[test]
fn each_line_knows_where_it_came_from() {
    let found = rendered(FULL);
    let origin_of = |beginning: &str| {
        let line = found
            .body()
            .lines()
            .position(|line| line.trim().starts_with(beginning));
        found.origin(line.unwrap() + 1).unwrap().to_owned()
    };
    assert_eq!(origin_of("log "), "global.raw[0]");
    assert_eq!(origin_of("bind [2001"), "frontends[0].binds[2]");
    assert_eq!(
        origin_of("use_backend %[var(txn.hafleet_backend)]"),
        "frontends[0].routes"
    );
    assert_eq!(origin_of("server a"), "backends[0].servers[1]");
    assert_eq!(origin_of("server b"), "backends[0].servers[0]");
    assert_eq!(
        origin_of("timeout client 10s"),
        "frontends[0].timeouts.client"
    );
    assert_eq!(origin_of("listen stats"), "raw");
    assert_eq!(found.origin(0), None);
    assert_eq!(found.origin(found.body().lines().count() + 1), None);
}

#[test]
fn listeners_and_servers_are_told() {
    let found = rendered(FULL);
    let ports: Vec<_> = found.listeners().iter().map(|l| (l.port, l.tls)).collect();
    assert_eq!(
        ports,
        [(80, false), (9999, false), (443, true), (81, false)]
    );
    let names: Vec<_> = found.servers().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(found.servers().nth(2).unwrap().address, None, "a host name");
}

#[test]
fn without_ipv6_a_wildcard_is_ipv4() {
    let loaded = load(FULL).unwrap();
    let found = render_on(&loaded.spec, &node(), Families::Ipv4).unwrap();
    assert!(found.body().contains("bind 0.0.0.0:80\n"));
}

#[test]
fn servers_that_can_come_and_go_leave_the_skeleton_alone() {
    let text = |servers: &str, more: &str| {
        format!("version: 1\nbackends:\n- {{name: app, {more}, servers: [{servers}]}}\n")
    };
    let one = |weight: u16| format!("{{name: a, address: 192.0.2.1, port: 80, weight: {weight}}}");
    let base = rendered(&text(&one(1), "balance: roundrobin"));
    let alike = [
        one(2),
        "{name: a, address: '2001:db8::9', port: 81, weight: 1}".to_owned(),
        "{name: b, address: 192.0.2.1, port: 80, weight: 1}".to_owned(),
        format!(
            "{}, {{name: c, address: 192.0.2.1, port: 80, backup: true}}",
            one(1)
        ),
        String::new(),
    ];
    for servers in &alike {
        let found = rendered(&text(servers, "balance: roundrobin"));
        assert_eq!(found.skeleton(), base.skeleton(), "{servers}");
        assert_ne!(found.digest(), base.digest());
    }
    let unlike = [
        text(&one(1), "balance: leastconn"),
        text(&one(1), "balance: roundrobin, cookie: {name: S}"),
        text("{name: a, address: host, port: 80}", "balance: roundrobin"),
    ];
    for spec in &unlike {
        assert_ne!(rendered(spec).skeleton(), base.skeleton(), "{spec}");
    }
    let fixed = [
        "balance: source",
        "balance: first",
        "balance: roundrobin, cookie: {name: S}",
        "balance: roundrobin, raw: ['default-server maxconn 3']",
        "balance: roundrobin, raw: ['server x 192.0.2.9:80']",
        "balance: roundrobin, raw: ['default-server agent-check agent-port 1']",
    ];
    for more in fixed {
        let of = |servers: &str| rendered(&text(servers, more)).skeleton().clone();
        assert_ne!(of(&one(1)), of(""), "{more}: servers stay");
    }
    let http = "health_check: {type: http}";
    for (more, is_apart) in [("raw: []", true), ("raw: ['default-server check']", false)] {
        let of = |more: &str| rendered(&text(&one(1), more)).skeleton().clone();
        let (off, on) = (of(more), of(&format!("{more}, {http}")));
        assert_eq!(off == on, is_apart, "{more}: checks come and go");
    }
    let weighed = |weight| {
        rendered(&text(&one(weight), "balance: source"))
            .skeleton()
            .clone()
    };
    assert_ne!(
        weighed(1),
        weighed(2),
        "a static algorithm takes no weights at run time"
    );
}

#[test]
fn the_whole_configuration_may_be_given() {
    let found = rendered("version: 1\nhaproxy_cfg: |\n  frontend f\n    bind :80\n");
    assert_eq!(found.body(), "frontend f\n  bind :80\n");
    assert_eq!(found.origin(2), Some("haproxy_cfg"));
    assert_eq!(found.listeners().len(), 1);
}

fn template(text: &str) -> Spec {
    let mut spec = load(FULL).unwrap().spec;
    spec.template = Some(text.to_owned());
    spec.vars.insert("name".into(), "it's $HOME".into());
    spec
}

#[test]
fn a_template_has_the_node_and_the_spec() {
    let text = "# {{ fleet }} {{ node.id }} {{ node.address }} {{ node.zone }} {{ node.certificate_dir }}\n\
                {% for b in backends %}\nbackend {{ b.name }}\n  {% for s in b.servers | sort(attribute='name') %}\n  \
                server {{ s.name }} {{ s.address }}:{{ s.port }}\n  {% endfor %}\n{% endfor %}\n\
                # {{ vars.name | quote }} {{ global.maxconn }} {{ defaults.timeouts.connect }} {{ frontends | length }}\n";
    let found = render(&template(text), &node()).unwrap();
    assert_eq!(
        found.body(),
        "# shop lb1 192.0.2.10 a /etc/hafleet/certs\nbackend app\n  server a 192.0.2.1:8080\n  server b 2001:db8::2:8080\n  \
         server c app.example.com:443\n  server d 192.0.2.2:443\nbackend tcp\n# 'it'\\''s $HOME' 1000 1s 1\n"
    );
    assert_eq!(found.origin(3), Some("template"));
    assert_eq!(found.servers().count(), 0);
}

#[test]
fn a_broken_template_is_told_with_its_line() {
    let cases = [
        ("x\n{{ nothing }}", "line 2", "undefined"),
        ("x\n\n{% for %}", "line 3", "syntax"),
        ("{{ node.zonne }}", "line 1", "undefined"),
        (
            "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}",
            "",
            "ended",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "",
            "recursion",
        ),
        ("{% include '/etc/passwd' %}", "line 1", "template"),
        ("{{ ('a' ~ '\\n') | quote }}", "line 1", "control character"),
    ];
    for (text, line, word) in cases {
        let found = faults(&template(text));
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].path, "template");
        let message = &found[0].message;
        assert!(
            message.contains(line) && message.contains(word),
            "{text}: {message}"
        );
    }
}

#[test]
fn a_value_that_cannot_be_written_is_told_with_its_path() {
    let mut spec = load(FULL).unwrap().spec;
    spec.backends[0].servers[1].address = "192.0.2.1 check\n".into();
    spec.backends[0].name = "a b".into();
    spec.frontends[0].routes[0].host = Some("}".into());
    spec.frontends[0].routes[1].path_prefix = Some("-f".into());
    spec.global.user = Some("x\nuser root".into());
    let paths: Vec<_> = faults(&spec).into_iter().map(|f| f.path).collect();
    let expected = [
        "global.user",
        "frontends[0].routes[0].host",
        "frontends[0].routes[1].path_prefix",
        "backends[0].name",
        "backends[0].servers[1].address",
    ];
    for path in expected {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} in {paths:?}"
        );
    }
}

/// The words of each line, as HAProxy splits them.
fn structure(rendered: &Rendered) -> Vec<(usize, String)> {
    let lines = rendered.body().lines().map(quote::split);
    lines
        .map(|words| {
            let is_balance = words.first().is_some_and(|word| word == "balance");
            let count = if is_balance { 0 } else { words.len() };
            (count, words.into_iter().next().unwrap_or_default())
        })
        .collect()
}

/// Puts `value` into one of the places where a spec has text that is not raw.
fn put(spec: &mut Spec, place: usize, value: &str) {
    let value = || value.to_owned();
    let (frontend, backend) = (&mut spec.frontends[0], &mut spec.backends[0]);
    let tls = frontend.binds[1].tls.as_mut().unwrap();
    let check = backend.health_check.as_mut().unwrap();
    match place {
        0 => tls.certificates[0] = value(),
        1 => tls.alpn = Some(vec![format!("a{}", value())]),
        2 => tls.client_ca = Some(value()),
        3 => check.path = Some(value()),
        4 => check.method = Some(value()),
        5 => check.host = Some(value()),
        6 => check.expect_status = Some(value()),
        7 => frontend.redirects[0].prefix = Some(value()),
        8 => (frontend.redirects[0].prefix, frontend.redirects[0].location) = (None, Some(value())),
        9 => frontend.redirects[0].host = Some(value()),
        10 => frontend.routes[0].host = Some(value()),
        11 => frontend.routes[0].path_prefix = Some(format!("/{}", value())),
        12 => frontend.routes[0].backend = value(),
        13 => frontend.default_backend = Some(value()),
        14 => frontend.name = value(),
        15 => backend.name = value(),
        16 => backend.balance = format!("uri {}", value()),
        17 => backend.cookie.as_mut().unwrap().name = value(),
        18 => backend.servers[0].name = value(),
        19 => backend.servers[2].address = value(),
        20 => backend.servers[2].tls.as_mut().unwrap().server_name = Some(value()),
        21 => backend.servers[2].tls.as_mut().unwrap().ca = Some(value()),
        22 => spec.global.user = Some(value()),
        _ => spec.global.group = Some(value()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn no_value_changes_the_structure(place in 0..24_usize, value in r#"\PC{0,12}|.{0,6}|[a-z{}'\"\\$%# ;|-]{1,9}"#) {
        static PLAIN: std::sync::LazyLock<Spec> = std::sync::LazyLock::new(|| load(FULL).unwrap().spec);
        let (mut plain, mut spec) = (PLAIN.clone(), PLAIN.clone());
        put(&mut plain, place, "x");
        put(&mut spec, place, &value);
        if let Ok(found) = render(&spec, &node()) {
            let mut expected = structure(&render(&plain, &node()).unwrap());
            let mut changed = structure(&found);
            // Servers are sorted by name, so that a new name moves its line.
            expected.sort();
            changed.sort();
            prop_assert_eq!(changed, expected, "{}", found.body());
            for (key, value) in found.maps().iter().flat_map(|map| &map.entries) {
                prop_assert!(![key, value].iter().any(|word| word.contains(char::is_whitespace)));
                prop_assert!(!key.starts_with('#'));
            }
        } else {
            let is_free = matches!(place, 0..=8 | 21..);
            prop_assert!(!is_free || value.chars().any(char::is_control), "refused without need");
        }
    }
}

#[test]
fn binds_that_are_one_on_a_node_are_refused_there() {
    let text = "version: 1\nfrontends:\n\
        - {name: a, binds: [{address: node, port: 80}], default_backend: x}\n\
        - {name: b, binds: [{address: 192.0.2.10, port: 80}], default_backend: x}\n\
        backends: [{name: x}]\n";
    let spec = hafleet_model::spec::load(text).unwrap().spec;
    let findings = render(&spec, &node()).unwrap_err().0;
    assert_eq!(findings.0[0].path, "frontends[1].binds[0]");
    assert!(
        findings.0[0].message.contains("192.0.2.10 port 80"),
        "{findings}"
    );
    let elsewhere = NodeContext {
        address: "192.0.2.11".parse().unwrap(),
        ..node()
    };
    assert!(render(&spec, &elsewhere).is_ok());
}

#[test]
fn maintenance_stands_in_the_configuration() {
    use crate::runtime::AdminState;
    let plain = rendered(FULL);
    let mut found = plain.clone();
    assert!(!found.set_admin("app", "x", AdminState::Maint));
    assert!(found.set_admin("app", "a", AdminState::Maint));
    let line = "port 9000 disabled\n    server b ";
    assert!(found.body().contains(line), "{}", found.body());
    assert_eq!(found.body().matches(" disabled").count(), 1);
    assert_ne!(found.digest(), plain.digest());
    assert_eq!(found.skeleton(), plain.skeleton(), "it takes no reload");
    assert!(found.set_admin("app", "a", AdminState::Ready));
    assert_eq!(found, plain);
    assert!(found.set_admin("app", "a", AdminState::Drain));
    assert_eq!(found.body(), plain.body(), "there is no word for it");
}
