//! Peers that are not of the fleet, and peers that are but speak nonsense.

use std::process::Command;
use std::time::Duration;

use hafleet_tests::agent::{Agent, PORT};
use hafleet_tests::authority::Authority;
use hafleet_tests::stranger::Stranger;
use hafleet_tests::{Client, Fleet, can_make_namespaces, wait_until};
use tonic::Code;

/// HTTP/2's opening by the client (RFC 9113 section 3.4): the preface and an empty SETTINGS frame.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Bytes that repeat for no reason: the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[test]
fn a_person_of_another_authority_gets_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    for name in ["shop", "other"] {
        let foreign =
            Authority::create(name, fleet.scratch().directory(&format!("foreign-{name}")));
        let identity = Some(foreign.person("mallory", "admin"));
        let client = Client {
            identity,
            ..fleet.client()
        };
        for arguments in [
            &["status"][..],
            &["spec", "get"],
            &["spec", "rollback", "1.1"],
        ] {
            let refused = client.run(arguments).expect_code(3);
            assert_eq!(refused.stdout, "", "{refused}");
            refused.expect_complaint(&["authority"]);
        }
    }
    fleet.assert_serves(1, "first");
}

#[test]
fn a_caller_without_a_certificate_gets_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let script = format!(
        "printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' | \
         timeout 5 openssl s_client -connect {} -alpn h2 -quiet 2>&1",
        fleet.node(1).endpoint()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let finished = fleet.client().finish(command);
    assert!(
        finished.stdout.to_lowercase().contains("alert"),
        "{finished}"
    );

    let plain = fleet.outside().run(|| {
        use std::io::{Read as _, Write as _};
        let mut stream =
            std::net::TcpStream::connect(fleet.node(1).endpoint()).expect("an agent listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(15)))
            .expect("a limit");
        stream.write_all(OPENING).expect("bytes are sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    // At most a TLS alert (RFC 8446 section 6): never a frame of HTTP/2.
    assert!(plain.is_empty() || plain[0] == 21, "{plain:?}");
    fleet
        .client()
        .status()
        .expect("the fleet answers those it knows");
}

#[test]
fn an_agent_of_another_authority_is_not_let_in() {
    if !can_make_namespaces() {
        return;
    }
    let (mut fleet, first) = Fleet::serving();
    let foreign = Authority::create("shop", fleet.scratch().directory("foreign"));
    fleet.kill_agent(3);
    let identity = foreign.node("n3", fleet.node(3).address());
    let settings = fleet.node_mut(3).settings_mut();
    settings.identity = identity;
    settings.home = settings.home.with_file_name("n3-foreign");
    fleet.node(3).start_agent();

    fleet.node(3).wait_logged("authority");
    let second = fleet.apply(1, &fleet.spec("second"));
    fleet.wait_applied(&[1, 2], &second);
    fleet.wait_served_by(&[1, 2], "second");
    let text = fleet.node(3).log_tail(usize::MAX);
    // The revisions alone are in times as well: 1.1 is in 51.146.
    for revision in [first, second] {
        let applied = format!("revision={revision}");
        assert!(!text.contains(&applied), "{text}");
    }
}

#[test]
fn a_certificate_of_another_node_does_not_start_an_agent() {
    if !can_make_namespaces() {
        return;
    }
    let mut fleet = Fleet::builder().nodes(2).prepare();
    let other = fleet.node(2).settings().identity.clone();
    fleet.node_mut(1).settings_mut().identity = other;
    let node = fleet.node(1);
    let mut agent = Agent::start(node.namespace(), node.settings());
    wait_until("the agent ends", Duration::from_secs(20), || {
        agent.ended().is_some()
    });
    assert_eq!(
        agent
            .ended()
            .and_then(|status| status.success().then_some(())),
        None
    );
    let said = agent.log_tail(10);
    assert!(
        said.contains("n2") && said.contains("n1"),
        "both names are in {said}"
    );
}

#[test]
fn nonsense_from_a_node_disturbs_nobody() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let (speaker, target) = (fleet.node(3), fleet.node(1));
    let processes: Vec<_> = fleet
        .numbers()
        .iter()
        .map(|number| fleet.node(*number).agent_process())
        .collect();
    let identity = speaker.settings().identity.clone();
    let stranger = Stranger::new(speaker, &identity);

    stranger.send(target, &noise(20_000));
    stranger.send(target, &[OPENING, &noise(20_000)].concat());
    stranger.send(
        target,
        &[OPENING, b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat(),
    );
    stranger.send(target, b"");

    let address = format!("{}:{PORT}", speaker.address()).into_bytes();
    let inner = [
        &[0x0a, u8::try_from(address.len()).expect("a short address")][..],
        &address,
    ]
    .concat();
    let opening = [
        &[0x0a, u8::try_from(inner.len()).expect("a short frame")][..],
        &inner,
    ]
    .concat();
    let gossip = |body: &[u8]| {
        [
            &[0x12, u8::try_from(body.len()).expect("a short frame")][..],
            body,
        ]
        .concat()
    };
    let calls: Vec<Vec<Vec<u8>>> = vec![
        vec![noise(100)],
        vec![vec![]],
        vec![gossip(&noise(100))],
        vec![opening.clone(), noise(100)],
        vec![opening.clone(), gossip(&[])],
        vec![opening.clone(), gossip(&noise(120))],
        vec![
            opening.clone(),
            gossip(&[0; 120]),
            gossip(&[1; 120]),
            gossip(&[2; 120]),
            gossip(&[255; 120]),
        ],
        vec![opening.clone(), opening, vec![0x12, 0xff, 0xff, 0xff, 0x0f]],
    ];
    for messages in calls {
        let answer = stranger.call(target, "/hafleet.v1.Peer/Gossip", messages);
        assert!(
            answer.is_err() || answer.as_ref().is_ok_and(Vec::is_empty),
            "{answer:?}"
        );
    }
    for path in [
        "/hafleet.v1.Peer/Heads",
        "/hafleet.v1.Peer/StoreDocument",
        "/hafleet.v1.Peer/FetchDocument",
        "/hafleet.v1.Admin/ApplySpec",
    ] {
        let answer = stranger.call(target, path, vec![noise(200)]);
        assert!(answer.is_err(), "{path} answered noise with {answer:?}");
    }
    let answer = stranger.call(target, "/hafleet.v1.Peer/Nothing", vec![vec![]]);
    assert_eq!(
        answer.map_err(|status| status.code()),
        Err(Code::Unimplemented)
    );

    for (number, process) in fleet.numbers().into_iter().zip(processes) {
        assert_eq!(fleet.node(number).agent_process(), process);
        assert!(
            fleet.node(number).has_agent(),
            "node {number} ended: {}",
            fleet.node(number).log_tail(10)
        );
    }
    fleet.wait_formed();
    fleet.wait_converged(&first);
    let second = fleet.apply(2, &fleet.spec("second"));
    fleet.wait_converged(&second);
    fleet.wait_served("second");
}

#[test]
fn a_person_may_not_speak_as_a_peer() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let identity = fleet.authority().person("eve", "admin");
    let stranger = Stranger::new(fleet.node(3), &identity);
    for path in [
        "/hafleet.v1.Peer/Gossip",
        "/hafleet.v1.Peer/Heads",
        "/hafleet.v1.Peer/StoreDocument",
    ] {
        let answer = stranger.call(fleet.node(1), path, vec![vec![]]);
        let code = answer.as_ref().map_err(tonic::Status::code).map(|_| ());
        assert_eq!(code, Err(Code::PermissionDenied), "{path}: {answer:?}");
    }
}
