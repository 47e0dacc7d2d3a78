//! Who calls: the holder of a certificate or of a token, or whoever is on this machine.
//!
//! A token stands for a person of the fleet, whose certificate it names: what it may is what that certificate says, for as
//! long as that counts. So no role is believed that the authority has not written, and what is handed on to the leader is
//! handed on in a person's name.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hafleet_identity::rate::Rates;
use hafleet_identity::{Caller, Credentials, Principal, Visitor};
use hafleet_model::Digest;
use http::uri::Authority;
use http::{HeaderMap, header};
use rustls_pki_types::CertificateDer;

use super::answer::Refusal;

/// Shorter tokens can be guessed.
const MIN_TOKEN_LEN: usize = 20;
/// How many attempts a second of one address are noted that were turned away.
const NOTED_PER_SECOND: NonZeroU32 = const { NonZeroU32::new(1).unwrap() };

/// By what callers are known.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Those that are taken.
    pub tokens: Vec<TokenFiles>,
    /// What callers are that show nothing.
    pub local: Local,
}

/// A token and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFiles {
    /// The file with the token. Read at each use.
    pub file: PathBuf,
    /// The certificate of the person for whom it stands. Read at each use.
    pub certificate: PathBuf,
}

/// What callers are that show neither token nor certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// Nobody, and refused.
    Refused,
    /// On loopback, and taken for this node itself.
    Node,
    /// On loopback, and taken for the person of this certificate. Read at each use.
    Person(PathBuf),
}

/// Reads a token from its file.
///
/// # Errors
/// Why it is none, with the file's name.
pub fn read_token(file: &Path) -> Result<Digest, String> {
    let name = file.display();
    let unreadable = |error: std::io::Error| format!("{name}: {error}");
    let mode = std::fs::metadata(file).map_err(unreadable)?.mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "{name}: everybody may read it: `chmod o= {name}`, and make another token"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let token = text.trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < MIN_TOKEN_LEN || !is_plain {
        return Err(format!(
            "{name}: a token is one line of {MIN_TOKEN_LEN} or more letters, digits and signs: `openssl rand -hex 32` makes one"
        ));
    }
    Ok(Digest::of(token.as_bytes()))
}

/// Knows callers.
pub(super) struct Door {
    keys: Keys,
    credentials: Arc<Credentials>,
    noted: Rates<IpAddr>,
}

impl Door {
    pub(super) fn new(keys: Keys, credentials: Arc<Credentials>) -> Self {
        Self {
            keys,
            credentials,
            noted: Rates::new(NOTED_PER_SECOND),
        }
    }

    /// Whether it goes into the audit log that this visitor was turned away: not all of many.
    pub(super) fn is_worth_noting(&self, visitor: &Visitor) -> bool {
        self.noted.allow(visitor.remote.ip(), Instant::now())
    }

    /// Who calls.
    pub(super) fn caller(&self, visitor: &Visitor, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if let Some(shown) = headers.get(header::AUTHORIZATION) {
            let token = shown.to_str().ok().and_then(bearer);
            let token = token.ok_or_else(|| {
                Refusal::unauthenticated("the header Authorization is to be: Bearer TOKEN")
            })?;
            return self.by_token(visitor, token);
        }
        match &visitor.caller {
            Some(caller) if matches!(caller.identity.principal, Principal::Node(_)) => Err(
                Refusal::forbidden("the certificate is a node's, and a person's is needed here"),
            ),
            Some(caller) => Ok(caller.clone()),
            None => self.by_place(visitor, headers),
        }
    }

    fn by_token(&self, visitor: &Visitor, token: &str) -> Result<Caller, Refusal> {
        // Digests are compared, so that how long it takes says nothing about the token.
        let shown = Digest::of(token.as_bytes());
        for known in &self.keys.tokens {
            match read_token(&known.file) {
                Ok(digest) if digest == shown => return self.person(visitor, &known.certificate),
                Ok(_) => {}
                Err(error) => tracing::warn!(error, "a token of lb_agent cannot be read"),
            }
        }
        Err(Refusal::unauthenticated("the token is not known here"))
    }

    fn by_place(&self, visitor: &Visitor, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if self.keys.local == Local::Refused || !visitor.remote.ip().is_loopback() {
            return Err(Refusal::unauthenticated(
                "show a token, in the header Authorization: Bearer TOKEN, or the certificate of a person of the fleet",
            ));
        }
        if headers.contains_key(header::ORIGIN) || !is_local(headers) {
            return Err(Refusal::forbidden(
                "a web page is behind this request, and pages have no business here: call 127.0.0.1 or localhost from a program",
            ));
        }
        match &self.keys.local {
            Local::Person(certificate) => self.person(visitor, certificate),
            Local::Node | Local::Refused => Ok(Caller {
                identity: self.credentials.identity().clone(),
                remote: visitor.remote,
                addresses: Vec::new(),
                // It is shown to nobody: only people are vouched for.
                certificate: Arc::new(CertificateDer::from(Vec::new())),
                via: None,
            }),
        }
    }

    fn person(&self, visitor: &Visitor, certificate: &Path) -> Result<Caller, Refusal> {
        let vouched = self.credentials.vouch_for_person_in(certificate);
        let (identity, certificate) = vouched.map_err(|problem| {
            Refusal::forbidden(format!(
                "in whose name this would be done counts no more: {problem}"
            ))
        })?;
        Ok(Caller {
            identity,
            remote: visitor.remote,
            addresses: Vec::new(),
            certificate: Arc::new(certificate),
            via: None,
        })
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Whether a request was meant for loopback, by its `Host`: a page whose name somebody made mean 127.0.0.1 says that name.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}
