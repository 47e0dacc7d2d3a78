//! The one shape of everything that acts: observe, plan, apply, report, again and again.
//!
//! A [`Reconcile`] knows what it watches and how to bring it to what it should be; [`run`] decides when: at once,
//! after each change, at each tick of a timer, and after a failure with growing pauses until something changes.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why a round was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The loop has just begun.
    Start,
    /// Something that it depends on has changed.
    Change,
    /// Time has passed since the last round.
    Timer,
    /// The last round failed or was deferred, and its pause is over.
    Retry,
}

/// How a round went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing for it to do, and why.
    Inert(&'static str),
    /// All is as it should be.
    Done,
    /// It is not, and must not be yet, and why; a round follows then, or when something changes.
    Deferred {
        /// The earliest time of the next round.
        until: Instant,
        /// What is waited for.
        reason: &'static str,
    },
    /// It is not, and why; tried again after a pause or when something changes.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inert(reason) => write!(f, "nothing to do: {reason}"),
            Self::Done => f.write_str("done"),
            Self::Deferred { reason, .. } => write!(f, "deferred: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// Something that can be brought to what it should be.
#[async_trait]
pub trait Reconcile: Send {
    /// Its name in the log.
    const NAME: &'static str;

    /// Ends when something that it depends on has changed since the last round. Cancel-safe: a change that is not
    /// waited for is seen by the next call.
    async fn changed(&mut self);

    /// One round. It runs to its end; nothing interrupts it.
    async fn reconcile(&mut self, activation: Activation) -> Outcome;

    /// Called once when the loop ends.
    async fn end(&mut self) {}
}

/// When rounds happen without a change.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two rounds when all is well.
    pub interval: Duration,
    /// After the first failure; doubled after each further one.
    pub first_pause: Duration,
    /// The longest pause after a failure.
    pub longest_pause: Duration,
}

/// Runs `subject` until `stop`.
pub async fn run<R: Reconcile>(mut subject: R, pace: Pace, stop: CancellationToken) {
    let mut failures: u32 = 0;
    let mut activation = Activation::Start;
    let mut last = None;
    loop {
        let outcome = subject.reconcile(activation).await;
        log_change(R::NAME, &outcome, last.as_ref());
        failures = if matches!(outcome, Outcome::Failed(_)) {
            failures.saturating_add(1)
        } else {
            0
        };
        let (wake, next) = match &outcome {
            Outcome::Inert(_) | Outcome::Done => {
                (Instant::now() + pace.interval, Activation::Timer)
            }
            Outcome::Deferred { until, .. } => (*until, Activation::Retry),
            Outcome::Failed(_) => (
                Instant::now() + pause_after(failures, pace),
                Activation::Retry,
            ),
        };
        last = Some(outcome);
        activation = tokio::select! {
            () = stop.cancelled() => break,
            () = subject.changed() => Activation::Change,
            () = tokio::time::sleep_until(wake) => next,
        };
        if activation == Activation::Change {
            failures = 0;
        }
    }
    subject.end().await;
}

fn pause_after(failures: u32, pace: Pace) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    pace.first_pause
        .saturating_mul(1 << doublings)
        .min(pace.longest_pause)
}

fn log_change(name: &str, outcome: &Outcome, last: Option<&Outcome>) {
    if last == Some(outcome) {
        return;
    }
    match outcome {
        Outcome::Failed(reason) => tracing::error!(reconcile = name, reason, "failed"),
        Outcome::Deferred { reason, .. } => tracing::debug!(reconcile = name, reason, "deferred"),
        Outcome::Inert(_) | Outcome::Done => tracing::info!(reconcile = name, "{outcome}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use tokio::sync::{Notify, mpsc};

    struct Scripted {
        outcomes: VecDeque<Outcome>,
        change: Arc<Notify>,
        seen: mpsc::UnboundedSender<(Activation, Instant)>,
    }

    #[async_trait]
    impl Reconcile for Scripted {
        const NAME: &'static str = "scripted";

        async fn changed(&mut self) {
            self.change.notified().await;
        }

        async fn reconcile(&mut self, activation: Activation) -> Outcome {
            self.seen.send((activation, Instant::now())).unwrap();
            self.outcomes.pop_front().unwrap_or(Outcome::Done)
        }
    }

    const PACE: Pace = Pace {
        interval: Duration::from_secs(1),
        first_pause: Duration::from_secs(5),
        longest_pause: Duration::from_secs(12),
    };

    fn begin(
        outcomes: Vec<Outcome>,
    ) -> (
        mpsc::UnboundedReceiver<(Activation, Instant)>,
        Arc<Notify>,
        CancellationToken,
    ) {
        let (seen, rounds) = mpsc::unbounded_channel();
        let (change, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let subject = Scripted {
            outcomes: outcomes.into(),
            change: Arc::clone(&change),
            seen,
        };
        tokio::spawn(run(subject, PACE, stop.clone()));
        (rounds, change, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_follow_the_timer_when_all_is_well() {
        let (mut rounds, _change, stop) = begin(vec![Outcome::Done, Outcome::Inert("no spec")]);
        let start = rounds.recv().await.unwrap();
        assert_eq!(start.0, Activation::Start);
        for _ in 0..3 {
            assert_eq!(rounds.recv().await.unwrap().0, Activation::Timer);
        }
        stop.cancel();
        while rounds.recv().await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_retried_with_growing_pauses_up_to_the_longest() {
        let failed = || Outcome::Failed("no".into());
        let (mut rounds, _change, _stop) = begin(vec![failed(), failed(), failed(), failed()]);
        let mut last = rounds.recv().await.unwrap().1;
        for pause in [5, 10, 12, 12] {
            let (activation, at) = rounds.recv().await.unwrap();
            assert_eq!(
                (activation, (at - last).as_secs()),
                (Activation::Retry, pause)
            );
            last = at;
        }
        assert_eq!(rounds.recv().await.unwrap().0, Activation::Timer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deferred_round_comes_when_it_may_and_changes_before_it_are_seen() {
        let until = Instant::now() + Duration::from_secs(3);
        let deferred = || Outcome::Deferred {
            until,
            reason: "too soon",
        };
        let (mut rounds, change, _stop) = begin(vec![deferred(), deferred()]);
        let start = rounds.recv().await.unwrap().1;
        change.notify_one();
        assert_eq!(rounds.recv().await.unwrap(), (Activation::Change, start));
        assert_eq!(rounds.recv().await.unwrap(), (Activation::Retry, until));
        assert_eq!(rounds.recv().await.unwrap().0, Activation::Timer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_every_pause() {
        let failed = || Outcome::Failed("no".into());
        let (mut rounds, change, _stop) = begin(vec![failed(), failed()]);
        let start = rounds.recv().await.unwrap().1;
        change.notify_one();
        let (activation, at) = rounds.recv().await.unwrap();
        assert_eq!((activation, at), (Activation::Change, start));
        assert_eq!((rounds.recv().await.unwrap().1 - at).as_secs(), 5);
    }
}
