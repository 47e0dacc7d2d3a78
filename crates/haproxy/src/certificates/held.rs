//! Which certificates a node holds, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hafleet_model::Digest;
use hafleet_model::secrets::{CertificateName, Confidential};

use crate::render::quote_word;

/// A certificate of the fleet, as it was taken apart already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetCertificate {
    /// What binds call it.
    pub name: CertificateName,
    /// The certificate, its chain and its key, in HAProxy's order.
    pub pem: Confidential,
    /// The SHA-1 of the certificate in hexadecimal, which is how HAProxy says what it serves.
    pub sha1: String,
}

/// A certificate of the fleet in its file on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCertificate {
    certificate: FleetCertificate,
    path: String,
    digest: Digest,
}

impl HeldCertificate {
    fn new(dir: &str, certificate: FleetCertificate) -> Self {
        Self {
            path: format!("{dir}/{}", certificate.name),
            digest: Digest::of(certificate.pem.expose().as_bytes()),
            certificate,
        }
    }

    /// What binds call it.
    pub fn name(&self) -> &CertificateName {
        &self.certificate.name
    }

    /// Its file, as HAProxy's configuration and its runtime socket call it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The certificate, its chain and its key.
    pub fn pem(&self) -> &Confidential {
        &self.certificate.pem
    }

    /// The digest of [`Self::pem`], by which a changed chain or key shows when the certificate is the same.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether a process that names the SHA-1 `running` serves this certificate.
    pub fn is_served_as(&self, running: &str) -> bool {
        self.certificate.sha1.eq_ignore_ascii_case(running)
    }
}

/// All that a node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    dir: String,
    by_name: BTreeMap<String, HeldCertificate>,
}

impl Held {
    /// Nothing, in files below `dir`.
    pub(crate) fn nothing_in(dir: &Path) -> Self {
        Self::new(dir, Vec::new())
    }

    pub(crate) fn new(dir: &Path, certificates: Vec<FleetCertificate>) -> Self {
        let dir = dir.display().to_string();
        let held = |certificate: FleetCertificate| {
            let name = certificate.name.to_string();
            (name, HeldCertificate::new(&dir, certificate))
        };
        Self {
            by_name: certificates.into_iter().map(held).collect(),
            dir: dir.clone(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeldCertificate> {
        self.by_name.values()
    }

    /// The file that a bind means by `name`: the fleet's certificate of that name, or else one of `node_dir`.
    pub(crate) fn resolve(&self, name: &str, node_dir: &str) -> String {
        match self.by_name.get(name) {
            Some(held) => held.path().to_owned(),
            None => format!("{node_dir}/{name}"),
        }
    }

    /// Those whose files a configuration names, whether a bind, a template or raw text put them there.
    pub(crate) fn used_in(&self, text: &str) -> Vec<HeldCertificate> {
        let mut names = BTreeSet::new();
        for beginning in self.beginnings() {
            for (at, _) in text.match_indices(&beginning) {
                let rest = &text[at + beginning.len()..];
                let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                names.insert(&rest[..end]);
            }
        }
        let held = names.into_iter().filter_map(|name| self.by_name.get(name));
        held.cloned().collect()
    }

    /// What paths of ours begin with: plain, and as they are quoted where a directory has odd characters.
    fn beginnings(&self) -> Vec<String> {
        if self.by_name.is_empty() {
            return Vec::new();
        }
        let plain = format!("{}/", self.dir);
        let quoted = quote_word(&plain).map(|word| word.trim_end_matches('\'').to_owned());
        let quoted = quoted.filter(|quoted| *quoted != plain);
        quoted.into_iter().chain([plain]).collect()
    }
}

/// Whether `c` may be a part of a certificate's name.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.@+".contains(c)
}
