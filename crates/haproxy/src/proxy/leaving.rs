//! Servers that are on their way out of a running process: they get nothing more, and go when their connections have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Target;
use crate::runtime::{Command, CommandError, RuntimeError, Session};

/// How long one round waits for connections to end. Those of an idle pool are gone within milliseconds; for others the next
/// rounds look again.
const WAIT: Duration = Duration::from_millis(500);

/// Since when each is leaving.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    since: BTreeMap<Target, Instant>,
}

impl Leaving {
    /// Deletes those of `targets` that have no connections left, and waits a moment for the others. One that has some
    /// after `patience` has them ended. All must be in maintenance.
    ///
    /// # Errors
    /// When HAProxy refuses for another reason than connections, or does not answer.
    pub(super) async fn remove(
        &mut self,
        session: &mut Session,
        targets: Vec<Target>,
        patience: Duration,
    ) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        self.since.retain(|target, _| targets.contains(target));
        let mut left = targets;
        loop {
            let mut busy = Vec::new();
            for target in left {
                let since = *self.since.entry(target.clone()).or_insert(begun);
                if since.elapsed() > patience {
                    tracing::warn!(%target, "ending the connections of a server that was removed");
                    let end = ["shutdown", "sessions", "server", &target.to_string()];
                    session.tell(&command(&end)?).await?;
                }
                if delete(session, &target).await? {
                    self.since.remove(&target);
                } else {
                    busy.push(target);
                }
            }
            if busy.is_empty() || begun.elapsed() > WAIT {
                return Ok(());
            }
            left = busy;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether `target` is waiting for its connections to end.
    pub(super) fn has(&self, target: &Target) -> bool {
        self.since.contains_key(target)
    }
}

/// Deletes a server; whether it is gone. Not so while it has connections, in use or idle.
async fn delete(session: &mut Session, target: &Target) -> Result<bool, RuntimeError> {
    let delete = command(&["del", "server", &target.to_string()])?;
    match session.tell(&delete).await {
        Ok(()) => Ok(true),
        Err(RuntimeError::Refused { words, .. }) if words.contains("connections") => Ok(false),
        Err(error) => Err(error),
    }
}

fn command(words: &[&str]) -> Result<Command, RuntimeError> {
    Command::new(words).map_err(|error: CommandError| RuntimeError::Refused {
        command: words[0].to_owned(),
        words: error.to_string(),
    })
}
