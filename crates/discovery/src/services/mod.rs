//! Whole services as keys, in the layout that users of confd have. Pure.
//!
//! Below a prefix such as `/haproxy-prod/`:
//!
//! - `services/<name>/domain`, `url_beg`, `port`, `cert`, `balance`: an HTTP service. `port` and one of `domain` and
//!   `url_beg` have to be there; where both are, a request has to match both.
//! - `tcp-services/<name>/external_port`, `internal_port`, `balance`: a TCP service.
//! - `upstreams/<any name>` of either: an address or address:port of one of its servers. Without any, its servers are what
//!   its name stands for in DNS.
//!
//! A service that cannot be used is left out and named, with all that is wrong with it, and the others work.

mod certificate;
mod layout;
mod reading;
mod unique;
mod values;

use crate::answer::{Answer, LeftOut};
use crate::etcd::Keys;
use layout::Layout;
use reading::Reading;
use unique::Taken;

pub use certificate::Certificates;

/// The services of `keys` below `prefix`, which ends in a slash.
pub fn answer(prefix: &str, keys: &Keys, certificates: &dyn Certificates) -> Answer {
    let Layout { services, left_out } = Layout::read(prefix, keys);
    let mut answer = Answer {
        left_out,
        ..Answer::default()
    };
    let mut taken = Taken::default();
    for raw in &services {
        let what = format!("{prefix}{}/{}", raw.section.folder(), raw.name);
        let read = Reading::of(raw, certificates).and_then(|found| {
            taken.take(&found.service)?;
            Ok(found)
        });
        match read {
            Ok(found) => {
                answer.services.push(found.service);
                answer.certificates.extend(found.certificate);
                let notes = found.notes.into_iter();
                answer.left_out.extend(notes.map(|(key, why)| LeftOut {
                    what: format!("{what}/{key}"),
                    why,
                }));
            }
            Err(why) => answer.left_out.push(LeftOut { what, why }),
        }
    }
    answer
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
