//! Handing on a call in the name of whoever asked: an agent shows the caller's certificate to the agent that has to
//! answer.

use std::sync::Arc;

use hafleet_identity::{Caller, Principal};
use tonic::Request;
use tonic::metadata::{AsciiMetadataValue, BinaryMetadataValue};

/// Metadata with the certificate (DER) of the person for whom a node hands a call on. Believed from nodes only, and only
/// if the certificate counts.
pub const ON_BEHALF_OF_BIN: &str = "hafleet-on-behalf-of-bin";
/// Metadata with that person's name, for agents of earlier versions, which believe it.
pub const ON_BEHALF_OF: &str = "hafleet-on-behalf-of";
/// Metadata with the address from which that person called.
pub const CALLER_ADDRESS: &str = "hafleet-caller-address";

tokio::task_local! {
    /// Who asked for what this task does.
    static CALLER: Arc<Caller>;
}

/// Does `work` as something that `caller` asked for. It is the task that remembers who that is: what hands calls on is
/// deep below, and most of what is between has no business with callers. What a task starts beside itself is nobody's,
/// and then counts as the node's own, which is allowed little.
pub(crate) async fn for_caller<T>(caller: Caller, work: impl Future<Output = T>) -> T {
    CALLER.scope(Arc::new(caller), work).await
}

/// Adds to `request` in whose name it is made, if that is a person who asked for what this task does.
pub fn vouch<T>(request: &mut Request<T>) {
    let Ok(caller) = CALLER.try_with(Arc::clone) else {
        return;
    };
    if !matches!(caller.identity.principal, Principal::Person { .. }) {
        return;
    }
    let metadata = request.metadata_mut();
    let certificate = BinaryMetadataValue::from_bytes(caller.certificate.as_ref());
    metadata.insert_bin(ON_BEHALF_OF_BIN, certificate);
    let name = AsciiMetadataValue::try_from(caller.identity.principal.to_string());
    let address = AsciiMetadataValue::try_from(caller.remote.to_string());
    for (key, value) in [(ON_BEHALF_OF, name), (CALLER_ADDRESS, address)] {
        // Names and addresses are plain ASCII.
        if let Ok(value) = value {
            metadata.insert(key, value);
        }
    }
}
