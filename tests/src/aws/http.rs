//! As much of HTTP/1.1 as goes between AWS's SDK and moto.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the other side may be silent. moto compiles its routes at its first request.
const SILENCE: Duration = Duration::from_secs(60);

/// A request or an answer: its first line, its headers as they came, its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) first: String,
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads one. None when the other side has closed instead.
    pub(super) fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut message = Self::default();
        if from.read_line(&mut message.first)? == 0 {
            return Ok(None);
        }
        loop {
            let mut header = String::new();
            from.read_line(&mut header)?;
            if header.trim_end().is_empty() {
                break;
            }
            message.headers.push(header.trim_end().to_owned());
        }
        let length = message.header("content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        message.body = vec![0; length];
        from.read_exact(&mut message.body)?;
        Ok(Some(message))
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| {
            let (found, value) = header.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Writes it, with the length of its body.
    pub(super) fn write(&self, to: &mut TcpStream) -> io::Result<()> {
        self.write_part(to, self.body.len())
    }

    /// Writes it with a part of its body, and the length of all of it.
    pub(super) fn write_part(&self, to: &mut TcpStream, part: usize) -> io::Result<()> {
        let length = format!("Content-Length: {}", self.body.len());
        self.write_with(to, &length, part)
    }

    /// Writes it with a part of its body and no length: the body ends where the connection does.
    pub(super) fn write_until_closed(&self, to: &mut TcpStream, part: usize) -> io::Result<()> {
        self.write_with(to, "Connection: close", part)
    }

    fn write_with(&self, to: &mut TcpStream, frame: &str, part: usize) -> io::Result<()> {
        let mut bytes = format!("{}\r\n", self.first.trim_end());
        let is_of_a_hop = |header: &&String| {
            let name = header.split(':').next().unwrap_or_default();
            ["content-length", "connection", "transfer-encoding"]
                .iter()
                .any(|hop| name.eq_ignore_ascii_case(hop))
        };
        for header in self.headers.iter().filter(|header| !is_of_a_hop(header)) {
            bytes.push_str(header);
            bytes.push_str("\r\n");
        }
        bytes.push_str(frame);
        bytes.push_str("\r\n\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(&self.body[..part]);
        to.write_all(&bytes)
    }
}

/// Sends `request` over a connection of its own, and reads the answer.
pub(super) fn exchange(with: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(with)?;
    stream.set_read_timeout(Some(SILENCE))?;
    request.write(&mut stream)?;
    let answer = Message::read(&mut BufReader::new(stream))?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
