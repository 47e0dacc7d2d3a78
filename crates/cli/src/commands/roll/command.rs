//! The command that is run for a server: its words and its environment, its output line by line, and its end in time.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long output may still come from those whom a command has left behind.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a command has to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// For whom a command runs.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) server: String,
    pub(super) address: String,
    pub(super) port: String,
    pub(super) backend: String,
}

impl Subject {
    /// `words` with its placeholders replaced.
    pub(super) fn fill(&self, words: &[String]) -> Vec<String> {
        let values = [
            ("{server}", &self.server),
            ("{address}", &self.address),
            ("{port}", &self.port),
            ("{backend}", &self.backend),
        ];
        let fill = |word: &String| {
            let fill = |word: String, (name, value): &(&str, &String)| word.replace(name, value);
            values.iter().fold(word.clone(), fill)
        };
        words.iter().map(fill).collect()
    }
}

/// A line that a command printed.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) server: String,
    pub(super) stream: &'static str,
    pub(super) text: String,
}

/// Runs a command to its end, which comes after `limit` at the latest, or when `kill` says so.
///
/// # Errors
/// Why it has not done what it should, in words.
pub(super) async fn run(
    subject: &Subject,
    words: &[String],
    limit: Duration,
    output: mpsc::Sender<Line>,
    mut kill: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut child = start(subject, words)?;
    let readers = [
        child
            .stdout
            .take()
            .map(|pipe| read(pipe, "stdout", subject, &output)),
        child
            .stderr
            .take()
            .map(|pipe| read(pipe, "stderr", subject, &output)),
    ];
    let ended = tokio::select! {
        status = child.wait() => judge(status),
        () = tokio::time::sleep(limit) => {
            end(&mut child).await;
            Err(format!("the command took longer than {limit:?}, and was ended"))
        }
        _ = kill.wait_for(|kill| *kill) => {
            end(&mut child).await;
            Err("the command was ended, as was asked".to_owned())
        }
    };
    for reader in readers.into_iter().flatten() {
        finish(reader).await;
    }
    ended
}

fn start(subject: &Subject, words: &[String]) -> Result<Child, String> {
    let words = subject.fill(words);
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HAFLEET_SERVER", &subject.server)
        .env("HAFLEET_ADDRESS", &subject.address)
        .env("HAFLEET_PORT", &subject.port)
        .env("HAFLEET_BACKEND", &subject.backend)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Of its own, so that Ctrl-C is ours to pass on and all that it started ends with it.
        .process_group(0)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))
}

fn judge(status: std::io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the command ended with {status}")),
        Err(error) => Err(format!("the command's end was not seen: {error}")),
    }
}

/// Tells a command and all that it started to end, and ends them when they do not.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let tell = |signal| {
        if let Some(group) = group {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    };
    tell(Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tell(Signal::KILL);
        let _ = child.wait().await;
    }
}

fn read(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    stream: &'static str,
    subject: &Subject,
    output: &mpsc::Sender<Line>,
) -> JoinHandle<()> {
    let (server, output) = (subject.server.clone(), output.clone());
    tokio::spawn(async move {
        let (mut pipe, mut bytes) = (BufReader::new(pipe), Vec::new());
        while pipe
            .read_until(b'\n', &mut bytes)
            .await
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&bytes);
            let line = Line {
                server: server.clone(),
                stream,
                text: text.trim_end_matches(['\n', '\r']).to_owned(),
            };
            if output.send(line).await.is_err() {
                break;
            }
            bytes.clear();
        }
    })
}

/// Waits for what is still on its way; a daemon that the command has started may hold the pipe for ever.
async fn finish(mut reader: JoinHandle<()>) {
    if tokio::time::timeout(LAST_WORDS, &mut reader).await.is_err() {
        reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn subject() -> Subject {
        Subject {
            server: "s1".into(),
            address: "10.0.0.5".into(),
            port: "8080".into(),
            backend: "app".into(),
        }
    }

    async fn shell(script: &str, limit: Duration) -> (Result<(), String>, Vec<String>) {
        let (output, mut lines) = mpsc::channel(16);
        let (_kill, killed) = watch::channel(false);
        let words = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let ended = run(&subject(), &words, limit, output, killed).await;
        let mut texts = Vec::new();
        while let Some(line) = lines.recv().await {
            texts.push(format!("{}:{}", line.stream, line.text));
        }
        texts.sort_unstable();
        (ended, texts)
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_are_not() {
        let words = ["ssh".to_owned(), "{server}:{port} ${x} {other}".to_owned()];
        assert_eq!(subject().fill(&words), ["ssh", "s1:8080 ${x} {other}"]);
    }

    #[tokio::test]
    async fn a_command_has_its_server_in_the_environment_and_tells_how_it_ended() {
        let minute = Duration::from_secs(60);
        let script = "echo $HAFLEET_SERVER $HAFLEET_ADDRESS; echo {backend} >&2";
        let (ended, lines) = shell(script, minute).await;
        assert_eq!(ended, Ok(()));
        assert_eq!(lines, ["stderr:app", "stdout:s1 10.0.0.5"]);
        let (ended, _) = shell("exit 7", minute).await;
        assert!(ended.unwrap_err().contains("exit status: 7"));
        let (output, _lines) = mpsc::channel(1);
        let (_kill, killed) = watch::channel(false);
        let words = ["/nonexistent/program".to_owned()];
        let ended = run(&subject(), &words, minute, output, killed).await;
        assert!(
            ended
                .unwrap_err()
                .contains("/nonexistent/program cannot be run")
        );
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_ends_with_all_that_it_started() {
        let begun = Instant::now();
        let script = "echo begun; sleep 1000 & sleep 1000";
        let (ended, lines) = shell(script, Duration::from_millis(300)).await;
        assert!(ended.unwrap_err().contains("took longer"), "{lines:?}");
        assert_eq!(lines, ["stdout:begun"]);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_output_holds_nobody_up() {
        let begun = Instant::now();
        let (ended, lines) = shell("echo $$; sleep 30 &", Duration::from_secs(60)).await;
        assert_eq!((ended, lines.len()), (Ok(()), 1));
        assert!(begun.elapsed() < Duration::from_secs(25));
    }
}
