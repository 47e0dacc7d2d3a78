//! Whom this agent trusts and by what it is known itself, kept up to date while it runs.
//!
//! - [`renewal`]: its own certificate, key and authorities, from their files.
//! - [`revocations`]: lists of revoked certificates, from and to all others.
//! - [`tokens`] and [`joins`]: where this node has an issuer, new nodes that obtain their certificates.

pub(crate) mod joins;
pub(crate) mod renewal;
pub(crate) mod revocations;
pub(crate) mod tokens;
