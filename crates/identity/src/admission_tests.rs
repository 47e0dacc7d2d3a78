use hafleet_model::{FleetName, NodeId};

use super::*;

fn admission(limits: ConnectionLimits) -> Arc<Admission> {
    Arc::new(Admission::new(limits))
}

/// Limits that nobody reaches.
fn wide() -> ConnectionLimits {
    ConnectionLimits {
        handshakes_per_second: NonZeroU32::new(100_000).unwrap(),
        ..ConnectionLimits::default()
    }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn somebody(name: &str) -> Identity {
    Identity::node(FleetName::new("shop").unwrap(), NodeId::new(name).unwrap())
}

#[test]
fn an_address_that_connects_too_often_is_turned_away_and_no_other() {
    let admission = admission(ConnectionLimits {
        handshakes_per_second: NonZeroU32::new(5).unwrap(),
        ..ConnectionLimits::default()
    });
    let came = (0..1_000).filter(|_| admission.admit(address(1)).is_ok());
    let came = came.count();
    // A burst of ten, and a few more if the machine is slow.
    assert!((10..50).contains(&came), "{came}");
    assert_eq!(admission.admit(address(1)).unwrap_err(), TurnedAway::Rate);
    assert!(admission.admit(address(2)).is_ok());
    assert!(admission.turned_away() > 900);
}

#[test]
fn strangers_leave_places_for_addresses_of_the_fleet() {
    let admission = admission(ConnectionLimits {
        handshakes: 8,
        handshakes_per_address: 2,
        ..wide()
    });
    let known = admission.admit(address(1)).unwrap();
    drop(known.belongs_to(&somebody("lb1")).unwrap());
    let mut held = Vec::new();
    for last in 10..30 {
        held.extend(admission.admit(address(last)));
        held.extend(admission.admit(address(last)));
    }
    assert_eq!(held.len(), 6, "three quarters");
    let turned_away = admission.admit(address(99)).unwrap_err();
    assert_eq!(turned_away, TurnedAway::Handshakes);
    let first = admission.admit(address(1)).unwrap();
    let _second = admission.admit(address(1)).unwrap();
    let third = admission.admit(address(1)).unwrap_err();
    assert_eq!(third, TurnedAway::AddressHandshakes);
    // A handshake that came to its end makes room.
    let _open = first.belongs_to(&somebody("lb1")).unwrap();
    assert!(admission.admit(address(1)).is_ok());
    held.pop();
    assert!(admission.admit(address(99)).is_ok());
}

#[test]
fn connections_are_counted_by_address_and_by_name_and_in_all() {
    let admission = admission(ConnectionLimits {
        connections: 5,
        connections_per_address: 3,
        connections_per_identity: 2,
        ..wide()
    });
    let open = |last, name: &str| {
        let place = admission.admit(address(last))?;
        place.belongs_to(&somebody(name))
    };
    let mut held = vec![open(1, "a").unwrap(), open(1, "a").unwrap()];
    let third = open(1, "a").unwrap_err();
    assert_eq!(third, TurnedAway::IdentityConnections);
    held.push(open(1, "b").unwrap());
    let fourth = open(1, "c").unwrap_err();
    assert_eq!(fourth, TurnedAway::AddressConnections);
    held.push(open(2, "b").unwrap());
    held.push(open(3, "c").unwrap());
    assert_eq!(open(4, "d").unwrap_err(), TurnedAway::Connections);
    held.clear();
    assert!(open(4, "d").is_ok());
    let state = admission.state();
    let left = (state.open, state.handshakes, state.of_strangers);
    assert_eq!(left, (0, 0, 0));
    assert!(state.by_source.is_empty() && state.by_identity.is_empty());
}

#[test]
fn a_machine_with_many_addresses_of_ipv6_is_one() {
    let admission = admission(ConnectionLimits {
        handshakes_per_address: 1,
        ..wide()
    });
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let _held = admission.admit(address("2001:db8::1")).unwrap();
    assert!(admission.admit(address("2001:db8::2")).is_err());
    assert!(admission.admit(address("2001:db8:0:1::1")).is_ok());
    let _mapped = admission.admit(address("::ffff:192.0.2.7")).unwrap();
    assert!(admission.admit(address("192.0.2.7")).is_err());
}
