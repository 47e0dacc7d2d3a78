//! What a new process takes over from the one before it besides its sockets: the state of servers.

use std::time::Instant;

use hafleet_model::with_causes;

use super::Proxy;
use super::adopt::Current;
use super::soft::commands;
use crate::files;
use crate::plan::{Step, Target};
use crate::render::Rendered;
use crate::runtime::{RuntimeError, RuntimeSocket};
use crate::state;
use crate::warming::Warming;

impl Proxy {
    /// Has the next process begin with the server states of the one that runs. Where that cannot be, it begins with none,
    /// which is no reason to go without a reload. Returns the servers whose slow start is to go on ([`Self::warm`]).
    pub(super) async fn carry_state(&self, rendered: &Rendered) -> Warming {
        let none = Warming::default();
        let Some(current) = self.inspector.alive() else {
            return none;
        };
        let Some(known) = &current.known else {
            return none;
        };
        let (text, warming) = match RuntimeSocket::new(&current.socket)
            .servers_state_file()
            .await
        {
            Ok(reply) => state::carry(&reply, known, rendered, &current.warming, Instant::now()),
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(
                    error,
                    "servers begin afresh: HAProxy does not tell their states"
                );
                return none;
            }
        };
        if let Err(error) = files::write(&self.inspector.files().state(), &text) {
            tracing::warn!(error = %with_causes(&error), "servers begin afresh");
            return none;
        }
        warming
    }

    /// Gives servers that go on with a slow start the weights that are due to them.
    pub(super) async fn warm(&mut self) {
        let Some(mut current) = self.inspector.alive() else {
            return;
        };
        if current.warming.is_empty() {
            return;
        }
        let due = current.warming.advance(Instant::now());
        if let Err(error) = set_weights(&current, due).await {
            // They get the whole of it at the next comparison.
            tracing::warn!(error = %with_causes(&error), "slow starts cannot go on");
            current.warming = Warming::default();
        }
        self.current.send_replace(Some(current));
    }

    /// From now on, whoever starts HAProxy from its file has servers begin afresh: what they were then is long past.
    pub(super) fn forget_state(&self) {
        if let Err(error) = self.inspector.files().clear_state() {
            tracing::warn!(error = %with_causes(&error), "server states could not be removed");
        }
    }

    /// Has a process that was just started catch up with what its file cannot say, such as servers that are to drain.
    pub(super) async fn settle(&mut self, rendered: &Rendered) {
        let current = self.current.borrow().clone();
        let (Some(current), Ok(plan)) = (current, self.inspector.plan(rendered).await) else {
            return;
        };
        if let Err(error) = self.run_steps(&current, rendered, &plan.steps).await {
            // The next round sees it again.
            tracing::warn!(error = %with_causes(&error), "the new process is not yet as it should be");
        }
    }
}

async fn set_weights(current: &Current, due: Vec<(Target, u16)>) -> Result<(), RuntimeError> {
    let mut session = RuntimeSocket::new(&current.socket).session().await?;
    for (target, weight) in due {
        let step = Step::SetWeight { target, weight };
        for command in commands(&step)? {
            session.tell(&command).await?;
        }
    }
    Ok(())
}
