use proptest::prelude::*;

use super::*;

fn route(host: Option<&str>, prefix: Option<&str>, backend: &str) -> Route {
    Route {
        host: host.map(str::to_owned),
        path_prefix: prefix.map(str::to_owned),
        backend: backend.to_owned(),
        strip_prefix: false,
    }
}

/// Who serves a request, as the spec says it: the first route that matches.
fn first(routes: &[Route], host: &str, path: &str) -> Option<String> {
    let is_host = |route: &Route| match route.host.as_deref().map(normal_host) {
        None => true,
        Some(HostPattern::Exact(name)) => name == host,
        Some(HostPattern::Below(suffix)) => host.ends_with(&suffix),
    };
    let is_path = |route: &Route| {
        let prefix = route
            .path_prefix
            .as_deref()
            .map_or("/".into(), normal_prefix);
        format!("{path}/").starts_with(&prefix)
    };
    let found = routes.iter().find(|route| is_host(route) && is_path(route));
    found.map(|route| strip::target(route).into_owned())
}

/// Who serves it as HAProxy finds it in the maps.
fn looked_up(tables: &Tables, host: &str, path: &str) -> Option<String> {
    let longest = |group: &str| {
        let key = format!("{group}{path}/");
        let matching = tables
            .paths
            .iter()
            .filter(|(prefix, _)| key.starts_with(prefix));
        matching
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, backend)| backend.clone())
    };
    let exact = tables.hosts.iter().find(|(name, _)| name == host);
    let below = tables
        .wildcards
        .iter()
        .find(|(suffix, _)| host.ends_with(suffix));
    exact
        .and_then(|(_, group)| longest(group))
        .or_else(|| below.and_then(|(_, group)| longest(group)))
        .or_else(|| longest(""))
}

#[test]
fn usual_routes_become_one_entry_each() {
    let routes = [
        route(Some("a.com"), Some("/api"), "api"),
        route(Some("a.com"), None, "a"),
        route(Some("*.b.org"), None, "wild"),
        route(None, Some("/x/"), "x"),
    ];
    let tables = compile(&routes, 100).unwrap();
    let of = |entries: &[(String, String)]| -> Vec<String> {
        entries
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect()
    };
    assert_eq!(
        of(&tables.paths),
        ["*.b.org/ wild", "/x/ x", "a.com/ a", "a.com/api/ api"]
    );
    assert_eq!(of(&tables.hosts), ["a.com a.com"]);
    assert_eq!(of(&tables.wildcards), [".b.org *.b.org"]);
}

#[test]
fn a_general_route_that_stands_first_keeps_its_precedence() {
    let routes = [
        route(None, Some("/.well-known"), "acme"),
        route(Some("a.com"), None, "a"),
    ];
    let tables = compile(&routes, 100).unwrap();
    let found = looked_up(&tables, "a.com", "/.well-known/x");
    assert_eq!(found.as_deref(), Some("acme"));
    assert_eq!(tables.paths.len(), 3);
    assert!(compile(&routes, 2).is_none(), "too many stay rules");
}

#[test]
fn what_is_found_says_how_much_of_the_path_to_take_off() {
    let stripped = |prefix: &str| Route {
        strip_prefix: true,
        ..route(None, Some(prefix), "api")
    };
    let routes = [stripped("/api/"), stripped("/")];
    let tables = compile(&routes, 100).unwrap();
    let found = |path| looked_up(&tables, "a.com", path);
    assert_eq!(found("/api/x").as_deref(), Some("api/4"));
    assert_eq!(found("/x").as_deref(), Some("api"), "nothing to take off");
}

fn any_route() -> impl Strategy<Value = Route> {
    let host = prop::option::of(prop::sample::select(vec![
        "a.b.c", "b.c", "x.b.c", "A.c", "*.b.c", "*.c", "*.x.b.c",
    ]));
    let path = prop::option::of(prop::sample::select(vec![
        "/", "/p", "/p/", "/p/q", "/p/q/r", "/pq", "/z",
    ]));
    (host, path, 0..4_u8, any::<bool>()).prop_map(|(host, path, backend, strip_prefix)| Route {
        strip_prefix,
        ..route(host, path, &format!("b{backend}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn maps_mean_what_the_first_match_means(routes in prop::collection::vec(any_route(), 0..9)) {
        let tables = compile(&routes, 1000).unwrap();
        for host in ["a.b.c", "b.c", "x.b.c", "y.x.b.c", "a.c", "q.c", "other", ""] {
            for path in ["/", "/p", "/p/", "/p/q", "/p/q/r/s", "/pq", "/z/p", "/n"] {
                let (expected, found) = (first(&routes, host, path), looked_up(&tables, host, path));
                prop_assert_eq!(&found, &expected, "{} {} {:?}", host, path, tables);
            }
        }
    }
}
