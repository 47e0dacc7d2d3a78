//! How the agent makes itself known to etcd, and how it knows etcd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use hafleet_model::secrets::Confidential;
use serde::Deserialize;

use crate::answer::SourceError;

/// What the agent's own configuration says of etcd. It holds names of files, no secret itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdSettings {
    /// The user of etcd, if its authentication is on.
    pub username: Option<String>,
    /// A file with that user's password; the line's end is no part of it.
    pub password_file: Option<PathBuf>,
    /// A PEM with the authorities that vouch for the members. Members at `https://` cannot be asked without it.
    pub ca: Option<PathBuf>,
    /// A PEM with the certificate that the agent shows, and its chain.
    pub certificate: Option<PathBuf>,
    /// A PEM with that certificate's key, in any common form.
    pub key: Option<PathBuf>,
}

/// What the files of [`EtcdSettings`] hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    user: Option<(String, Confidential)>,
    ca: Option<Confidential>,
    identity: Option<(Confidential, Confidential)>,
}

impl EtcdSettings {
    /// Whether the settings go together and their files can be read, for an agent that wants to know when it starts.
    ///
    /// # Errors
    /// [`SourceError::Unconfigured`] that names the setting.
    pub fn check(&self) -> Result<(), SourceError> {
        self.load().map(|_| ())
    }

    /// Reads the files.
    pub(super) fn load(&self) -> Result<Loaded, SourceError> {
        let user = both(
            ("username", self.username.as_ref()),
            ("password_file", self.password_file.as_ref()),
        )?;
        let user = user.map(|(name, file)| {
            let text = read("password_file", file)?;
            let password = text.expose().trim_end_matches(['\r', '\n']);
            Ok((name.clone(), Confidential::new(password)))
        });
        let identity = both(
            ("certificate", self.certificate.as_ref()),
            ("key", self.key.as_ref()),
        )?;
        let identity = identity
            .map(|(certificate, key)| Ok((read("certificate", certificate)?, read("key", key)?)));
        let ca = self.ca.as_ref().map(|file| read("ca", file));
        Ok(Loaded {
            user: user.transpose()?,
            ca: ca.transpose()?,
            identity: identity.transpose()?,
        })
    }
}

impl Loaded {
    /// Whether members whose URL does not say it speak TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.ca.is_some()
    }

    /// How to connect to `url`, within `timeout`.
    pub(super) fn options(
        &self,
        url: &str,
        timeout: Duration,
    ) -> Result<ConnectOptions, SourceError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(timeout)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password.expose());
        }
        if url.starts_with("https://") {
            let Some(ca) = &self.ca else {
                let why =
                    "it speaks TLS, and nothing says which authority vouches for it: give `ca`";
                return Err(unconfigured(url, why.to_owned()));
            };
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca.expose()));
            if let Some((certificate, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(certificate.expose(), key.expose()));
            }
            options = options.with_tls(tls);
        }
        Ok(options)
    }
}

fn both<'a, A, B>(
    (first_name, first): (&str, Option<&'a A>),
    (second_name, second): (&str, Option<&'a B>),
) -> Result<Option<(&'a A, &'a B)>, SourceError> {
    let (given, missing) = match (first, second) {
        (Some(first), Some(second)) => return Ok(Some((first, second))),
        (None, None) => return Ok(None),
        (Some(_), None) => (first_name, second_name),
        (None, Some(_)) => (second_name, first_name),
    };
    let why = format!("`{given}` is given without `{missing}`: give both");
    Err(unconfigured("etcd", why))
}

fn read(setting: &str, file: &Path) -> Result<Confidential, SourceError> {
    std::fs::read_to_string(file)
        .map(Confidential::new)
        .map_err(|error| {
            let why = format!("`{setting}`: {} cannot be read: {error}", file.display());
            unconfigured("etcd", why)
        })
}

/// etcd cannot be asked, because of the agent's configuration.
pub(super) fn unconfigured(what: &str, why: String) -> SourceError {
    SourceError::Unconfigured {
        what: what.to_owned(),
        why,
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
