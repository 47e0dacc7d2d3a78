use std::net::IpAddr;

use super::*;
use crate::endpoints::{Service, ServiceKind};
use crate::spec::load;

fn spec() -> Spec {
    let text = "
version: 1
discovery:
  etcd: {endpoints: ['http://192.0.2.1:2379']}
  services: {prefix: /haproxy-prod, frontend: web, strip_prefix: true}
frontends:
  - name: web
    binds: [{port: 80}]
    default_backend: app
backends:
  - name: app
    discovered: {maxconn: 9, prefer_own_zone: true}
    sources: [{dns: {name: app.test, port: 80}}]
    servers: [{name: fixed, address: 192.0.2.9, port: 80}]
  - name: other
";
    load(text).unwrap().spec
}

fn endpoint(name: &str, zone: &str) -> Endpoint {
    Endpoint {
        name: name.into(),
        address: IpAddr::from([192, 0, 2, 1]),
        port: 8080,
        weight: 7,
        zone: Some(zone.into()),
        source: String::new(),
    }
}

fn http(name: &str) -> Service {
    Service {
        name: name.into(),
        port: 80,
        balance: Some("leastconn".into()),
        upstreams: Vec::new(),
        kind: ServiceKind::Http {
            domain: Some("shop.test".into()),
            path_prefix: Some("/shop".into()),
            certificate: None,
        },
    }
}

fn found(backend: &str, servers: Vec<Endpoint>) -> Endpoints {
    Endpoints {
        backends: [(backend.to_owned(), servers)].into(),
        services: Vec::new(),
    }
}

#[test]
fn servers_join_those_that_the_spec_lists_and_never_replace_them() {
    let endpoints = found("app", vec![endpoint("fixed", "a"), endpoint("i-1", "a")]);
    let effective = effective_spec(&spec(), &endpoints, None);
    let servers = &effective.backends[0].servers;
    let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["fixed", "i-1"]);
    assert_eq!(servers[0].address, "192.0.2.9");
    assert_eq!((servers[1].weight, servers[1].maxconn), (7, Some(9)));
}

#[test]
fn a_backend_without_sources_gets_none() {
    let endpoints = found("other", vec![endpoint("i-1", "a")]);
    assert_eq!(effective_spec(&spec(), &endpoints, None), spec());
}

#[test]
fn servers_of_other_zones_are_backups_only_where_the_own_zone_has_some() {
    let endpoints = found("app", vec![endpoint("i-1", "a"), endpoint("i-2", "b")]);
    let backups = |zone| {
        let effective = effective_spec(&spec(), &endpoints, zone);
        let servers = effective.backends[0].servers.iter().skip(1);
        servers.map(|server| server.backup).collect::<Vec<_>>()
    };
    assert_eq!(backups(Some("a")), [false, true]);
    assert_eq!(backups(Some("c")), [false, false]);
    assert_eq!(backups(None), [false, false]);
}

#[test]
fn a_service_becomes_a_backend_and_a_route() {
    let endpoints = Endpoints {
        services: vec![http("shop"), http("app")],
        ..found("shop", vec![endpoint("shop-1", "a")])
    };
    let effective = effective_spec(&spec(), &endpoints, None);
    let routes = &effective.frontends[0].routes;
    assert_eq!(routes.len(), 1, "the spec has a backend `app` of its own");
    assert!(routes[0].strip_prefix);
    let backend = effective.backends.last().unwrap();
    assert_eq!(
        (backend.name.as_str(), backend.balance.as_str()),
        ("shop", "leastconn")
    );
    assert_eq!(backend.servers.len(), 1);
}

#[test]
fn a_tcp_service_gets_its_port_unless_the_spec_has_it() {
    let tcp = |external_port| Service {
        kind: ServiceKind::Tcp { external_port },
        ..http("db")
    };
    let with = |service| Endpoints {
        services: vec![service],
        ..Endpoints::default()
    };
    assert_eq!(effective_spec(&spec(), &with(tcp(80)), None), spec());
    let effective = effective_spec(&spec(), &with(tcp(5432)), None);
    let frontend = effective.frontends.last().unwrap();
    assert_eq!(frontend.default_backend.as_deref(), Some("db"));
}
