//! Text that nobody sees by accident.

use std::fmt;
use std::sync::Arc;

/// A text that must not be printed: a private key, or something that holds one. It has no `Display` and no form in JSON,
/// and its `Debug` says only how long it is. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Confidential(Arc<str>);

impl Confidential {
    /// Keeps `text`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for those who write it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Confidential({} bytes)", self.0.len())
    }
}
