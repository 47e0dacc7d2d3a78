//! What people see while they wait: a spinner on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::print::note;

/// One wait, with words that change as it goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    /// Begins a wait. On a terminal the words replace each other; elsewhere each change is a line.
    pub(crate) fn begin(words: impl Into<String>) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let mut progress = Self {
            bar,
            last: String::new(),
        };
        progress.say(words);
        progress
    }

    /// Says what is being waited for now.
    pub(crate) fn say(&mut self, words: impl Into<String>) {
        let words = words.into();
        if words == self.last {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(words.clone()),
            None => note(&words),
        }
        self.last = words;
    }

    /// Ends the wait, leaving one line behind.
    pub(crate) fn end(self, words: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        note(words);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
