//! HAProxy's processes: telling ours from others, starting one, watching what it listens on, ending it.
//!
//! A process is known by its id *and* its start time, so that a reused id is never taken for it; and it is ours only when
//! its command line names our configuration file. Foreign processes are never signalled. Where a service starts HAProxy,
//! [`ProcessMode`] says which.

mod applied;
mod identity;
mod proc_net;
mod service;
mod sock_diag;
mod start;

pub(crate) use applied::{
    AppliedState, OurProcess, Restored, find_ours, read_applied, write_applied,
};
pub use identity::ProcessId;
pub(crate) use proc_net::{
    ListeningSocket, connections, holder_of, listening, round_trip, still_open, strangers,
};
pub use service::{ProcessMode, ServiceError};
pub(crate) use service::{call as call_service, find_by_config};
pub use start::StartError;
pub(crate) use start::{Launch, launch};
