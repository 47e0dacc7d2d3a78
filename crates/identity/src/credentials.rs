//! An own certificate and key, and the authority to hold others to.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hafleet_model::Digest;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certificate::{self, CertificateError, CertificateFacts};
use crate::issuer::NodeIssuer;
use crate::live::{Material, OwnCertificate, Shared};
use crate::principal::{Identity, Principal};
use crate::revocation::{RevocationError, RevocationList, Revocations};
use crate::verify::{ClientRules, Expected, Refusal, ServerRules};

/// What HTTP/2 is called in the handshake (RFC 9113 section 3.1).
pub(crate) const HTTP_2: &[u8] = b"h2";
/// What HTTP/1.1 is called there (RFC 7301 section 6).
const HTTP_1: &[u8] = b"http/1.1";

/// So many digits of a key's digest tell authorities apart: two fleets of one name, not adversaries.
const MARK_LEN: usize = 16;

/// Where an identity's three files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl IdentityFiles {
    /// `ca.pem`, `cert.pem` and `key.pem` of a directory.
    pub fn from_directory(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.pem"),
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        }
    }
}

/// What stops credentials from being used. Each names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error(
        "{path} cannot be read: {source}. Issue an identity with `hafleet pki issue` and name its directory"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a certificate that can be used.
    #[error("{path}: {source}. Issue it anew with `hafleet pki issue`")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// No private key in the file.
    #[error("{path} holds no PEM private key: copy the key that was issued with the certificate")]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key is another certificate's.
    #[error("{key} is not the key of {certificate}: copy both from the same `hafleet pki issue`")]
    WrongKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The authority did not sign the certificate.
    #[error(
        "{certificate} was not issued by the authority in {ca}: copy both from the same authority ({reason})"
    )]
    OtherAuthority {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        ca: PathBuf,
        /// What the check said.
        reason: String,
    },
    /// Too old.
    #[error("{path} expired at {not_after}: issue a new one with `hafleet pki issue`")]
    Expired {
        /// Which file.
        path: PathBuf,
        /// Since when.
        not_after: Timestamp,
    },
    /// Too young.
    #[error(
        "{path} is not valid before {not_before}: compare the clock of this machine with the authority's"
    )]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// From when.
        not_before: Timestamp,
    },
    /// The TLS library was built without what is needed.
    #[error("TLS cannot be set up: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up with them.
    #[error("TLS cannot be set up with {path}: {reason}")]
    Tls {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl CredentialsError {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn versions(error: rustls::Error) -> Self {
        Self::Library {
            reason: error.to_string(),
        }
    }
}

/// An identity that can be proved: certificate and key, verified to belong together and to the authority.
///
/// What is in use can change while connections go on: [`Credentials::replace`] takes a renewed certificate or another
/// set of authorities, [`Credentials::revoke`] a list of certificates that no longer count. Both are seen by every
/// handshake from then on, on every connection that was set up with these credentials, before or after.
pub struct Credentials {
    identity: Identity,
    files: IdentityFiles,
    shared: Arc<Shared>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Why credentials cannot take the place of those in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the new certificate is of {found}, and this is {own}: issue one for it")]
pub struct OtherHolder {
    /// Whom the new certificate names.
    pub found: Identity,
    /// Whom those in use name.
    pub own: Identity,
}

impl Credentials {
    /// Reads and verifies the three files of an identity.
    ///
    /// # Errors
    /// When a file is missing or wrong, the three do not belong together, or the certificate is not valid now.
    pub fn load(files: &IdentityFiles) -> Result<Self, CredentialsError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| CredentialsError::Unreadable {
                path: path.clone(),
                source,
            })
        };
        let pem = [
            read(&files.ca)?,
            read(&files.certificate)?,
            read(&files.key)?,
        ];
        Self::from_pem([&pem[0], &pem[1], &pem[2]], files, SystemTime::now())
    }

    /// Verifies the PEM texts of authority, certificate and key, as of `now`; `files` is what errors call them.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn from_pem(
        pem: [&[u8]; 3],
        files: &IdentityFiles,
        now: SystemTime,
    ) -> Result<Self, CredentialsError> {
        let [ca, certificate, key] = pem;
        let authority = certificates(ca, &files.ca)?;
        let chain = certificates(certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CredentialsError::NoKey {
            path: files.key.clone(),
        })?;
        let roots = Arc::new(roots(&authority, &files.ca)?);
        let (identity, facts) = whom(&chain, &files.certificate)?;
        check_time(&facts, &files.certificate, now)?;
        let certified = check_key(&chain, &key, files)?;
        let verifier = check_chain(&chain, &roots, files, now)?;
        let material = Material {
            facts,
            authorities: authority,
            roots,
            certified,
            verifier,
        };
        Ok(Self {
            shared: Shared::new(identity.fleet.clone(), material),
            identity,
            files: files.clone(),
        })
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What our certificate says, as it is now.
    pub fn facts(&self) -> CertificateFacts {
        self.shared.material().facts.clone()
    }

    /// Takes certificate, key and authorities of `renewed` in place of those in use. Open connections go on; every
    /// handshake from now on is done with the new ones. Lists of revoked certificates whose authority is not among the
    /// new ones cease to count.
    ///
    /// # Errors
    /// When `renewed` is somebody else's.
    pub fn replace(&self, renewed: &Self) -> Result<(), OtherHolder> {
        if renewed.identity != self.identity {
            return Err(OtherHolder {
                found: renewed.identity.clone(),
                own: self.identity.clone(),
            });
        }
        self.shared.replace(renewed.shared.material());
        Ok(())
    }

    /// Reads a list of revoked certificates that one of our authorities has signed, without taking it.
    ///
    /// # Errors
    /// When none has, or it cannot be read.
    pub fn examine(&self, list: &[u8]) -> Result<RevocationList, RevocationError> {
        RevocationList::verified(list, &self.shared.material().authorities)
    }

    /// Whether an issuer made our certificate, and no authority itself.
    pub fn is_by_issuer(&self) -> bool {
        let material = self.shared.material();
        let leaf = material.certified.cert.first();
        leaf.is_some_and(|leaf| !certificate::is_issued_by(leaf, &material.authorities))
    }

    /// Takes a list of revoked certificates, if it is newer than the one of the same authority that is in use, and
    /// breaks all connections with those whom it names. Whether it was newer.
    ///
    /// # Errors
    /// When none of our authorities has signed it, or it cannot be read.
    pub fn revoke(&self, list: &[u8]) -> Result<bool, RevocationError> {
        let list = self.examine(list)?;
        Ok(self.shared.revoke(list))
    }

    /// The revoked certificates that count.
    pub fn revocations(&self) -> Arc<Revocations> {
        self.shared.revocations()
    }

    /// Whom a certificate names, when our authority has issued it to a person of our fleet, and it is valid now and not
    /// revoked. That its holder is there, it does not say.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn vouch_for_person(&self, certificate: &CertificateDer<'_>) -> Result<Identity, Refusal> {
        let identity = self.shared.check_client(certificate, &[], UnixTime::now());
        let identity = identity.map_err(|error| Refusal::of(&error))?;
        match identity.principal {
            Principal::Person { .. } => Ok(identity),
            Principal::Node(_) => Err(Refusal::Unusable {
                reason: "it is a node's, and a person's is needed".to_owned(),
            }),
        }
    }

    /// The SHA-256 of the authority (DER) among ours that stands behind our own certificate, directly or through an issuer.
    pub fn authority_digest(&self) -> Option<Digest> {
        let material = self.shared.material();
        let (leaf, intermediates) = material.certified.cert.split_first()?;
        let stands_behind = |authority: &&CertificateDer<'static>| {
            let alone = roots(std::slice::from_ref(authority), &self.files.ca).ok()?;
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(alone),
                provider(),
            );
            let verifier = verifier.build().ok()?;
            verifier
                .verify_client_cert(leaf, intermediates, UnixTime::now())
                .ok()
        };
        let mut authorities = material.authorities.iter();
        let authority = authorities.find(|authority| stands_behind(authority).is_some())?;
        Some(Digest::of(authority.as_ref()))
    }

    /// Our authorities as PEM, as those need them who join.
    pub fn authorities_pem(&self) -> String {
        let material = self.shared.material();
        let authorities = material.authorities.iter();
        authorities.map(|der| certificate::to_pem(der)).collect()
    }

    /// Whether one of our authorities has signed the certificate of `issuer`.
    pub fn vouch_for_issuer(&self, issuer: &NodeIssuer) -> bool {
        let authorities = &self.shared.material().authorities;
        certificate::is_signed_by_any(issuer.certificate_pem(), authorities)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Marks of the authorities that we trust, by their keys: an authority whose certificate is issued anew keeps its mark.
    /// The one that stands behind our own certificate comes first.
    pub fn authority_marks(&self) -> Vec<String> {
        let (material, own) = (self.shared.material(), self.authority_digest());
        let authorities = material.authorities.iter().zip(&material.roots.roots);
        let marks = authorities.map(|(certificate, root)| {
            let is_own = Some(Digest::of(certificate.as_ref())) == own;
            let key = Digest::of(&root.subject_public_key_info).to_string();
            (!is_own, key.chars().take(MARK_LEN).collect())
        });
        let mut marks: Vec<(bool, String)> = marks.collect();
        marks.sort_by_key(|(is_other, _)| *is_other);
        marks.into_iter().map(|(_, mark)| mark).collect()
    }

    /// Whom the certificate in `file` names, as [`Self::vouch_for_person`], and the certificate.
    ///
    /// # Errors
    /// Why it does not count, with the file's name.
    pub fn vouch_for_person_in(
        &self,
        file: &Path,
    ) -> Result<(Identity, CertificateDer<'static>), String> {
        let named = |words: String| format!("{}: {words}", file.display());
        let pem = fs::read(file).map_err(|error| named(error.to_string()))?;
        let chain = certificates(&pem, file).map_err(|error| error.to_string())?;
        let leaf = chain.into_iter().next();
        let leaf = leaf.ok_or_else(|| named("there is no certificate in it".to_owned()))?;
        let identity = self
            .vouch_for_person(&leaf)
            .map_err(|refusal| named(format!("{refusal}; {}", refusal.remedy())))?;
        Ok((identity, leaf))
    }

    /// For accepting visitors: TLS 1.3, HTTP/1.1, and a certificate is asked for and not required.
    pub(crate) fn visitor_config(&self) -> Result<Arc<ServerConfig>, CredentialsError> {
        let mut config = self.listening(ClientRules::for_visitors(self.shared()))?;
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(Arc::new(config))
    }

    /// For accepting connections: TLS 1.3, HTTP/2, and a certificate of somebody in our fleet is required.
    ///
    /// # Errors
    /// When rustls refuses the certificate or key.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, CredentialsError> {
        let mut config = self.listening(ClientRules::new(self.shared()))?;
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        Ok(Arc::new(config))
    }

    fn listening(&self, rules: ClientRules) -> Result<ServerConfig, CredentialsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| self.tls_error(&error))?
            .with_client_cert_verifier(Arc::new(rules))
            .with_cert_resolver(Arc::new(OwnCertificate(self.shared())));
        // A resumed session would not be asked for its certificate again, and so outlive its revocation.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// For connecting to a node of our fleet: TLS 1.3, HTTP/2, and whoever answers must be whom we expect.
    ///
    /// # Errors
    /// When rustls refuses the certificate or key.
    pub fn client_config(&self, expected: Expected) -> Result<Arc<ClientConfig>, CredentialsError> {
        let rules = ServerRules::new(self.shared(), expected);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| self.tls_error(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(rules))
            .with_client_cert_resolver(Arc::new(OwnCertificate(self.shared())));
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        // Each connection proves itself anew, so that a certificate that was replaced takes effect at once.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn tls_error(&self, error: &dyn std::error::Error) -> CredentialsError {
        CredentialsError::Tls {
            path: self.files.certificate.clone(),
            reason: error.to_string(),
        }
    }
}

/// Makes aws-lc-rs the process's TLS provider, for libraries that take it from there. hafleet's own connections
/// name it explicitly. Does nothing when there is one already.
pub fn install_default_provider() {
    // An error means that another call was faster, with the same provider.
    let _ = aws_lc_rs::default_provider().install_default();
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let bad = || CredentialsError::Certificate {
        path: path.to_owned(),
        source: CertificateError::NotPem,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(bad)
}

fn roots(
    authority: &[CertificateDer<'static>],
    path: &Path,
) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots
            .add(certificate.clone())
            .map_err(|error| CredentialsError::Certificate {
                path: path.to_owned(),
                source: CertificateError::NotX509 {
                    reason: error.to_string(),
                },
            })?;
    }
    Ok(roots)
}

fn whom(
    chain: &[CertificateDer<'static>],
    path: &Path,
) -> Result<(Identity, CertificateFacts), CredentialsError> {
    let bad = |source| CredentialsError::Certificate {
        path: path.to_owned(),
        source,
    };
    let leaf = chain.first().ok_or(CertificateError::NotPem).map_err(bad)?;
    let facts = certificate::facts(leaf).map_err(bad)?;
    let identity = facts
        .identity
        .clone()
        .ok_or(CertificateError::NoIdentity)
        .map_err(bad)?;
    Ok((identity, facts))
}

fn check_time(
    facts: &CertificateFacts,
    path: &Path,
    now: SystemTime,
) -> Result<(), CredentialsError> {
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
    if facts.not_after <= now {
        return Err(CredentialsError::Expired {
            path: path.to_owned(),
            not_after: facts.not_after,
        });
    }
    if now < facts.not_before {
        return Err(CredentialsError::NotYetValid {
            path: path.to_owned(),
            not_before: facts.not_before,
        });
    }
    Ok(())
}

fn check_key(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    files: &IdentityFiles,
) -> Result<Arc<CertifiedKey>, CredentialsError> {
    let wrong = || CredentialsError::WrongKey {
        key: files.key.clone(),
        certificate: files.certificate.clone(),
    };
    let signer = provider()
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|_| CredentialsError::NoKey {
            path: files.key.clone(),
        })?;
    let certified = CertifiedKey::new(chain.to_vec(), signer);
    certified.keys_match().map_err(|_| wrong())?;
    Ok(Arc::new(certified))
}

fn check_chain(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    files: &IdentityFiles,
    now: SystemTime,
) -> Result<Arc<dyn ClientCertVerifier>, CredentialsError> {
    let refused = |error: rustls::Error| CredentialsError::OtherAuthority {
        certificate: files.certificate.clone(),
        ca: files.ca.clone(),
        reason: error.to_string(),
    };
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(CredentialsError::Certificate {
            path: files.certificate.clone(),
            source: CertificateError::NotPem,
        });
    };
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
            .build()
            .map_err(|error| refused(rustls::Error::General(error.to_string())))?;
    // Every certificate of ours is good for the client's side; whether it may serve is the other side's question.
    ParsedCertificate::try_from(leaf).map_err(refused)?;
    verifier
        .verify_client_cert(leaf, intermediates, now)
        .map_err(refused)?;
    Ok(verifier)
}
