//! One end of a connection in memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hafleet_identity::Caller;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tonic::transport::server::Connected;

use crate::network::Path;

/// How many bytes may be under way in each direction.
const BUFFER: usize = 64 * 1024;

/// One end of a connection. What is written while the path is cut is swallowed, and so is all that follows; when the process
/// at either end dies, reading fails at once.
pub struct MemoryStream {
    /// Taken when it is dropped.
    inner: Option<DuplexStream>,
    path: Arc<Path>,
    /// Ends with the process of either end.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    caller: Caller,
    has_lost_bytes: bool,
}

impl MemoryStream {
    /// Both ends of a connection along `path`, on which `caller` is known to the other: near, then far.
    pub(crate) fn pair(path: Path, caller: &Caller) -> (Self, Self) {
        let (near, far) = tokio::io::duplex(BUFFER);
        let back = Arc::new(path.reversed());
        let end = |inner, path: Arc<Path>| Self {
            inner: Some(inner),
            ended: Box::pin(path.ended()),
            path,
            caller: caller.clone(),
            has_lost_bytes: false,
        };
        (end(near, Arc::new(path)), end(far, back))
    }

    fn inner(&mut self) -> io::Result<Pin<&mut DuplexStream>> {
        let inner = self.inner.as_mut().map(Pin::new);
        inner.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        // The other end does not hear of the end of a connection whose path is cut.
        if self.has_lost_bytes || self.path.is_cut() {
            self.path.keep_in_limbo(inner);
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.inner()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.path.is_cut() {
            self.has_lost_bytes = true;
        }
        if self.has_lost_bytes {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.inner()?.poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.path.count(*count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_lost_bytes || self.path.is_cut() {
            return Poll::Ready(Ok(()));
        }
        self.inner()?.poll_shutdown(context)
    }
}

impl Connected for MemoryStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}
