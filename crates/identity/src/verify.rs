//! The rules of the handshake: who is let in, and the words for each way to be refused.
//!
//! Both sides hold the other to the same two things, in this order: the certificate is one of our authority's, valid
//! now and for this use; and its SPIFFE id names our fleet. A connecting agent further insists on a node, or on one
//! given node. Host names are not looked at: addresses of load balancers change, identities do not.

use std::sync::Arc;

use hafleet_model::{FleetName, NodeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError as TlsCertificateError, DigitallySignedStruct,
    DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};

use crate::certificate;
use crate::principal::{Identity, Principal};

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

fn refuse(refusal: Refusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(TlsCertificateError::Other(OtherError(Arc::new(refusal))))
}

/// Whom `certificate` names, when that is somebody of `fleet`.
fn member_of(fleet: &FleetName, certificate: &CertificateDer<'_>) -> Result<Identity, Refusal> {
    let (identity, _) = certificate::holder(certificate).map_err(|error| Refusal::Unusable {
        reason: error.to_string(),
    })?;
    if identity.fleet == *fleet {
        Ok(identity)
    } else {
        Err(Refusal::OtherFleet {
            found: identity.fleet,
        })
    }
}

/// Holds those who connect to the rules.
#[derive(Debug)]
pub(crate) struct ClientRules {
    fleet: FleetName,
    chain: Arc<dyn ClientCertVerifier>,
}

impl ClientRules {
    pub(crate) fn new(
        fleet: FleetName,
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
        Ok(Self { fleet, chain })
    }
}

impl ClientCertVerifier for ClientRules {
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
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        member_of(&self.fleet, end_entity).map_err(refuse)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Holds those we connect to to the rules.
#[derive(Debug)]
pub(crate) struct ServerRules {
    fleet: FleetName,
    expected: Expected,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerRules {
    pub(crate) fn new(
        fleet: FleetName,
        expected: Expected,
        roots: Arc<RootCertStore>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            fleet,
            expected,
            roots,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check_identity(&self, certificate: &CertificateDer<'_>) -> Result<(), Refusal> {
        let found = member_of(&self.fleet, certificate)?.principal;
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
        let algorithms = self.algorithms.all;
        let chain = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
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
                self.check_identity(end_entity).map_err(refuse)?;
                Err(refuse(Refusal::Unusable {
                    reason: "it is not for serving".to_owned(),
                }))
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.check_identity(end_entity).map_err(refuse)?;
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
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
