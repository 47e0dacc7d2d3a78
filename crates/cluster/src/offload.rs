//! Keeping the store's syncs off the threads that run everything else.

/// Runs `body`, which waits for the disk, on a thread made for waiting. `None` when the runtime is shutting down.
///
/// The number at once is bounded by what calls this: one write per document, one repair per document, one change of
/// term, and one per request of a peer, of which HTTP/2 bounds the number.
pub(crate) async fn offload<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "bounded, see above")]
    let task = tokio::task::spawn_blocking(body);
    task.await.ok()
}
