//! Servers and services out of a real etcd, in whole fleets.

use std::net::TcpListener;

use hafleet_api::v1;
use hafleet_tests::backend::Backend;
use hafleet_tests::certificate::Certificate;
use hafleet_tests::deadline::wait_for;
use hafleet_tests::etcd::Etcd;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::listed::spec_of;
use hafleet_tests::{Fleet, can_make_namespaces};

fn start_etcd(fleet: &Fleet) -> Etcd<'_> {
    Etcd::start(fleet.outside(), fleet.outside_address(), fleet.scratch())
}

fn key(server: &Backend) -> String {
    format!("/hafleet/shop/backends/app/s{}", server.address().port())
}

#[test]
fn a_key_is_a_server_on_all_nodes() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let etcd = start_etcd(&fleet);
    let servers = fleet.start_servers(8101..8105);
    for server in &servers[..3] {
        etcd.put(&key(server), &server.address().to_string());
    }
    let etcd_line = format!("etcd: {{ endpoints: ['{}'] }}", etcd.url());
    fleet.apply(1, &spec_of("etcd: {}", &[&etcd_line]));
    fleet.wait_served_from(&fleet.numbers(), &servers[..3]);

    let haproxy = fleet.node(2).haproxy();
    etcd.put(&key(&servers[3]), &servers[3].address().to_string());
    fleet.wait_served_from(&fleet.numbers(), &servers);
    etcd.delete(&key(&servers[0]));
    fleet.wait_served_from(&fleet.numbers(), &servers[1..]);
    etcd.put("/hafleet/shop/backends/app/wrong", "nowhere");
    let sources = fleet.wait_sources(1, "what is wrong is named", |sources| {
        sources
            .sources
            .iter()
            .any(|source| !source.left_out.is_empty())
    });
    assert!(
        sources.sources[0].left_out[0].what.contains("wrong"),
        "{sources:#?}"
    );
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers[1..]);
    }
    assert_eq!(fleet.node(2).haproxy(), haproxy, "nobody was reloaded");
}

/// A spec with services below `/haproxy`, and nothing of its own but the frontend `web`.
fn with_services(etcd: &Etcd<'_>) -> String {
    format!(
        "version: 1\ndiscovery:\n  poll_interval: 1s\n  etcd: {{ endpoints: ['{}'] }}\n  \
         services: {{ prefix: /haproxy, frontend: web }}\n\
         frontends:\n  - name: web\n    binds: [{{ address: node, port: 8080 }}]\n    default_backend: none\n\
         backends:\n  - name: none\n",
        etcd.url()
    )
}

/// Puts a TCP service on `port` with one server.
fn put_tcp(etcd: &Etcd<'_>, name: &str, port: u16, server: &Backend) {
    let put =
        |part: &str, value: &str| etcd.put(&format!("/haproxy/tcp-services/{name}/{part}"), value);
    put("upstreams/one", &server.address().to_string());
    put("internal_port", &server.address().port().to_string());
    put("external_port", &port.to_string());
}

#[test]
fn a_service_is_a_route_and_one_that_a_node_cannot_have_stops_no_node() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let etcd = start_etcd(&fleet);
    let servers = fleet.start_servers(8101..8103);
    // Requests of these tests name the node's own address as their host, so a path is what tells the service.
    etcd.put("/haproxy/services/shop/url_beg", "/");
    etcd.put("/haproxy/services/shop/port", "8101");
    etcd.put(
        "/haproxy/services/shop/upstreams/one",
        &servers[0].address().to_string(),
    );
    let revision = fleet.apply(1, &with_services(&etcd));
    fleet.wait_served_from(&fleet.numbers(), &servers[..1]);

    // Node 2 has something else on the port of a new service: it keeps what it has and says why.
    let taken = fleet.node(2).address();
    let other = fleet
        .node(2)
        .namespace()
        .run(|| TcpListener::bind((taken, 9000)));
    let other = other.expect("a port that is free");
    put_tcp(&etcd, "db", 9000, &servers[1]);
    let ask = |number: usize| {
        let address = (fleet.node(number).address(), 9000).into();
        let limit = std::time::Duration::from_secs(5);
        hafleet_tests::request::ask_from(fleet.outside(), address, limit)
    };
    for number in [1, 3] {
        wait_for("the others have it", PATIENCE, || match ask(number) {
            Ok(answer) if answer.body == "s8102" => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }
    let state = wait_for("node 2 says why it has not", PATIENCE, || {
        let status = fleet.status_of(1)?;
        let own = status.nodes.iter().find(|node| node.id == "n2");
        let own = own.cloned().unwrap_or_default();
        let endpoints = own.endpoints.clone().unwrap_or_default();
        match endpoints.error.is_empty() {
            true => Err(format!("{own:#?}")),
            false => Ok(own),
        }
    });
    let apply = state.apply.clone().unwrap_or_default();
    assert_eq!(
        apply.running_revision, revision,
        "the spec is as it was: {state:#?}"
    );
    fleet.assert_served_from(2, &servers[..1]);
    let table = fleet.client().run(&["status"]).expect_code(0);
    assert!(table.stdout.contains("n2: keeps the endpoints"), "{table}");

    // People can go on with the spec meanwhile, on all nodes.
    let next = fleet.apply(1, &format!("{}# once more\n", with_services(&etcd)));
    fleet.wait_converged(&next);
    fleet.assert_served_from(2, &servers[..1]);

    drop(other);
    put_tcp(&etcd, "db", 9001, &servers[1]);
    wait_for("node 2 has what it can have", PATIENCE, || {
        let status = fleet.status_of(2)?;
        let newest = status.endpoints.clone().unwrap_or_default().revision;
        let own = status.nodes.iter().find(|node| node.id == "n2");
        let own = own
            .and_then(|node| node.endpoints.clone())
            .unwrap_or_default();
        match own.applied_revision == newest && own.error.is_empty() {
            true => Ok(()),
            false => Err(format!("{own:?}, and {newest} is the newest")),
        }
    });
}

#[test]
fn a_certificate_that_comes_with_a_service_is_the_fleets() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let etcd = start_etcd(&fleet);
    let servers = fleet.start_servers(8101..8102);
    let make = |directory: &str, name: &str| {
        Certificate::make(fleet.scratch().directory(directory), name, "ec:prime256v1")
    };
    let own = fleet
        .scratch()
        .file("www.pem", &make("own", "www.test").pem());
    let own = own.display().to_string();
    let put = fleet.client().run(&["certificate", "put", "www.pem", &own]);
    put.expect_code(0);
    let bind = "binds: [{ address: node, port: 8080 }";
    let secured =
        format!("{bind}, {{ address: node, port: 8443, tls: {{ certificates: [www.pem] }} }}");
    let part = |name: &str, value: &str| etcd.put(&format!("/haproxy/services/shop/{name}"), value);
    part("url_beg", "/");
    part("port", "8101");
    part("upstreams/one", &servers[0].address().to_string());
    part("cert", &make("first", "first.test").pem());
    fleet.apply(1, &with_services(&etcd).replace(bind, &secured));
    fleet.wait_served_from(&fleet.numbers(), &servers);

    let names = || {
        let list = ["certificate", "show", "etcd-shop.pem", "--output", "json"];
        let finished = fleet.client_of(fleet.follower()).run(&list);
        match finished.code {
            Some(0) => Ok(finished.json::<v1::CertificateInfo>()),
            _ => Err(finished.to_string()),
        }
    };
    let wait_named = |name: &str| {
        wait_for("the fleet has the certificate", PATIENCE, || {
            let info = names()?;
            let shown = info.certificate.clone().unwrap_or_default().names;
            let is_used = info.used_by.iter().any(|user| user == "web");
            match shown == [name] && is_used {
                true => Ok(()),
                false => Err(format!("{info:?}")),
            }
        });
    };
    wait_named("first.test");
    let haproxy = fleet.node(3).haproxy();
    part("cert", &make("second", "second.test").pem());
    wait_named("second.test");

    part(
        "cert",
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
    );
    let sources = fleet.wait_sources(1, "a bad certificate is named", |sources| {
        sources
            .sources
            .iter()
            .any(|source| !source.left_out.is_empty())
    });
    assert!(
        sources.sources[0].left_out[0].what.contains("shop"),
        "{sources:#?}"
    );
    wait_named("second.test");
    fleet.assert_served_from(3, &servers);
    assert_eq!(fleet.node(3).haproxy(), haproxy, "nobody was reloaded");
}
