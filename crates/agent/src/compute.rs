//! Long computations on threads that have other things to do.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Runs `body`, which computes for as long as a large spec takes to be read and rendered, in place. Other tasks of this
/// thread go to another one meanwhile: peers take an agent that does not answer them within a second or two for gone.
pub(crate) fn compute<T>(body: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(body),
        // A runtime with one thread has no other to hand them to; agents have more.
        _ => body(),
    }
}
