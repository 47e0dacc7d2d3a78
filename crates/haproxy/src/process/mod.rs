//! HAProxy's processes: telling ours from others, starting one, watching what it listens on, ending it.
//!
//! A process is known by its id *and* its start time, so that a reused id is never taken for it; and it is ours only when
//! its command line names our configuration file. Foreign processes are never signalled.

mod applied;
mod identity;
mod proc_net;
mod sock_diag;
mod start;

pub(crate) use applied::{
    AppliedState, OurProcess, Restored, find_ours, read_applied, write_applied,
};
pub use identity::ProcessId;
pub(crate) use proc_net::{ListeningSocket, holder_of, listening, still_open, strangers};
pub use start::StartError;
pub(crate) use start::{Launch, launch};
