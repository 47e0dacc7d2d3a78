//! Many agents as one: gossip over gRPC, membership, leadership, documents, store.
