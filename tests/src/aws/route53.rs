//! Route53 of a test's own: strict, behind a gate, with the few calls that tests need past it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::gate::{Fault, Gate};
use super::http::{self, Message};
use super::moto::{KEY, Moto, texts};

/// Route53 at [`Dns::endpoint`]. What tests do to it goes past the gate.
#[derive(Debug)]
pub struct Dns {
    moto: Moto,
    gate: Gate,
}

/// One set of records, as it is in its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name, with the dot at its end.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What tells it apart; empty where it is the only one.
    pub identifier: String,
    /// Its weight, if it has one.
    pub weight: Option<u8>,
    /// Its values.
    pub values: Vec<String>,
}

impl Dns {
    /// Starts one without zones, to be reached at `address`.
    ///
    /// # Panics
    /// When it does not start, or that is no address of this place.
    pub fn start_at(address: IpAddr) -> Self {
        let moto = Moto::start_strict(&[]);
        let gate = Gate::at(address, moto.address());
        Self { moto, gate }
    }

    /// What `AWS_ENDPOINT_URL` should be.
    pub fn endpoint(&self) -> String {
        self.gate.endpoint()
    }

    /// From now on nothing is reached.
    pub fn break_down(&self) {
        self.gate.set(Fault::Down);
    }

    /// From now on all is well.
    pub fn mend(&self) {
        self.gate.set(Fault::None);
    }

    /// Makes a zone; its id.
    ///
    /// # Panics
    /// When it is refused.
    pub fn add_zone(&self, name: &str) -> String {
        let body = format!(
            "<CreateHostedZoneRequest><Name>{name}</Name><CallerReference>{name}</CallerReference></CreateHostedZoneRequest>"
        );
        let answer = self.call("POST", "/2013-04-01/hostedzone", &body);
        let id = texts(&answer, "Id").into_iter().next();
        let id = id.unwrap_or_else(|| panic!("no id in {answer}"));
        id.trim_start_matches("/hostedzone/").to_owned()
    }

    /// Makes an A record, as somebody else would.
    ///
    /// # Panics
    /// When it is refused.
    pub fn add(&self, zone: &str, name: &str, value: &str) {
        let body = format!(
            "<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet>\
             <Name>{name}</Name><Type>A</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>{value}</Value>\
             </ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch>\
             </ChangeResourceRecordSetsRequest>"
        );
        let path = format!("/2013-04-01/hostedzone/{zone}/rrset/");
        self.call("POST", &path, &body);
    }

    /// Puts `after` in the place of the ownership record's value of a name, whatever that is, as another leader would.
    ///
    /// # Panics
    /// When there is none, or it is refused.
    pub fn rewrite_ownership(&self, zone: &str, name: &str, after: impl Fn(&str) -> String) {
        let record = format!("_hafleet.{name}.");
        let sets = self.sets(zone).into_iter();
        let mut values = sets
            .filter(|set| set.kind == "TXT" && set.name == record)
            .flat_map(|set| set.values);
        let before = values.next().expect("the name has an ownership record");
        let before = before.replace("&quot;", "\"");
        let change = |action: &str, value: &str| {
            let value = value.replace('"', "&quot;");
            format!(
                "<Change><Action>{action}</Action><ResourceRecordSet><Name>{record}</Name><Type>TXT</Type><TTL>60</TTL>\
                 <ResourceRecords><ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords>\
                 </ResourceRecordSet></Change>"
            )
        };
        let changes = change("DELETE", &before) + &change("CREATE", &after(&before));
        let body = format!(
            "<ChangeResourceRecordSetsRequest><ChangeBatch><Changes>{changes}</Changes></ChangeBatch>\
             </ChangeResourceRecordSetsRequest>"
        );
        self.call(
            "POST",
            &format!("/2013-04-01/hostedzone/{zone}/rrset/"),
            &body,
        );
    }

    /// All sets of a zone but those that every zone has.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn sets(&self, zone: &str) -> Vec<Set> {
        let path = format!("/2013-04-01/hostedzone/{zone}/rrset");
        let answer = self.call("GET", &path, "");
        let sets = texts(&answer, "ResourceRecordSet");
        let sets = sets.iter().map(|set| {
            let first = |name: &str| texts(set, name).into_iter().next();
            Set {
                name: first("Name").unwrap_or_default(),
                kind: first("Type").unwrap_or_default(),
                identifier: first("SetIdentifier").unwrap_or_default(),
                weight: first("Weight").and_then(|weight| weight.parse().ok()),
                values: texts(set, "Value"),
            }
        });
        sets.filter(|set| !["NS", "SOA"].contains(&set.kind.as_str()))
            .collect()
    }

    /// The addresses of a name, sorted.
    pub fn addresses(&self, zone: &str, name: &str) -> Vec<String> {
        let sets = self.sets(zone).into_iter();
        let sets = sets.filter(|set| set.kind == "A" && set.name == format!("{name}."));
        let mut values: Vec<_> = sets.flat_map(|set| set.values).collect();
        values.sort();
        values
    }

    /// What the ownership record of a name says: `term`, `leader` and so on; nothing if there is none.
    pub fn ownership(&self, zone: &str, name: &str) -> BTreeMap<String, String> {
        let record = format!("_hafleet.{name}.");
        let sets = self.sets(zone).into_iter();
        let value = sets
            .filter(|set| set.kind == "TXT" && set.name == record)
            .find_map(|set| set.values.into_iter().next())
            .unwrap_or_default()
            .replace("&quot;", "\"");
        let words = value.trim_matches('"').split(',');
        words
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn call(&self, method: &str, path: &str, body: &str) -> String {
        let scope = format!("{KEY}/20260101/us-east-1/route53/aws4_request");
        let request = Message {
            first: format!("{method} {path} HTTP/1.1"),
            headers: vec![
                "Host: route53.amazonaws.com".to_owned(),
                "Content-Type: text/xml".to_owned(),
                format!(
                    "Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
                ),
            ],
            body: body.as_bytes().to_vec(),
        };
        let answer = http::exchange(self.moto.address(), &request).expect("Route53 answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let is_done = [" 200 ", " 201 "]
            .iter()
            .any(|code| answer.first.contains(code));
        assert!(is_done, "{path}: {}: {text}", answer.first);
        text
    }
}
