//! What only one service can have: the first by name gets it.

use std::collections::BTreeMap;

use hafleet_model::endpoints::{Service, ServiceKind};

/// What is taken, and by which service.
#[derive(Debug, Default)]
pub(super) struct Taken {
    names: BTreeMap<String, &'static str>,
    ports: BTreeMap<u16, String>,
    places: BTreeMap<(Option<String>, String), String>,
}

impl Taken {
    /// Takes what `service` needs, or says who has it.
    pub(super) fn take(&mut self, service: &Service) -> Result<(), String> {
        let name = &service.name;
        if let Some(kind) = self.names.get(name) {
            return Err(format!("{kind} has the same name: give it another one"));
        }
        let kind = match &service.kind {
            ServiceKind::Http {
                domain,
                path_prefix,
                ..
            } => {
                // With and without a slash at its end a prefix is the same.
                let path = path_prefix.as_deref().unwrap_or_default();
                let path = path.trim_end_matches('/').to_owned();
                if let Some(other) = self.places.get(&(domain.clone(), path.clone())) {
                    return Err(format!(
                        "the service {other:?} has the same `domain` and `url_beg`: change one of them"
                    ));
                }
                self.places.insert((domain.clone(), path), name.clone());
                "an HTTP service"
            }
            ServiceKind::Tcp { external_port } => {
                if let Some(other) = self.ports.get(external_port) {
                    return Err(format!(
                        "the service {other:?} has `external_port` {external_port} too: give it another one"
                    ));
                }
                self.ports.insert(*external_port, name.clone());
                "a TCP service"
            }
        };
        self.names.insert(name.clone(), kind);
        Ok(())
    }
}
