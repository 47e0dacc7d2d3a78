//! Small HTTP servers for HAProxy to send requests to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::namespace::Namespace;
use crate::request::runtime;

/// A server that answers every request at once with its name, on connections that it keeps unless asked not to. It ends when it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Starts one in `namespace`; it listens when this returns.
    pub fn start(namespace: &Namespace, address: SocketAddr, name: &str) -> Self {
        Self::slow(namespace, address, name, Duration::ZERO)
    }

    /// Starts one that takes `delay` for each answer.
    pub fn slow(namespace: &Namespace, address: SocketAddr, name: &str, delay: Duration) -> Self {
        let listener = namespace.run(|| std::net::TcpListener::bind(address));
        let listener = listener.unwrap_or_else(|error| panic!("a server on {address}: {error}"));
        listener
            .set_nonblocking(true)
            .expect("a listener that does not block");
        let (stop, stopped) = oneshot::channel();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        );
        let thread = namespace.thread(move || {
            runtime().block_on(async {
                let listener =
                    TcpListener::from_std(listener).expect("a listener of this thread's runtime");
                tokio::select! {
                    () = serve(listener, answer.into_bytes().into(), delay) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, answer: Arc<[u8]>, delay: Duration) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                // The other side may leave at any time.
                let _ = converse(stream, &answer, delay).await;
            });
        }
    }
}

async fn converse(mut stream: TcpStream, answer: &[u8], delay: Duration) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (mut pending, mut buffer) = (Vec::new(), [0_u8; 4096]);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&buffer[..length]);
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = pending.drain(..end + 4).collect();
            if !delay.is_zero() {
                sleep(delay).await;
            }
            stream.write_all(answer).await?;
            if String::from_utf8_lossy(&head)
                .to_ascii_lowercase()
                .contains("\r\nconnection: close")
            {
                return Ok(());
            }
        }
    }
}
