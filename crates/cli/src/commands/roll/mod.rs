//! `hafleet roll`: a command for each server of a backend, some at a time, with nobody sent there meanwhile.
//!
//! One batch after the other: whether the backend stands it is asked of all load balancers, the servers drain, their
//! commands run, their checks pass again, they are made ready, and every load balancer sees them up. [`journal`] has on
//! disk what is done, so that whatever ends this command, it can be resumed. [`sighting`] judges what is seen, and
//! decides nothing; [`hands`] asks the fleet.

pub(crate) mod args;
mod batch;
mod command;
mod events;
mod hands;
mod interrupt;
mod journal;
mod plan;
mod sighting;

use hafleet_api::v1::ServerState;
use hafleet_query::{Check, Standing};

use self::args::RollArgs;
use self::batch::Stopped;
use self::events::{Event, Events};
use self::hands::Hands;
use self::interrupt::Interrupt;
use self::journal::{Earlier, Journal};
use self::plan::Plan;
use self::sighting::Sighting;
use crate::args::Target;
use crate::failure::{Exit, Failure};
use crate::print::Printer;

/// A roll that is under way.
struct Roll<'a> {
    backend: &'a str,
    hands: Hands<'a>,
    journal: Journal,
    events: Events,
    interrupt: Interrupt,
}

/// Runs `roll`.
pub(crate) async fn run(args: &RollArgs, target: &Target, printer: Printer) -> Result<(), Failure> {
    let earlier = match (args.resume, args.anew) {
        (true, _) => Earlier::Resume,
        (_, true) => Earlier::Forget,
        (false, false) => Earlier::Refuse,
    };
    let mut hands = Hands::new(&args.backend, args.allow_missing, target)?;
    let fleet = hands.fleet().await?;
    let journal = Journal::open((&fleet, &args.backend), earlier, |earlier| {
        Plan::of(args, earlier)
    })?;
    hands.explain(format!("roll: {}", journal.record.plan.command.join(" ")));
    let roll = Roll {
        backend: &args.backend,
        hands,
        journal,
        events: Events::new(printer),
        interrupt: Interrupt::listen()?,
    };
    roll.run().await
}

impl Roll<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        let seen = self.hands.see().await?;
        if seen.names().is_empty() {
            // Its own words name the backends that there are.
            self.safe(1).await?;
            return Err(Failure::invalid(format!(
                "backend {} has no servers",
                self.backend
            )));
        }
        let left_alone = self.taken_by_others(&seen).await?;
        let todo = self.todo(&seen, &left_alone);
        self.events.tell(&Event::Begun {
            backend: self.backend,
            todo: &todo,
            done: &self.journal.record.done,
        })?;
        loop {
            let seen = self.hands.see().await?;
            let todo = self.todo(&seen, &left_alone);
            if todo.is_empty() {
                break;
            }
            let size = usize::try_from(self.journal.record.plan.at_a_time).unwrap_or(usize::MAX);
            let batch: Vec<_> = todo.into_iter().take(size).collect();
            if let Err(stopped) = self.step(&batch, &seen).await {
                let seen = self.hands.see().await.unwrap_or(seen);
                let todo = self.todo(&seen, &left_alone);
                return self.stop(&stopped, &todo);
            }
        }
        self.events.tell(&Event::Done {
            backend: self.backend,
            done: &self.journal.record.done,
            left_alone: &left_alone,
        })?;
        self.journal.close()
    }

    /// One batch, unless it was told to stop or the backend would not stand it.
    async fn step(&mut self, batch: &[String], seen: &Sighting) -> Result<(), Stopped> {
        if self.interrupt.is_asked() {
            return Err(Stopped::Asked);
        }
        let is_out =
            |server: &&String| self.journal.record.out.contains(server) && seen.is_out(server);
        let already_out = batch.iter().filter(is_out).count();
        if let Ok(more @ 1..) = u32::try_from(batch.len() - already_out) {
            let summary = self.safe(more).await.map_err(Stopped::Refused)?;
            self.events.tell(&Event::Safe {
                servers: batch,
                summary: &summary,
            })?;
        }
        self.batch(batch).await
    }

    /// Asks whether the backend stands that so many more servers are out of service.
    async fn safe(&mut self, at_a_time: u32) -> Result<String, Failure> {
        let check = Check::RollingRestart {
            backend: self.backend.to_owned(),
            at_a_time,
            min_up: self.journal.record.plan.min_up()?,
        };
        let answer = self.hands.ask(&check).await?;
        if answer.standing == Standing::Ok {
            return Ok(answer.summary);
        }
        let words = format!(
            "it is not safe to take {at_a_time} out of service: {}",
            answer.lines()
        );
        Err(Failure::new(Exit::Refused, words))
    }

    /// Servers that are out of service, and not because of an earlier part of this roll.
    async fn taken_by_others(&self, seen: &Sighting) -> Result<Vec<String>, Failure> {
        let by_hand = self.hands.by_hand().await?;
        let mut others = Vec::new();
        for server in seen.names() {
            if self.journal.record.out.contains(server) || !seen.is_taken_out(server) {
                continue;
            }
            let found = by_hand.iter().find(|found| found.server == *server);
            let provenance = found.and_then(|found| found.provenance.as_ref());
            let reason = match provenance {
                Some(who) if who.comment.is_empty() => format!("taken out by {}", who.author),
                Some(who) => format!("taken out by {}: {}", who.author, who.comment),
                None => "it drains or is in maintenance".to_owned(),
            };
            self.events.tell(&Event::LeftAlone {
                server,
                reason: &reason,
            })?;
            others.push(server.clone());
        }
        Ok(others)
    }

    /// What is left to do: what an earlier part left out of service first.
    fn todo(&self, seen: &Sighting, left_alone: &[String]) -> Vec<String> {
        let record = &self.journal.record;
        let is_todo =
            |server: &&String| !record.done.contains(server) && !left_alone.contains(server);
        let mut todo: Vec<_> = seen.names().iter().filter(is_todo).cloned().collect();
        todo.sort_by_key(|server| !record.out.contains(server));
        todo
    }

    /// Why it has not come to its end, and how it goes on.
    fn stop(self, stopped: &Stopped, todo: &[String]) -> Result<(), Failure> {
        let (out, done) = (&self.journal.record.out, &self.journal.record.done);
        if out.is_empty() && done.is_empty() {
            let words = format!("{stopped}\nnothing was done");
            self.journal.close()?;
            return Err(Failure::new(stopped.exit(), words));
        }
        let untouched: Vec<_> = todo.iter().filter(|server| !out.contains(server)).collect();
        let mut words = vec![stopped.to_string()];
        words.push(format!(
            "{} of {} servers are done, {} untouched",
            done.len(),
            done.len() + todo.len(),
            untouched.len()
        ));
        if !out.is_empty() {
            let list = out.join(", ");
            let example = out.first().map_or("", String::as_str);
            words.push(format!(
                "still in drain: {list}; `hafleet server ready {}/{example}` brings it back as it is",
                self.backend
            ));
        }
        words.push(format!(
            "go on with `hafleet roll {} --resume`, or begin with the first server with --anew",
            self.backend
        ));
        Err(Failure::new(stopped.exit(), words.join("\n")))
    }

    async fn set(&mut self, server: &str, state: ServerState) -> Result<(), Failure> {
        self.hands.set(server, state).await
    }
}
