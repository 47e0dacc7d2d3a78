//! Who is speaking: the fleet's certificate authority, certificates, and mutual TLS.
//!
//! Every connection between agents, and from people and programs to agents, is TLS 1.3 with a certificate on both
//! sides. The certificate's URI SAN is a SPIFFE id that names the fleet and the node or the person, and it is
//! checked inside the handshake: whoever is not of this fleet never gets as far as a request.
//!
//! - [`principal`]: [`Identity`], a fleet and who in it; nodes, people, their roles.
//! - [`authority`]: [`Authority`], which issues certificates; what `hafleet pki` is made of.
//! - [`bundle`]: [`Bundle`], a certificate of the traffic with its chain and key; nothing that hafleet itself speaks with.
//! - [`certificate`]: what a certificate says, for people ([`certificate::describe`]) and for the handshake.
//! - [`credentials`]: [`Credentials`], an own certificate and key with the authority to hold others to; TLS
//!   configurations for both sides.
//! - [`issuer`]: [`NodeIssuer`], which certifies nodes without the authority's key.
//! - [`token`] and [`joining`]: [`JoinToken`], with which a new node finds an issuer and is let to ask.
//! - [`revocation`]: [`RevocationList`], certificates that an authority has taken back.
//! - [`rate`]: [`Rates`](rate::Rates), how often each of many may do something.
//! - [`sealing`]: what only the nodes of a fleet can read, wherever it lies.
//! - [`verify`]: the rules of the handshake, and the words for each way to be refused.
//! - [`accept`]: [`Incoming`], connections for tonic's server; each request carries its [`Caller`].
//! - [`admission`]: [`ConnectionLimits`], how much of the port anybody may have.
//! - [`mod@connect`]: channels for tonic's clients, and [`ConnectError`], which tells a process that is gone from a
//!   host that does not answer.
//! - [`visitors`]: [`Visitors`], connections for HTTP/1.1 of callers who may show a certificate, and need not.
//! - [`web`]: TLS to servers that are no part of any fleet.
//!
//! What a role may do is decided by `hafleet-api`; which node may say what, by `hafleet-cluster`.

pub mod accept;
pub mod admission;
pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod connect;
pub mod credentials;
pub mod issuer;
pub mod joining;
mod keep;
mod live;
pub mod principal;
pub mod rate;
mod refusals;
pub mod revocation;
pub mod sealing;
mod ties;
pub mod token;
pub mod verify;
pub mod visitors;
pub mod web;

pub use accept::{Caller, Incoming};
pub use admission::{ConnectionLimits, Source};
pub use authority::{Authority, AuthorityError, IssueRequest, Issued};
pub use bundle::{Bundle, BundleError, TrafficCertificate};
pub use connect::{ConnectError, Connection, connect, connect_lazy};
pub use credentials::{Credentials, CredentialsError, IdentityFiles, install_default_provider};
pub use issuer::{KeyRequest, NodeIssuer};
pub use joining::{JoinIncoming, Joiner, join_channel};
pub use principal::{Identity, IdentityError, PersonName, Principal, Role};
pub use revocation::{RevocationError, RevocationList, Revocations};
pub use token::{JoinToken, TokenError};
pub use verify::{Expected, Refusal};
pub use visitors::{Visitor, VisitorStream, Visitors};
pub use web::{WebError, WebTrust};

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod live_tests;
