//! Whatever answers on a runtime socket is read or refused, and never a reason to panic.
//!
//! An input is a command's name on the first line, and the bytes that a socket sends as its reply. They come over a real
//! socket, so that where a reply ends is fuzzed too: one that does not end as HAProxy's do is never taken for an answer.

#![no_main]

use std::cell::OnceCell;
use std::path::Path;

use hafleet_haproxy::RuntimeSocket;
use hafleet_haproxy::runtime::Command;
use libfuzzer_sys::{Corpus, fuzz_target};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};

/// The longest reply that is read; inputs can be longer.
const MAX_REPLY: usize = 3000;

/// What every input needs again.
struct Stage {
    runtime: Runtime,
    listener: UnixListener,
    socket: RuntimeSocket,
    _directory: TempDir,
}

thread_local! {
    static STAGE: OnceCell<Stage> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return Corpus::Reject;
    };
    let (command, reply) = (&input[..end], &input[end + 1..]);
    STAGE.with(|stage| {
        let stage = stage.get_or_init(Stage::new);
        stage.runtime.block_on(stage.play(command, reply))
    })
});

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("s");
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(async { UnixListener::bind(&path) })
            .expect("a socket");
        Self {
            runtime,
            listener,
            socket: client(&path),
            _directory: directory,
        }
    }

    /// Sends `reply` to whoever connects next, as an answer to `command`.
    async fn play(&self, command: &[u8], reply: &[u8]) -> Corpus {
        // In a session it is the prompt that ends a reply.
        let ends = reply == b"\n" || reply.ends_with(b"\n\n") || command == b"prompt";
        let is_whole = ends && reply.len() <= MAX_REPLY;
        let socket = &self.socket;
        let asked = async {
            Some(match command {
                b"show info" => socket.info().await.is_ok(),
                b"show stat" => socket.stat().await.is_ok(),
                b"show servers state" => socket.servers_state().await.is_ok(),
                b"show map" => socket.maps().await.is_ok(),
                b"show map #1" => socket.map(1).await.is_ok(),
                b"show ssl cert" => socket.certificate("/a.pem").await.is_ok(),
                b"set server" => socket.tell(&set_weight()).await.is_ok(),
                b"prompt" => match socket.session().await {
                    Ok(mut session) => session.tell(&set_weight()).await.is_ok(),
                    Err(_) => false,
                },
                _ => return None,
            })
        };
        tokio::select! {
            biased;
            answered = asked => match answered {
                Some(is_answer) => {
                    assert!(is_whole || !is_answer, "a reply without its end was taken for an answer");
                    Corpus::Keep
                }
                None => Corpus::Reject,
            },
            () = self.serve(reply) => Corpus::Keep,
        }
    }

    /// Sends `reply` on each connection, whatever is asked there, and closes it.
    async fn serve(&self, reply: &[u8]) {
        let mut question = [0; 256];
        while let Ok((mut stream, _)) = self.listener.accept().await {
            let _ = stream.read(&mut question).await;
            let _ = stream.write_all(reply).await;
        }
    }
}

fn client(path: &Path) -> RuntimeSocket {
    RuntimeSocket::new(path).with_max_reply(MAX_REPLY)
}

fn set_weight() -> Command {
    Command::new(&["set", "server", "app/one", "weight", "1"]).expect("plain words")
}
