//! `haproxy -c` on what is rendered, and its words at the places of the spec.

use hafleet_haproxy::{CheckError, Proxy};
use hafleet_model::spec::{Finding, load};

use crate::sandbox::{Home, rendered, revision, sandboxed};

async fn refusals(proxy: &Proxy, spec: &str) -> Vec<Finding> {
    match proxy.check(&rendered(proxy, spec)).await {
        Err(CheckError::Invalid(findings)) => findings.0,
        other => panic!("{other:?}"),
    }
}

fn spec(frontend: &str, backend: &str) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: app{frontend}}}\n\
         backends:\n- {{name: app{backend}}}\n"
    )
}

#[test]
fn every_feature_passes() {
    sandboxed(async || {
        let home = Home::new();
        let proxy = home.open().await;
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(home.path().join("certs/a.pem"), pem).unwrap();
        let algorithms = [
            "roundrobin",
            "static-rr",
            "leastconn",
            "first",
            "source",
            "uri depth 2",
            "url_param id",
            "hdr(X-User)",
            "random(3)",
            "rdp-cookie",
        ];
        let mut specs: Vec<_> = algorithms
            .iter()
            .map(|name| spec("", &format!(", balance: {name}")))
            .collect();
        let frontends = [
            ", maxconn: 10, timeouts: {client: 1s, http_request: 2s, http_keep_alive: 3s}",
            ", raw: ['http-request deny if { path /x }', 'option forwardfor']",
            ", redirects: [{prefix: 'https://x/it''s', host: x, code: 307}, {location: /y, path_prefix: /x, code: 303}]",
        ];
        specs.extend(frontends.iter().map(|part| spec(part, "")));
        let backends = [
            ", health_check: {type: http, path: '/it''s?a=$b%', method: OPTIONS, host: 'x%y', expect_status: '200,301-302', rise: 1, fall: 9, port: 1, interval: 500ms}",
            ", health_check: {type: tcp}, timeouts: {connect: 1s, server: 2s, queue: 3s, check: 4s, tunnel: 1h}",
            ", cookie: {name: S, secure: true, httponly: false, maxidle: 30m, maxlife: 8h}",
            ", servers: [{name: a, address: ::1, port: 1, weight: 0, backup: true, maxconn: 3}]",
            ", servers: [{name: a, address: ::1, port: 1, tls: {}}], health_check: {type: http}",
            ", servers: [{name: a, address: ::1, port: 1, tls: {ca: a.pem, server_name: x.y}}]",
        ];
        specs.extend(backends.iter().map(|part| spec("", part)));
        specs.push(spec("", "").replace(
            "{port: 8080}",
            "{port: 1, address: node}, {port: 2, address: 127.0.0.9}, {port: 3, address: ::1}, {port: 4, address: '::', accept_proxy: true}, \
             {port: 5, tls: {certificates: [a.pem], alpn: [h2], min_version: TLSv1.0, client_ca: a.pem}}",
        ));
        specs.push(spec(
            ", mode: tcp",
            ", mode: tcp, health_check: {type: http}",
        ));
        specs.push("version: 1\nglobal: {maxconn: 9, threads: 1, user: root, group: root, hard_stop_after: 1h, close_spread_time: 10s}\ndefaults: {maxconn: 5}\n".into());
        for text in specs {
            let found = proxy.check(&rendered(&proxy, &text)).await;
            let found = found.unwrap_or_else(|error| {
                panic!("{error}\n{text}\n{}", rendered(&proxy, &text).body())
            });
            assert_eq!(found, [], "{text}");
        }
    });
}

#[test]
fn each_refusal_is_at_its_place_in_the_spec() {
    sandboxed(async || {
        let home = Home::new();
        let proxy = home.open().await;
        let cases = [
            (
                spec(", raw: ['option httplog', 'nonsense here']", ""),
                "frontends[0].raw[1]",
                "nonsense",
            ),
            (
                spec("", ", raw: ['option \"open']"),
                "backends[0].raw[0]",
                "unmatched quote",
            ),
            (
                spec("", ", balance: uri deep 2"),
                "backends[0].balance",
                "deep",
            ),
            (
                format!("{}raw: |\n  backend x\n    nonsense\n", spec("", "")),
                "raw",
                "`nonsense`",
            ),
            (
                "version: 1\nhaproxy_cfg: |\n  frontend f\n    bend :80\n".to_owned(),
                "haproxy_cfg",
                "line 2: ",
            ),
            (
                "version: 1\ntemplate: |\n  frontend {{ node.id }}\n    bend :80\n".to_owned(),
                "template",
                "`bend :80`",
            ),
            (
                spec(
                    "",
                    ", servers: [{name: a, address: ::1, port: 1, tls: {ca: none.pem}}]",
                ),
                "backends[0].servers[0]",
                "none.pem",
            ),
        ];
        for (text, path, words) in cases {
            let found = refusals(&proxy, &text).await;
            let at = found.iter().find(|finding| finding.path == path);
            assert!(
                at.is_some_and(|finding| finding.message.contains(words)),
                "{path} {words}: {found:#?}"
            );
            let located = load(&text).unwrap().locate(at.unwrap().clone());
            assert!(located.line.is_some(), "{path} has a line in the spec");
        }
        let leftovers = std::fs::read_dir(home.path()).unwrap().flatten();
        assert!(leftovers.into_iter().all(|entry| {
            !entry
                .file_name()
                .to_string_lossy()
                .starts_with("candidate-")
        }));
    });
}

#[test]
fn a_message_without_a_line_is_at_the_proxy_that_it_names() {
    sandboxed(async || {
        let home = Home::new();
        let proxy = home.open().await;
        let found = refusals(&proxy, &spec(", raw: ['use_backend nope if TRUE']", "")).await;
        assert_eq!(found[0].path, "frontends[0]", "{found:#?}");
        assert!(found[0].message.contains("nope"));
    });
}

#[test]
fn warnings_do_not_refuse() {
    sandboxed(async || {
        let home = Home::new();
        let proxy = home.open().await;
        let text = spec(
            "",
            ", raw: ['option httplog'], servers: [{name: a, address: no.such.invalid, port: 1}]",
        );
        let found = proxy.check(&rendered(&proxy, &text)).await.unwrap();
        assert!(
            found
                .iter()
                .any(|finding| finding.path == "backends[0].servers[0]"),
            "{found:#?}"
        );
    });
}

#[test]
fn a_refused_configuration_is_not_applied() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let wanted = rendered(&proxy, &spec(", raw: [nonsense]", ""));
        let error = proxy.apply(&wanted, revision(1)).await.unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("frontends[0].raw[0]"),
            "{error}"
        );
        assert!(!home.path().join("haproxy.cfg").exists());
        assert_eq!(proxy.applied_revision(), None);
    });
}
