//! Newer certificates for a process that is not brought to a newer configuration.

use super::{ApplyError, PlanError, Proxy};
use crate::runtime::RuntimeSocket;

impl Proxy {
    /// Has the running process serve the newest of the fleet's certificates that it has loaded, whatever configuration
    /// it runs. [`Self::apply`] does this too; this is for when that cannot be: a spec that HAProxy refuses must not
    /// keep a certificate in service until it has expired. Returns the names of those that were replaced.
    ///
    /// # Errors
    /// When HAProxy does not answer or refuses one, or the notes cannot be written. Those before it are replaced.
    pub async fn refresh_certificates(&mut self) -> Result<Vec<String>, ApplyError> {
        let current = self.current.borrow().clone();
        let Some(mut current) = current.filter(|current| current.process.is_alive()) else {
            return Ok(Vec::new());
        };
        let (Some(mut known), Some(revision)) = (current.known.clone(), current.revision) else {
            return Ok(Vec::new());
        };
        let held = self.inspector.certificates().held();
        let socket = RuntimeSocket::new(&current.socket);
        let mut names = Vec::new();
        for certificate in held.iter() {
            let noted = known.certificates.get_mut(certificate.path());
            let Some(noted) = noted.filter(|noted| **noted != certificate.digest()) else {
                continue;
            };
            let replaced = socket.replace_certificate(certificate.path(), certificate.pem());
            replaced.await.map_err(PlanError::from)?;
            *noted = certificate.digest();
            names.push(certificate.name().to_string());
        }
        if names.is_empty() {
            return Ok(names);
        }
        current.known = Some(known);
        if let Some(text) = self.inspector.files().read_config()? {
            self.note(&current, revision, &text)?;
        }
        self.current.send_replace(Some(current));
        Ok(names)
    }
}
