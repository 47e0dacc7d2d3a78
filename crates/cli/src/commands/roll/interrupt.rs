//! Ctrl-C and SIGTERM: the first asks to stop where it is safe, the second to end the commands too.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::print::note;

/// Whether somebody wants it to stop, and how soon.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    is_asked: watch::Receiver<bool>,
    kills: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes over both signals of this process.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut interrupted = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
        let ((asked, is_asked), (kill, kills)) = (watch::channel(false), watch::channel(false));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                }
                if asked.send_replace(true) {
                    note("ending the commands that run; their servers stay in drain");
                    kill.send_replace(true);
                } else {
                    note(
                        "stopping after the servers that are out of service; once more ends their commands",
                    );
                }
            }
        });
        Ok(Self { is_asked, kills })
    }

    /// Whether it should stop.
    pub(super) fn is_asked(&self) -> bool {
        *self.is_asked.borrow()
    }

    /// What ends the commands.
    pub(super) fn kills(&self) -> watch::Receiver<bool> {
        self.kills.clone()
    }
}
