use std::net::IpAddr;

use super::*;

fn endpoints(of: &[(&str, &[&str])]) -> Endpoints {
    let server = |name: &&str| Endpoint {
        name: (*name).to_owned(),
        address: IpAddr::from([192, 0, 2, 1]),
        port: 80,
        weight: 100,
        zone: None,
        source: "file /x".into(),
    };
    let backend = |(name, servers): &(&str, &[&str])| {
        ((*name).to_owned(), servers.iter().map(server).collect())
    };
    Endpoints {
        backends: of.iter().map(backend).collect(),
        services: Vec::new(),
    }
}

#[test]
fn a_backend_without_servers_is_no_difference() {
    assert!(is_same(&endpoints(&[]), &endpoints(&[("app", &[])])));
    assert!(!is_same(&endpoints(&[]), &endpoints(&[("app", &["a"])])));
}

#[test]
fn a_change_is_described_by_what_came_and_went() {
    let before = endpoints(&[("app", &["a", "b"]), ("same", &["x"])]);
    let after = endpoints(&[("app", &["b", "c", "d"]), ("same", &["x"])]);
    assert_eq!(difference(&before, &after), "app +2 -1");
    let names: Vec<_> = (0..8).map(|number| format!("b{number}")).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &["x"][..]))
        .collect();
    let words = difference(&endpoints(&[]), &endpoints(&many));
    assert!(words.ends_with("b4 +1 -0 and 3 more"), "{words}");
}

#[test]
fn a_service_without_its_certificate_stays_as_it_was_and_the_others_go_on() {
    let service = |name: &str, port: u16, certificate: &str| Service {
        name: name.into(),
        port,
        balance: None,
        upstreams: Vec::new(),
        kind: ServiceKind::Http {
            domain: Some(format!("{name}.test")),
            path_prefix: None,
            certificate: Some(certificate.into()),
        },
    };
    let with = |services| Endpoints {
        services,
        ..Endpoints::default()
    };
    let before = with(vec![service("a", 1, "old.pem"), service("b", 1, "b.pem")]);
    let after = with(vec![
        service("a", 2, "bad.pem"),
        service("b", 2, "b.pem"),
        service("c", 2, "bad.pem"),
    ]);
    let lacking = [CertificateName::new("bad.pem").unwrap()].into();
    let written = without(after, &lacking, &before);
    let expected = [service("a", 1, "old.pem"), service("b", 2, "b.pem")];
    assert_eq!(written.services, expected);
}
