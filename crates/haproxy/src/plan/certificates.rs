//! Certificates that a process should serve in the place of others.

use super::{Known, Running, Step};
use crate::certificates::HeldCertificate;

/// What has a process serve `certificate`, or why only a new process can.
pub(super) fn certificate_step(
    running: &Running,
    known: &Known,
    certificate: &HeldCertificate,
) -> Result<Option<Step>, String> {
    let path = certificate.path();
    let is_noted = known.certificates.get(path) == Some(&certificate.digest());
    let is_served = match running.certificates.get(path) {
        Some(Some(sha1)) => certificate.is_served_as(sha1),
        Some(None) => {
            return Err(format!(
                "HAProxy has not loaded certificate {}",
                certificate.name()
            ));
        }
        None => true,
    };
    let step = || Step::ReplaceCertificate(certificate.clone());
    Ok((!is_noted || !is_served).then(step))
}
