use proptest::prelude::*;

use super::*;
use crate::spec::load;

fn spec() -> Spec {
    let text = "
version: 1
discovery:
  etcd: {endpoints: ['http://192.0.2.1:2379']}
  services: {prefix: /haproxy-prod, frontend: web, tls_frontend: secure, strip_prefix: true}
frontends:
  - name: web
    binds: [{port: 80}]
    routes: [{host: Own.Test, path_prefix: /x/, backend: app}]
    default_backend: app
  - name: secure
    binds: [{port: 443, tls: {certificates: [default.pem]}}]
    default_backend: app
backends: [{name: app}]
";
    load(text).unwrap().spec
}

fn http(name: &str, domain: Option<&str>, path: Option<&str>) -> Service {
    Service {
        name: name.into(),
        port: 80,
        balance: None,
        upstreams: Vec::new(),
        kind: ServiceKind::Http {
            domain: domain.map(str::to_owned),
            path_prefix: path.map(str::to_owned),
            certificate: None,
        },
    }
}

fn with_certificate(mut service: Service, name: &str) -> Service {
    if let ServiceKind::Http { certificate, .. } = &mut service.kind {
        *certificate = Some(name.to_owned());
    }
    service
}

fn tcp(name: &str, external_port: u16) -> Service {
    Service {
        kind: ServiceKind::Tcp { external_port },
        ..http(name, None, None)
    }
}

fn routes(spec: &Spec, frontend: usize) -> Vec<&str> {
    let routes = spec.frontends[frontend].routes.iter();
    routes.map(|route| route.backend.as_str()).collect()
}

#[test]
fn the_most_specific_route_comes_first_after_the_specs_own() {
    let services = [
        http("a-any", None, Some("/")),
        http("b-path", None, Some("/long/path")),
        http("c-wild", Some("*.test"), None),
        http("d-wilder", Some("*.shop.test"), None),
        http("e-host", Some("shop.test"), None),
        http("f-host-path", Some("shop.test"), Some("/cart")),
        http("g-host-path", Some("shop.test"), Some("/cart/now/")),
    ];
    let mut placed = spec();
    assert_eq!(place(&mut placed, &services), []);
    let wanted = [
        "app",
        "g-host-path",
        "f-host-path",
        "e-host",
        "d-wilder",
        "c-wild",
        "b-path",
        "a-any",
    ];
    assert_eq!(routes(&placed, 0), wanted);
    let strips: Vec<_> = placed.frontends[0]
        .routes
        .iter()
        .map(|route| route.strip_prefix)
        .collect();
    assert_eq!(strips, [false, true, true, false, false, false, true, true]);
}

#[test]
fn a_service_with_a_certificate_is_on_the_frontend_with_tls_too() {
    let secured = with_certificate(http("shop", Some("shop.test"), None), "etcd-shop.pem");
    let mut placed = spec();
    assert_eq!(
        place(&mut placed, &[http("plain", Some("p.test"), None), secured]),
        []
    );
    assert_eq!(routes(&placed, 0), ["app", "plain", "shop"]);
    assert_eq!(routes(&placed, 1), ["shop"]);
    let tls = placed.frontends[1].binds[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates, ["default.pem", "etcd-shop.pem"]);
}

#[test]
fn what_has_no_place_is_named() {
    let services = [
        http("app", Some("app.test"), None),
        http("own", Some("own.test"), Some("/x")),
        tcp("port", 80),
        tcp("a", 15432),
        tcp("b", 15432),
    ];
    let unplaced = unplaced(&spec(), &services);
    let named: Vec<_> = unplaced.iter().map(|item| item.service.as_str()).collect();
    assert_eq!(named, ["app", "b", "own", "port"]);
    assert!(unplaced[0].why.contains("has this name"));
    assert!(unplaced[1].why.contains("port 15432 is bound"));
    assert!(unplaced[2].why.contains("route for the same requests"));
}

#[test]
fn without_a_frontend_for_them_http_services_have_no_place() {
    let mut spec = spec();
    let services = [http("shop", Some("shop.test"), None), tcp("db", 15432)];
    spec.discovery.services.as_mut().unwrap().frontend = None;
    let named = unplaced(&spec, &services);
    assert_eq!(named.len(), 1);
    assert!(named[0].why.contains("discovery.services.frontend"));
    spec.discovery.services = None;
    assert_eq!(unplaced(&spec, &services).len(), 2);
}

#[test]
fn what_raw_text_has_is_taken_too() {
    let mut spec = spec();
    spec.raw = Some("listen stats\n  bind 127.0.0.1:9000,[::1]:9100-9101 tfo\n".into());
    spec.frontends[0].raw = vec!["bind :9200".into(), "bind abns@x".into()];
    let services = [
        http("stats", Some("s.test"), None),
        tcp("a", 9000),
        tcp("b", 9101),
        tcp("c", 9200),
        tcp("d", 9102),
    ];
    let unplaced = unplaced(&spec, &services);
    let named: Vec<_> = unplaced.iter().map(|item| item.service.as_str()).collect();
    assert_eq!(named, ["a", "b", "c", "stats"]);
}

proptest! {
    #[test]
    fn the_order_of_services_does_not_matter(
        parts in prop::collection::vec(("[a-c]", prop::option::of("[a-b][.]test"), prop::option::of("/[a-b]{0,2}/?")), 0..6)
            .prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle()))
    ) {
        let of = |parts: &[(String, Option<String>, Option<String>)]| {
            let services = parts.iter().map(|(name, domain, path)| http(name, domain.as_deref(), path.as_deref()));
            let mut placed = spec();
            let unplaced = place(&mut placed, &services.collect::<Vec<_>>());
            (placed, unplaced)
        };
        prop_assert_eq!(of(&parts.0), of(&parts.1));
    }
}
