use super::*;

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.into(),
        address: IpAddr::from([192, 0, 2, 1]),
        port: 80,
        weight: 100,
        zone: None,
        source: "dns app.test A".into(),
    }
}

fn endpoints(names: &[&str]) -> Endpoints {
    let servers = names.iter().copied().map(endpoint).collect();
    Endpoints {
        backends: [("app".to_owned(), servers)].into(),
        services: vec![Service {
            name: "db".into(),
            port: 5432,
            balance: None,
            upstreams: Vec::new(),
            kind: ServiceKind::Tcp {
                external_port: 15432,
            },
        }],
    }
}

#[test]
fn what_is_written_reads_back() {
    let endpoints = endpoints(&["a", "b"]);
    assert_eq!(Endpoints::parse(&endpoints.body()), Ok(endpoints));
}

#[test]
fn the_order_in_which_servers_were_found_does_not_matter() {
    let (one, other) = (endpoints(&["a", "b", "c"]), endpoints(&["c", "a", "b"]));
    assert_eq!(one.body(), other.body());
}

#[test]
fn bodies_that_are_none_are_refused_by_name() {
    for (body, words) in [
        ("", "cannot be read"),
        (r#"{"version":2}"#, "version 2"),
        (r#"{"version":1}"#, "backends"),
        (
            r#"{"version":1,"backends":{"a":[{"name":"x"}]}}"#,
            "address",
        ),
    ] {
        let error = Endpoints::parse(body).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
