//! The TCP sockets of this network namespace, asked of the kernel over netlink (sock_diag(7)).
//!
//! `/proc/net/tcp` lists every connection to tell of a few listeners: with some thousand connections in TIME_WAIT it takes
//! a tenth of a second and more, in the middle of a handover. This asks only for sockets of the states, and on the port,
//! that are wanted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// `SOCK_DIAG_BY_FAMILY`: the type of the question and of each answer.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `1 << TCP_LISTEN`.
const LISTEN: u32 = 1 << 10;
/// The length of a `struct nlmsghdr`.
const HEADER: usize = 16;

/// `1 << TCP_ESTABLISHED`, and with the states in which a connection ends but still has a socket.
const ESTABLISHED: u32 = 1 << 1;
const CONNECTED: u32 = ESTABLISHED | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9;
/// `1 << (INET_DIAG_INFO - 1)`: answers carry a `struct tcp_info`.
const WITH_INFO: u8 = 1 << 1;
/// `INET_DIAG_INFO`, the attribute in which it is.
const INFO: u16 = 2;
/// The length of a `struct inet_diag_msg`.
const ANSWER: usize = 72;

/// Which sockets are asked for.
#[derive(Debug, Clone, Copy)]
struct Query {
    states: u32,
    /// The local port; 0 for all.
    port: u16,
    extensions: u8,
}

/// The inode and address of each listening socket.
///
/// # Errors
/// When the kernel has no such interface, or forbids it.
pub(super) fn listening() -> io::Result<Vec<(u64, SocketAddr)>> {
    let query = Query {
        states: LISTEN,
        port: 0,
        extensions: 0,
    };
    let mut sockets = Vec::new();
    dump(query, |body| {
        sockets.push((inode(body)?, local_address(body)?));
        Some(())
    })?;
    Ok(sockets)
}

/// The inode of each established connection.
///
/// # Errors
/// As [`listening`].
pub(super) fn established() -> io::Result<Vec<u64>> {
    let query = Query {
        states: ESTABLISHED,
        port: 0,
        extensions: 0,
    };
    let mut inodes = Vec::new();
    dump(query, |body| {
        inodes.push(inode(body)?);
        Some(())
    })?;
    Ok(inodes)
}

/// The longest round trip of the connections whose local port is `port`, as the kernel estimates it: smoothed, and the
/// variation that it is expected to have added. None when there are none.
///
/// # Errors
/// As [`listening`].
pub(super) fn round_trip(port: u16) -> io::Result<Option<Duration>> {
    let query = Query {
        states: CONNECTED,
        port,
        extensions: WITH_INFO,
    };
    let mut longest = None;
    dump(query, |body| {
        longest = longest.max(estimate(body));
        Some(())
    })?;
    Ok(longest)
}

fn dump(query: Query, mut each: impl FnMut(&[u8]) -> Option<()>) -> io::Result<()> {
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        dump_family(&question(family, query), &mut each)?;
    }
    Ok(())
}

fn dump_family(question: &[u8], each: &mut impl FnMut(&[u8]) -> Option<()>) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
    rustix::net::send(&socket, question, SendFlags::empty())?;
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let (_, length) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let answers = buffer.get(..length).unwrap_or_default();
        if read_messages(answers, each)? {
            return Ok(());
        }
    }
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
fn question(family: AddressFamily, query: Query) -> Vec<u8> {
    let mut message = vec![0_u8; HEADER + 56];
    let length = u32::try_from(message.len()).unwrap_or_default();
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &length.to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &DUMP.to_ne_bytes());
    put(HEADER, &family.as_raw().to_le_bytes()[..1]);
    // IPPROTO_TCP
    put(HEADER + 1, &[6, query.extensions]);
    put(HEADER + 4, &query.states.to_ne_bytes());
    put(HEADER + 8, &query.port.to_be_bytes());
    message
}

/// Reads one datagram of answers; whether it was the last.
fn read_messages(mut bytes: &[u8], each: &mut impl FnMut(&[u8]) -> Option<()>) -> io::Result<bool> {
    let garbled = || io::Error::from(io::ErrorKind::InvalidData);
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or_else(garbled)?;
        let length = usize::try_from(length).map_err(|_| garbled())?;
        let message = bytes
            .get(..length)
            .filter(|message| message.len() >= HEADER);
        let message = message.ok_or_else(garbled)?;
        match u16::from_ne_bytes([message[4], message[5]]) {
            DONE => return Ok(true),
            ERROR => {
                let code = u32_at(message, HEADER).unwrap_or_default();
                let code = i32::from_ne_bytes(code.to_ne_bytes());
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            BY_FAMILY => each(&message[HEADER..]).ok_or_else(garbled)?,
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Of a `struct inet_diag_msg`: family at 0, port at 4, address at 8.
fn local_address(body: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
    let family = u16::from(*body.first()?);
    let address: IpAddr = if family == AddressFamily::INET.as_raw() {
        Ipv4Addr::from(<[u8; 4]>::try_from(body.get(8..12)?).ok()?).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?).into()
    };
    Some(SocketAddr::new(address, port))
}

/// Of a `struct inet_diag_msg`: inode at 68.
fn inode(body: &[u8]) -> Option<u64> {
    u32_at(body, 68).map(u64::from)
}

/// Of the `struct tcp_info` among the attributes: `tcpi_rtt` at 68 and `tcpi_rttvar` at 72, in µs.
fn estimate(body: &[u8]) -> Option<Duration> {
    let mut attributes = body.get(ANSWER..)?;
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == INFO {
            let micros = u64::from(u32_at(value, 68)?) + u64::from(u32_at(value, 72)?);
            return Some(Duration::from_micros(micros));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let half = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(half))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listeners_of_both_families_are_told() {
        for place in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(place).unwrap();
            let address = listener.local_addr().unwrap();
            let found = listening().unwrap();
            assert_eq!(
                found.iter().filter(|(_, at)| *at == address).count(),
                1,
                "{place}"
            );
            drop(listener);
            assert!(listening().unwrap().iter().all(|(_, at)| *at != address));
        }
    }

    #[test]
    fn connections_are_counted_and_their_round_trip_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(round_trip(port).unwrap(), None);
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        let estimated = round_trip(port).unwrap().unwrap();
        assert!(
            estimated > Duration::ZERO && estimated < Duration::from_secs(1),
            "{estimated:?}"
        );
        assert!(established().unwrap().len() >= 2);
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_u32..200) {
            let mut framed = length.to_ne_bytes().to_vec();
            framed.extend(BY_FAMILY.to_ne_bytes());
            framed.extend(&bytes);
            let mut each = |body: &[u8]| {
                let _ = (inode(body), estimate(body));
                local_address(body).map(|_| ())
            };
            let _ = read_messages(&bytes, &mut each);
            let _ = read_messages(&framed, &mut each);
        }
    }
}
