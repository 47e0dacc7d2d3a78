//! One batch of changes, as it was sent to Route53 and answered.

use std::net::IpAddr;
use std::time::Instant;

/// The name whose addresses are looked at.
pub(super) const NAME: &str = "www.example.com";

/// A batch, once it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// When the answer had come.
    pub(crate) answered: Instant,
    /// Whether it was applied.
    pub(crate) is_accepted: bool,
    /// The leader that sent it, as the ownership record says that it makes.
    pub(crate) leader: String,
    /// That leader's term.
    pub(crate) term: u64,
    /// The addresses that it gives [`NAME`]; none if it leaves them as they are.
    pub(crate) addresses: Option<Vec<IpAddr>>,
}

impl Batch {
    /// The batch whose request is `xml`, in the form of `ChangeResourceRecordSets` (Amazon Route 53 API Reference).
    pub(super) fn read(xml: &str, is_accepted: bool) -> Self {
        let changes = elements(xml, "Change").into_iter();
        let made: Vec<_> = changes
            .filter(|change| elements(change, "Action") != ["DELETE"])
            .collect();
        let of_type = |kind: &str| {
            let is_of_type = move |change: &&&str| elements(change, "Type") == [kind];
            made.iter().filter(is_of_type).copied().collect::<Vec<_>>()
        };
        let texts = of_type("TXT");
        let word = |name: &str| {
            let rest = texts.first()?.split_once(&format!(",{name}="))?.1;
            Some(rest.split(',').next()?.to_owned())
        };
        let is_of_name = |change: &&&str| {
            let names = elements(change, "Name");
            names
                .first()
                .is_some_and(|name| name.trim_end_matches('.') == NAME)
        };
        let addresses = of_type("A").iter().find(is_of_name).map(|change| {
            let values = elements(change, "Value").into_iter();
            values.filter_map(|value| value.parse().ok()).collect()
        });
        Self {
            answered: Instant::now(),
            is_accepted,
            leader: word("leader").unwrap_or_default(),
            term: word("term").and_then(|term| term.parse().ok()).unwrap_or(0),
            addresses,
        }
    }
}

/// What is in all elements `name` of `xml`, in their order.
fn elements<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, kind: &str, name: &str, value: &str) -> String {
        format!(
            "<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><ResourceRecords>\
             <ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>"
        )
    }

    #[test]
    fn a_batch_says_who_sent_it_and_what_it_publishes() {
        let owner = |term: u64| {
            format!(
                "&quot;heritage=hafleet,fleet=shop,term={term},leader=n{term},sequence=4,nonce=0&quot;"
            )
        };
        let fence = change("DELETE", "TXT", "_hafleet.www.example.com", &owner(3))
            + &change("CREATE", "TXT", "_hafleet.www.example.com", &owner(5));
        let batch = Batch::read(&fence, true);
        assert_eq!((batch.term, batch.leader.as_str()), (5, "n5"));
        assert_eq!(batch.addresses, None);
        let moved = fence + &change("UPSERT", "A", "www.example.com.", "192.0.2.1");
        let addresses = Batch::read(&moved, true).addresses;
        assert_eq!(addresses, Some(vec![[192, 0, 2, 1].into()]));
    }
}
