//! The window in which first packets are dropped or held: prepared without effect, opened, closed, taken away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::firewall::{Firewall, FirewallChoice, FirewallError, Target, first_queue};
use super::queue::SynQueue;

/// How long after arming rules they are armed again while the window is open.
const ARM_AGAIN: Duration = Duration::from_millis(500);

/// How long a packet may be between the rule and the queue.
const ON_THE_WAY: Duration = Duration::from_millis(3);

/// What happens to the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// They are dropped.
    Drop,
    /// They wait.
    Hold,
}

/// A window. While nobody opens it, its rules stop nothing.
#[derive(Debug)]
pub(crate) struct Window {
    firewall: Firewall,
    queue: Option<Arc<SynQueue>>,
    keeper: Option<JoinHandle<()>>,
}

impl Window {
    /// Puts rules for `sockets` in place. `kind` is a single firewall.
    ///
    /// # Errors
    /// When the firewall or the kernel refuses. Parts of it may be left, for [`Firewall::remove`].
    pub(crate) async fn prepare(
        manner: Manner,
        kind: FirewallChoice,
        chain: &str,
        sockets: &[SocketAddr],
    ) -> Result<Self, FirewallError> {
        let queue = match manner {
            Manner::Drop => None,
            Manner::Hold => {
                let queue = SynQueue::open(first_queue(chain)).map_err(FirewallError::Queue)?;
                Some(Arc::new(queue))
            }
        };
        let target = queue
            .as_ref()
            .map_or(Target::Drop, |queue| Target::Queue(queue.number()));
        let firewall = Firewall::install(kind, chain, target, sockets).await?;
        Ok(Self {
            firewall,
            queue,
            keeper: None,
        })
    }

    /// Arms the rules, and keeps them armed until the window is closed, for `longest` at most: a starved machine can take
    /// longer than rules stay armed.
    ///
    /// # Errors
    /// When the firewall refuses. Everything passes then.
    pub(crate) async fn open(&mut self, longest: Duration) -> Result<(), FirewallError> {
        self.firewall.arm().await?;
        let firewall = self.firewall.clone();
        let queue = self.queue.clone();
        self.keeper = Some(tokio::spawn(async move {
            let kept = async {
                let watched = async {
                    match &queue {
                        Some(queue) => queue.watch().await,
                        None => std::future::pending().await,
                    }
                };
                let armed = async {
                    loop {
                        tokio::time::sleep(ARM_AGAIN).await;
                        let _ = firewall.arm().await;
                    }
                };
                tokio::join!(watched, armed);
            };
            let _ = tokio::time::timeout(longest, kept).await;
        }));
        Ok(())
    }

    /// Lets everything through, what was held first of all.
    ///
    /// # Errors
    /// When the firewall refuses; the rules then match until the kernel ends them.
    pub(crate) async fn close(&mut self) -> Result<(), FirewallError> {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
            // An arming that is under way would come after the disarming.
            let _ = keeper.await;
        }
        if let Some(queue) = &self.queue {
            queue.release();
        }
        let disarmed = self.firewall.disarm().await;
        if let Some(queue) = &self.queue {
            queue.release();
            tokio::time::sleep(ON_THE_WAY).await;
            queue.release();
        }
        disarmed
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}
