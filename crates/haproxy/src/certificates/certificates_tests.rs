use std::os::unix::fs::PermissionsExt as _;

use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::load;

use super::*;
use crate::render::{Families, render_with};

fn certificate(name: &str, pem: &str) -> FleetCertificate {
    FleetCertificate {
        name: CertificateName::new(name).unwrap(),
        pem: Confidential::new(pem),
        sha1: "00".into(),
    }
}

fn rendered(certificates: &Certificates, spec: &str) -> Rendered {
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").unwrap(),
        address: "192.0.2.10".parse().unwrap(),
        zone: None,
        certificate_dir: "/certs".into(),
    };
    let loaded = load(spec).unwrap();
    render_with(&loaded.spec, &node, Families::Both, &certificates.held()).unwrap()
}

fn spec(names: &str) -> String {
    format!(
        "version: 1\nfrontends: [{{name: web, binds: [{{port: 443, tls: {{certificates: [{names}]}}}}], default_backend: app}}]\nbackends: [{{name: app}}]\n"
    )
}

fn names_used(rendered: &Rendered) -> Vec<&str> {
    let used = rendered.certificates().iter();
    used.map(|held| held.name().as_str()).collect()
}

#[test]
fn binds_mean_the_fleets_certificate_where_there_is_one() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&home.path().join("certificates")).unwrap();
    certificates
        .hold(vec![
            certificate("www.pem", "one"),
            certificate("www", "two"),
        ])
        .unwrap();
    let found = rendered(&certificates, &spec("www.pem, other.pem"));
    let dir = home.path().join("certificates");
    let line = format!("crt {}/www.pem crt /certs/other.pem", dir.display());
    assert!(found.body().contains(&line), "{}", found.body());
    assert_eq!(names_used(&found), ["www.pem"]);
}

#[test]
fn a_directory_that_has_to_be_quoted_is_recognised() {
    let home = tempfile::tempdir().unwrap();
    let odd = home.path().join("it's a dir");
    let certificates = Certificates::open(&odd.join("certificates")).unwrap();
    certificates.hold(vec![certificate("a", "one")]).unwrap();
    assert_eq!(names_used(&rendered(&certificates, &spec("a"))), ["a"]);
}

#[test]
fn a_template_can_name_them() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&home.path().join("certificates")).unwrap();
    certificates.hold(vec![certificate("a", "one")]).unwrap();
    let text = "version: 1\ntemplate: |\n  bind :1 ssl crt {{ certificate('a') }} crt {{ certificate('b') }}\n";
    let found = rendered(&certificates, text);
    assert!(
        found.body().contains("/certificates/a crt /certs/b"),
        "{}",
        found.body()
    );
    assert_eq!(names_used(&found), ["a"]);
}

#[test]
fn files_are_the_agents_alone_and_go_when_nothing_needs_them() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&home.path().join("certificates")).unwrap();
    let both = vec![certificate("a", "one"), certificate("b", "two")];
    assert!(certificates.hold(both.clone()).unwrap());
    assert!(!certificates.hold(both).unwrap());
    let dir = home.path().join("certificates");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("a"))), (0o700, 0o600));

    let before = rendered(&certificates, &spec("a"));
    assert!(certificates.hold(vec![certificate("b", "two")]).unwrap());
    certificates.sweep(&before);
    assert!(
        dir.join("a").exists(),
        "HAProxy's configuration names it still"
    );
    certificates.sweep(&rendered(&certificates, &spec("x")));
    assert!(!dir.join("a").exists() && dir.join("b").exists());

    fs::write(dir.join(".candidate-x.pem"), "one").unwrap();
    Certificates::open(&home.path().join("certificates")).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "b alone");
}

#[test]
fn a_file_that_was_changed_or_removed_is_put_back() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&home.path().join("certificates")).unwrap();
    let path = home.path().join("certificates/a");
    for spoil in [
        |path: &Path| fs::write(path, "x"),
        |path: &Path| fs::remove_file(path),
    ] {
        certificates.hold(vec![certificate("a", "one")]).unwrap();
        spoil(&path).unwrap();
        certificates.hold(vec![certificate("a", "one")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}

#[test]
fn keys_do_not_stay_where_they_were_before() {
    let home = tempfile::tempdir().unwrap();
    let (former, dir) = (home.path().join("disk"), home.path().join("memory"));
    let before = Certificates::open(&former).unwrap();
    before.hold(vec![certificate("a", "one")]).unwrap();
    let runs = rendered(&before, &spec("a"));

    let certificates = Certificates::open_instead_of(former.clone(), &dir).unwrap();
    certificates.hold(vec![certificate("a", "one")]).unwrap();
    certificates.sweep(&runs);
    assert!(former.join("a").exists(), "what runs names it");
    certificates.sweep(&rendered(&certificates, &spec("a")));
    assert!(!former.exists() && dir.join("a").exists());
}
