//! Which certificate is the key's, and who signed whom.

use super::BundleError;
use super::facts::{self, Links};
use super::sections::Certificate;

/// Certificates in the order in which clients want them (RFC 8446, section 4.4.2).
pub(super) struct Ordered<'c> {
    pub(super) leaf: &'c Certificate,
    pub(super) chain: Vec<&'c Certificate>,
}

/// Orders `certificates` from the one that has `public_key`; all of them have to be of its chain.
pub(super) fn order<'c>(
    certificates: &'c [Certificate],
    public_key: &[u8],
) -> Result<Ordered<'c>, BundleError> {
    let mut left = Vec::new();
    for certificate in certificates {
        left.push((certificate, facts::links(&certificate.der)?));
    }
    let owners: Vec<_> = (0..left.len())
        .filter(|at| left[*at].1.public_key == public_key)
        .collect();
    let at = match owners.as_slice() {
        [] => {
            let subjects = subjects(&left)?;
            return Err(BundleError::WrongKey { subjects });
        }
        [at] => *at,
        many => return Err(BundleError::ManyLeaves { count: many.len() }),
    };
    let (leaf, mut links) = left.remove(at);
    let mut chain = Vec::new();
    while let Some(at) = left
        .iter()
        .position(|(_, signer)| is_signer(signer, &links))
    {
        let (signer, signer_links) = left.remove(at);
        chain.push(signer);
        links = signer_links;
    }
    if left.is_empty() {
        return Ok(Ordered { leaf, chain });
    }
    let subjects = subjects(&left)?;
    Err(BundleError::Strangers { subjects })
}

/// Whether `signer` signed the certificate of `links`, as both say themselves. Names alone do not tell apart the old
/// and the new certificate of one authority, so that key identifiers have to agree where both have them.
fn is_signer(signer: &Links, links: &Links) -> bool {
    let is_named = signer.subject == links.issuer;
    let is_keyed = match (&signer.key_id, &links.issuer_key_id) {
        (Some(id), Some(wanted)) => id == wanted,
        _ => true,
    };
    is_named && is_keyed
}

fn subjects(of: &[(&Certificate, Links)]) -> Result<String, BundleError> {
    let subject = |(certificate, _): &(&Certificate, Links)| {
        facts::facts(&certificate.der).map(|facts| facts.subject)
    };
    let subjects: Vec<_> = of.iter().map(subject).collect::<Result<_, _>>()?;
    Ok(subjects.join("; "))
}
