//! Join tokens: what a new node needs in order to ask for its certificate.
//!
//! A token says where an issuer is, by which authority to know it, and holds a secret that the issuer knows. It is one line
//! of text, and as secret as a key for as long as it is good.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hafleet_model::secrets::Confidential;
use hafleet_model::{Digest, FleetName, NodeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What every token begins with.
const PREFIX: &str = "hafleet-join-1.";
/// The longest text that is read as a token.
const MAX_LEN: usize = 4096;
const SECRET_LEN: usize = 32;

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the written form. What was there is not shown: it may be a part of a token.
    #[error(
        "this is no join token: one line that begins with {PREFIX} is expected, as `hafleet pki token create` prints it"
    )]
    BadForm,
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    NoRandomness,
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// By which the issuer knows it; not secret.
    pub id: String,
    /// That the holder may ask.
    pub secret: Confidential,
    /// The fleet.
    pub fleet: FleetName,
    /// For this node; any that the fleet does not know yet if none is named.
    pub node: Option<NodeId>,
    /// SHA-256 of the certificate (DER) of the authority that the issuer is to be known by.
    pub authority: Digest,
    /// Where the issuer takes requests.
    pub issuer: SocketAddr,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    secret: String,
    fleet: FleetName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    authority: String,
    issuer: SocketAddr,
    expires_at: i64,
}

impl JoinToken {
    /// A new id and a new secret.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn make_secret() -> Result<(String, Confidential), TokenError> {
        let random = |length| {
            let mut bytes = vec![0; length];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| TokenError::NoRandomness)?;
            Ok(URL_SAFE_NO_PAD.encode(bytes))
        };
        let id = random(6)?.replace(['-', '_'], "x");
        Ok((id, Confidential::new(random(SECRET_LEN)?)))
    }

    /// The whole token as text. It holds the secret.
    pub fn to_text(&self) -> Confidential {
        let written = Written {
            id: self.id.clone(),
            secret: self.secret.expose().to_owned(),
            fleet: self.fleet.clone(),
            node: self.node.clone(),
            authority: self.authority.to_string(),
            issuer: self.issuer,
            expires_at: self.expires_at.as_second(),
        };
        // All its parts have a written form.
        let json = serde_json::to_vec(&written).unwrap_or_default();
        Confidential::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let body = text
            .strip_prefix(PREFIX)
            .filter(|_| text.len() <= MAX_LEN)
            .ok_or(TokenError::BadForm)?;
        let json = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::BadForm)?;
        let written: Written = serde_json::from_slice(&json).map_err(|_| TokenError::BadForm)?;
        Ok(Self {
            id: written.id,
            secret: Confidential::new(written.secret),
            fleet: written.fleet,
            node: written.node,
            authority: written.authority.parse().map_err(|_| TokenError::BadForm)?,
            issuer: written.issuer,
            expires_at: Timestamp::from_second(written.expires_at)
                .map_err(|_| TokenError::BadForm)?,
        })
    }
}

impl fmt::Display for JoinToken {
    /// Without its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.as_ref().map_or("any new node", NodeId::as_str);
        write!(f, "token {} for {node} of fleet {}", self.id, self.fleet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        let (id, secret) = JoinToken::make_secret().unwrap();
        JoinToken {
            id,
            secret,
            fleet: FleetName::new("shop").unwrap(),
            node: Some(NodeId::new("lb9").unwrap()),
            authority: Digest::of(b"authority"),
            issuer: "10.0.0.1:7441".parse().unwrap(),
            expires_at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    #[test]
    fn a_token_reads_back_as_written_and_is_one_line_without_blanks() {
        let token = token();
        let text = token.to_text();
        assert!(!text.expose().contains(char::is_whitespace));
        let read: JoinToken = format!("  {}\n", text.expose()).parse().unwrap();
        assert_eq!(read, token);
        let anybodys = JoinToken {
            node: None,
            ..token
        };
        assert_eq!(
            anybodys.to_text().expose().parse::<JoinToken>(),
            Ok(anybodys)
        );
    }

    #[test]
    fn a_token_is_shown_without_its_secret() {
        let token = token();
        for shown in [
            token.to_string(),
            format!("{token:?}"),
            format!("{:?}", token.to_text()),
        ] {
            assert!(!shown.contains(token.secret.expose()), "{shown}");
            assert!(!shown.contains(PREFIX), "{shown}");
        }
    }

    #[test]
    fn other_texts_are_refused_and_not_repeated() {
        let good = token().to_text();
        let good = good.expose();
        for text in [
            "",
            PREFIX,
            "x",
            &good[1..],
            &good[..good.len() - 3],
            &format!("{good}.x"),
        ] {
            let error = text.parse::<JoinToken>().unwrap_err();
            assert_eq!(error, TokenError::BadForm, "{text}");
        }
        let long = format!("{PREFIX}{}", "A".repeat(MAX_LEN));
        assert_eq!(long.parse::<JoinToken>(), Err(TokenError::BadForm));
    }
}
