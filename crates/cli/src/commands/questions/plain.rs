//! Questions to HAProxies that no agent manages: their statistics are read here, and so are the answers made.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use hafleet_query::{
    Asked, Check, Facts, Missing, Part, ProcessInfo, Reading, RowKind, Statistics, Wanted,
};

use super::args::QuestionArgs;
use super::source::{Place, Source};
use super::transport::{self, Secure};
use crate::failure::Failure;

/// Refuses what statistics do not tell.
pub(super) fn allow(check: &Check) -> Result<(), Failure> {
    match check {
        Check::Converged => Err(Failure::invalid(
            "HAProxies without agents have no spec in common; ask a fleet with --endpoint",
        )),
        Check::Certificates { .. } => Err(Failure::invalid(
            "statistics tell of no certificates; ask a fleet with --endpoint",
        )),
        _ => Ok(()),
    }
}

/// Asks all sources for their part, all at once.
pub(super) async fn ask(wanted: &Wanted, question: &QuestionArgs) -> Asked {
    let secure = Secure::new(question.stats_ca.as_deref());
    let sources = question.stats.iter();
    let parts = sources.map(|source| {
        let reading = read(source, wanted, &secure);
        tokio::time::timeout(question.node_timeout, reading)
    });
    let mut asked = Asked::default();
    for (source, part) in question.stats.iter().zip(join_all(parts).await) {
        let late = || {
            Err(format!(
                "it did not answer within {} ms",
                question.node_timeout.as_millis()
            ))
        };
        match part.unwrap_or_else(|_| late()) {
            Ok(reading) => asked.parts.push(part_of(wanted, &reading)),
            Err(reason) => asked.missing.push(Missing {
                lb: source.name.clone(),
                reason,
            }),
        }
    }
    asked.no_older_than(question.max_age)
}

fn part_of(wanted: &Wanted, reading: &Reading) -> Part {
    wanted.part(reading)
}

async fn read(source: &Source, wanted: &Wanted, secure: &Secure) -> Result<Reading, String> {
    let mut age = Duration::ZERO;
    let mut info = String::new();
    let page = match &source.place {
        Place::Http(page) => transport::page(page, secure).await?,
        Place::File(path) => {
            let (text, since) = transport::file(path).await?;
            age = SystemTime::now().duration_since(since).unwrap_or_default();
            text
        }
        Place::Unix(_) | Place::Tcp(_) => {
            if wanted.needs_info() {
                info = transport::command(&source.place, "show info").await?;
            }
            let mask: u8 = wanted.kinds().into_iter().map(RowKind::mask).sum();
            // A page of frontends alone tells at least whether anybody is there.
            let command = format!("show stat -1 {} -1", if mask == 0 { 1 } else { mask });
            transport::command(&source.place, &command).await?
        }
    };
    let statistics = Statistics::parse(&page);
    Ok(Reading {
        facts: Facts {
            id: source.name.clone(),
            ..Facts::default()
        },
        statistics: statistics
            .map_err(|error| format!("its statistics cannot be read: {error}"))?,
        info: ProcessInfo::parse(&info),
        certificates: Vec::new(),
        age,
    })
}
