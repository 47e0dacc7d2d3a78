//! Certificates while a fleet runs: renewed, expired, taken back, obtained by a token; and who may call what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hafleet_api::access::{Needed, SERVICES};
use hafleet_api::v1::{self, audit_record, node_status};
use hafleet_identity::{JoinToken, Role};
use hafleet_tests::agent::Settings;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::machine::hafleet;
use hafleet_tests::stranger::Stranger;
use hafleet_tests::{Client, Fleet, can_make_namespaces, wait_for, wait_until};
use tonic::Code;

#[expect(clippy::expect_used, reason = "a test that cannot go on has to say so")]
fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// `hafleet pki` with the authority of `fleet`, in the name of an administrator.
fn pki(fleet: &Fleet, words: &[&str]) -> hafleet_tests::Finished {
    let authority = fleet.authority().directory();
    let words = [&["pki"], words, &["--authority", text(&authority)]].concat();
    fleet.client().run(&words)
}

fn node_of(client: &Client<'_>, id: &str) -> Option<v1::NodeStatus> {
    let status = client.status().ok()?;
    status.nodes.into_iter().find(|node| node.id == id)
}

/// The certificate that the agent of node `number` shows, as it says itself.
fn certificate_of(fleet: &Fleet, number: usize) -> v1::NodeCertificate {
    let id = fleet.node(number).id().to_owned();
    wait_for("an agent tells of its certificate", PATIENCE, || {
        let node = node_of(&fleet.client_of(number), &id);
        node.and_then(|node| node.certificate).ok_or("none yet")
    })
}

fn wait_dead(fleet: &Fleet, by: &[usize], number: usize) {
    let id = fleet.node(number).id().to_owned();
    for witness in by {
        wait_until("a node is dead to another", PATIENCE, || {
            let node = node_of(&fleet.client_of(*witness), &id);
            node.is_some_and(|node| node.liveness() == node_status::Liveness::Dead)
        });
    }
}

#[test]
fn certificates_are_renewed_under_a_running_fleet() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    let agents: Vec<_> = fleet
        .numbers()
        .iter()
        .map(|n| fleet.node(*n).agent_process())
        .collect();
    let old: Vec<_> = fleet
        .numbers()
        .iter()
        .map(|n| certificate_of(&fleet, *n).serial)
        .collect();
    for number in fleet.numbers() {
        let identity = fleet.node(number).settings().identity.clone();
        pki(&fleet, &["renew", text(&identity)]).expect_code(0);
    }
    for (number, old) in fleet.numbers().into_iter().zip(&old) {
        wait_until("a renewed certificate is in use", PATIENCE, || {
            certificate_of(&fleet, number).serial != *old
        });
        assert!(!certificate_of(&fleet, number).ending);
    }
    // Whoever still shows an old one, in an open connection too, is out from here on.
    let serials: Vec<_> = old.iter().flat_map(|old| ["--serial", old]).collect();
    pki(&fleet, &[&["revoke", "--publish"], &serials[..]].concat()).expect_code(0);
    wait_until("all nodes have the list", PATIENCE, || {
        let status = fleet.client().status();
        status.is_ok_and(|status| {
            let mut nodes = status.nodes.iter();
            nodes.all(|node| node.revocations.values().eq([&1]))
        })
    });
    fleet.wait_formed();
    let second = fleet.apply(2, &fleet.spec("second"));
    fleet.wait_converged(&second);
    let now: Vec<_> = fleet
        .numbers()
        .iter()
        .map(|n| fleet.node(*n).agent_process())
        .collect();
    assert_eq!(now, agents, "no agent was started again");

    // The certificate of another node is not taken, and said to be wrong.
    let identity = fleet.node(1).settings().identity.clone();
    let good = certificate_of(&fleet, 1).serial;
    let own = fs::read(identity.join("cert.pem")).expect("a certificate");
    let other = fleet.node(2).settings().identity.join("cert.pem");
    fs::copy(other, identity.join("cert.pem")).expect("a copy");
    wait_until("wrong files are told of", PATIENCE, || {
        certificate_of(&fleet, 1).error.contains("cert.pem")
    });
    assert_eq!(certificate_of(&fleet, 1).serial, good);
    let shown = fleet.client().run(&["status"]).expect_code(0);
    assert!(shown.stdout.contains("n1: certificate: "), "{shown}");
    fs::write(identity.join("cert.pem"), own).expect("the certificate again");
    wait_until(
        "files that are right again are no trouble",
        PATIENCE,
        || certificate_of(&fleet, 1).error.is_empty(),
    );
    fleet.wait_formed();
}

#[test]
fn an_expired_certificate_is_refused_and_both_sides_say_so() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().nodes(2).start();
    let short = fleet.scratch().directory("short").join("n2");
    let address = fleet.node(2).address().to_string();
    let words = [
        "issue",
        "--node",
        "n2",
        "--address",
        &address,
        "--valid-for",
        "8s",
        "--out",
    ];
    pki(&fleet, &[&words[..], &[text(&short)]].concat()).expect_code(0);
    let identity = fleet.node(2).settings().identity.clone();
    for file in ["key.pem", "cert.pem"] {
        fs::copy(short.join(file), identity.join(file)).expect("a copy");
    }
    let ending = wait_for("the short-lived certificate is shown", PATIENCE, || {
        let shown = certificate_of(&fleet, 2);
        if shown.ending {
            Ok(shown)
        } else {
            Err(format!("{shown:?}"))
        }
    });
    let shown = fleet.client().run(&["status"]).expect_code(0);
    assert!(
        shown.stdout.contains("n2: its certificate ends at"),
        "{shown}"
    );
    fleet.node(2).wait_logged("certificate ends soon");

    let until = ending.not_after.expect("an end").seconds;
    wait_until("the certificate has expired", PATIENCE, || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .is_ok_and(|now| now.as_secs().cast_signed() > until)
    });
    // Connections that are open go on; those of an agent that starts again are new.
    fleet.restart(1);
    fleet
        .node(2)
        .wait_logged("refused us: the certificate has expired");
    fleet.node(1).wait_logged("expired or is not valid yet");
    fleet.node(1).wait_logged("hafleet pki renew");
    // Renewed, it is back, without a restart.
    pki(&fleet, &["renew", text(&identity)]).expect_code(0);
    fleet.wait_formed();
}

#[test]
fn whoever_is_revoked_leaves_and_stays_out() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    fleet.authority().person("eve", "operator");
    let eve = |numbers: &[usize]| fleet.client_as("eve", numbers).run(&["status"]);
    eve(&[1]).expect_code(0);
    pki(&fleet, &["revoke", "--node", "n9"])
        .expect_code(2)
        .expect_complaint(&["n9"]);
    pki(
        &fleet,
        &["revoke", "--node", "n3", "--person", "eve", "--publish"],
    )
    .expect_code(0);

    wait_dead(&fleet, &[1, 2], 3);
    fleet
        .node(3)
        .wait_logged("refused us: the certificate has been revoked");
    for number in [1, 2] {
        wait_until(
            "a person who is revoked is let in nowhere",
            PATIENCE,
            || {
                let refused = eve(&[number]);
                refused.code == Some(3) && refused.stderr.contains("has been revoked")
            },
        );
    }
    let second = fleet.apply(1, &fleet.spec("second"));
    fleet.wait_applied(&[1, 2], &second);

    // After a restart of either side too.
    fleet.restart(3);
    fleet.restart(1);
    wait_until(
        "an agent that was started again has the list",
        PATIENCE,
        || {
            let refused = eve(&[1]);
            assert_ne!(refused.code, Some(0), "{refused}");
            refused.code == Some(3) && refused.stderr.contains("has been revoked")
        },
    );
    wait_dead(&fleet, &[2, 1], 3);

    // An older list, and one of another authority, change nothing.
    let list = fleet.authority().directory().join("revocations.pem");
    let publish = |file: &Path| {
        fleet
            .client()
            .run(&["pki", "publish-revocations", text(file)])
    };
    let again = publish(&list).expect_code(0);
    assert!(again.stdout.contains("already"), "{again}");
    let root = fleet.scratch().directory("foreign");
    let foreign = hafleet_tests::authority::Authority::create("shop", root);
    let directory = foreign.directory();
    let words = [
        "pki",
        "revoke",
        "--serial",
        "01",
        "--authority",
        text(&directory),
    ];
    fleet.client().run(&words).expect_code(0);
    publish(&directory.join("revocations.pem"))
        .expect_code(2)
        .expect_complaint(&["not signed"]);
}

/// Gives the agent of `settings` an issuer that is valid for `valid_for`.
#[expect(clippy::expect_used, reason = "a test that cannot go on has to say so")]
fn with_issuer(settings: &mut Settings, valid_for: &str) {
    let authority = settings.identity.with_file_name("authority");
    let made = Command::new(hafleet())
        .args([
            "pki",
            "issuer",
            "--node",
            &settings.id,
            "--valid-for",
            valid_for,
        ])
        .arg("--authority")
        .arg(authority)
        .arg("--out")
        .arg(&settings.identity)
        .output()
        .expect("hafleet runs");
    assert!(made.status.success(), "{made:?}");
    settings.parts.push(format!(
        "[issuer]\ncertificate = {:?}\nkey = {:?}\n",
        settings.identity.join("issuer.pem"),
        settings.identity.join("issuer-key.pem")
    ));
}

/// A fleet of four, of which three run, two of them with an issuer: that of `n1` lasts, and that of `n2` ends soon.
fn three_and_one_to_join() -> Fleet {
    let fleet = Fleet::builder()
        .nodes(4)
        .settings(|settings| match settings.id.as_str() {
            "n1" => with_issuer(settings, "10d"),
            "n2" => with_issuer(settings, "140s"),
            _ => {}
        })
        .prepare();
    (1..=3).for_each(|number| fleet.node(number).start_agent());
    wait_until(
        "three nodes know each other and two issuers",
        PATIENCE,
        || {
            fleet.client_of(3).status().is_ok_and(|status| {
                let issuers = status
                    .nodes
                    .iter()
                    .filter(|node| !node.join_address.is_empty());
                issuers.count() == 2 && status.nodes.len() == 3
            })
        },
    );
    fleet
}

fn token(fleet: &Fleet, words: &[&str]) -> String {
    let created = fleet
        .client_of(3)
        .run(&[&["pki", "token", "create"], words].concat());
    created.expect_code(0).stdout.trim().to_owned()
}

/// `hafleet pki join` in the namespace of node 4, into the directory `out`.
fn join(fleet: &Fleet, token: &str, out: &Path, words: &[&str]) -> hafleet_tests::Finished {
    let file = fleet.scratch().file("token", token);
    let client = Client {
        namespace: Some(fleet.node(4).namespace()),
        endpoints: Vec::new(),
        identity: None,
        scratch: fleet.scratch(),
    };
    let given = [
        "pki",
        "join",
        "--token-file",
        text(&file),
        "--out",
        text(out),
    ];
    client.run(&[&given[..], words].concat())
}

fn out(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.scratch().directory("joined").join(name)
}

#[test]
fn a_new_node_joins_by_a_token_and_renews_its_certificate_by_itself() {
    if !can_make_namespaces() {
        return;
    }
    let mut fleet = three_and_one_to_join();
    let token = token(&fleet, &["--node", "n4", "--issuer", "n2"]);
    let identity = out(&fleet, "n4");
    let joined = join(&fleet, &token, &identity, &[]).expect_code(0);
    assert!(joined.stdout.contains("node n4"), "{joined}");
    let serial = |path: &Path| {
        let pem = fs::read_to_string(path.join("cert.pem")).expect("a certificate");
        let facts = hafleet_identity::certificate::describe(&pem).expect("a certificate");
        facts.serial.to_string()
    };
    let first = serial(&identity);
    fleet
        .node_mut(4)
        .settings_mut()
        .identity
        .clone_from(&identity);
    fleet.node(4).start_agent();
    fleet.wait_formed();
    let revision = fleet.apply(4, &fleet.spec("joined"));
    fleet.wait_converged(&revision);
    // The issuer's own end is near, and so is that of what it made. The other issuer makes one that lasts.
    wait_until("a certificate that ends soon is renewed", PATIENCE, || {
        let certificate = certificate_of(&fleet, 4);
        certificate.serial != first && !certificate.ending && certificate.error.is_empty()
    });
    assert_ne!(serial(&identity), first, "it is kept for the next start");

    // The token was good once. Its secret is nowhere.
    let again = join(&fleet, &token, &out(&fleet, "again"), &[]);
    again
        .expect_code(3)
        .expect_complaint(&["used before, by node n4"]);
    let secret = token.parse::<JoinToken>().expect("a token").secret;
    let home = &fleet.node(2).settings().home;
    let kept = fs::read_to_string(home.join("data").join("join-tokens.json")).expect("tokens");
    assert!(
        kept.contains("n4") && !kept.contains(secret.expose()),
        "{kept}"
    );
    assert!(!fleet.node(2).log_tail(usize::MAX).contains(secret.expose()));
    let audit: v1::ListAuditResponse = fleet.client().run(&["audit", "--output", "json"]).json();
    let joins: Vec<_> = audit
        .records
        .iter()
        .filter(|record| record.method == "Join")
        .collect();
    assert_eq!(joins.len(), 2, "{audit:?}");
    assert_eq!(joins[0].outcome(), audit_record::Outcome::Denied);
    assert_eq!(joins[1].outcome(), audit_record::Outcome::Done);
    let from = fleet.node(4).address().to_string();
    assert!(
        joins.iter().all(|join| join.address.starts_with(&from)),
        "{joins:?}"
    );
}

#[test]
fn a_token_that_is_not_good_is_refused_with_the_reason() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = three_and_one_to_join();
    let expired = token(&fleet, &["--node", "n4", "--for", "1s"]);
    let good = token(&fleet, &["--node", "n4"]);
    let unnamed = token(&fleet, &[]);
    let refuse = |token: &str, words: &[&str], code: i32, complaint: &str| {
        let out = out(&fleet, "refused");
        join(&fleet, token, &out, words)
            .expect_code(code)
            .expect_complaint(&[complaint]);
        assert!(!out.join("cert.pem").exists());
    };
    refuse("hafleet-join-1.x", &[], 2, "no join token");
    refuse(&good, &["--node", "n5"], 3, "is for node n4");
    refuse(
        &good,
        &["--address", "10.77.0.99"],
        3,
        "does not grant the address 10.77.0.99",
    );
    refuse(&unnamed, &[], 2, "--node");
    refuse(&unnamed, &["--node", "n1"], 3, "there is a node n1 already");
    let change = |change: &dyn Fn(&mut JoinToken)| {
        let mut token = good.parse::<JoinToken>().expect("a token");
        change(&mut token);
        token.to_text().expose().to_owned()
    };
    let other_fleet = change(&|token| {
        token.fleet = hafleet_model::FleetName::new("other").expect("a name");
    });
    refuse(&other_fleet, &[], 3, "another fleet");
    let other_authority = change(&|token| token.authority = hafleet_model::Digest::of(b"other"));
    refuse(&other_authority, &[], 3, "another authority");
    let other_secret =
        change(&|token| token.secret = hafleet_model::secrets::Confidential::new("x"));
    refuse(&other_secret, &[], 3, "does not know the token");
    let of = |token: &str| token.parse::<JoinToken>().expect("a token");
    wait_until("a token has expired", PATIENCE, || {
        jiff::Timestamp::now() > of(&expired).expires_at
    });
    refuse(&expired, &[], 3, "the token expired at");
    let id = of(&unnamed).id;
    fleet
        .client_of(3)
        .run(&["pki", "token", "remove", &id])
        .expect_code(0);
    refuse(&unnamed, &["--node", "n4"], 3, "does not know the token");
    let none = fleet.client_of(3).run(&["pki", "token", "remove", &id]);
    none.expect_code(1).expect_complaint(&[&id]);

    // Whoever goes on like that is not listened to for a while, whatever the token; and then it is good still.
    wait_until("no more tokens are looked at", PATIENCE, || {
        let refused = join(&fleet, &other_secret, &out(&fleet, "refused"), &[]);
        assert!(matches!(refused.code, Some(1 | 3)), "{refused}");
        refused
            .stderr
            .contains("too many tokens that are not good have come from 10.77.0.14")
    });
    let refused = join(&fleet, &good, &out(&fleet, "refused"), &[]);
    refused
        .expect_code(1)
        .expect_complaint(&["10 a minute", "try again"]);
    wait_until("tokens are looked at again", PATIENCE, || {
        let joined = join(&fleet, &good, &out(&fleet, "n4"), &[]);
        joined.code == Some(0) || {
            assert!(joined.stderr.contains("too many tokens"), "{joined}");
            false
        }
    });
    for role in ["viewer", "operator"] {
        fleet.authority().person(role, role);
        let refused = fleet.client_as(role, &[3]).run(&["pki", "token", "create"]);
        refused.expect_code(3).expect_complaint(&["admin"]);
    }
}

#[test]
fn agents_hold_everybody_to_their_role_and_note_who_tried_what() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder()
        .nodes(2)
        .settings(|settings| {
            let file = settings.home.join("audit.jsonl");
            settings.parts.push(format!("[audit]\nfile = {file:?}\n"));
        })
        .start();
    let paths = || {
        SERVICES.iter().flat_map(|(service, methods)| {
            let methods = methods.iter();
            methods.map(move |(method, needed)| (format!("/{service}/{method}"), *needed))
        })
    };
    let node = fleet.node(1).settings().identity.clone();
    let callers = [
        (None, node),
        (
            Some(Role::Viewer),
            fleet.authority().person("vic", "viewer"),
        ),
        (
            Some(Role::Operator),
            fleet.authority().person("oda", "operator"),
        ),
        (Some(Role::Admin), fleet.authority().person("bob", "admin")),
    ];
    let mut denied = 0;
    for (role, identity) in callers {
        let stranger = Stranger::new(fleet.node(1), &identity);
        for (path, needed) in paths() {
            let may = match (needed, role) {
                (Needed::Anyone, _) | (Needed::Node | Needed::NodeOr(_), None) => true,
                (Needed::Role(least) | Needed::NodeOr(least), Some(role)) => role >= least,
                (Needed::Role(_), None) | (Needed::Node, Some(_)) => false,
            };
            // What is allowed is tried elsewhere, with arguments that make sense.
            if !may {
                let answer = stranger.call(fleet.node(2), path.clone().leak(), vec![vec![]]);
                let code = answer.as_ref().map_err(tonic::Status::code).map(|_| ());
                assert_eq!(
                    code,
                    Err(Code::PermissionDenied),
                    "{role:?} {path}: {answer:?}"
                );
                denied += 1;
            }
        }
    }
    assert!(denied > 40, "{denied}");

    let leader = fleet
        .client()
        .status()
        .expect("a status")
        .leadership
        .expect("one leads")
        .leader;
    let follower = if leader == fleet.node(1).id() { 2 } else { 1 };
    let revision = fleet.apply(follower, &fleet.spec("first"));
    fleet.wait_converged(&revision);
    let audit: v1::ListAuditResponse = fleet
        .client()
        .run(&["audit", "--limit", "1000", "--output", "json"])
        .expect_code(0)
        .json();
    let is_denied = |record: &&v1::AuditRecord| record.outcome() == audit_record::Outcome::Denied;
    assert_eq!(audit.records.iter().filter(is_denied).count(), denied);
    let applied: Vec<_> = audit
        .records
        .iter()
        .filter(|record| record.method == "ApplySpec" && !is_denied(record))
        .collect();
    assert_eq!(
        applied.len(),
        2,
        "by whom it was asked, and by the leader: {applied:?}"
    );
    for record in applied {
        assert_eq!(record.caller, "ada (admin)");
        assert_eq!(record.revision, revision);
        assert!(record.address.starts_with("10.77.0.1:"), "{record:?}");
        let is_leader = record.node_id == leader;
        assert_eq!(record.via.is_empty(), !is_leader, "{record:?}");
    }
    let refused = fleet.client_as("vic", &[1]).run(&["audit"]);
    refused.expect_code(3).expect_complaint(&["operator"]);
    let file = fleet.node(2).settings().home.join("audit.jsonl");
    let lines = fs::read_to_string(file).expect("an audit log");
    assert!(lines.lines().count() >= denied, "{lines}");
    let read = |line| serde_json::from_str::<v1::AuditRecord>(line).expect("a record");
    assert!(lines.lines().map(read).all(|record| record.node_id == "n2"));
}
