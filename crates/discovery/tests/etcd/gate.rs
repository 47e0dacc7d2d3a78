//! A way to etcd that a test can close.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Connections to it go on to another address while it is open; while it is closed there are none.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    is_open: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.is_open.send_replace(false);
        self.task.abort();
    }
}

impl Gate {
    /// An open one before `behind`.
    pub(crate) async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind((behind.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_open = Arc::new(watch::channel(true).0);
        let opening = Arc::clone(&is_open);
        let task = tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                let mut opening = opening.subscribe();
                if *opening.borrow_and_update() {
                    tokio::spawn(async move {
                        tokio::select! {
                            () = pass(visitor, behind) => {}
                            _ = opening.wait_for(|is_open| !is_open) => {}
                        }
                    });
                }
            }
        });
        Self {
            address,
            is_open,
            task,
        }
    }

    /// Ends all connections, and lets none in.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets them in.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass(mut visitor: TcpStream, behind: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect(behind).await {
        let _ = copy_bidirectional(&mut visitor, &mut stream).await;
    }
}
