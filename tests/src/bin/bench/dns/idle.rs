//! How often Route53 is called while nothing happens.

use std::time::{Duration, Instant};

use super::published::Published;
use crate::figure::Figure;
use crate::reloads::{count, pass};

/// How long a fleet settles after its name was published.
const SETTLE: Duration = Duration::from_secs(10);

/// Counts the calls of `seconds`.
pub(super) fn measure(seconds: u32) -> Vec<Figure> {
    let published = Published::start();
    pass(SETTLE);
    eprintln!("calls to Route53 at rest, for {seconds} s");
    let calls = || published.inner.witness().calls();
    let batches = || published.inner.witness().batches().len();
    let (calls_before, batches_before, begun) = (calls(), batches(), Instant::now());
    pass(Duration::from_secs(seconds.into()));
    let (calls, batches) = (calls() - calls_before, batches() - batches_before);
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    vec![
        Figure::under(
            "calls to Route53 an hour, at rest",
            count(u64::try_from(calls).unwrap_or(u64::MAX)) / hours,
            "calls",
            200.0,
        )
        .beside(format!("{calls} in {seconds} s, {batches} of them writes")),
    ]
}
