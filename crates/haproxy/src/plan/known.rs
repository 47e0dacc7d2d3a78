//! What a process was brought to, as far as it cannot be asked for it.

use std::collections::BTreeMap;

use hafleet_model::Digest;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::render::{Rendered, RenderedServer, Skeleton, WrittenServer};
use crate::runtime::AdminState;

/// The configuration that a process was brought to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The digest of its body and its maps.
    pub digest: Digest,
    /// What of it only a reload can change.
    pub skeleton: Skeleton,
    /// The form of each server.
    #[serde(default)]
    pub servers: KnownServers,
    /// The digest of each backend's health check, of those that have one.
    #[serde(default)]
    pub checks: BTreeMap<String, Digest>,
    /// The same of those that the process has loaded: it can be told to check in these ways, and in no other.
    #[serde(default)]
    pub loaded_checks: BTreeMap<String, Digest>,
    /// The admin state of each server of the spec that was asked to be other than ready, and of each server in text of
    /// which any was asked, by `BACKEND/SERVER`.
    #[serde(default)]
    pub admin: BTreeMap<String, AdminState>,
    /// The digest of each certificate of the fleet with its chain and key, by its file.
    #[serde(default)]
    pub certificates: BTreeMap<String, Digest>,
}

impl Known {
    /// What a process knows that was brought to `rendered`.
    pub(crate) fn of(rendered: &Rendered) -> Self {
        let certificates = rendered.certificates().iter();
        let certificates = certificates.map(|held| (held.path().to_owned(), held.digest()));
        Self {
            digest: rendered.digest(),
            skeleton: rendered.skeleton().clone(),
            servers: KnownServers::of(rendered),
            checks: rendered.checks(),
            loaded_checks: rendered.checks(),
            admin: asked(rendered),
            certificates: certificates.collect(),
        }
    }

    /// What was asked of a server that stands in text, if anything was.
    pub(crate) fn asked_of_written(&self, server: &WrittenServer) -> Option<AdminState> {
        if self.admin.is_empty() {
            return None;
        }
        let target = Target::new(&server.backend, &server.name);
        self.admin.get(&target.to_string()).copied()
    }

    /// The admin state that was asked of a server.
    pub(crate) fn admin(&self, server: &RenderedServer) -> AdminState {
        if self.admin.is_empty() {
            return AdminState::Ready;
        }
        let asked = self.admin.get(&Target::of(server).to_string());
        asked.copied().unwrap_or_default()
    }

    /// What the process that is `self` knows when it was told to become `rendered`.
    pub(crate) fn brought_to(&self, rendered: &Rendered) -> Self {
        Self {
            loaded_checks: self.loaded_checks.clone(),
            ..Self::of(rendered)
        }
    }
}

fn asked(rendered: &Rendered) -> BTreeMap<String, AdminState> {
    let servers = rendered.servers();
    let servers = servers
        .filter(|server| server.admin != AdminState::Ready)
        .map(|server| (Target::of(server), server.admin));
    let written = rendered.written().iter().filter_map(|server| {
        let target = Target::new(&server.backend, &server.name);
        Some((target, server.asked?))
    });
    servers
        .chain(written)
        .map(|(target, admin)| (target.to_string(), admin))
        .collect()
}

/// The forms of servers ([`crate::RenderedServer::form`]): by backend and form, the names. Servers of a backend are mostly
/// of one form, which keeps this small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KnownServers(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl KnownServers {
    fn of(rendered: &Rendered) -> Self {
        let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for backend in rendered.backends() {
            let forms = all.entry(backend.name.clone()).or_default();
            for server in &backend.servers {
                match forms.get_mut(&server.form) {
                    Some(names) => names.push(server.name.clone()),
                    None => {
                        forms.insert(server.form.clone(), vec![server.name.clone()]);
                    }
                }
            }
        }
        Self(all)
    }

    /// The form of each server of `backend`, by name.
    pub(crate) fn forms(&self, backend: &str) -> BTreeMap<&str, &str> {
        let forms = self.0.get(backend).into_iter().flatten();
        forms
            .flat_map(|(form, names)| names.iter().map(|name| (name.as_str(), form.as_str())))
            .collect()
    }

    /// Whether `backend` had servers of `form`.
    pub(crate) fn has_form(&self, backend: &str, form: &str) -> bool {
        self.0
            .get(backend)
            .is_some_and(|forms| forms.contains_key(form))
    }
}
