//! The rules of the handshake: who is let in, and the words for each way to be refused.
//!
//! Both sides hold the other to the same things, in this order: the certificate is one of our authority's, valid
//! now and for this use; its SPIFFE id names our fleet; it is not revoked; and an issuer between it and the authority
//! has vouched for a node, no person. A connecting agent further insists on a node, or on one given node. Host names are not looked at: addresses of load balancers change, identities do not.

use std::sync::Arc;

use hafleet_model::{FleetName, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError as TlsCertificateError, DigitallySignedStruct,
    DistinguishedName, OtherError, SignatureScheme,
};

use crate::credentials::provider;
use crate::live::Shared;
use crate::principal::Principal;

/// Whom a connecting side wants to find at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any node of the fleet.
    AnyNode,
    /// This node.
    Node(NodeId),
}

/// Why a certificate, ours or theirs, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Signed by another authority.
    #[error("the certificate is of another authority")]
    OtherAuthority,
    /// Of our authority, but it names another fleet.
    #[error("the certificate is of another fleet, {found}")]
    OtherFleet {
        /// The fleet that it names.
        found: FleetName,
    },
    /// Names nobody, or is not understood.
    #[error("the certificate is not usable: {reason}")]
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
    /// A person's, where a node's is needed.
    #[error("the certificate is of a person, {found}, and only a node may serve")]
    NotANode {
        /// Whom it names.
        found: Principal,
    },
    /// Another node's than the expected.
    #[error("the certificate is of node {found}, but {expected} is expected")]
    OtherNode {
        /// The node that it names.
        found: NodeId,
        /// The node that was to be reached.
        expected: NodeId,
    },
    /// Expired, or not valid yet.
    #[error("the certificate has expired or is not valid yet")]
    Expired,
    /// Its authority has taken it back.
    #[error("the certificate has been revoked")]
    Revoked,
    /// An issuer vouched for somebody for whom only the authority itself can.
    #[error("the certificate of {found} is by an issuer, which may vouch for nodes only")]
    NotByAuthority {
        /// Whom it names.
        found: Principal,
    },
    /// None was shown.
    #[error("no certificate was shown")]
    Missing,
    /// The other side refused our certificate without a reason that TLS can carry: it names another fleet, or nobody.
    #[error("the certificate was not accepted; it probably names another fleet")]
    NotAccepted,
    /// Not about certificates.
    #[error("TLS failed: {reason}")]
    Protocol {
        /// What rustls said.
        reason: String,
    },
}

impl Refusal {
    /// What to do about it, for whoever looks after the certificate.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired => {
                "renew it with `hafleet pki renew`; if it is not old, compare the clocks of both machines"
            }
            Self::Revoked => "issue another one with `hafleet pki issue`",
            Self::NotByAuthority { .. } => "issue it with the authority itself",
            _ => "both need certificates of one authority and one fleet",
        }
    }

    /// What a failed handshake was about, seen from the side that saw it fail.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::NoCertificatesPresented => Self::Missing,
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            other => Self::Protocol {
                reason: other.to_string(),
            },
        }
    }

    fn of_certificate(error: &TlsCertificateError) -> Self {
        match error {
            TlsCertificateError::Other(OtherError(inner)) => match inner.downcast_ref::<Self>() {
                Some(refusal) => refusal.clone(),
                None => Self::Unusable {
                    reason: inner.to_string(),
                },
            },
            TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature => {
                Self::OtherAuthority
            }
            TlsCertificateError::Expired
            | TlsCertificateError::ExpiredContext { .. }
            | TlsCertificateError::NotValidYet
            | TlsCertificateError::NotValidYetContext { .. } => Self::Expired,
            TlsCertificateError::Revoked => Self::Revoked,
            other => Self::Unusable {
                reason: other.to_string(),
            },
        }
    }

    /// The alerts by which rustls and OpenSSL say what they hold against our certificate (RFC 8446 section 6.2).
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Self::OtherAuthority,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::CertificateRequired => Self::Missing,
            AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
                Self::NotAccepted
            }
            other => Self::Protocol {
                reason: format!("alert {other:?}"),
            },
        }
    }
}

pub(crate) fn refuse(refusal: Refusal) -> rustls::Error {
    let error = match refusal {
        // These have an alert of their own, so that the other side learns the reason too.
        Refusal::Revoked => TlsCertificateError::Revoked,
        refusal => TlsCertificateError::Other(OtherError(Arc::new(refusal))),
    };
    rustls::Error::InvalidCertificate(error)
}

/// Holds those who connect to the rules.
#[derive(Debug)]
pub(crate) struct ClientRules {
    shared: Arc<Shared>,
    is_needed: bool,
}

impl ClientRules {
    /// Nobody gets in without a certificate.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            is_needed: true,
        }
    }

    /// A certificate that is shown has to count; who shows none gets in.
    pub(crate) fn for_visitors(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            is_needed: false,
        }
    }
}

impl ClientCertVerifier for ClientRules {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a client with a certificate of another authority would answer them with none at all, and
        // would be told that it showed none rather than what is wrong with the one it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.shared.check_client(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Holds those we connect to to the rules.
#[derive(Debug)]
pub(crate) struct ServerRules {
    shared: Arc<Shared>,
    expected: Expected,
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

impl ServerRules {
    pub(crate) fn new(shared: Arc<Shared>, expected: Expected) -> Self {
        Self { shared, expected }
    }

    fn check_identity(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Refusal> {
        let found = self.shared.member(certificate, intermediates)?.principal;
        match (found, &self.expected) {
            (Principal::Node(found), Expected::Node(expected)) if found != *expected => {
                Err(Refusal::OtherNode {
                    found,
                    expected: expected.clone(),
                })
            }
            (Principal::Node(_), _) => Ok(()),
            (found @ Principal::Person { .. }, _) => Err(Refusal::NotANode { found }),
        }
    }
}

impl ServerCertVerifier for ServerRules {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = algorithms().all;
        let material = self.shared.material();
        let chain = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &material.roots,
            intermediates,
            now,
            algorithms,
        );
        match chain {
            // A person's certificate fails here for its use. Whom it names says more.
            Err(rustls::Error::InvalidCertificate(
                TlsCertificateError::InvalidPurpose
                | TlsCertificateError::InvalidPurposeContext { .. },
            )) => {
                self.check_identity(end_entity, intermediates)
                    .map_err(refuse)?;
                Err(refuse(Refusal::Unusable {
                    reason: "it is not for serving".to_owned(),
                }))
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.check_identity(end_entity, intermediates)
                    .map_err(refuse)?;
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
