//! What a new process takes over from the one before it besides its sockets: the state of servers.

use super::Proxy;
use crate::files;
use crate::render::Rendered;
use crate::runtime::RuntimeSocket;
use crate::state;
use hafleet_model::with_causes;

impl Proxy {
    /// Has the next process begin with the server states of the one that runs. Where that cannot be, it begins with none,
    /// which is no reason to go without a reload.
    pub(super) async fn carry_state(&self, rendered: &Rendered) {
        let Some(current) = self.inspector.alive() else {
            return;
        };
        let Some(known) = &current.known else {
            return;
        };
        let text = match RuntimeSocket::new(&current.socket)
            .servers_state_file()
            .await
        {
            Ok(reply) => state::carry(&reply, known, rendered),
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(
                    error,
                    "servers begin afresh: HAProxy does not tell their states"
                );
                return;
            }
        };
        if let Err(error) = files::write(&self.inspector.files().state(), &text) {
            tracing::warn!(error = %with_causes(&error), "servers begin afresh");
        }
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
