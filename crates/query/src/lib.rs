//! Questions over all load balancers: whether a backend survives a rolling restart, how many connections there are, and
//! whatever else an expression asks.
//!
//! Everything here is values in, values out. A question ([`Check`] or [`Expression`]) says what it needs of each load
//! balancer ([`Wanted`]); [`Wanted::part`] is the *map*, which runs where the statistics are and makes a small [`Part`]
//! of them; [`Check::answer`] and [`Expression::answer`] are the *reduce*, which runs where the question was asked.
//!
//! - [`statistics`]: HAProxy's statistics page, and less of it.
//! - [`columns`]: the columns of that page and their types.
//! - [`info`]: what `show info` says of a process.
//! - [`server`]: the states of a server, told apart as HAProxy's manual does.
//! - [`tally`]: how many servers of a backend are in which state.
//! - [`part`]: what one load balancer contributes to an answer.
//! - [`checks`]: the questions that are built in, and their rules.
//! - [`expression`]: the Common Expression Language over the snapshot.
//! - [`answer`]: what comes of a question, by the conventions of monitoring.
//!
//! Who is asked, how, and for how long is left to others: the agent asks its peers, the command line asks HAProxies that
//! no agent manages.

pub mod answer;
pub mod checks;
pub mod columns;
pub mod expression;
pub mod info;
pub mod part;
pub mod server;
pub mod statistics;
pub mod tally;

pub use answer::{Answer, Datum, Missing, Standing, Verdict};
pub use checks::{Check, Share};
pub use expression::{Evaluation, Expression, ExpressionError};
pub use info::ProcessInfo;
pub use part::{Asked, Facts, Part, Reading, Wanted};
pub use server::ServerState;
pub use statistics::{RowKind, Selection, Statistics, StatisticsError};
pub use tally::Tally;
