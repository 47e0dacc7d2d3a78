//! More instances than moto can list in good time: its own answer for one, written many times over.

use std::io::{self, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::http::Message;
use super::moto::texts;

/// Instances on one page.
const PAGE: usize = 1000;

/// What answers every call as `DescribeInstances` answers a client that asks for a thousand at a time. It goes when it is
/// dropped.
#[derive(Debug)]
pub struct ManyInstances {
    address: SocketAddr,
    bytes: usize,
    /// Goes first, which ends the listening.
    open: Option<Sender<()>>,
    listening: Option<JoinHandle<()>>,
}

impl ManyInstances {
    /// `count` instances, each like the first one in `pattern`, an answer of moto's; but with ids, reservations and private
    /// addresses of their own.
    ///
    /// # Panics
    /// When there is no port, or no instance in `pattern`.
    pub fn start(count: usize, pattern: &str) -> Self {
        let pages = pages(count, pattern);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a listener has an address");
        let bytes = pages.iter().map(String::len).sum();
        let pages = Arc::new(pages);
        let is_over = Arc::new(AtomicBool::new(false));
        let (open, ended) = mpsc::channel::<()>();
        let ends = is_over.clone();
        // Who drops this may be in another network than it is.
        std::thread::spawn(move || {
            let _ = ended.recv();
            ends.store(true, Ordering::Relaxed);
            TcpStream::connect(address)
        });
        let listening = std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let pages = pages.clone();
                std::thread::spawn(move || serve(connection, &pages));
            }
        });
        Self {
            address,
            bytes,
            open: Some(open),
            listening: Some(listening),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The length of all pages together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for ManyInstances {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// Answers until the other side closes. An error is its closing too.
fn serve(mut connection: TcpStream, pages: &[String]) -> io::Result<()> {
    let mut requests = BufReader::new(connection.try_clone()?);
    while let Some(request) = Message::read(&mut requests)? {
        let body = String::from_utf8_lossy(&request.body);
        let token = body
            .split('&')
            .find_map(|pair| pair.strip_prefix("NextToken=page"));
        let page = token.and_then(|number| number.parse().ok()).unwrap_or(0);
        let page: &String = pages.get(page).ok_or(io::ErrorKind::InvalidInput)?;
        let answer = Message {
            first: "HTTP/1.1 200 OK".to_owned(),
            headers: vec!["Content-Type: text/xml".to_owned()],
            body: page.clone().into_bytes(),
        };
        answer.write(&mut connection)?;
    }
    Ok(())
}

fn pages(count: usize, pattern: &str) -> Vec<String> {
    let (before, rest) = pattern.split_once("<reservationSet>").expect("an answer");
    let (reservations, after) = rest.split_once("</reservationSet>").expect("a whole one");
    let first = |name: &str| {
        let mut found = texts(reservations, name).into_iter();
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {pattern}"))
    };
    let known = ["instanceId", "reservationId", "privateIpAddress"].map(first);
    let [instance, reservation, address] = known.each_ref().map(String::as_str);
    let numbered = |number: usize| {
        let [_, high, middle, low] = u32::try_from(number).expect("a number").to_be_bytes();
        reservations
            .replace(instance, &format!("i-{number:017x}"))
            .replace(reservation, &format!("r-{number:017x}"))
            .replace(address, &format!("10.{}.{middle}.{low}", 100 + high))
    };
    let numbers: Vec<_> = (1..=count).collect();
    let last = count.div_ceil(PAGE);
    let page = |(number, some): (usize, &[usize])| {
        let items: String = some.iter().map(|number| numbered(*number)).collect();
        let next = match number == last {
            true => String::new(),
            false => format!("<nextToken>page{number}</nextToken>"),
        };
        format!("{before}<reservationSet>{items}</reservationSet>{next}{after}")
    };
    (1..).zip(numbers.chunks(PAGE)).map(page).collect()
}
