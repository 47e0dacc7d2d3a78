//! A way to etcd that a test can close.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Connections to it go on to another address.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections stay, and nothing goes through them.
    Stalled,
    /// There are no connections.
    Closed,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
        self.task.abort();
    }
}

impl Gate {
    /// An open one before `behind`.
    pub(crate) async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind((behind.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(State::Open);
        let task = tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                let (passing, mut closing) = (states.clone(), states.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(visitor, behind, passing) => {}
                        _ = closing.wait_for(|state| *state == State::Closed) => {}
                    }
                });
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// Ends all connections, and lets none in.
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Holds back what comes through it from now on.
    pub(crate) fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Lets connections in, and all that was held back.
    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn pass(visitor: TcpStream, behind: SocketAddr, states: watch::Receiver<State>) {
    if let Ok(stream) = TcpStream::connect(behind).await {
        let (from_visitor, to_visitor) = visitor.into_split();
        let (from_stream, to_stream) = stream.into_split();
        tokio::select! {
            () = pump(from_visitor, to_stream, states.clone()) => {}
            () = pump(from_stream, to_visitor, states) => {}
        }
    }
}

/// Carries bytes over until an end is reached.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut states: watch::Receiver<State>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        let is_open = states.wait_for(|state| *state == State::Open).await.is_ok();
        if !is_open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
