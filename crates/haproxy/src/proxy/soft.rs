//! Changing a process that goes on running.

use hafleet_model::Revision;
use hafleet_model::report::Change;
use hafleet_model::with_causes;

use super::adopt::Current;
use super::{ApplyError, Proxy, running};
use crate::plan::{self, Known, Plan, Step};
use crate::render::Rendered;
use crate::runtime::{Command, RuntimeError, RuntimeSocket, Session};

impl Proxy {
    /// Carries out a plan that keeps the process. Returns the plan that was carried out, or one to reload where HAProxy
    /// would not have it.
    ///
    /// The file is written before HAProxy is told, so that whoever dies in between leaves a file that the notes do not
    /// speak of, and that is taken back.
    pub(super) async fn apply_softly(
        &mut self,
        rendered: &Rendered,
        revision: Revision,
        plan: Plan,
    ) -> Result<Plan, ApplyError> {
        let Some(current) = self.current.borrow().clone() else {
            return Ok(Plan::whole(Change::Start, "HAProxy does not run"));
        };
        let text = self.lay_out(rendered, &current.socket)?;
        let is_on_disk = self.inspector.files().read_config()?.as_ref() == Some(&text);
        if !is_on_disk {
            if !is_sure_to_pass(&current, rendered) {
                self.inspector.check(rendered).await?;
            }
            self.inspector.files().replace_config(&text)?;
        }
        if let Err(error) = self.run_steps(&current, rendered, &plan.steps).await {
            if !is_on_disk {
                self.restore_file();
            }
            let reason = format!("{}: {}", plan.reason, with_causes(&error));
            return Ok(Plan {
                drift: plan.drift,
                ..Plan::whole(Change::Reload, reason)
            });
        }
        let noted = Current {
            known: Some(brought_to(&current, rendered)),
            revision: Some(revision),
            warming: current.warming.towards(rendered),
            ..current.clone()
        };
        if noted.known != current.known || noted.revision != current.revision || !is_on_disk {
            self.note(&noted, revision, &text)?;
        }
        self.current.send_replace(Some(noted));
        Ok(plan)
    }

    /// Runs the commands and asks HAProxy whether it is now as it should be.
    pub(super) async fn run_steps(
        &mut self,
        current: &Current,
        rendered: &Rendered,
        steps: &[Step],
    ) -> Result<(), RuntimeError> {
        if steps.is_empty() {
            return Ok(());
        }
        let socket = RuntimeSocket::new(&current.socket);
        let mut session = socket.session().await?;
        let mut leaving = Vec::new();
        for step in steps {
            run_step(&socket, &mut session, step).await?;
            if let Step::RemoveServer(target) = step {
                leaving.push(target.clone());
            }
        }
        let patience = rendered.patience();
        self.leaving.remove(&mut session, leaving, patience).await?;
        let after = Current {
            known: Some(brought_to(current, rendered)),
            ..current.clone()
        };
        let after = running::read(&after, rendered, self.inspector.files()).await?;
        let left = plan::plan(Some(&after), rendered);
        let mut undone = left.steps.iter().filter(|step| match step {
            Step::RemoveServer(target) => !self.leaving.has(target),
            _ => true,
        });
        let words = match (undone.next(), left.change) {
            (Some(step), _) => step.to_string(),
            (None, Change::Reload) => left.reason,
            (None, _) => return Ok(()),
        };
        Err(RuntimeError::Refused {
            command: words,
            words: "it was accepted and had no effect".to_owned(),
        })
    }
}

fn brought_to(current: &Current, rendered: &Rendered) -> Known {
    match &current.known {
        Some(known) => known.brought_to(rendered),
        None => Known::of(rendered),
    }
}

/// Whether HAProxy would accept the file without being asked: where it differs from the one that runs in nothing but
/// values that HAProxy itself accepts one by one, and in servers of forms, and checked in a way, that it has accepted in the same place. This
/// spares a runtime change the time of `haproxy -c`, which reads everything.
fn is_sure_to_pass(current: &Current, rendered: &Rendered) -> bool {
    current.known.as_ref().is_some_and(|known| {
        known.skeleton == *rendered.skeleton()
            && known.checks == rendered.checks()
            && rendered
                .servers()
                .all(|server| known.servers.has_form(&server.backend, &server.form))
    })
}

async fn run_step(
    socket: &RuntimeSocket,
    session: &mut Session,
    step: &Step,
) -> Result<(), RuntimeError> {
    if let Step::ReplaceCertificate(certificate) = step {
        let replaced = socket.replace_certificate(certificate.path(), certificate.pem());
        return replaced.await;
    }
    if let Step::ReplaceMap { map, entries } = step {
        return session.replace_map(map.id, entries).await;
    }
    for command in commands(step)? {
        session.tell(&command).await?;
    }
    Ok(())
}

/// The commands of a step, in their order.
pub(super) fn commands(step: &Step) -> Result<Vec<Command>, RuntimeError> {
    let mut commands = vec![step.command()];
    if let Step::AddServer {
        target,
        is_checked: true,
        ..
    } = step
    {
        commands.push(Command::new(&["enable", "health", &target.to_string()]));
    }
    commands
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| RuntimeError::Refused {
            command: step.to_string(),
            words: error.to_string(),
        })
}
