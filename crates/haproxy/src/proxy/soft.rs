//! Changing a process that goes on running.

use hafleet_model::Revision;
use hafleet_model::report::Change;

use super::adopt::Current;
use super::apply::{known, prelude};
use super::{ApplyError, Proxy, error_chain};
use crate::certificates::HeldCertificate;
use crate::plan::{Plan, Step};
use crate::render::Rendered;
use crate::runtime::{RuntimeError, RuntimeSocket};

impl Proxy {
    /// Carries out a plan that keeps the process. Returns the plan that was carried out, or one to reload where HAProxy
    /// would not have it.
    pub(super) async fn apply_softly(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
        plan: Plan,
    ) -> Result<Plan, ApplyError> {
        let Some(current) = self.current.borrow().clone() else {
            return Ok(Plan::whole(Change::Start, "HAProxy does not run"));
        };
        let prelude = prelude(&current.socket)?;
        let text = rendered.file(&prelude);
        let is_on_disk = self.inspector.files().read_config()?.as_ref() == Some(&text);
        if !is_on_disk {
            self.inspector.check(rendered).await?;
        }
        if !is_on_disk {
            self.inspector.files().replace_config(&text)?;
        }
        if let Err(error) = self.run_steps(&current, rendered, &plan.steps).await {
            if !is_on_disk {
                self.restore_file();
            }
            let reason = format!("{}: {}", plan.reason, error_chain(&error));
            return Ok(Plan::whole(Change::Reload, reason));
        }
        let noted = Current {
            known: Some(known(rendered)),
            revision: Some(revision),
            ..current.clone()
        };
        if noted.known != current.known || noted.revision != current.revision || !is_on_disk {
            self.note(&noted, revision, &text)?;
        }
        self.current.send_replace(Some(noted));
        Ok(plan)
    }

    /// Runs the commands and asks HAProxy whether it is now as it should be.
    async fn run_steps(
        &self,
        current: &Current,
        rendered: &Rendered,
        steps: &[Step],
    ) -> Result<(), RuntimeError> {
        if steps.is_empty() {
            return Ok(());
        }
        let socket = RuntimeSocket::new(&current.socket);
        for step in steps {
            run_step(&socket, step).await?;
        }
        let certificates = rendered.certificates().iter().map(HeldCertificate::path);
        let after = crate::plan::Running {
            applied: Some(known(rendered)),
            servers: socket.servers_state().await?,
            certificates: socket.certificates(certificates).await?,
        };
        let left = crate::plan::plan(Some(&after), rendered);
        match left.steps.first() {
            None => Ok(()),
            Some(step) => Err(RuntimeError::Refused {
                command: step.to_string(),
                words: "it was accepted and had no effect".to_owned(),
            }),
        }
    }
}

async fn run_step(socket: &RuntimeSocket, step: &Step) -> Result<(), RuntimeError> {
    if let Step::ReplaceCertificate(certificate) = step {
        let replaced = socket.replace_certificate(certificate.path(), certificate.pem());
        return replaced.await;
    }
    let command = step.command().map_err(|error| RuntimeError::Refused {
        command: step.to_string(),
        words: error.to_string(),
    })?;
    socket.tell(&command).await
}
