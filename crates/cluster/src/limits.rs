//! How large things may be.

/// The longest body of a document, in bytes: 32 MiB. A larger one is refused when it is written.
pub const MAX_BODY_LEN: usize = 32 * 1024 * 1024;
/// The longest author or comment, in bytes.
pub const MAX_COMMENT_LEN: usize = 4096;
/// The most stamps that travel with a document.
pub(crate) const MAX_ANCESTRY: usize = 20_000;
/// The longest message between agents: a body, its header and its ancestry.
pub(crate) const MAX_MESSAGE_LEN: usize = MAX_BODY_LEN + 4 * 1024 * 1024;
/// The longest gossip message, in bytes: what chitchat made for UDP can produce.
pub(crate) const MAX_FRAME_LEN: usize = 65_507;
/// The most addresses to which connections are kept.
pub(crate) const MAX_LINKS: usize = 2_000;
