//! What a spec's routes, redirects, cookies and TLS mean, asked of a real HAProxy.

use std::net::SocketAddr;
use std::process::Command;

use hafleet_haproxy::HandoverChoice;
use hafleet_model::report::{Change, DataPlaneHealth};

use crate::sandbox::{Home, apply, sandboxed};
use crate::web::{application, ask, who};

const WEB: &str = "127.0.0.1:8080";

fn web() -> SocketAddr {
    WEB.parse().unwrap()
}

async fn backends(names: &[&'static str]) -> String {
    let mut text = "backends:\n".to_owned();
    for name in names {
        let port = application(name).await.port();
        text.push_str(&format!(
            "- {{name: {name}, servers: [{{name: one, address: 127.0.0.1, port: {port}}}]}}\n"
        ));
    }
    text
}

#[test]
fn the_first_route_that_matches_decides() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let spec = format!(
            "version: 1\nfrontends:\n- name: web\n  binds: [{{port: 8080}}]\n  routes:\n\
             \x20 - {{host: Shop.example.com, path_prefix: /api/, backend: both}}\n\
             \x20 - {{host: shop.example.com, backend: host}}\n\
             \x20 - {{host: '*.example.org', backend: wild}}\n\
             \x20 - {{path_prefix: /api, backend: path}}\n\
             \x20 - {{host: '[::1]', backend: host}}\n  default_backend: rest\n{}",
            backends(&["both", "host", "wild", "path", "rest"]).await
        );
        let applied = apply(&mut proxy, &spec, 1).await;
        assert_eq!(applied.change, Change::Start);
        let cases = [
            ("shop.example.com", "/api", "both"),
            ("SHOP.example.com:8080", "/api/", "both"),
            ("shop.example.com", "/api/x?y=/z", "both"),
            ("shop.example.com", "/apix", "host"),
            ("shop.example.com.", "/", "host"),
            ("shop.example.com.:8080", "/x/api", "host"),
            ("a.example.org", "/", "wild"),
            ("a.b.EXAMPLE.org", "/api", "wild"),
            ("example.org", "/", "rest"),
            ("badexample.org", "/", "rest"),
            ("x", "/api", "path"),
            ("x", "/api?a", "path"),
            ("x", "/api/v1", "path"),
            ("x", "/apix", "rest"),
            ("x", "/API", "rest"),
            ("x", "/", "rest"),
            ("[::1]:8080", "/", "host"),
        ];
        for (host, path, expected) in cases {
            assert_eq!(who(web(), host, path).await, expected, "{host} {path}");
        }
        let v6: SocketAddr = "[::1]:8080".parse().unwrap();
        assert_eq!(
            who(v6, "x", "/").await,
            "rest",
            "a wildcard is both families"
        );
        assert_eq!(proxy.observe().await.health, DataPlaneHealth::Up);
    });
}

#[test]
fn redirects_go_where_they_say() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let spec = format!(
            "version: 1\nfrontends:\n- name: web\n  binds: [{{port: 8080}}]\n  redirects:\n\
             \x20 - {{host: old.com, prefix: 'https://new.com/a%20b%[path]', code: 301}}\n\
             \x20 - {{path_prefix: /gone, location: 'https://x.com/$HOME'}}\n\
             \x20 - {{path_prefix: /secure, scheme: https, code: 308}}\n\
             \x20 - {{path_prefix: /plain, scheme: http}}\n  default_backend: rest\n{}",
            backends(&["rest"]).await
        );
        apply(&mut proxy, &spec, 1).await;
        let cases = [
            ("old.com", "/p?q", 301, "https://new.com/a%20b%[path]/p?q"),
            ("x", "/gone/away", 302, "https://x.com/$HOME"),
            ("x", "/secure/y", 308, "https://x/secure/y"),
        ];
        for (host, path, status, location) in cases {
            let answer = ask(web(), host, path, "").await.unwrap();
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["location"], location);
        }
        assert_eq!(
            who(web(), "x", "/plain").await,
            "rest",
            "it is plain already"
        );
    });
}

#[test]
fn a_cookie_keeps_a_client_on_its_server() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let (a, b) = (application("a").await, application("b").await);
        let spec = format!(
            "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: app}}\nbackends:\n- name: app\n  \
             cookie: {{name: SRV}}\n  servers:\n  - {{name: a, address: 127.0.0.1, port: {}}}\n  - {{name: b, address: 127.0.0.1, port: {}}}\n",
            a.port(),
            b.port()
        );
        apply(&mut proxy, &spec, 1).await;
        let first = ask(web(), "x", "/", "").await.unwrap();
        let cookie = &first.headers["set-cookie"];
        assert!(
            cookie.starts_with(&format!("SRV={}", first.body)) && cookie.contains("HttpOnly"),
            "{cookie}"
        );
        for server in ["a", "b", "a", "a", "b"] {
            let answer = ask(web(), "x", "/", &format!("Cookie: SRV={server}\r\n"))
                .await
                .unwrap();
            assert_eq!(answer.body, server);
        }
    });
}

#[test]
fn tls_is_spoken_with_the_nodes_certificate() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let made = rcgen::generate_simple_self_signed(vec!["shop.example.com".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(home.path().join("certs/shop.pem"), &pem).unwrap();
        std::fs::write(home.path().join("certs/ca.pem"), made.cert.pem()).unwrap();
        // The inner frontend serves TLS; the outer one is its client and verifies it.
        let spec = format!(
            "version: 1\nfrontends:\n\
             - {{name: inner, binds: [{{port: 8443, address: node, tls: {{certificates: [shop.pem], min_version: TLSv1.3}}}}], \
                  redirects: [{{path_prefix: /plain, scheme: http}}], default_backend: app}}\n\
             - {{name: outer, binds: [{{port: 8080}}], default_backend: tls}}\n\
             - {{name: wrong, binds: [{{port: 8081}}], default_backend: other}}\n{}\
             - {{name: tls, health_check: {{type: http, path: /, interval: 50ms}}, servers: [{{name: i, address: 127.0.0.1, port: 8443, tls: {{ca: ca.pem, server_name: shop.example.com}}}}]}}\n\
             - {{name: other, servers: [{{name: i, address: 127.0.0.1, port: 8443, tls: {{ca: ca.pem, server_name: other.example.com}}}}]}}\n",
            backends(&["app"]).await
        );
        apply(&mut proxy, &spec, 1).await;
        assert_eq!(who(web(), "x", "/").await, "app");
        assert_eq!(who(web(), "x", "/plain").await, "302", "it came with TLS");
        assert_eq!(
            who("127.0.0.1:8081".parse().unwrap(), "x", "/").await,
            "503",
            "another's certificate"
        );
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", "127.0.0.1:8443", "-alpn", "h2"])
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(
            shown.contains("ALPN protocol: h2") && shown.contains("TLSv1.3"),
            "{shown}"
        );
    });
}

#[test]
fn a_name_that_does_not_resolve_leaves_its_server_down_and_no_more() {
    sandboxed(async || {
        let home = Home::new();
        let mut settings = home.settings();
        settings.handover = HandoverChoice::Auto;
        let mut proxy = hafleet_haproxy::Proxy::open(settings).await.unwrap();
        let port = application("a").await.port();
        let spec = format!(
            "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: app}}\nbackends:\n- name: app\n  \
             servers: [{{name: a, address: 127.0.0.1, port: {port}}}, {{name: b, address: no.such.invalid, port: 80}}]\n"
        );
        apply(&mut proxy, &spec, 1).await;
        for _ in 0..4 {
            assert_eq!(who(web(), "x", "/").await, "a");
        }
        let again = apply(&mut proxy, &spec, 2).await;
        assert_eq!(again.change, Change::Nothing, "{}", again.plan.reason);
    });
}
