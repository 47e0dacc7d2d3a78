//! Keys that sign updates.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::TSigner;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;

use super::absolute;

/// How far the two clocks may be apart, in seconds (RFC 8945 section 10 recommends it).
const FUDGE: u16 = 300;

/// A key that a name server knows too (TSIG). Its secret is never printed.
#[derive(Clone)]
pub struct UpdateKey(TSigner);

/// Why something is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its name is none.
    #[error("the key's name {0}")]
    Name(String),
    /// Its algorithm is not offered.
    #[error("{0:?} is not an algorithm: hmac-sha256, hmac-sha384 and hmac-sha512 are")]
    Algorithm(String),
    /// Its secret cannot be read. What it is, is not said.
    #[error("the secret of the key {0} is not in base64")]
    Secret(String),
}

impl UpdateKey {
    /// A key by the name that the server has for it, one of `hmac-sha256`, `hmac-sha384` and `hmac-sha512`, and its secret in
    /// base64, as `tsig-keygen` and `keymgr -t` write it.
    ///
    /// # Errors
    /// When one of the three is not such.
    pub fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, KeyError> {
        let algorithm = match algorithm.to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => return Err(KeyError::Algorithm(algorithm.to_owned())),
        };
        let secret = STANDARD.decode(secret.trim());
        let secret = secret.map_err(|_| KeyError::Secret(name.to_owned()))?;
        let owner = absolute(name).map_err(KeyError::Name)?;
        TSigner::new(secret, algorithm.clone(), owner, FUDGE)
            .map(Self)
            .map_err(|_| KeyError::Algorithm(algorithm.to_name().to_string()))
    }

    pub(super) fn signer(&self) -> &TSigner {
        &self.0
    }
}

impl fmt::Debug for UpdateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpdateKey")
            .field(&self.0.signer_name().to_string())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_is_said_and_its_secret_is_not() {
        let secret = "c2VjcmV0";
        let key = UpdateKey::new("fleet", "HMAC-SHA256", secret).unwrap();
        assert_eq!(format!("{key:?}"), "UpdateKey(\"fleet.\")");
        let of = |name, algorithm, secret| UpdateKey::new(name, algorithm, secret).unwrap_err();
        assert!(matches!(
            of("fleet", "hmac-md5", secret),
            KeyError::Algorithm(_)
        ));
        assert!(matches!(
            of("a..b", "hmac-sha512", secret),
            KeyError::Name(_)
        ));
        let error = of("fleet", "hmac-sha384", "§c2VjcmV0");
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
}
