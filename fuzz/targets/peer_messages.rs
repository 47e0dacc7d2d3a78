//! Whatever message a peer sends is a message of ours or is refused; and a document that was read is sent as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;

#[path = "../../crates/cluster/src/facts.rs"]
#[allow(dead_code)]
mod facts;
#[path = "../../crates/cluster/src/limits.rs"]
#[allow(dead_code)]
mod limits;
#[path = "../../crates/cluster/src/exchange/wire.rs"]
#[allow(dead_code)]
mod wire;
#[allow(missing_docs, clippy::all)]
mod proto {
    tonic::include_proto!("hafleet.v1");
}

fuzz_target!(|bytes: &[u8]| {
    let _ = proto::Frame::decode(bytes);
    let _ = proto::ShareKeyRequest::decode(bytes);
    if let Ok(request) = proto::HeadsRequest::decode(bytes) {
        let _ = wire::term(request.term);
    }
    if let Ok(request) = proto::FetchDocumentRequest::decode(bytes) {
        let _ = wire::kind(&request.kind);
        let _ = request.stamp.as_ref().map(wire::stamp);
    }
    if let Ok(request) = proto::StoreDocumentRequest::decode(bytes) {
        let _ = wire::ancestry(&request.ancestry);
        if let Ok(document) = wire::document(request.document) {
            let again = wire::document(Some(wire::document_message(&document)));
            assert_eq!(again.as_ref(), Ok(&document), "it is sent otherwise");
        }
    }
    if let Ok(reply) = proto::ConflictsReply::decode(bytes) {
        let _ = wire::ancestry(&reply.stamps);
    }
});
