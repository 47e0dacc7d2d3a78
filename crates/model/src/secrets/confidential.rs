//! Text that nobody sees by accident.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A text that must not be printed: a private key, or something that holds one. It has no `Display` and no form in JSON,
/// and its `Debug` says only how long it is. Cheap to clone; when the last clone is dropped, it is cleared from memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Confidential(Arc<Zeroizing<String>>);

impl Confidential {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
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
