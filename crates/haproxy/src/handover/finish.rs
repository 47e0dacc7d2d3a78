//! The second half of `-sf`, under our control: the old process is told to finish and watched while it closes.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use super::settle::settle_time;
use super::{HandoverError, Window};
use crate::process::{ListeningSocket, ProcessId, listening, still_open};

/// Tells `old` to finish, and waits until it has closed its listening sockets; whether it did within `deadline`. A
/// `window` is opened first and handshakes under way get at least `settle`; it is **left open**, for
/// [`Window::close`], at most for `longest`.
///
/// # Errors
/// When the process cannot be signalled, or the window could not be opened; the process was told to finish even so, since
/// two that listen would part the connections between them.
pub(crate) async fn close_sockets(
    old: ProcessId,
    window: Option<&mut Window>,
    settle: Duration,
    deadline: Duration,
    longest: Duration,
) -> Result<bool, HandoverError> {
    let sockets = listening(old).unwrap_or_default();
    let mut opened = Ok(());
    if let Some(window) = window {
        let places: Vec<SocketAddr> = sockets.iter().map(|socket| socket.address).collect();
        // Asking the kernel for its estimates takes tens of milliseconds on a busy machine, so it comes before the window.
        let settle = settle_time(&places, settle);
        opened = window.open(longest).await;
        if opened.is_ok() {
            tokio::time::sleep(settle).await;
        }
    }
    let is_told = old
        .signal(Signal::USR1)
        .map_err(|source| HandoverError::Signal {
            pid: old.pid,
            source,
        })?;
    let is_closed = !is_told || closed_within(old, &sockets, deadline).await;
    opened?;
    Ok(is_closed)
}

async fn closed_within(old: ProcessId, sockets: &[ListeningSocket], deadline: Duration) -> bool {
    let closed = async {
        let mut pause = tokio::time::interval(Duration::from_millis(1));
        while still_open(old, sockets) {
            pause.tick().await;
        }
    };
    tokio::time::timeout(deadline, closed).await.is_ok()
}
