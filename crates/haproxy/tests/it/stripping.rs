//! Routes that take their prefix off the path, asked of a real HAProxy.

use std::net::SocketAddr;

use hafleet_model::report::Change;

use crate::sandbox::{Home, apply, sandboxed};
use crate::web::ask;

/// Two backends that answer with their name and the path and query that they see.
fn spec(routes: &str) -> String {
    let backend = |name: &str| {
        let answer = format!(
            "http-request return status 200 content-type text/plain lf-string '{name} %[pathq]'"
        );
        format!("- name: {name}\n  raw: [\"{answer}\"]\n")
    };
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: rest, routes: [{routes}]}}\n\
         backends:\n{}{}",
        backend("api"),
        backend("rest")
    )
}

async fn seen(host: &str, path: &str) -> String {
    let web: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    ask(web, host, path, "").await.unwrap().body
}

const ROUTES: &str = "{host: a.com, path_prefix: /api/, backend: api, strip_prefix: true}, \
    {host: b.com, path_prefix: /api, backend: api}, \
    {path_prefix: /api/v2, backend: api, strip_prefix: true}, \
    {host: '*.c.com', path_prefix: '/{x}.*', backend: api, strip_prefix: true}, \
    {path_prefix: /, host: d.com, backend: api, strip_prefix: true}";

#[test]
fn a_prefix_is_taken_off_by_the_route_that_says_so() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        apply(&mut proxy, &spec(ROUTES), 1).await;
        for (host, path, expected) in [
            ("a.com", "/api", "api /"),
            ("a.com", "/api/", "api /"),
            ("a.com", "/api?q=/api", "api /?q=/api"),
            ("a.com", "/api/x", "api /x"),
            ("a.com", "/api/api/x/?q", "api /api/x/?q"),
            ("a.com", "/api//x", "api //x"),
            ("a.com", "/api/v2/x", "api /v2/x"),
            ("a.com", "/apix", "rest /apix"),
            ("b.com", "/api/x", "api /api/x"),
            ("x.com", "/api/v2", "api /"),
            ("x.com", "/api/v2/%2f%C3%A4", "api /%2f%C3%A4"),
            ("x.com", "/api/v3", "rest /api/v3"),
            ("x.c.com", "/{x}.*/y", "api /y"),
            ("x.c.com", "/axb/y", "rest /axb/y"),
            ("d.com", "/x", "api /x"),
            ("x.com", "/", "rest /"),
        ] {
            let found = seen(host, path).await;
            assert_eq!(found, expected, "{host} {path}");
        }
    });
}

#[test]
fn routes_that_take_prefixes_of_one_length_off_come_and_go_in_the_running_process() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let first = apply(&mut proxy, &spec(ROUTES), 1).await;
        let more = format!(
            "{ROUTES}, {{path_prefix: /one, backend: api, strip_prefix: true}}, {{path_prefix: /two, backend: api}}"
        );
        let applied = apply(&mut proxy, &spec(&more), 2).await;
        assert_eq!(
            (applied.change, applied.pid),
            (Change::Runtime, first.pid),
            "{applied:?}"
        );
        assert_eq!(seen("x.com", "/one/x").await, "api /x");
        assert_eq!(seen("x.com", "/two/x").await, "api /two/x");
        let other = more.replace(
            "path_prefix: /two, backend: api",
            "path_prefix: /two, backend: api, strip_prefix: true",
        );
        let applied = apply(&mut proxy, &spec(&other), 3).await;
        assert_eq!(
            (applied.change, applied.pid),
            (Change::Runtime, first.pid),
            "{applied:?}"
        );
        assert_eq!(seen("x.com", "/two/x").await, "api /x");
        let again = apply(&mut proxy, &spec(&other), 3).await;
        assert_eq!(again.change, Change::Nothing, "{again:?}");
        let applied = apply(&mut proxy, &spec(ROUTES), 4).await;
        assert_eq!(applied.change, Change::Runtime, "{applied:?}");
        assert_eq!(seen("x.com", "/one/x").await, "rest /one/x");
    });
}
