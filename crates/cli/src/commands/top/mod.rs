//! `hafleet top`: a live screen over the fleet. [`model`] is what it is about, [`screen`] draws that, and [`snapshot`] is what is
//! asked of the fleet; here they meet the terminal and the fleet.

pub(crate) mod args;
mod model;
mod screen;
mod snapshot;
mod table;

use std::io::IsTerminal as _;
use std::time::Duration;

use hafleet_api::query::Terms;
use hafleet_api::v1::{self, ServerState};
use hafleet_query::Expression;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::args::TopArgs;
use self::model::{Action, Effect, Model};
use self::snapshot::Snapshot;
use self::table::Subject;
use super::questions::fleet::Asker;
use crate::args::{Format, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer};

/// How long a node may take; one that takes longer is shown as silent.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a look may take before another endpoint is tried.
const LOOK: Duration = Duration::from_secs(6);
/// Between two looks at the keyboard.
const KEYS: Duration = Duration::from_millis(100);

/// Runs `top`.
pub(crate) async fn run(args: &TopArgs, target: &Target, printer: Printer) -> Result<(), Failure> {
    let looks = Looks::new(target)?;
    if printer.format() != Format::Table {
        return print_looks(args, looks, printer).await;
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::invalid(
            "top needs a terminal; `--output json` prints what it would show, a line a look",
        ));
    }
    let terminal = ratatui::try_init().map_err(anyhow::Error::from)?;
    let ended = show(args, looks, target, terminal).await;
    ratatui::restore();
    ended
}

/// Looks at the fleet, over the connection of last time while it is good.
struct Looks<'a> {
    target: &'a Target,
    question: Expression,
    asker: Option<Asker>,
}

impl<'a> Looks<'a> {
    fn new(target: &'a Target) -> Result<Self, Failure> {
        Ok(Self {
            target,
            question: snapshot::question()?,
            asker: None,
        })
    }

    async fn look(&mut self) -> Result<Snapshot, String> {
        let looked = tokio::time::timeout(LOOK, self.look_once()).await;
        looked.unwrap_or_else(|_| Err(format!("no answer within {LOOK:?}")))
    }

    async fn look_once(&mut self) -> Result<Snapshot, String> {
        let terms = Terms {
            // Who does not answer is shown so.
            allow_missing: u32::MAX,
            node_timeout: NODE_TIMEOUT,
            ..Terms::default()
        };
        let mut asker = match self.asker.take() {
            Some(asker) => asker,
            None => Asker::of_fleet(terms, self.target)
                .await
                .map_err(|failure| failure.to_string())?,
        };
        let evaluation = asker.evaluate(&self.question).await;
        let evaluation = evaluation.map_err(|failure| failure.to_string())?;
        self.asker = Some(asker);
        Snapshot::of(evaluation)
    }
}

/// Prints a snapshot a line; what cannot be seen is told and looked at again.
async fn print_looks(
    args: &TopArgs,
    mut looks: Looks<'_>,
    printer: Printer,
) -> Result<(), Failure> {
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = 0;
    while args.count.is_none_or(|count| looked < count) {
        ticks.tick().await;
        looked += 1;
        let value = match looks.look().await {
            Ok(snapshot) => serde_json::to_value(snapshot).map_err(anyhow::Error::from)?,
            Err(words) => serde_json::json!({"error": words}),
        };
        if printer.format() == Format::Yaml {
            let text = serde_saphyr::to_string(&value).map_err(anyhow::Error::from)?;
            print::line(&format!("---\n{text}"))?;
        } else {
            print::line(&value.to_string())?;
        }
    }
    Ok(())
}

/// The loop of the screen: keys, looks and the ends of what was asked.
async fn show(
    args: &TopArgs,
    mut looks: Looks<'_>,
    target: &Target,
    mut terminal: DefaultTerminal,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
    let mut keys = keyboard();
    let (told, mut outcomes) = mpsc::channel::<String>(16);
    let mut model = Model::default();
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut looked) = (Instant::now(), 0);
    let mut look = Box::pin(looks_after(&mut looks, &mut ticks));
    loop {
        terminal
            .draw(|frame| screen::draw(frame, &model))
            .map_err(anyhow::Error::from)?;
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            Some(words) = outcomes.recv() => model.message = words,
            (seen, looks, ticks) = &mut look => {
                model.see(seen, before.elapsed().as_secs_f64());
                before = Instant::now();
                looked += 1;
                if args.count.is_some_and(|count| looked >= count) {
                    return Ok(());
                }
                look = Box::pin(looks_after(looks, ticks));
            }
            pressed = keys.recv() => match pressed {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    model.message.clear();
                    match model.press(key) {
                        Effect::None => {}
                        Effect::Quit => return Ok(()),
                        Effect::Do(action) => {
                            model.message = "asking".to_owned();
                            tokio::spawn(ask(action, target.clone(), told.clone()));
                        }
                    }
                }
                Some(_) => {}
            },
        }
    }
}

async fn looks_after<'a, 'b>(
    looks: &'a mut Looks<'b>,
    ticks: &'a mut tokio::time::Interval,
) -> (
    Result<Snapshot, String>,
    &'a mut Looks<'b>,
    &'a mut tokio::time::Interval,
) {
    ticks.tick().await;
    (looks.look().await, looks, ticks)
}

/// The terminal's events, from a thread of its own, which ends when nobody listens any more.
fn keyboard() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEYS) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // A terminal that is gone has no keys any more.
            let Ok(event) = event else { break };
            if sender.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Asks for a drain or its end, and tells what came of it.
async fn ask(action: Action, target: Target, told: mpsc::Sender<String>) {
    let words = match asked(&action, &target).await {
        Ok(written) if written.unchanged => {
            format!("{}: it was so already", action.subject)
        }
        Ok(written) => format!(
            "{}: stored by {} of {} nodes",
            action.subject,
            written.stored_by.len(),
            written.known_nodes
        ),
        Err(failure) => format!("{}: {failure}", action.subject),
    };
    // Nobody hears it when the screen is gone.
    let _ = told.send(words).await;
}

async fn asked(action: &Action, target: &Target) -> Result<v1::WriteOverrideResponse, Failure> {
    const COMMENT: &str = "top";
    let mut client = Client::connect(target).await?;
    let comment = COMMENT.to_owned();
    match (&action.subject, action.is_drain) {
        (Subject::Node(node), true) => {
            let request = client.request(v1::DrainNodeRequest {
                node_id: node.clone(),
                comment,
                ..Default::default()
            });
            answer(client.admin.drain_node(request).await)
        }
        (Subject::Node(node), false) => {
            let request = client.request(v1::UndrainNodeRequest {
                node_id: node.clone(),
                comment,
                ..Default::default()
            });
            answer(client.admin.undrain_node(request).await)
        }
        (Subject::Server { backend, server }, is_drain) => {
            let state = if is_drain {
                ServerState::Drain
            } else {
                ServerState::Ready
            };
            let request = client.request(v1::SetServerStateRequest {
                backend: backend.clone(),
                server: server.clone(),
                state: state.into(),
                comment,
                ..Default::default()
            });
            answer(client.admin.set_server_state(request).await)
        }
        (Subject::Backend(name), _) => Err(Failure::invalid(format!(
            "{name}: a backend as a whole cannot be drained"
        ))),
    }
}
