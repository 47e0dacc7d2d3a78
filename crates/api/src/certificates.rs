//! The fleet's certificates as the API knows them: what is told of them, what is asked of them, and their messages.
//! Nothing that is told has a key in it; what is asked holds one in a [`Confidential`].

use std::fmt;

use hafleet_identity::{Bundle, TrafficCertificate};
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::spec::Finding;
use hafleet_model::{DocumentKind, Header, NodeId};

use crate::convert::{BadAnswer, bad, timestamp};
use crate::fleet::{Intent, Written};
use crate::v1;

/// All certificates of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateList {
    /// The newest revision of the secrets that the answering node holds; none before the first.
    pub header: Option<Header>,
    /// By name.
    pub certificates: Vec<CertificateStatus>,
    /// Revisions of the secrets that lost in a conflict, newest first.
    pub conflicts: Vec<Header>,
}

/// One certificate of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// What binds call it.
    pub name: CertificateName,
    /// What it is, or why the answering node cannot read it.
    pub bundle: Result<Bundle, String>,
    /// The parts of the current spec that use it.
    pub used_by: Vec<String>,
}

/// A change of one certificate, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateWrite {
    /// Which one.
    pub name: CertificateName,
    /// What becomes of it.
    pub change: CertificateChange,
    /// Conditions and words; the expected revision is not used.
    pub intent: Intent,
}

/// What becomes of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateChange {
    /// It is this one from now on.
    Put {
        /// Certificate, chain and key in any order.
        pem: Confidential,
        /// Though it may have expired or not be valid yet.
        allow_expired: bool,
    },
    /// The fleet has it no more.
    Remove {
        /// Though the spec uses it.
        force: bool,
    },
}

impl fmt::Debug for v1::PutCertificateRequest {
    /// All but the PEM, which has a key in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutCertificateRequest")
            .field("name", &self.name)
            .field("allow_expired", &self.allow_expired)
            .field("comment", &self.comment)
            .field("force_without_majority", &self.force_without_majority)
            .finish_non_exhaustive()
    }
}

impl From<CertificateList> for v1::ListCertificatesResponse {
    fn from(list: CertificateList) -> Self {
        Self {
            revision: list.header.map(Into::into),
            certificates: list.certificates.into_iter().map(Into::into).collect(),
            conflicts: list.conflicts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<CertificateStatus> for v1::CertificateInfo {
    fn from(status: CertificateStatus) -> Self {
        let base = Self {
            name: status.name.to_string(),
            used_by: status.used_by,
            ..Self::default()
        };
        match status.bundle {
            Ok(bundle) => Self {
                certificate: Some(bundle.leaf().into()),
                chain: bundle.chain().iter().map(Into::into).collect(),
                ..base
            },
            Err(error) => Self { error, ..base },
        }
    }
}

impl From<&TrafficCertificate> for v1::TrafficCertificate {
    fn from(certificate: &TrafficCertificate) -> Self {
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            names: certificate.names.clone(),
            not_before: Some(timestamp(certificate.not_before.as_millisecond())),
            not_after: Some(timestamp(certificate.not_after.as_millisecond())),
            serial: certificate.serial.clone(),
            sha256: certificate.sha256.clone(),
            sha1: certificate.sha1.clone(),
            key: certificate.key.clone(),
        }
    }
}

impl From<Written> for v1::WriteCertificateResponse {
    fn from(written: Written) -> Self {
        let warnings = written.warnings.into_iter();
        Self {
            revision: Some(written.header.into()),
            stored_by: written.stored_by.iter().map(ToString::to_string).collect(),
            known_nodes: u32::try_from(written.known_nodes).unwrap_or(u32::MAX),
            committed: written.is_committed,
            unchanged: written.is_unchanged,
            warnings: warnings.map(|finding| finding.message).collect(),
        }
    }
}

impl TryFrom<v1::WriteCertificateResponse> for Written {
    type Error = BadAnswer;

    fn try_from(written: v1::WriteCertificateResponse) -> Result<Self, BadAnswer> {
        let stored_by: Result<_, _> = written.stored_by.into_iter().map(NodeId::new).collect();
        let revision = written.revision.ok_or(BadAnswer { field: "revision" })?;
        let warnings = written.warnings.into_iter();
        Ok(Self {
            header: Header {
                kind: DocumentKind::Secrets,
                ..revision.try_into()?
            },
            stored_by: stored_by.map_err(bad("stored_by"))?,
            known_nodes: usize::try_from(written.known_nodes).unwrap_or(usize::MAX),
            is_committed: written.committed,
            is_unchanged: written.unchanged,
            warnings: warnings.map(|words| Finding::new("", words)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_its_key() {
        let request = v1::PutCertificateRequest {
            name: "www.pem".into(),
            pem: "-----BEGIN PRIVATE KEY-----".into(),
            ..Default::default()
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("www.pem") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
