//! What a message from a name server means for one question. Pure.

use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::answer::SourceError;

/// So many aliases may follow one another.
pub(super) const MOST_ALIASES: usize = 8;

/// All records of one name and type.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Records {
    /// What they hold; nothing if there are none.
    pub(super) data: Vec<RData>,
    /// How long that is good for, if the name server says so.
    pub(super) life: Option<Duration>,
}

/// What a reply comes down to.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// The records, or that there are none.
    Known(Records),
    /// Another name has to be asked for instead; the alias is good for so long.
    Alias(Name, Duration),
}

/// Reads what came from `server` for `name` and `kind`.
///
/// # Errors
/// When it says neither which records there are nor that there are none.
pub(super) fn read(
    reply: Result<Message, NetError>,
    server: &str,
    name: &Name,
    kind: RecordType,
) -> Result<Reply, SourceError> {
    let failed = |why: String| SourceError::Malformed {
        what: server.to_owned(),
        why,
    };
    match reply {
        Ok(message) => message_of(&message, name, kind).map_err(failed),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => nothing(&none).map_err(failed),
        Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused))) => {
            Err(SourceError::Refused {
                what: server.to_owned(),
                why: format!("it answers REFUSED when asked for {name}"),
            })
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => {
            Err(failed(format!("{code} when asked for {name}")))
        }
        Err(NetError::Proto(error)) => Err(failed(error.to_string())),
        Err(NetError::Truncated) => Err(failed("it cuts off its answer over TCP too".to_owned())),
        Err(error) => Err(SourceError::Unreachable {
            what: server.to_owned(),
            why: error.to_string(),
        }),
    }
}

/// A name that does not exist, or has no such records (RFC 2308, section 2).
fn nothing(none: &NoRecords) -> Result<Reply, String> {
    match none.response_code {
        ResponseCode::NXDomain | ResponseCode::NoError => {}
        code => return Err(format!("it answers {code} and no records")),
    }
    // Section 2.2: without a SOA, name servers in the authority section are a referral and say nothing about the name.
    if none.soa.is_none() && none.ns.is_some() {
        return Err("it refers to other name servers: give one that looks further".to_owned());
    }
    Ok(Reply::Known(Records {
        data: Vec::new(),
        life: none.negative_ttl.map(seconds),
    }))
}

fn message_of(message: &Message, asked: &Name, kind: RecordType) -> Result<Reply, String> {
    let nonexistent = match message.response_code {
        ResponseCode::NoError => false,
        ResponseCode::NXDomain => true,
        code => return Err(format!("it answers {code}")),
    };
    let mut name = asked;
    let mut life = u32::MAX;
    for _ in 0..=MOST_ALIASES {
        let mut records = Vec::new();
        let mut alias = None;
        for record in message.answers.iter().filter(|record| record.name == *name) {
            if record.record_type() == kind {
                records.push(record.data.clone());
                life = life.min(record.ttl);
            } else if let RData::CNAME(target) = &record.data {
                alias = Some((&target.0, record.ttl));
            }
        }
        if !records.is_empty() {
            return Ok(Reply::Known(Records {
                data: records,
                life: Some(seconds(life)),
            }));
        }
        let Some((target, ttl)) = alias else {
            return ended(name, asked, nonexistent, life);
        };
        life = life.min(ttl);
        name = target;
    }
    Err(format!("its aliases for {asked} have no end"))
}

/// The answer leads to `name` and says no more of it.
fn ended(name: &Name, asked: &Name, nonexistent: bool, life: u32) -> Result<Reply, String> {
    if nonexistent {
        return Ok(Reply::Known(Records {
            data: Vec::new(),
            life: Some(seconds(life)),
        }));
    }
    if name == asked {
        return Err(format!("it answers with other records than {asked}'s"));
    }
    Ok(Reply::Alias(name.clone(), seconds(life)))
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
