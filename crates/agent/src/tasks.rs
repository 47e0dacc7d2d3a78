//! The tasks of an agent, watched in one place: when one of them ends that should not, or panics, the agent ends, to be
//! started anew, rather than go on as half of itself.
//!
//! [`Tasks`] has the agent's own, each with its name. What other crates and libraries start (connections, gossip, waits
//! on the disk) is not handed to anybody, so [`Panics`] hears of every panic in the process, wherever it is.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::PanicHookInfo;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

tokio::task_local! {
    /// The name of the task that runs.
    static NAME: &'static str;
}

/// Makes the task of that name panic at its start: for tests of what becomes of the agent then, and not in what is
/// released.
#[cfg(debug_assertions)]
const PANIC_VARIABLE: &str = "HAFLEET_TEST_PANIC";

/// What brought the agent down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fall {
    /// The name of the task; of one that nobody named, where in the code it was.
    pub task: String,
    /// What became of it, in words.
    pub how: String,
}

impl fmt::Display for Fall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task {} {}", self.task, self.how)
    }
}

/// Tasks that run for as long as the agent does. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Runs `task` under that name.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_fallible(name, async move {
            task.await;
            Ok(())
        });
    }

    /// As [`Tasks::spawn`], of one that says why it cannot go on.
    pub(crate) fn spawn_fallible(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let named = NAME.scope(name, async move {
            #[cfg(debug_assertions)]
            panic_if_asked(name);
            task.await
        });
        let handle = self.running.spawn(named);
        self.names.insert(handle.id(), name);
    }

    /// Ends when the first of them does, in whatever way. Cancel-safe. Never ends when there are none.
    pub(crate) async fn fallen(&mut self) -> Fall {
        let Some(ended) = self.running.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, how) = match ended {
            Ok((id, Ok(()))) => (id, "ended by itself".to_owned()),
            Ok((id, Err(reason))) => (id, format!("failed: {reason}")),
            Err(error) => {
                let id = error.id();
                let how = error.try_into_panic().map_or_else(
                    |error| error.to_string(),
                    |panic| format!("panicked: {}", words(&*panic)),
                );
                (id, how)
            }
        };
        Fall {
            task: self.name(id).to_owned(),
            how,
        }
    }

    /// Waits until the one of that name has ended, which the others do as well meanwhile.
    pub(crate) async fn finish(&mut self, name: &'static str) {
        while self.names.values().any(|running| *running == name) {
            let Some(ended) = self.running.join_next_with_id().await else {
                return;
            };
            let id = ended.map_or_else(|error| error.id(), |(id, _)| id);
            self.names.remove(&id);
        }
    }

    fn name(&mut self, id: Id) -> &'static str {
        self.names.remove(&id).unwrap_or("without a name")
    }
}

#[cfg(debug_assertions)]
#[expect(
    clippy::panic,
    reason = "asked for by a test, and only in debug builds"
)]
fn panic_if_asked(name: &str) {
    if std::env::var(PANIC_VARIABLE).is_ok_and(|asked| asked == name) {
        panic!("{PANIC_VARIABLE} asks for it");
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it does not say why".to_owned())
}

/// Every panic in this process, since it was asked for.
#[derive(Debug)]
pub(crate) struct Panics(watch::Receiver<Option<Fall>>);

impl Panics {
    /// Begins to listen. What was done at a panic before is done still.
    pub(crate) fn watch() -> Self {
        let (first, seen) = watch::channel(None);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            first.send_if_modified(|first| {
                let is_first = first.is_none();
                if is_first {
                    *first = Some(fall(panic));
                }
                is_first
            });
        }));
        Self(seen)
    }

    /// Ends at the first. Cancel-safe.
    pub(crate) async fn first(&mut self) -> Fall {
        let first = self.0.wait_for(Option::is_some).await;
        match first.ok().and_then(|first| first.clone()) {
            Some(fall) => fall,
            None => std::future::pending().await,
        }
    }
}

fn fall(panic: &PanicHookInfo<'_>) -> Fall {
    let location = panic.location().map(ToString::to_string);
    let location = location.unwrap_or_else(|| "a place that is not known".to_owned());
    let text = panic.payload().downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
    Fall {
        task: NAME
            .try_with(|name| (*name).to_owned())
            .unwrap_or_else(|_| format!("of {location}")),
        how: format!(
            "panicked: {} ({location})",
            text.unwrap_or("it does not say why")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_task_that_ends_is_named_with_what_became_of_it() {
        let mut tasks = Tasks::default();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("hasty", async {});
        let fall = tasks.fallen().await;
        assert_eq!(fall.to_string(), "the task hasty ended by itself");
        tasks.spawn("clumsy", async { panic!("over the edge") });
        let fall = tasks.fallen().await;
        assert_eq!(fall.to_string(), "the task clumsy panicked: over the edge");
    }

    #[tokio::test]
    async fn one_is_waited_for_while_others_go_on() {
        let mut tasks = Tasks::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("patient", std::future::pending());
        tasks.spawn("awaited", async move { drop(stopped.await) });
        drop(stop);
        tasks.finish("awaited").await;
        tasks.finish("awaited").await;
        tasks.finish("never begun").await;
    }

    /// Tests have processes of their own, so that the hook is nobody else's.
    #[tokio::test]
    async fn a_panic_is_heard_of_wherever_it_is() {
        let mut panics = Panics::watch();
        tokio::spawn(async { panic!("in a task that nobody has named") });
        let fall = panics.first().await;
        assert!(fall.task.contains("tasks.rs"), "{fall}");
        assert!(fall.how.contains("that nobody has named"), "{fall}");
    }

    #[tokio::test]
    async fn a_panic_in_a_named_task_has_its_name() {
        let mut panics = Panics::watch();
        let mut tasks = Tasks::default();
        tasks.spawn("clumsy", async { panic!("over the edge") });
        let fall = panics.first().await;
        assert_eq!(fall.task, "clumsy");
        assert!(fall.how.contains("over the edge"), "{fall}");
    }
}
