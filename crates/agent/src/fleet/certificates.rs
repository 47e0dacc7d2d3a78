//! The fleet's certificates: what the API tells of them, and the leader's part in changing them.

use std::sync::Arc;

use hafleet_api::Failure;
use hafleet_api::certificates::{
    CertificateChange, CertificateList, CertificateStatus, CertificateWrite,
};
use hafleet_api::fleet::{Intent, Written};
use hafleet_cluster::{Expect, WriteError, WriteRequest};
use hafleet_haproxy::{CheckError, Rendered, ToolError};
use hafleet_identity::Bundle;
use hafleet_model::endpoints::effective_spec;
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::spec::Finding;
use hafleet_model::{Document, DocumentKind, Secrets, Spec, spec};
use jiff::Timestamp;

use super::{AgentFleet, WriteFailure, written};
use crate::vault::{KeyChoice, SealedBody};
use hafleet_model::with_causes;

/// The longest comment that is made here, in characters: the names of some hundred nodes.
const MAX_COMMENT_CHARS: usize = 1_000;

/// How often a change is tried anew when another leader changed a certificate in between.
const ATTEMPTS: u32 = 10;

impl AgentFleet {
    pub(crate) fn certificate_list(&self) -> Result<CertificateList, Failure> {
        let document = self.certificates.newest();
        let secrets = self.opened(document.as_deref())?;
        let users = self.users();
        let status = |(name, pem): (&CertificateName, &Confidential)| CertificateStatus {
            name: name.clone(),
            bundle: Bundle::read([pem.expose()]).map_err(|error| error.to_string()),
            used_by: users.of(name),
        };
        Ok(CertificateList {
            certificates: secrets.iter().map(status).collect(),
            header: document.map(|document| document.header().clone()),
            conflicts: self.conflicts_of(DocumentKind::Secrets),
        })
    }

    pub(super) fn certificate_status(
        &self,
        name: &CertificateName,
    ) -> Result<CertificateStatus, Failure> {
        let secrets = self.opened(self.certificates.newest().as_deref())?;
        let unknown = || Failure::UnknownCertificate(name.clone());
        let pem = secrets.get(name).ok_or_else(unknown)?;
        Ok(CertificateStatus {
            name: name.clone(),
            bundle: Bundle::read([pem.expose()]).map_err(|error| error.to_string()),
            used_by: self.users().of(name),
        })
    }

    /// Changes a certificate here, where the leader is.
    pub(super) async fn write_certificate_here(
        &self,
        write: &CertificateWrite,
    ) -> Result<Written, WriteFailure> {
        let examined = self.examine(write).await.map_err(WriteFailure::Final)?;
        let _turn = self.certificates.turn().await;
        for _ in 0..ATTEMPTS {
            let current = self.certificates.newest();
            let changed = self.changed(current.as_deref(), write, examined.as_ref());
            let changed = changed.map_err(WriteFailure::Final)?;
            let sealed =
                changed.map(|secrets| self.sealed(&secrets, current.as_deref(), KeyChoice::Same));
            let body = sealed.transpose().map_err(WriteFailure::Final)?;
            let warnings = examined.iter().flat_map(Bundle::warnings);
            let warnings = warnings.map(|words| Finding::new("", words)).collect();
            let request = match (body, &current) {
                (Some(body), _) => request(&body, current.as_deref(), write),
                (None, Some(current)) => {
                    let author = &write.intent.author;
                    return Ok(written::as_it_is(&self.cluster, current, author, warnings).await);
                }
                (None, None) => break,
            };
            match self.cluster.write(request).await {
                Ok(made) => return Ok(written::new_revision(made, warnings)),
                Err(WriteError::Unexpected { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let words = "others change certificates at the same time; nothing was written, try again";
        Err(WriteFailure::Final(Failure::TimedOut(words.to_owned())))
    }

    /// Everything about a new certificate that does not depend on the others: its parts, its time, and HAProxy's opinion.
    async fn examine(&self, write: &CertificateWrite) -> Result<Option<Bundle>, Failure> {
        let CertificateChange::Put { pem, allow_expired } = &write.change else {
            return Ok(None);
        };
        let refused = |problem: String| Failure::InvalidArgument {
            field: "pem",
            problem,
        };
        let bundle = Bundle::read([pem.expose()]).map_err(|error| refused(error.to_string()))?;
        if !allow_expired {
            let timely = bundle.check_time(Timestamp::now());
            timely.map_err(|error| {
                refused(format!("{error}. --allow-expired takes it all the same"))
            })?;
        }
        match self.inspector.check_certificate(bundle.pem()).await {
            // A witness has nobody to ask; what the bundle itself tells was checked.
            Ok(()) | Err(CheckError::Tool(ToolError::Absent)) => Ok(Some(bundle)),
            Err(CheckError::Invalid(findings)) => Err(refused(findings.to_string())),
            Err(error) => Err(Failure::Internal(with_causes(&error))),
        }
    }

    /// The secrets after the change; none when nothing is different.
    fn changed(
        &self,
        current: Option<&Document>,
        write: &CertificateWrite,
        examined: Option<&Bundle>,
    ) -> Result<Option<Secrets>, Failure> {
        let mut secrets = self.opened(current)?;
        let name = &write.name;
        let is_changed = match (&write.change, examined) {
            (CertificateChange::Remove { force }, _) => {
                let users = self.users().of(name);
                if !secrets.remove(name) {
                    return Err(Failure::UnknownCertificate(name.clone()));
                }
                if !force && !users.is_empty() {
                    let name = name.clone();
                    return Err(Failure::CertificateInUse { name, users });
                }
                true
            }
            (CertificateChange::Put { .. }, Some(bundle)) => {
                let put = secrets.put(name.clone(), bundle.pem().clone());
                put.map_err(|error| Failure::InvalidArgument {
                    field: "pem",
                    problem: error.to_string(),
                })?
            }
            (CertificateChange::Put { .. }, None) => false,
        };
        Ok(is_changed.then_some(secrets))
    }

    /// Seals the secrets under a new key, here, where the leader is.
    pub(super) async fn rotate_key_here(&self, intent: &Intent) -> Result<Written, WriteFailure> {
        let _turn = self.certificates.turn().await;
        for _ in 0..ATTEMPTS {
            let Some(current) = self.certificates.newest() else {
                return Err(WriteFailure::Final(Failure::InvalidArgument {
                    field: "key",
                    problem: "the fleet has no certificates, and so no key: `hafleet certificate put` makes the first".to_owned(),
                }));
            };
            let secrets = self.opened(Some(&current)).map_err(WriteFailure::Final)?;
            let body = self.sealed(&secrets, Some(&current), KeyChoice::New);
            let body = body.map_err(WriteFailure::Final)?;
            let Some(key) = &body.key else {
                return Err(WriteFailure::Final(Failure::InvalidArgument {
                    field: "key",
                    problem: "a live node is of a version that cannot read sealed secrets: upgrade it first".to_owned(),
                }));
            };
            let nodes: Vec<_> = body.nodes.iter().map(ToString::to_string).collect();
            let comment = match intent.comment.as_str() {
                "" => format!("new key {key}, for {}", nodes.join(", ")),
                comment => comment.to_owned(),
            };
            let comment = comment.chars().take(MAX_COMMENT_CHARS).collect();
            let request = WriteRequest {
                kind: DocumentKind::Secrets,
                body: body.text.as_str().into(),
                expect: Expect::Revision(current.revision()),
                author: intent.author.clone(),
                comment,
                force: intent.force,
            };
            match self.cluster.write(request).await {
                Ok(made) => return Ok(written::new_revision(made, Vec::new())),
                Err(WriteError::Unexpected { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let words = "others change certificates at the same time; nothing was written, try again";
        Err(WriteFailure::Final(Failure::TimedOut(words.to_owned())))
    }

    fn opened(&self, document: Option<&Document>) -> Result<Secrets, Failure> {
        let opened = self.certificates.vault().read(document);
        opened.map_err(|error| Failure::Internal(with_causes(&error)))
    }

    fn sealed(
        &self,
        secrets: &Secrets,
        current: Option<&Document>,
        choice: KeyChoice,
    ) -> Result<SealedBody, Failure> {
        let view = Arc::clone(&self.cluster.view().borrow());
        let vault = self.certificates.vault();
        let body = vault.body(secrets, current, choice, &view);
        body.map_err(|error| Failure::Internal(with_causes(&error)))
    }

    /// What uses certificates in the current spec and in services that were found, as far as this node can tell.
    fn users(&self) -> Users {
        let document = self.cluster.document(DocumentKind::Spec).borrow().clone();
        let loaded = document.and_then(|document| spec::load(document.body()).ok());
        let Some(loaded) = loaded else {
            return Users::default();
        };
        // Names that are not held yet are found in binds all the same.
        let _ = self.certificates.bring();
        let zone = self.inspector.node().zone.as_deref();
        let found = self.endpoints.newest().found;
        let spec = effective_spec(&loaded.spec, &found.endpoints, zone);
        Users {
            rendered: self.inspector.render(&spec).ok(),
            spec,
        }
    }
}

/// The current spec, and its configuration for this node.
#[derive(Default)]
struct Users {
    spec: Spec,
    rendered: Option<Rendered>,
}

impl Users {
    /// The frontends whose binds name the certificate, and else the text of the spec that does.
    fn of(&self, name: &CertificateName) -> Vec<String> {
        let names_it = |frontend: &&spec::Frontend| {
            let tls = frontend.binds.iter().filter_map(|bind| bind.tls.as_ref());
            tls.flat_map(|tls| &tls.certificates)
                .any(|certificate| certificate == name.as_str())
        };
        let frontends = self.spec.frontends.iter().filter(names_it);
        let mut users: Vec<_> = frontends.map(|frontend| frontend.name.clone()).collect();
        let is_rendered = self.rendered.as_ref().is_some_and(|rendered| {
            let held = rendered.certificates().iter();
            held.map(hafleet_haproxy::HeldCertificate::name)
                .any(|held| held == name)
        });
        let is_template = self.spec.template.is_some();
        if is_template {
            // Binds are the template's material here; what it makes of them is what counts.
            users.clear();
        }
        if is_rendered && users.is_empty() {
            let text = if is_template { "template" } else { "raw text" };
            users.push(text.to_owned());
        }
        users
    }
}

fn request(
    body: &SealedBody,
    current: Option<&Document>,
    write: &CertificateWrite,
) -> WriteRequest {
    let Intent {
        author,
        comment,
        force,
        ..
    } = write.intent.clone();
    let comment = match &write.change {
        _ if !comment.is_empty() => comment,
        CertificateChange::Put { .. } => format!("put {}", write.name),
        CertificateChange::Remove { .. } => format!("remove {}", write.name),
    };
    WriteRequest {
        kind: DocumentKind::Secrets,
        body: body.text.as_str().into(),
        expect: current.map_or(Expect::Absent, |current| {
            Expect::Revision(current.revision())
        }),
        author,
        comment,
        force,
    }
}
