//! The daemon: composes the other crates into reconcile loops.
