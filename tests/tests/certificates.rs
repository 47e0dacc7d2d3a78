//! Certificates of the traffic: put through any agent, served by every node, replaced without a reload.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use hafleet_api::v1;
use hafleet_tests::certificate::{Certificate, shown};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

const TLS_PORT: u16 = 8443;

fn make(fleet: &Fleet, directory: &str, name: &str, kind: &str) -> Certificate {
    Certificate::make(fleet.scratch().directory(directory), name, kind)
}

/// A spec that also serves TLS with `certificates`.
fn spec(fleet: &Fleet, marker: &str, certificates: &str) -> String {
    let bind = format!(
        "    binds:\n      - {{ address: node, port: {TLS_PORT}, tls: {{ certificates: [{certificates}] }} }}\n"
    );
    fleet.spec(marker).replacen("    binds:\n", &bind, 1)
}

fn put(fleet: &Fleet, number: usize, files: &[String]) -> v1::WriteCertificateResponse {
    let mut words = vec!["certificate", "put", "www.pem", "--output", "json"];
    words.extend(files.iter().map(String::as_str));
    let written = fleet.client_of(number).run(&words).expect_code(0);
    let response: v1::WriteCertificateResponse = written.json();
    assert!(response.committed, "{written}");
    response
}

fn wait_shown(fleet: &Fleet, name: &str) {
    for number in fleet.numbers() {
        let address: SocketAddr = (fleet.node(number).address(), TLS_PORT).into();
        wait_for("a node shows a certificate", PATIENCE, || {
            let seen = shown(&fleet.client(), fleet.outside(), address);
            if seen.as_deref() == Some(name) {
                Ok(())
            } else {
                Err(format!("node {number} shows {seen:?}, not {name}"))
            }
        });
    }
}

fn list(fleet: &Fleet, number: usize) -> Vec<v1::CertificateInfo> {
    let words = ["certificate", "list", "--output", "json"];
    let finished = fleet.client_of(number).run(&words).expect_code(0);
    finished.json::<v1::ListCertificatesResponse>().certificates
}

/// The file of `www.pem` on node `number`.
fn file_on(fleet: &Fleet, number: usize) -> PathBuf {
    let home = &fleet.node(number).settings().home;
    home.join("data/haproxy/certificates/www.pem")
}

#[test]
fn a_certificate_is_rotated_on_every_node_without_a_reload() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let follower = fleet.follower();
    let one = make(&fleet, "one", "one.example.com", "ec:prime256v1");
    let files = ["key.pem", "chain.pem", "cert.pem"].map(|name| one.file(name));
    put(&fleet, follower, &files);
    // It can be used at once, also where the leader has to check the spec.
    let revision = fleet.apply(follower, &spec(&fleet, "first", "www.pem"));
    fleet.wait_converged(&revision);
    wait_shown(&fleet, "one.example.com");
    let before: Vec<_> = fleet
        .numbers()
        .into_iter()
        .map(|number| fleet.node(number).haproxy())
        .collect();

    let two = make(&fleet, "two", "two.example.com", "rsa:2048");
    let all = fleet.scratch().file("all.pem", &two.pem());
    let written = put(&fleet, follower, &[all.display().to_string()]);
    wait_shown(&fleet, "two.example.com");
    for (number, process) in fleet.numbers().into_iter().zip(&before) {
        assert_eq!(fleet.node(number).haproxy(), *process, "HAProxy goes on");
        let file = file_on(&fleet, number);
        let on_disk = fs::read_to_string(&file).unwrap();
        assert_eq!(
            on_disk,
            two.pem(),
            "whoever starts HAProxy anew gets it too"
        );
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = put(&fleet, follower, &[all.display().to_string()]);
    assert!(again.unchanged && again.revision == written.revision);

    // An agent that was away brings its HAProxy to what was put meanwhile, in the same process.
    fleet.kill_agent(follower);
    fs::remove_file(file_on(&fleet, follower)).unwrap();
    let three = make(&fleet, "three", "three.example.com", "ec:prime256v1");
    let files = ["cert.pem", "key.pem", "chain.pem"].map(|name| three.file(name));
    put(&fleet, fleet.leader(), &files);
    fleet.node(follower).start_agent();
    wait_shown(&fleet, "three.example.com");
    for (number, process) in fleet.numbers().into_iter().zip(&before) {
        assert_eq!(fleet.node(number).haproxy(), *process, "HAProxy goes on");
    }
    let listed = list(&fleet, follower);
    assert_eq!(listed[0].used_by, ["web"]);
}

#[test]
fn certificates_that_are_put_at_the_same_time_are_all_kept() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = &Fleet::builder().start();
    let one = make(fleet, "one", "one.example.com", "ec:prime256v1");
    let files = ["cert.pem", "chain.pem", "key.pem"].map(|name| one.file(name));
    let put = &|number: usize| {
        let name = format!("www{number}.pem");
        let [cert, chain, key] = files.each_ref().map(String::as_str);
        let words = ["certificate", "put", &name, cert, chain, key];
        fleet.client_of(1 + number % 3).run(&words).expect_code(0);
    };
    std::thread::scope(|scope| {
        for number in 0..12 {
            scope.spawn(move || put(number));
        }
    });
    wait_for("all nodes hold all certificates", PATIENCE, || {
        let counts = [1, 2, 3].map(|number| list(fleet, number).len());
        (counts == [12, 12, 12])
            .then_some(())
            .ok_or(format!("{counts:?}"))
    });
}

#[test]
fn files_on_the_nodes_go_on_working() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let own = make(&fleet, "own", "file.example.com", "ec:prime256v1");
    for number in fleet.numbers() {
        let home = &fleet.node(number).settings().home;
        fs::write(home.join("certificates/www.pem"), own.pem()).unwrap();
    }
    let revision = fleet.apply(1, &spec(&fleet, "first", "www.pem"));
    fleet.wait_converged(&revision);
    wait_shown(&fleet, "file.example.com");

    // The fleet's takes its place, and leaves it again.
    let one = make(&fleet, "one", "one.example.com", "ec:prime256v1");
    let files = ["cert.pem", "chain.pem", "key.pem"].map(|name| one.file(name));
    put(&fleet, 2, &files);
    wait_shown(&fleet, "one.example.com");
    let client = fleet.client();
    let refused = client.run(&["certificate", "remove", "www.pem"]);
    refused.expect_code(3).expect_complaint(&["web", "--force"]);
    let removed = client.run(&["certificate", "remove", "www.pem", "--force"]);
    removed.expect_code(0);
    wait_shown(&fleet, "file.example.com");
    for number in fleet.numbers() {
        wait_for("the file of a removed certificate goes", PATIENCE, || {
            let file = file_on(&fleet, number);
            (!file.exists()).then_some(()).ok_or("it is there")
        });
    }
    assert!(list(&fleet, 1).is_empty());
    let unknown = client.run(&["certificate", "remove", "www.pem"]);
    unknown
        .expect_code(1)
        .expect_complaint(&["no certificate www.pem"]);
}

#[test]
fn what_does_not_belong_together_is_refused_and_no_key_is_ever_shown() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().nodes(1).start();
    let client = fleet.client();
    let one = make(&fleet, "one", "one.example.com", "ec:prime256v1");
    let other = make(&fleet, "other", "other.example.com", "rsa:2048");
    let (cert, chain, key) = (
        one.file("cert.pem"),
        one.file("chain.pem"),
        one.file("key.pem"),
    );
    let run = |files: &[&str]| client.run(&[&["certificate", "put", "www.pem"], files].concat());
    let mismatch = run(&[&cert, &other.file("key.pem")]);
    mismatch
        .expect_code(2)
        .expect_complaint(&["belongs to none", "CN=one.example.com"]);
    let stranger = run(&[&cert, &key, &other.file("chain.pem")]);
    stranger
        .expect_code(2)
        .expect_complaint(&["not of the certificate's chain"]);
    let missing = run(&[&cert, &chain]);
    missing.expect_code(2).expect_complaint(&["no private key"]);
    let unnamed = client.run(&["certificate", "put", "a/b", &cert, &key]);
    unnamed
        .expect_code(2)
        .expect_complaint(&["not a name of a certificate"]);
    let expired = one.expired();
    let late = run(&[&expired, &chain, &key]).expect_code(2);
    late.expect_complaint(&["expired at", "--allow-expired"]);
    assert!(list(&fleet, 1).is_empty());
    let late = run(&[&expired, &chain, &key, "--allow-expired"]);
    late.expect_code(0);

    fleet.authority().person("eve", "viewer");
    let viewer = fleet.client_as("eve", &[1]);
    let denied = viewer.run(&["certificate", "put", "www.pem", &cert, &key]);
    denied.expect_code(3).expect_complaint(&["eve", "admin"]);

    let unchained = run(&[&cert, &key]).expect_code(0);
    unchained.expect_complaint(&["warning", "no chain"]);
    put(&fleet, 1, &[chain, cert, key.clone()]);
    let shown = [
        viewer.run(&["certificate", "show", "www.pem"]),
        viewer.run(&["certificate", "show", "www.pem", "--output", "json"]),
        viewer.run(&["certificate", "list", "--output", "yaml"]),
        viewer.run(&["certificate", "list"]),
        viewer.run(&["spec", "history"]),
        viewer.run(&["status", "--output", "json"]),
    ];
    let secret = fs::read_to_string(key).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    for finished in shown {
        let finished = finished.expect_code(0);
        let words = format!("{}{}", finished.stdout, finished.stderr);
        assert!(
            !words.contains(secret) && !words.contains("PRIVATE"),
            "{finished}"
        );
    }
    assert!(!fleet.node(1).log_tail(usize::MAX).contains(secret));
    let info: v1::CertificateInfo = viewer
        .run(&["certificate", "show", "www.pem", "--output", "json"])
        .json();
    assert_eq!(info.certificate.unwrap().names, ["one.example.com"]);
    assert_eq!(info.chain[0].subject, "CN=signer of one.example.com");
}
