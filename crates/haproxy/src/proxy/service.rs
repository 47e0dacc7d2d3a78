//! A HAProxy that a service starts: the configuration is checked and written, the service is asked to take it, and the
//! outcome is learned from the new process itself.
//!
//! Each generation has a runtime socket of its own, so that whoever answers there runs the new configuration. That is all
//! that counts: a reload that fails inside a master (SIGUSR2) ends in success for everyone who sent the signal.

use hafleet_model::with_causes;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hafleet_model::spec::{Finding, Findings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::adopt::Current;
use super::prepare::Prepared;
use super::replace::{CLOSE_DEADLINE, Next, words};
use super::{ApplyError, Inspector, Proxy, verify};
use crate::handover::{ARMED, FirewallError, settle_time};
use crate::process::{
    ProcessId, ServiceError, StartError, call_service, find_by_config, listening,
};
use crate::runtime::RuntimeSocket;

/// How long a master or a process may take to answer while it is waited for.
const ANSWER: Duration = Duration::from_millis(500);

/// The most that is read of a master's answer, in bytes; a line for each process.
const MAX_REPLY: u64 = 64 * 1024;

impl Proxy {
    /// Has the service take the new configuration. Returns how it handed over.
    pub(super) async fn replace_by_service(
        &mut self,
        next: &Next<'_>,
        old: Option<Current>,
    ) -> Result<Option<String>, ApplyError> {
        refuse_foreign_addresses(next)?;
        let mut prepared = match &old {
            Some(old) => Some(self.prepare_handover(old, &next.text, None).await?),
            None => None,
        };
        self.inspector.files().replace_config(&next.text)?;
        let mut opened = Ok(());
        if let (Some(prepared), Some(old)) = (&mut prepared, &old) {
            opened = self.open_window(prepared, old).await;
        }
        let taken = self.have_taken(next).await;
        let mut shut = Ok(());
        if let Some(prepared) = &mut prepared {
            shut = prepared.close_window().await;
        }
        let process = match taken {
            Ok(process) => process,
            Err(error) => {
                self.restore_file();
                return Err(error.into());
            }
        };
        if let Err(error) = self.accept(next, process).await {
            self.take_back(old.as_ref()).await;
            return Err(error);
        }
        let Some((prepared, old)) = prepared.zip(old) else {
            return Ok(None);
        };
        if old.process != process {
            self.retire(old.process, old.generation);
        }
        Ok(Some(words(
            &prepared,
            old.process,
            Ok(true),
            opened.and(shut),
        )))
    }

    /// Makes first packets wait or go astray while the service works, if that is how it is to hand over.
    async fn open_window(
        &self,
        prepared: &mut Prepared,
        old: &Current,
    ) -> Result<(), FirewallError> {
        let Some(window) = &mut prepared.window else {
            return Ok(());
        };
        let settings = self.inspector.settings();
        let longest = ARMED + CLOSE_DEADLINE + settings.start_timeout + settings.verify_timeout;
        window.open(longest).await?;
        let sockets = listening(old.process).unwrap_or_default();
        let places: Vec<SocketAddr> = sockets.iter().map(|socket| socket.address).collect();
        tokio::time::sleep(settle_time(&places, settings.settle)).await;
        Ok(())
    }

    /// Asks the service, and waits until a process answers on the new socket.
    async fn have_taken(&self, next: &Next<'_>) -> Result<ProcessId, ServiceError> {
        let settings = self.inspector.settings();
        let is_running = !self.inspector.service_processes().is_empty();
        let command = match is_running {
            true => settings.process.reload(),
            false => settings.process.start(),
        };
        let failed_before = self.failed_reloads().await.unwrap_or(0);
        call_service(&command, settings.start_timeout).await?;
        let begun = tokio::time::Instant::now();
        let end = begun + settings.verify_timeout;
        loop {
            if let Some(process) = self.inspector.answering(&next.socket).await {
                return Ok(process);
            }
            let failed = self.failed_reloads().await;
            let has_failed = failed.is_some_and(|failed| failed > failed_before);
            if has_failed || tokio::time::Instant::now() >= end {
                let master = match failed {
                    Some(count) => format!("; its master counts {count} failed reloads"),
                    None => String::new(),
                };
                return Err(ServiceError::NotTaken {
                    command: command.join(" "),
                    waited: begun.elapsed(),
                    master,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Verifies and notes the process that took the new configuration.
    async fn accept(&mut self, next: &Next<'_>, process: ProcessId) -> Result<(), ApplyError> {
        let deadline = self.inspector.settings().verify_timeout;
        let listeners = next.rendered.listeners();
        verify::comes_to_serve(process, &next.socket, listeners, deadline).await?;
        let current = next.current(process);
        self.note(&current, next.revision, &next.text)?;
        self.current.send_replace(Some(current));
        Ok(())
    }

    /// Has the service take the last good configuration again.
    async fn take_back(&mut self, old: Option<&Current>) {
        self.restore_file();
        let Some(old) = old else {
            return;
        };
        let settings = self.inspector.settings();
        let called = call_service(&settings.process.reload(), settings.start_timeout).await;
        if let Err(error) = called {
            tracing::error!(error = %with_causes(&error), "the service did not take the last good configuration again");
            return;
        }
        let end = tokio::time::Instant::now() + settings.verify_timeout;
        while tokio::time::Instant::now() < end {
            let found = self.inspector.answering(&old.socket).await;
            if found.is_some_and(|process| process != old.process) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.find_again().await;
    }

    /// In a service, HAProxy may be restarted or reloaded by others: whoever answers on the socket of the configuration on
    /// disk, and was started with it, is the one that serves.
    pub(super) async fn find_again(&mut self) {
        let current = self.current.borrow().clone();
        let Some(current) = current.filter(|_| self.inspector.settings().process.is_service())
        else {
            return;
        };
        let Some(process) = self.inspector.answering(&current.socket).await else {
            return;
        };
        if process == current.process {
            return;
        }
        tracing::info!(
            from = current.process.pid,
            to = process.pid,
            "the service has restarted or reloaded HAProxy"
        );
        if current.process.is_alive() {
            self.retire(current.process, current.generation);
        }
        self.current
            .send_replace(Some(Current { process, ..current }));
    }

    /// How many reloads the master has seen fail since the last that did not (`show proc`); none where it is not asked.
    async fn failed_reloads(&self) -> Option<u32> {
        let path = self.inspector.settings().master_socket.as_ref()?;
        let asked = tokio::time::timeout(ANSWER, ask_master(path)).await;
        failed_reloads(&asked.ok()?.ok()?)
    }
}

impl Inspector {
    /// The processes of the service: master, workers, and old ones.
    fn service_processes(&self) -> Vec<ProcessId> {
        let binary = self.binary();
        binary.map_or_else(Vec::new, |binary| {
            find_by_config(&binary.path, &self.files().config())
        })
    }

    /// Who answers on `socket`, if it was started with our configuration.
    async fn answering(&self, socket: &std::path::Path) -> Option<ProcessId> {
        let asked = RuntimeSocket::new(socket).with_deadline(ANSWER);
        let info = asked.info().await.ok().filter(|info| !info.is_stopping)?;
        let ours = self.service_processes();
        ours.into_iter().find(|process| process.pid == info.pid)
    }
}

/// `show proc`. Unlike a process, a master answers until the client has said that it asks no more.
async fn ask_master(path: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(b"show proc\n").await?;
    stream.shutdown().await?;
    let mut reply = Vec::new();
    stream.take(MAX_REPLY).read_to_end(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Refuses listeners on addresses that are not this machine's. A start that fails at them pauses the process that serves
/// for about 2 s where a service uses `-sf`.
fn refuse_foreign_addresses(next: &Next<'_>) -> Result<(), StartError> {
    let findings = next.rendered.listeners().iter().filter_map(|listener| {
        let address = listener.address?;
        let error = std::net::TcpListener::bind((address, 0)).err()?;
        let path = next.rendered.origin_of_listener(listener).unwrap_or("");
        let message = format!("{address} cannot be listened on: {error}");
        Some(Finding::new(path, message))
    });
    let findings: Vec<_> = findings.collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(StartError::Refused(Findings(findings)))
}

/// The number in `[failed: 1]` of the master's line (Management Guide, section 9.4.1); 0 where there is none.
fn failed_reloads(reply: &str) -> Option<u32> {
    let mut lines = reply.lines();
    let master = lines.find(|line| line.split_whitespace().nth(1) == Some("master"))?;
    let Some((_, rest)) = master.split_once("[failed:") else {
        return Some(0);
    };
    rest.split(']').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masters_failures_are_read() {
        let reply = "#<PID>          <type>          <reloads>       <uptime>        <version>\n\
                     1162            master          5 [failed: 1]   0d00h02m07s     2.6.12\n\
                     # workers\n1271            worker          1               0d00h00m00s     2.6.12\n";
        assert_eq!(failed_reloads(reply), Some(1));
        assert_eq!(failed_reloads(&reply.replace(" [failed: 1]", "")), Some(0));
        assert_eq!(failed_reloads("Unknown command\n"), None);
    }
}
