//! What comes from peers and out of stores: bodies of documents, headers, reports, and the texts in them. Whatever it is, it
//! is read or refused; and what was read is written to what reads back the same.

#![no_main]

use hafleet_model::report::NodeReport;
use hafleet_model::secrets::CertificateName;
use hafleet_model::{
    Digest, DocumentKind, Endpoints, FleetName, Header, NodeId, Overrides, Revision, Secrets,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(secrets) = Secrets::parse(text) {
        let again = Secrets::parse(&secrets.body());
        assert_eq!(again.as_ref(), Ok(&secrets), "secrets do not read back");
    }
    if let Ok(overrides) = Overrides::parse(text) {
        let again = Overrides::parse(&overrides.body()).expect("overrides read back");
        assert_eq!(again, overrides);
        let _ = overrides.next_expiry();
    }
    if let Ok(endpoints) = Endpoints::parse(text) {
        let again = Endpoints::parse(&endpoints.body()).expect("endpoints read back");
        assert_eq!(again.body(), endpoints.body());
    }
    if let Ok(header) = serde_json::from_str::<Header>(text) {
        let written = serde_json::to_string(&header).expect("JSON");
        let again: Header = serde_json::from_str(&written).expect("a header reads back");
        assert_eq!(again, header);
    }
    if let Ok(report) = serde_json::from_str::<NodeReport>(text) {
        let written = serde_json::to_string(&report).expect("JSON");
        let again: NodeReport = serde_json::from_str(&written).expect("a report reads back");
        assert_eq!(again, report);
    }
    for word in text.split_whitespace().take(8) {
        reads_back::<Revision>(word);
        reads_back::<Digest>(word);
        reads_back::<DocumentKind>(word);
        reads_back::<CertificateName>(word);
        let _ = (NodeId::new(word), FleetName::new(word));
    }
});

fn reads_back<T>(word: &str)
where
    T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = word.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert_eq!(again.ok().as_ref(), Some(&value));
    }
}
