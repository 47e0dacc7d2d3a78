//! The fleet's certificates in a real HAProxy: what a client is shown, and which process shows it.

use std::net::SocketAddr;
use std::process::Command;

use hafleet_haproxy::{CheckError, FleetCertificate, Proxy, RuntimeSocket};
use hafleet_model::report::Change;
use hafleet_model::secrets::{CertificateName, Confidential};

use crate::sandbox::{Home, apply, is_running, rendered, revision, sandboxed, until};
use crate::web::application;

/// A certificate for `subject` with its key, and the SHA-1 that HAProxy names it by.
fn certificate(home: &Home, name: &str, subject: &str) -> FleetCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![subject.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, subject);
    let made = params.self_signed(&key).unwrap();
    let file = home.path().join("made.pem");
    std::fs::write(&file, made.pem()).unwrap();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha1", "-in"])
        .arg(&file)
        .output()
        .unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    let (_, sha1) = words.trim().split_once('=').unwrap();
    FleetCertificate {
        name: CertificateName::new(name).unwrap(),
        pem: Confidential::new(format!("{}{}", made.pem(), key.serialize_pem())),
        sha1: sha1.replace(':', ""),
    }
}

/// Whom the certificate that a client is shown is for.
async fn shown(port: u16) -> String {
    let target = format!("127.0.0.1:{port}");
    let output = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &target])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = words.lines().find_map(|line| line.strip_prefix("subject="));
    let subject = line.unwrap_or("nobody").replace(' ', "");
    subject.trim_start_matches("CN=").to_owned()
}

fn spec(certificates: &str, extra: &str, application: SocketAddr) -> String {
    format!(
        "version: 1\nfrontends:\n- {{name: web, binds: [{{port: 8443, tls: {{certificates: [{certificates}]}}}}], default_backend: app{extra}}}\n\
         backends:\n- name: app\n  servers: [{{name: a, address: 127.0.0.1, port: {}}}]\n",
        application.port()
    )
}

fn hold(proxy: &Proxy, certificates: &[&FleetCertificate]) {
    let certificates = certificates.iter().map(|held| (*held).clone()).collect();
    proxy.inspector().certificates().hold(certificates).unwrap();
}

#[test]
fn a_certificate_is_replaced_in_the_running_process() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let application = application("a").await;
        let one = certificate(&home, "www.pem", "one.example.com");
        let text = spec("www.pem", "", application);
        hold(&proxy, &[&one]);
        let first = apply(&mut proxy, &text, 1).await;
        assert_eq!(first.change, Change::Start);
        assert_eq!(shown(8443).await, "one.example.com");
        assert_eq!(apply(&mut proxy, &text, 1).await.change, Change::Nothing);

        let two = certificate(&home, "www.pem", "two.example.com");
        hold(&proxy, &[&two]);
        let replaced = apply(&mut proxy, &text, 1).await;
        assert_eq!(
            (replaced.change, replaced.pid),
            (Change::Runtime, first.pid)
        );
        assert_eq!(shown(8443).await, "two.example.com");

        // Somebody else puts the first one back behind our back.
        let socket = RuntimeSocket::new(home.path().join("run/haproxy-1.sock"));
        let path = home.path().join("certificates/www.pem");
        let path = path.display().to_string();
        socket.replace_certificate(&path, &one.pem).await.unwrap();
        assert_eq!(shown(8443).await, "one.example.com");
        let mended = apply(&mut proxy, &text, 1).await;
        assert_eq!((mended.change, mended.pid), (Change::Runtime, first.pid));
        assert_eq!(shown(8443).await, "two.example.com");

        // Whoever starts HAProxy anew, from the file, has the new one too.
        let reloaded = apply(&mut proxy, &spec("www.pem", ", maxconn: 7", application), 2).await;
        assert_eq!(reloaded.change, Change::Reload);
        assert_eq!(shown(8443).await, "two.example.com");
        until("the old process ends", async || !is_running(first.pid)).await;
    });
}

#[test]
fn an_agent_that_starts_anew_replaces_what_changed_meanwhile() {
    sandboxed(async || {
        let home = Home::new();
        let application = application("a").await;
        let text = spec("www.pem", "", application);
        let (one, two) = (
            certificate(&home, "www.pem", "one.example.com"),
            certificate(&home, "www.pem", "two.example.com"),
        );
        let mut proxy = home.open().await;
        hold(&proxy, &[&one]);
        let first = apply(&mut proxy, &text, 1).await;
        drop(proxy);
        let mut proxy = home.open().await;
        hold(&proxy, &[&two]);
        let replaced = apply(&mut proxy, &text, 1).await;
        assert_eq!(
            (replaced.change, replaced.pid),
            (Change::Runtime, first.pid)
        );
        assert_eq!(shown(8443).await, "two.example.com");
    });
}

#[test]
fn a_spec_that_is_refused_keeps_no_certificate_in_service() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let application = application("a").await;
        let text = spec("www.pem", "", application);
        hold(&proxy, &[&certificate(&home, "www.pem", "one.example.com")]);
        let first = apply(&mut proxy, &text, 1).await;
        assert!(proxy.refresh_certificates().await.unwrap().is_empty());

        hold(&proxy, &[&certificate(&home, "www.pem", "two.example.com")]);
        let broken = spec("www.pem", ", raw: [nonsense]", application);
        let refused = proxy.apply(&rendered(&proxy, &broken), revision(2)).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(shown(8443).await, "one.example.com");
        assert_eq!(proxy.refresh_certificates().await.unwrap(), ["www.pem"]);
        assert_eq!(shown(8443).await, "two.example.com");
        let same = apply(&mut proxy, &text, 1).await;
        assert_eq!((same.change, same.pid), (Change::Nothing, first.pid));
    });
}

#[test]
fn files_of_the_node_go_on_working_and_the_fleets_take_their_place() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let application = application("a").await;
        let file = certificate(&home, "www.pem", "file.example.com");
        let on_node = home.path().join("certs/www.pem");
        std::fs::write(&on_node, file.pem.expose()).unwrap();
        let text = spec("www.pem", "", application);
        apply(&mut proxy, &text, 1).await;
        assert_eq!(shown(8443).await, "file.example.com");

        let fleets = certificate(&home, "www.pem", "fleet.example.com");
        hold(&proxy, &[&fleets]);
        let taken = apply(&mut proxy, &text, 1).await;
        assert_eq!(taken.change, Change::Reload, "it was never loaded");
        assert_eq!(shown(8443).await, "fleet.example.com");

        hold(&proxy, &[]);
        let returned = apply(&mut proxy, &text, 1).await;
        assert_eq!(returned.change, Change::Reload);
        assert_eq!(shown(8443).await, "file.example.com");
        let left = std::fs::read_dir(home.path().join("certificates")).unwrap();
        assert_eq!(left.count(), 0, "nothing is left of the fleet's");
        assert!(on_node.exists());
    });
}

#[test]
fn one_that_is_too_long_for_the_socket_takes_a_reload() {
    sandboxed(async || {
        let home = Home::new();
        let mut proxy = home.open().await;
        let application = application("a").await;
        let text = spec("www.pem", "", application);
        hold(&proxy, &[&certificate(&home, "www.pem", "one.example.com")]);
        let first = apply(&mut proxy, &text, 1).await;
        let mut long = certificate(&home, "www.pem", "two.example.com");
        let more: String = (0..40)
            .map(|number| certificate(&home, "x", &format!("{number}.example.com")))
            .map(|other| {
                let pem = other.pem.expose();
                pem[..pem.find("-----BEGIN PRIVATE").unwrap()].to_owned()
            })
            .collect();
        long.pem = Confidential::new(format!("{}{more}", long.pem.expose()));
        hold(&proxy, &[&long]);
        let reloaded = apply(&mut proxy, &text, 1).await;
        assert_eq!(reloaded.change, Change::Reload);
        assert_ne!(reloaded.pid, first.pid);
        assert_eq!(shown(8443).await, "two.example.com");
    });
}

#[test]
fn haproxy_is_asked_before_anybody_holds_one() {
    sandboxed(async || {
        let home = Home::new();
        let proxy = home.open().await;
        let inspector = proxy.inspector();
        let good = certificate(&home, "www.pem", "one.example.com");
        inspector.check_certificate(&good.pem).await.unwrap();
        let other = certificate(&home, "www.pem", "two.example.com");
        let at = |pem: &str| pem.find("-----BEGIN PRIVATE").unwrap();
        let (good, other) = (good.pem.expose(), other.pem.expose());
        let mixed = format!("{}{}", &good[..at(good)], &other[at(other)..]);
        let refused = inspector.check_certificate(&Confidential::new(mixed)).await;
        let Err(CheckError::Invalid(findings)) = refused else {
            panic!("{refused:?}");
        };
        let words = findings.to_string();
        assert!(!words.contains("candidate"), "{words}");
        let left = std::fs::read_dir(home.path().join("certificates")).unwrap();
        assert_eq!(left.count(), 0);
    });
}
