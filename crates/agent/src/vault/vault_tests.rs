use std::collections::BTreeMap;

use hafleet_cluster::machines::blank_report;
use hafleet_cluster::{Liveness, Member, Role, Standing};
use hafleet_model::report::NodeReport;
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::{Digest, DocumentKind, Header, Revision, Stamp, Term};
use tempfile::TempDir;

use super::*;

const MARK: &str = "the key that nobody may see";

struct Scene {
    directory: TempDir,
    vaults: Vec<(NodeId, Vault)>,
}

impl Scene {
    fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &&str| {
            let me = NodeId::new(*name).unwrap();
            let at = |what| directory.path().join(format!("{name}-{what}"));
            let vault = Vault::open(
                me.clone(),
                FleetName::new("shop").unwrap(),
                &at("key"),
                at("keys"),
            );
            (me, vault.unwrap())
        };
        Self {
            vaults: names.iter().map(open).collect(),
            directory,
        }
    }

    fn vault(&self, name: &str) -> &Vault {
        let mut vaults = self.vaults.iter();
        &vaults.find(|(id, _)| id.as_str() == name).unwrap().1
    }

    /// What the first sees; those in `old` publish no key.
    fn view(&self, old: &[&str]) -> View {
        let member = |(id, vault): &(NodeId, Vault)| Member {
            report: NodeReport {
                sealing_key: (!old.contains(&id.as_str())).then(|| vault.recipient().to_string()),
                ..blank_report(id.clone(), 1, ([127, 0, 0, 1], 1).into())
            }
            .into(),
            liveness: Liveness::Live,
            last_seen_ms: 0,
            is_self: *id == self.vaults[0].0,
            is_counted: true,
            link: None,
            lost: BTreeMap::new(),
        };
        View {
            members: self.vaults.iter().map(member).collect(),
            unmet_seeds: Vec::new(),
            seeds_short: None,
            leadership: Standing {
                role: Role::Leader(Term(1)),
                leader: Some(self.vaults[0].0.clone()),
                term: Term(1),
            },
        }
    }
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    let name = CertificateName::new("a.pem").unwrap();
    secrets.put(name, Confidential::new(MARK)).unwrap();
    secrets
}

fn document(body: &str) -> Document {
    let header = Header {
        kind: DocumentKind::Secrets,
        stamp: Stamp {
            revision: Revision::new(Term(1), 1),
            digest: Digest::of(body.as_bytes()),
        },
        parent: None,
        author: String::new(),
        comment: String::new(),
        written_at_ms: 0,
    };
    Document::new(header, body).unwrap()
}

#[test]
fn all_nodes_read_what_one_has_sealed_and_it_is_in_no_byte() {
    let scene = Scene::new(&["n1", "n2", "n3"]);
    let view = scene.view(&[]);
    let sealed = scene
        .vault("n1")
        .body(&secrets(), None, KeyChoice::Same, &view);
    let sealed = sealed.unwrap();
    assert!(!sealed.text.contains(MARK) && sealed.key.is_some());
    let document = document(&sealed.text);
    for (_, vault) in &scene.vaults {
        assert_eq!(vault.read(Some(&document)).unwrap(), secrets());
    }
    for entry in std::fs::read_dir(scene.directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(MARK));
    }
}

#[test]
fn nothing_is_sealed_that_a_live_node_could_not_read() {
    let scene = Scene::new(&["n1", "n2"]);
    let vault = scene.vault("n1");
    let open = vault.body(&secrets(), None, KeyChoice::Same, &scene.view(&["n2"]));
    let open = open.unwrap();
    assert_eq!(open.key, None);
    let open = document(&open.text);
    assert_eq!(vault.read(Some(&open)).unwrap(), secrets());

    // Once it is sealed, it is never opened again, whoever joins.
    let sealed = vault.body(&secrets(), Some(&open), KeyChoice::Same, &scene.view(&[]));
    let sealed = sealed.unwrap();
    let current = document(&sealed.text);
    let again = vault.body(
        &secrets(),
        Some(&current),
        KeyChoice::Same,
        &scene.view(&["n2"]),
    );
    assert_eq!(again.unwrap().key, sealed.key);
}

#[test]
fn a_later_node_is_given_the_key_by_an_earlier_one() {
    let scene = Scene::new(&["n1", "n2"]);
    let (first, later) = (scene.vault("n1"), scene.vault("n2"));
    let mut view = scene.view(&[]);
    view.members.truncate(1);
    let sealed = first
        .body(&secrets(), None, KeyChoice::Same, &view)
        .unwrap();
    let (document, key) = (document(&sealed.text), sealed.key.unwrap());
    let error = later.read(Some(&document)).unwrap_err();
    assert!(error.lacks_key(), "{error}");
    assert_eq!(
        first.share("0000000000000000", &later.recipient().to_string()),
        None
    );
    assert_eq!(first.share(&key.to_string(), "?"), None);

    // As the loop does, the earlier one has read it by then.
    first.read(Some(&document)).unwrap();
    let share = first.share(&key.to_string(), &later.recipient().to_string());
    let learned = later.learned();
    assert!(!later.take(&key, "x y"));
    assert!(later.take(&key, &share.unwrap()));
    assert!(learned.has_changed().unwrap());
    assert_eq!(later.read(Some(&document)).unwrap(), secrets());
}

#[test]
fn after_a_rotation_only_those_who_are_known_read_on() {
    let scene = Scene::new(&["n1", "gone"]);
    let vault = scene.vault("n1");
    let mut view = scene.view(&[]);
    let sealed = vault
        .body(&secrets(), None, KeyChoice::Same, &view)
        .unwrap();
    let current = document(&sealed.text);
    view.members.truncate(1);
    let rotated = vault.body(&secrets(), Some(&current), KeyChoice::New, &view);
    let rotated = rotated.unwrap();
    assert_ne!(rotated.key, sealed.key);
    let document = document(&rotated.text);
    assert_eq!(vault.read(Some(&document)).unwrap(), secrets());
    assert!(
        scene
            .vault("gone")
            .read(Some(&document))
            .unwrap_err()
            .lacks_key()
    );
}
