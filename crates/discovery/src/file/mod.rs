//! Servers that a JSON file lists. It is read again when it changes, and at each interval.

mod listed;
pub(crate) mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until, timeout};

use self::watch::DirectoryWatch;
use crate::answer::{Answer, SourceError};
use crate::pauses::Pauses;
use crate::source::{Answers, Source, SourceSettings};

/// The largest file that is read, in bytes: more than as many servers as all backends may have need.
pub const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// A file that lists servers: a JSON list of mappings with `address`, and `name`, `port`, `weight` and `zone` if they have
/// one.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    settings: SourceSettings,
}

impl FileSource {
    /// The source of the file `path`, which has to be a whole path.
    pub fn new(path: impl Into<PathBuf>, settings: SourceSettings) -> Self {
        Self {
            path: path.into(),
            settings,
        }
    }

    /// Reads for ever. What was read because something changed in the directory is only said when it is something new.
    async fn follow(&self, answers: &Answers) {
        let mut pauses = Pauses::new(self.settings.interval);
        let mut watch = DirectoryWatch::of(&self.path);
        let mut last = None;
        let mut due = Instant::now();
        let limit = self.settings.timeout.min(self.settings.interval);
        loop {
            watch.renew();
            let read = read_within(&self.path, limit).await;
            if Instant::now() >= due || last.as_ref() != Some(&read) {
                due = Instant::now()
                    + match read {
                        Ok(_) => pauses.after_answer(),
                        Err(_) => pauses.after_error(),
                    };
                last = Some(read.clone());
                answers.put(read);
            }
            tokio::select! {
                () = sleep_until(due) => {}
                () = watch.changed() => {}
            }
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn run(self: Box<Self>, answers: Answers) {
        tokio::select! {
            () = answers.stopped() => {}
            () = self.follow(&answers) => {}
        }
    }
}

async fn read_within(path: &Path, limit: Duration) -> Result<Answer, SourceError> {
    let read = timeout(limit, read(path)).await;
    read.unwrap_or_else(|_| {
        Err(SourceError::Unreachable {
            what: name(path),
            why: format!("it was not read within {limit:?}"),
        })
    })
}

/// The file's servers. That there is no file is an error and not an empty answer.
async fn read(path: &Path) -> Result<Answer, SourceError> {
    if !path.is_absolute() {
        return Err(SourceError::Unconfigured {
            what: name(path),
            why: "give the whole path, from / on".to_owned(),
        });
    }
    let content = content(path).await.map_err(|error| {
        let (what, why) = (name(path), error.to_string());
        if error.kind() == io::ErrorKind::PermissionDenied {
            SourceError::Refused { what, why }
        } else {
            SourceError::Unreachable { what, why }
        }
    })?;
    let found = listed::parse(&content).map_err(|error| SourceError::Malformed {
        what: name(path),
        why: error.to_string(),
    })?;
    Ok(Answer {
        found,
        ..Answer::default()
    })
}

async fn content(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before it is opened: to open a pipe waits for someone to write.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    let mut file = File::open(path).await?.take(MAX_SIZE + 1);
    file.read_to_end(&mut content).await?;
    if content.len() as u64 > MAX_SIZE {
        let why = format!("it is larger than {MAX_SIZE} bytes, which is the most that is read");
        return Err(io::Error::other(why));
    }
    Ok(content)
}

fn name(path: &Path) -> String {
    format!("the file {}", path.display())
}
