//! EC2's instance metadata service, version 2, as machines of a fleet reach it.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use super::http::Message;

/// The token of every session.
const TOKEN: &str = "a-token-of-the-tests";

/// The service: what it says depends on who asks. Its threads end with the program.
#[derive(Debug, Clone)]
pub struct InstanceMetadata {
    told: Arc<Mutex<BTreeMap<(IpAddr, String), String>>>,
    endpoint: String,
}

impl InstanceMetadata {
    /// A door, still closed, in the network of who asks for it.
    ///
    /// # Panics
    /// When `address` is none of this place.
    pub fn door_at(address: IpAddr) -> TcpListener {
        TcpListener::bind((address, 0)).expect("a port")
    }

    /// One behind `door`, a listener in the network of who will ask.
    ///
    /// # Panics
    /// When that is no listener any more.
    pub fn open(door: TcpListener) -> Self {
        let address = door.local_addr().expect("a listener has an address");
        let told = Arc::default();
        let service = Self {
            told: Arc::clone(&told),
            endpoint: format!("http://{address}"),
        };
        std::thread::spawn(move || {
            for connection in door.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || serve(connection, &told));
            }
        });
        service
    }

    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` should be.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Tells the machine at `from` that it has `value` in the category `category`, such as `public-ipv4`.
    pub fn tell(&self, from: impl Into<IpAddr>, category: &str, value: &str) {
        let key = (from.into(), category.to_owned());
        told(&self.told).insert(key, value.to_owned());
    }

    /// The machine at `from` has no `category` any more.
    pub fn forget(&self, from: impl Into<IpAddr>, category: &str) {
        told(&self.told).remove(&(from.into(), category.to_owned()));
    }
}

type Told = BTreeMap<(IpAddr, String), String>;

fn told(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().expect("no holder panics")
}

/// Answers the questions of one connection (Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance
/// metadata"): a token for a `PUT`, and categories for a `GET` that carries it.
fn serve(mut connection: TcpStream, known: &Mutex<Told>) -> io::Result<()> {
    let from = connection.peer_addr()?.ip();
    let mut requests = BufReader::new(connection.try_clone()?);
    while let Some(request) = Message::read(&mut requests)? {
        let mut words = request.first.split(' ');
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        let has_token = request.header("x-aws-ec2-metadata-token") == Some(TOKEN);
        let category = path.strip_prefix("/latest/meta-data/").unwrap_or_default();
        let value = told(known).get(&(from, category.to_owned())).cloned();
        let answer = match (method, value) {
            (Some("PUT"), _) if path == "/latest/api/token" => answer(200, TOKEN),
            (Some("GET"), _) if !has_token => answer(401, ""),
            (Some("GET"), Some(value)) => answer(200, &value),
            _ => answer(404, ""),
        };
        answer.write(&mut connection)?;
    }
    Ok(())
}

fn answer(status: u16, body: &str) -> Message {
    Message {
        first: format!("HTTP/1.1 {status} Said"),
        headers: vec![
            "Content-Type: text/plain".to_owned(),
            "x-aws-ec2-metadata-token-ttl-seconds: 21600".to_owned(),
        ],
        body: body.as_bytes().to_vec(),
    }
}
