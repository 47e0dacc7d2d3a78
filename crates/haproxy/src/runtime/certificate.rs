//! Certificates of a running process: which one it serves from a file, and another one in its place.

use std::collections::BTreeMap;

use hafleet_model::secrets::Confidential;

use super::{Command, CommandError, RuntimeError, RuntimeSocket, one_line};

impl RuntimeSocket {
    /// The SHA-1, in hexadecimal, of the certificate that the process serves from the file `path` (`show ssl cert`,
    /// Management Guide, section 9.3); none when it has loaded no such file.
    ///
    /// # Errors
    /// When there is no answer, or the path cannot stand in a command.
    pub async fn certificate(&self, path: &str) -> Result<Option<String>, RuntimeError> {
        let command = command(&["show", "ssl", "cert", path])?;
        let reply = self.ask(&command).await?;
        Ok(fingerprint(&reply))
    }

    /// [`Self::certificate`] of each of `paths`, without those that cannot stand in a command.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn certificates<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<BTreeMap<String, Option<String>>, RuntimeError> {
        let mut served = BTreeMap::new();
        for path in paths {
            if command(&[path]).is_ok() {
                served.insert(path.to_owned(), self.certificate(path).await?);
            }
        }
        Ok(served)
    }

    /// Has the process serve `pem` from now on instead of what it loaded from the file `path` (`set ssl cert`, `commit
    /// ssl cert`). Connections that are there go on. Either it is replaced whole or not at all.
    ///
    /// # Errors
    /// When there is no answer, or HAProxy refuses; one that is longer than its `tune.bufsize` cannot be sent this way.
    /// No error has a part of `pem` in it.
    pub async fn replace_certificate(
        &self,
        path: &str,
        pem: &Confidential,
    ) -> Result<(), RuntimeError> {
        let set = command(&["set", "ssl", "cert", path])?;
        let commit = command(&["commit", "ssl", "cert", path])?;
        let replaced = match self.answered(&set, Some(pem)).await {
            Ok(reply) if reply.contains("Transaction ") => self.commit(&commit).await,
            Ok(reply) => Err(refused(&set, &reply)),
            Err(error) => Err(error),
        };
        if replaced.is_err() {
            // What was begun would stand in the way of the next. That there is nothing to abort is no fault.
            let abort = command(&["abort", "ssl", "cert", path])?;
            let _ = self.ask(&abort).await;
        }
        replaced
    }

    async fn commit(&self, commit: &Command) -> Result<(), RuntimeError> {
        let reply = self.ask(commit).await?;
        if reply.trim_end().ends_with("Success!") {
            return Ok(());
        }
        Err(refused(commit, &reply))
    }
}

fn fingerprint(reply: &str) -> Option<String> {
    let value = |line: &str| {
        line.strip_prefix("SHA1 FingerPrint:")
            .map(str::trim)
            .map(str::to_owned)
    };
    reply.lines().find_map(value)
}

fn command(words: &[&str]) -> Result<Command, RuntimeError> {
    Command::new(words).map_err(|error: CommandError| RuntimeError::Refused {
        command: words[..words.len().min(3)].join(" "),
        words: error.to_string(),
    })
}

fn refused(command: &Command, words: &str) -> RuntimeError {
    RuntimeError::Refused {
        command: command.to_string(),
        words: one_line(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_found_and_a_file_that_is_not_loaded_has_none() {
        let reply = "Filename: /a.pem\nStatus: Used\nSerial: 36E6\nSHA1 FingerPrint: DCDD2B\nSubject: /CN=one\n";
        assert_eq!(fingerprint(reply).as_deref(), Some("DCDD2B"));
        let none = "Can't display the certificate: Not found or the certificate is a bundle!";
        assert_eq!(fingerprint(none), None);
    }
}
