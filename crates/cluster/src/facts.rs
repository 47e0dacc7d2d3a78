//! A node's report as gossip carries it: one small value under each key.
//!
//! The one place where what others say of themselves is parsed. A value that cannot be understood spoils the whole
//! report, which is then as good as absent; unknown keys are let pass, for later versions.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hafleet_model::report::{
    ApplyState, CertificateState, DataPlane, EndpointsState, NodeReport, OwnConfiguration,
};
use hafleet_model::{Digest, DocumentKind, NodeId, Stamp, Term};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest value, in bytes. A larger one could keep a node's other keys from ever being sent.
pub(crate) const MAX_VALUE_LEN: usize = 1024;
/// No term can be higher: one that is, is made up, and would leave no room for the next.
pub(crate) const MAX_TERM: Term = Term(1 << 53);
/// The longest text inside a value.
const MAX_TEXT_LEN: usize = 480;

const DATA_ADDRESS: &str = "data_address";
const ADDRESSES: &str = "addresses";
const WEIGHT: &str = "weight";
const ZONE: &str = "zone";
const VERSION: &str = "version";
const WITNESS: &str = "witness";
const INSTANCE: &str = "instance";
const SEALING_KEY: &str = "sealing_key";
const UNFIT: &str = "unfit";
const SETTLING: &str = "settling";
const CLAIM: &str = "claim";
const APPLY: &str = "apply";
const OWN_CONFIGURATION: &str = "own_configuration";
const ENDPOINTS: &str = "endpoints";
const DATA_PLANE: &str = "data_plane";
const CERTIFICATE: &str = "certificate";
const REVOCATIONS: &str = "revocations";
const JOIN: &str = "join";
const HELD: &str = "held.";
const LOST: &str = "lost.";
const LEFT: &str = "left";
const GONE: &str = "gone";

/// The keys of which everyone is to hear at once: they decide who leads and who is counted on.
const URGENT: [&str; 4] = [CLAIM, UNFIT, LEFT, GONE];
/// How many nodes are named as gone at once.
pub(crate) const MAX_GONE: usize = 8;

/// What a node says, beyond its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its report.
    pub report: Arc<NodeReport>,
    /// It has said goodbye.
    pub has_left: bool,
    /// Of each kind of which it keeps conflicts: a digest over which they are.
    pub lost: BTreeMap<DocumentKind, Digest>,
    /// The runs of nodes that have just stopped answering it, by their generation. Nobody believes that: it is a reason to
    /// go and see.
    pub gone: BTreeMap<NodeId, u64>,
}

/// Gossip that is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FactsError {
    #[error("{0}")]
    BadNode(#[from] hafleet_model::NameError),
    #[error("{key} is missing")]
    Missing { key: &'static str },
    #[error("{key} cannot be read: {reason}")]
    BadValue { key: String, reason: String },
}

/// A report that says nothing but who and where.
pub fn blank_report(id: NodeId, generation: u64, address: SocketAddr) -> NodeReport {
    NodeReport {
        id,
        generation,
        address,
        data_address: address.ip(),
        addresses: BTreeMap::new(),
        weight: NodeReport::default_weight(),
        zone: None,
        version: String::new(),
        is_witness: false,
        instance: None,
        sealing_key: None,
        unfit: None,
        is_settling: false,
        claim: None,
        held: BTreeMap::new(),
        apply: ApplyState::default(),
        own_configuration: None,
        endpoints: EndpointsState::default(),
        data_plane: DataPlane::default(),
        certificate: None,
        revocations: BTreeMap::new(),
        join_address: None,
    }
}

/// The keys and values of `facts`. What is absent has an empty value, so that no key is ever deleted: gossip's deletion
/// needs a grace period and a reset of peers that missed it. Texts that are too long are cut.
pub(crate) fn to_gossip(facts: &Facts) -> BTreeMap<String, String> {
    let report = &facts.report;
    let mut values = BTreeMap::from([
        (DATA_ADDRESS.to_owned(), report.data_address.to_string()),
        (ADDRESSES.to_owned(), json(&report.addresses)),
        (WEIGHT.to_owned(), report.weight.to_string()),
        (VERSION.to_owned(), cut(&report.version)),
        (
            CERTIFICATE.to_owned(),
            json(&report.certificate.as_ref().map(cut_certificate)),
        ),
        (REVOCATIONS.to_owned(), json(&report.revocations)),
        (APPLY.to_owned(), json(&cut_apply(&report.apply))),
        (
            OWN_CONFIGURATION.to_owned(),
            json(&report.own_configuration.as_ref().map(cut_own)),
        ),
        (
            ENDPOINTS.to_owned(),
            json(&cut_endpoints(&report.endpoints)),
        ),
        (
            DATA_PLANE.to_owned(),
            json(&cut_data_plane(&report.data_plane)),
        ),
    ]);
    let optional = [
        (ZONE, report.zone.as_deref().map(cut)),
        (WITNESS, report.is_witness.then(|| "yes".to_owned())),
        (INSTANCE, report.instance.as_ref().map(ToString::to_string)),
        (SEALING_KEY, report.sealing_key.as_deref().map(cut)),
        (UNFIT, report.unfit.as_deref().map(cut)),
        (SETTLING, report.is_settling.then(|| "yes".to_owned())),
        (CLAIM, report.claim.map(|term| term.to_string())),
        (JOIN, report.join_address.map(|address| address.to_string())),
        (LEFT, facts.has_left.then(|| "yes".to_owned())),
        (GONE, Some(gone_text(&facts.gone))),
    ];
    for (key, value) in optional {
        values.insert(key.to_owned(), value.unwrap_or_default());
    }
    for (kind, stamp) in &report.held {
        values.insert(format!("{HELD}{kind}"), json(stamp));
    }
    for kind in DocumentKind::ALL {
        let digest = facts.lost.get(&kind).map(ToString::to_string);
        values.insert(format!("{LOST}{kind}"), digest.unwrap_or_default());
    }
    values
}

/// Reads what a node says of itself. Who it is and where is gossip's own knowledge, and comes apart.
pub(crate) fn from_gossip<'a>(
    id: &str,
    generation: u64,
    address: SocketAddr,
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Facts, FactsError> {
    let mut report = blank_report(NodeId::new(id)?, generation, address);
    let mut data_address = None;
    let mut has_left = false;
    let mut lost = BTreeMap::new();
    let mut gone = BTreeMap::new();
    for (key, value) in values {
        match key {
            DATA_ADDRESS => data_address = Some(parse::<IpAddr>(key, value)?),
            ADDRESSES => report.addresses = from_json(key, value)?,
            WEIGHT => report.weight = parse(key, value)?,
            ZONE => report.zone = present(value).map(|value| text(key, value)).transpose()?,
            VERSION => report.version = text(key, value)?,
            WITNESS => report.is_witness = !value.is_empty(),
            INSTANCE => {
                report.instance = present(value).map(|value| parse(key, value)).transpose()?;
            }
            SETTLING => report.is_settling = !value.is_empty(),
            SEALING_KEY => {
                report.sealing_key = present(value).map(|value| text(key, value)).transpose()?;
            }
            UNFIT => report.unfit = present(value).map(|value| text(key, value)).transpose()?,
            CLAIM => report.claim = present(value).map(term).transpose()?,
            APPLY => report.apply = from_json(key, value)?,
            OWN_CONFIGURATION => report.own_configuration = from_json(key, value)?,
            ENDPOINTS => report.endpoints = from_json(key, value)?,
            DATA_PLANE => report.data_plane = from_json(key, value)?,
            CERTIFICATE => report.certificate = from_json(key, value)?,
            REVOCATIONS => report.revocations = from_json(key, value)?,
            JOIN => {
                let address = present(value).map(|value| parse(key, value));
                report.join_address = address.transpose()?;
            }
            LEFT => has_left = !value.is_empty(),
            GONE => gone = self::gone(value)?,
            _ => {
                if let Some(kind) = kind_after(HELD, key) {
                    report.held.insert(kind, held(key, value)?);
                } else if let (Some(kind), Some(digest)) = (kind_after(LOST, key), present(value)) {
                    lost.insert(kind, parse(key, digest)?);
                }
            }
        }
    }
    report.data_address = data_address.ok_or(FactsError::Missing { key: DATA_ADDRESS })?;
    Ok(Facts {
        report: Arc::new(report),
        has_left,
        lost,
        gone,
    })
}

/// Whether everyone is to hear at once of the change from `before` to `after`.
pub(crate) fn is_urgent(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> bool {
    URGENT.iter().any(|key| before.get(*key) != after.get(*key))
}

fn gone_text(gone: &BTreeMap<NodeId, u64>) -> String {
    let runs = gone.iter().take(MAX_GONE);
    let runs: Vec<_> = runs.map(|(id, run)| format!("{id}/{run}")).collect();
    runs.join(",")
}

fn gone(value: &str) -> Result<BTreeMap<NodeId, u64>, FactsError> {
    let runs = value.split(',').filter(|run| !run.is_empty());
    let mut gone = BTreeMap::new();
    for run in runs.take(MAX_GONE) {
        let (id, run) = run
            .split_once('/')
            .ok_or_else(|| bad(GONE, "a generation is missing"))?;
        gone.insert(NodeId::new(id)?, parse(GONE, run)?);
    }
    Ok(gone)
}

/// The kind that a key names after `prefix`.
fn kind_after(prefix: &str, key: &str) -> Option<DocumentKind> {
    key.strip_prefix(prefix)?.parse().ok()
}

fn present(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn held(key: &str, value: &str) -> Result<Stamp, FactsError> {
    let stamp: Stamp = from_json(key, value)?;
    if stamp.revision.term > MAX_TERM {
        return Err(bad(key, "the term is out of bounds"));
    }
    Ok(stamp)
}

fn term(value: &str) -> Result<Term, FactsError> {
    let term = Term(parse::<u64>(CLAIM, value)?);
    if term > MAX_TERM {
        Err(bad(CLAIM, "the term is out of bounds"))
    } else {
        Ok(term)
    }
}

fn text(key: &str, value: &str) -> Result<String, FactsError> {
    if value.len() > MAX_VALUE_LEN {
        Err(bad(key, "it is too long"))
    } else {
        Ok(value.to_owned())
    }
}

fn parse<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, FactsError>
where
    T::Err: std::fmt::Display,
{
    value
        .parse()
        .map_err(|error: T::Err| bad(key, &error.to_string()))
}

fn from_json<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, FactsError> {
    serde_json::from_str(value).map_err(|error| bad(key, &error.to_string()))
}

fn bad(key: &str, reason: &str) -> FactsError {
    FactsError::BadValue {
        key: key.chars().take(64).collect(),
        reason: reason.to_owned(),
    }
}

/// JSON of a type that always has one.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Cuts a text, at a boundary of characters, so that it stays short even when every character is escaped.
pub(crate) fn cut(text: &str) -> String {
    cut_to(text, MAX_TEXT_LEN)
}

fn cut_to(text: &str, limit: usize) -> String {
    let mut end = 0;
    let mut written = 0;
    for (start, character) in text.char_indices() {
        written += character.escape_default().count().max(character.len_utf8());
        if written > limit {
            break;
        }
        end = start + character.len_utf8();
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn cut_apply(apply: &ApplyState) -> ApplyState {
    match apply {
        ApplyState::Failed {
            revision,
            error,
            running,
        } => ApplyState::Failed {
            revision: *revision,
            error: cut(error),
            running: *running,
        },
        other => other.clone(),
    }
}

/// Three texts share the room of a value.
fn cut_own(own: &OwnConfiguration) -> OwnConfiguration {
    OwnConfiguration {
        author: cut_to(&own.author, MAX_TEXT_LEN / 4),
        comment: cut_to(&own.comment, MAX_TEXT_LEN / 4),
        since_ms: own.since_ms,
        error: own.error.as_deref().map(cut),
    }
}

fn cut_endpoints(endpoints: &EndpointsState) -> EndpointsState {
    EndpointsState {
        applied: endpoints.applied,
        error: endpoints.error.as_deref().map(cut),
    }
}

fn cut_certificate(certificate: &CertificateState) -> CertificateState {
    CertificateState {
        error: certificate.error.as_deref().map(cut),
        ..certificate.clone()
    }
}

fn cut_data_plane(data_plane: &DataPlane) -> DataPlane {
    let version = data_plane
        .version
        .as_ref()
        .map(|version| version.chars().take(40).collect());
    DataPlane {
        handover: cut(&data_plane.handover),
        version,
        ..data_plane.clone()
    }
}

#[cfg(test)]
mod tests {
    use hafleet_model::Revision;
    use hafleet_model::report::Change;
    use hafleet_model::spec::NodeAddress;
    use proptest::prelude::*;

    use super::*;

    fn address() -> SocketAddr {
        "10.0.0.1:4433".parse().unwrap()
    }

    fn read(values: &BTreeMap<String, String>) -> Result<Facts, FactsError> {
        from_gossip(
            "lb1",
            3,
            address(),
            values
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    fn full() -> Facts {
        let revision = Revision::new(Term(2), 5);
        let report = NodeReport {
            addresses: BTreeMap::from([
                (NodeAddress::Public, IpAddr::from([192, 0, 2, 1])),
                (NodeAddress::Ipv6, IpAddr::from([1, 2, 3, 4, 5, 6, 7, 8])),
            ]),
            weight: 0,
            zone: Some("eu-west-1a".into()),
            version: "0.1.0".into(),
            is_witness: true,
            instance: Some("eu-west-1/i-0123456789abcdef0".parse().unwrap()),
            sealing_key: Some("a public key".into()),
            unfit: Some("no credentials".into()),
            is_settling: true,
            claim: Some(Term(9)),
            held: BTreeMap::from([(
                DocumentKind::Spec,
                Stamp {
                    revision,
                    digest: Digest::of(b"x"),
                },
            )]),
            apply: ApplyState::Applied {
                revision,
                change: Change::Reload,
            },
            own_configuration: Some(OwnConfiguration {
                author: "ada (admin)".into(),
                comment: "POST /reloadHaproxy".into(),
                since_ms: 5,
                error: Some("a port is taken".into()),
            }),
            endpoints: EndpointsState {
                applied: Some(revision),
                error: Some("a service has no port".into()),
            },
            certificate: Some(CertificateState {
                serial: "0a1b".into(),
                not_before_ms: 1,
                not_after_ms: 2,
                error: Some("key.pem is not the key of cert.pem".into()),
            }),
            revocations: BTreeMap::from([("00ff00ff00ff00ff".into(), 7)]),
            join_address: Some("10.0.0.1:7441".parse().unwrap()),
            ..blank_report(NodeId::new("lb1").unwrap(), 3, address())
        };
        Facts {
            report: Arc::new(report),
            has_left: true,
            lost: BTreeMap::from([(DocumentKind::Spec, Digest::of(b"lost"))]),
            gone: BTreeMap::from([
                (NodeId::new("lb2").unwrap(), 17),
                (NodeId::new("lb-3.x").unwrap(), 18),
            ]),
        }
    }

    #[test]
    fn facts_read_back_as_written() {
        assert_eq!(read(&to_gossip(&full())).unwrap(), full());
        let blank = Facts {
            report: Arc::new(blank_report(NodeId::new("lb1").unwrap(), 3, address())),
            has_left: false,
            lost: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        assert_eq!(read(&to_gossip(&blank)).unwrap(), blank);
    }

    #[test]
    fn every_value_stays_small() {
        let mut facts = full();
        let report = Arc::make_mut(&mut facts.report);
        report.unfit = Some("\"\\\u{1}ü".repeat(4000));
        report.data_plane.handover = "\u{1}".repeat(4000);
        report.endpoints.error = Some("\u{1}".repeat(4000));
        report.own_configuration = Some(OwnConfiguration {
            author: "\u{1}".repeat(4000),
            comment: "\u{1}".repeat(4000),
            since_ms: i64::MIN,
            error: Some("\u{1}".repeat(4000)),
        });
        report.apply = ApplyState::Failed {
            revision: Revision::new(Term(1), 1),
            error: "\u{7f}\n".repeat(9000),
            running: None,
        };
        for (key, value) in to_gossip(&facts) {
            assert!(
                value.len() <= MAX_VALUE_LEN,
                "{key} has {} bytes",
                value.len()
            );
        }
        assert!(read(&to_gossip(&facts)).is_ok());
    }

    #[test]
    fn a_term_that_leaves_no_room_is_refused() {
        let mut values = to_gossip(&full());
        values.insert(CLAIM.into(), u64::MAX.to_string());
        assert!(read(&values).is_err());
    }

    #[test]
    fn keys_of_later_versions_are_let_pass() {
        let mut values = to_gossip(&full());
        values.insert("held.dreams".into(), "?".into());
        values.insert("mood".into(), "good".into());
        assert_eq!(read(&values).unwrap(), full());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_input_panics(values in prop::collection::btree_map("(data_address|addresses|weight|zone|witness|instance|settling|sealing_key|claim|apply|own_configuration|endpoints|data_plane|certificate|revocations|join|held.spec|lost.spec|left)", "\\PC*|[0-9]{0,30}", 0..8)) {
            let _ = read(&values);
        }
    }
}
