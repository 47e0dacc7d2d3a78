//! A name server on loopback, with a zone that a test writes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hafleet_discovery::dns::DnsSource;
use hafleet_discovery::query::DnsQuery;
use hafleet_discovery::{Source, SourceSettings};
use hafleet_model::spec::{DnsRecord, Resolver};
use hickory_resolver::net::runtime::Time;
use hickory_resolver::net::xfer::Protocol;
use hickory_resolver::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{NS, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use crate::world::{DEADLINE, World, until};

/// The name that stands for the servers.
const SERVICE: &str = "_http._tcp.app.test.";

/// How the name server is disposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// It answers every question with this.
    Saying(ResponseCode),
    /// It answers after so long.
    Slow(Duration),
    /// It lets so many questions of one hundred by UDP pass without an answer.
    Dropping(usize),
    /// It fails when asked for this name.
    FailingAt(&'static str),
    /// It says that it knows a server that knows.
    Referring,
}

/// What is in the zone, and how the server is.
pub(crate) struct Zone {
    records: BTreeMap<(Name, RecordType), Vec<Record>>,
    pub(crate) mood: Mood,
    pub(crate) by_udp: usize,
    pub(crate) by_tcp: usize,
}

/// A name server.
pub(crate) struct DnsWorld {
    pub(crate) zone: Arc<Mutex<Zone>>,
    address: SocketAddr,
    server: Option<Server<Handler>>,
    changes: u16,
}

impl DnsWorld {
    /// The source that asks it for a name and a type.
    pub(crate) fn asking(
        &self,
        name: &str,
        record: DnsRecord,
        settings: SourceSettings,
    ) -> DnsSource {
        Self::asking_these(&[self.address], name, record, settings)
    }

    /// The same with several to ask.
    pub(crate) fn asking_these(
        servers: &[SocketAddr],
        name: &str,
        record: DnsRecord,
        settings: SourceSettings,
    ) -> DnsSource {
        let query = DnsQuery {
            name: name.to_owned(),
            record,
            resolvers: servers.iter().copied().map(Resolver).collect(),
        };
        DnsSource::new(query, settings)
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is from now on.
    pub(crate) fn be(&self, mood: Mood) {
        self.zone.lock().unwrap().mood = mood;
    }

    /// Writes all records of a name and type; none takes the name out.
    pub(crate) fn write(&self, name: &str, ttl: u32, data: Vec<RData>) {
        let name = Name::from_ascii(name).unwrap();
        let mut zone = self.zone.lock().unwrap();
        let kind = data.first().map(RData::record_type);
        // An alias is all that there is of its name (RFC 1034, section 3.6.2).
        let stays =
            |old| kind.is_some_and(|kind| ![kind, old].contains(&RecordType::CNAME) && kind != old);
        zone.records
            .retain(|(owner, old), _| *owner != name || stays(*old));
        let records = data
            .into_iter()
            .map(|data| Record::from_rdata(name.clone(), ttl, data));
        if let Some(kind) = kind {
            zone.records.insert((name.clone(), kind), records.collect());
        }
    }

    fn edit(&self, number: u8, srv: Option<SRV>) {
        let target = target(number);
        let mut services = self.services();
        services.retain(|old| old.target != target);
        services.extend(srv);
        let services = services.into_iter().map(RData::SRV).collect();
        self.write(SERVICE, 1, services);
    }

    fn services(&self) -> Vec<SRV> {
        let key = (Name::from_ascii(SERVICE).unwrap(), RecordType::SRV);
        let zone = self.zone.lock().unwrap();
        let records = zone.records.get(&key).into_iter().flatten();
        let services = records.filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.clone()),
            _ => None,
        });
        services.collect()
    }

    async fn listen(&mut self) {
        let handler = Handler(Arc::clone(&self.zone), AtomicUsize::new(0));
        let mut server = Server::new(handler);
        let mut sockets = None;
        let address = self.address;
        until("a port that is free for UDP and TCP", async || {
            sockets = sockets_at(address).await;
            sockets.is_some()
        })
        .await;
        let (udp, tcp) = sockets.unwrap();
        self.address = tcp.local_addr().unwrap();
        server.register_socket(udp);
        server.register_listener(tcp, DEADLINE, 8);
        self.server = Some(server);
    }
}

async fn sockets_at(address: SocketAddr) -> Option<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind(address).await.ok()?;
    let udp = UdpSocket::bind(tcp.local_addr().ok()?).await.ok()?;
    Some((udp, tcp))
}

fn target(number: u8) -> Name {
    Name::from_ascii(format!("server-{number}.test.")).unwrap()
}

#[async_trait(?Send)]
impl World for DnsWorld {
    const NAME: &'static str = "name server";
    const MANY: u8 = 40;

    async fn start() -> Result<Self, String> {
        let zone = Zone {
            records: BTreeMap::new(),
            mood: Mood::Well,
            by_udp: 0,
            by_tcp: 0,
        };
        let mut world = Self {
            zone: Arc::new(Mutex::new(zone)),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: None,
            changes: 0,
        };
        world.listen().await;
        Ok(world)
    }

    fn source(&self, settings: SourceSettings) -> Box<dyn Source> {
        Box::new(self.asking(SERVICE, DnsRecord::Srv, settings))
    }

    async fn add(&mut self, number: u8) {
        let name = target(number).to_ascii();
        let ip = IpAddr::from([192, 0, 2, number]);
        self.write(&name, 60, vec![RData::from(ip)]);
        self.edit(number, Some(SRV::new(1, 10, 80, target(number))));
    }

    async fn change(&mut self, number: u8) {
        self.changes += 1;
        let srv = SRV::new(1, 10 - self.changes, 80, target(number));
        self.edit(number, Some(srv));
    }

    async fn remove(&mut self, number: u8) {
        self.edit(number, None);
    }

    async fn break_down(&mut self) {
        self.be(Mood::Saying(ResponseCode::ServFail));
    }

    async fn mend(&mut self) {
        self.be(Mood::Well);
    }

    /// The name server is started anew.
    async fn interrupt(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.shutdown_gracefully().await.unwrap();
        }
        self.listen().await;
    }
}

struct Handler(Arc<Mutex<Zone>>, AtomicUsize);

impl Handler {
    fn counted(&self, protocol: Protocol) -> Mood {
        let mut zone = self.0.lock().unwrap();
        if protocol == Protocol::Udp {
            zone.by_udp += 1;
        } else {
            zone.by_tcp += 1;
        }
        zone.mood
    }

    /// The records of a name, or the alias that it is; whether there is such a name at all.
    fn look_up(&self, name: &Name, kind: RecordType) -> (Vec<Record>, bool) {
        let zone = self.0.lock().unwrap();
        let exists = zone.records.keys().any(|(owner, _)| owner == name);
        let of = |kind| zone.records.get(&(name.clone(), kind)).cloned();
        let records = of(kind).or_else(|| of(RecordType::CNAME));
        (records.unwrap_or_default(), exists)
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let mood = self.counted(request.protocol());
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let is_udp = request.protocol() == Protocol::Udp;
        match mood {
            Mood::Slow(delay) => tokio::time::sleep(delay).await,
            Mood::Saying(code) => metadata.response_code = code,
            // 37 has no factor in common with 100: of a hundred questions, this is true for that many, well mixed.
            Mood::Dropping(share) if is_udp && number * 37 % 100 < share => {
                return info(metadata);
            }
            _ => {}
        }
        let query = request.request_info().unwrap().query;
        let name = Name::from(query.name());
        let (answers, exists) = self.look_up(&name, query.query_type());
        if matches!(mood, Mood::FailingAt(failing) if name.to_ascii() == failing) {
            metadata.response_code = ResponseCode::ServFail;
        }
        let (answers, authority) = match mood {
            Mood::Referring => (Vec::new(), vec![referral()]),
            _ if metadata.response_code != ResponseCode::NoError => (Vec::new(), Vec::new()),
            _ if answers.is_empty() => (answers, vec![start_of_authority()]),
            _ => (answers, Vec::new()),
        };
        let is_well = metadata.response_code == ResponseCode::NoError;
        if answers.is_empty() && !exists && is_well && mood != Mood::Referring {
            metadata.response_code = ResponseCode::NXDomain;
        }
        // It takes as much by UDP as is asked for, at most what resolvers ask for by default.
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        let message = builder.edns(&edns);
        let message = std::mem::replace(
            message,
            MessageResponseBuilder::from_message_request(request),
        )
        .build(metadata, &answers, &authority, [], []);
        // Whoever asked may be gone.
        response
            .send_response(message)
            .await
            .unwrap_or(info(metadata))
    }
}

fn info(metadata: Metadata) -> ResponseInfo {
    ResponseInfo::from(Header {
        metadata,
        counts: HeaderCounts::default(),
    })
}

fn start_of_authority() -> Record {
    let zone = Name::from_ascii("test.").unwrap();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 1);
    Record::from_rdata(zone, 1, RData::SOA(soa))
}

fn referral() -> Record {
    let zone = Name::from_ascii("test.").unwrap();
    let server = Name::from_ascii("elsewhere.example.").unwrap();
    Record::from_rdata(zone, 1, RData::NS(NS(server)))
}
