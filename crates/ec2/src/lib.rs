//! What EC2 and Auto Scaling say of instances, as plain values.
//!
//! A crate of its own, without any other of ours, since AWS's SDK takes minutes to build: an edit anywhere else does not
//! build this again.
