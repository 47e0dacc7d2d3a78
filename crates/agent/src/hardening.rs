//! What keeps the agent's memory, which has keys in it, from ending up in a file.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Has the kernel write no core dump of this process, and let no other process of the same user look into its memory or
/// its environment. HAProxy, which it starts, may still be told to dump core by its own `set-dumpable`.
pub(crate) fn keep_memory_private() {
    let limit = rustix::process::getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be limited");
    }
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps cannot be turned off");
    }
}
