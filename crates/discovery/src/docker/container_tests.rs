use serde_json::{Value, json};

use super::*;

/// A container as the engine describes it, with `changes` on top.
fn container(labels: &Value, state: &Value) -> Option<Result<Found, LeftOut>> {
    in_networks(
        labels,
        state,
        &json!({"bridge": {"IPAddress": "192.0.2.7"}}),
    )
}

fn in_networks(labels: &Value, state: &Value, networks: &Value) -> Option<Result<Found, LeftOut>> {
    let whole = json!({
        "Id": "0123", "Name": "/web-1", "State": state, "Config": {"Labels": labels},
        "NetworkSettings": {"Networks": networks},
    });
    read(serde_json::from_value(whole).unwrap())
}

fn running() -> Value {
    json!({"Running": true})
}

#[test]
fn a_container_is_what_its_labels_say() {
    let labels = json!({
        "hafleet.backend": "web", "hafleet.port": "8080", "hafleet.weight": "7", "maintainer": "x",
    });
    let found = container(&labels, &running()).unwrap().unwrap();
    assert_eq!(found.id, "web-1");
    assert_eq!((found.port, found.weight), (Some(8080), Some(7)));
    assert_eq!(found.addresses[0].ip, IpAddr::from([192, 0, 2, 7]));
    assert_eq!(
        found.addresses[0].kind,
        AddressKind::Network("bridge".into())
    );
    assert!(!found.labels.contains_key("maintainer"));
}

#[test]
fn labels_that_are_wrong_leave_a_container_out_by_name() {
    for (label, value, words) in [
        ("hafleet.port", "0", "1 to 65535"),
        ("hafleet.port", "http", "\"http\""),
        ("hafleet.weight", "257", "0 to 256"),
        ("hafleet.network", "front", "bridge"),
        ("hafleet.backend", " ", "empty"),
    ] {
        let mut labels = json!({"hafleet.backend": "web"});
        labels[label] = value.into();
        let left_out = container(&labels, &running()).unwrap().unwrap_err();
        assert_eq!(left_out.what, "web-1");
        assert!(left_out.why.contains(words), "{}", left_out.why);
    }
}

#[test]
fn only_what_runs_and_is_well_is_in_service() {
    let labels = || json!({"hafleet.backend": "web"});
    let with = |health: &str| {
        let state = json!({"Running": true, "Health": {"Status": health}});
        container(&labels(), &state).unwrap().unwrap().condition
    };
    assert_eq!(with("healthy"), Condition::InService);
    assert_eq!(with("none"), Condition::InService);
    assert_eq!(with("starting"), Condition::SetAside);
    assert_eq!(with("unhealthy"), Condition::SetAside);
    let paused = json!({"Running": true, "Paused": true});
    let why = container(&labels(), &paused).unwrap().unwrap_err().why;
    assert!(why.contains("paused"));
    for state in [
        json!({"Running": false}),
        json!({"Running": true, "Restarting": true}),
    ] {
        assert_eq!(container(&labels(), &state), None);
    }
}

#[test]
fn each_network_gives_an_address_and_the_hosts_gives_none() {
    let labels = || json!({"hafleet.backend": "web"});
    let networks = json!({
        "b": {"IPAddress": "192.0.2.8", "GlobalIPv6Address": "2001:db8::8"},
        "a": {"IPAddress": "", "GlobalIPv6Address": "2001:db8::7"},
        "c": {"IPAddress": ""},
    });
    let found = in_networks(&labels(), &running(), &networks)
        .unwrap()
        .unwrap();
    let ips: Vec<_> = found.addresses.iter().map(|a| a.ip.to_string()).collect();
    assert_eq!(ips, ["2001:db8::7", "192.0.2.8"]);
    let host = in_networks(&labels(), &running(), &json!({"host": {"IPAddress": ""}}));
    assert!(host.unwrap().unwrap_err().why.contains("host"));
}
