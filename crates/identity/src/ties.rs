//! Open connections by the certificates that their other sides have shown, so that they can be broken.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::certificate::Serial;

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, (Vec<Serial>, CancellationToken)>,
}

impl Ties {
    pub(crate) fn open(self: &Arc<Self>, serials: Vec<Serial>) -> Tie {
        let token = CancellationToken::new();
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        table.open.insert(id, (serials.clone(), token.clone()));
        Tie {
            id,
            ties: Arc::clone(self),
            serials,
            cut: Box::pin(token.clone().cancelled_owned()),
            token,
        }
    }

    /// Breaks every connection one of whose certificates `is_meant`.
    pub(crate) fn cut(&self, is_meant: impl Fn(&Serial) -> bool) {
        for (serials, token) in self.table().open.values() {
            if serials.iter().any(&is_meant) {
                token.cancel();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an open connection holds, and by which it is broken.
#[derive(Debug)]
pub(crate) struct Tie {
    id: u64,
    ties: Arc<Ties>,
    serials: Vec<Serial>,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Tie {
    /// Breaks this one if one of its certificates `is_meant`.
    pub(crate) fn cut_if(&self, is_meant: impl Fn(&Serial) -> bool) {
        if self.serials.iter().any(is_meant) {
            self.token.cancel();
        }
    }

    /// Ready with an error once the connection has been broken.
    pub(crate) fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<std::io::Error> {
        self.cut.as_mut().poll(context).map(|()| broken())
    }

    /// An error if the connection has been broken.
    pub(crate) fn check(&self) -> std::io::Result<()> {
        if self.token.is_cancelled() {
            Err(broken())
        } else {
            Ok(())
        }
    }
}

fn broken() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "the other side's certificate has been revoked",
    )
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.ties.table().open.remove(&self.id);
    }
}
