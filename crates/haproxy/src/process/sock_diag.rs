//! The listening TCP sockets of this network namespace, asked of the kernel over netlink (sock_diag(7)).
//!
//! `/proc/net/tcp` lists every connection to tell of a few listeners: with some thousand connections in TIME_WAIT it takes
//! a tenth of a second and more, in the middle of a handover. This asks for sockets in state LISTEN alone.

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

/// The inode and address of each listening socket.
///
/// # Errors
/// When the kernel has no such interface, or forbids it.
pub(super) fn listening() -> io::Result<Vec<(u64, SocketAddr)>> {
    let mut sockets = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        dump(family, &mut sockets)?;
    }
    Ok(sockets)
}

fn dump(family: AddressFamily, sockets: &mut Vec<(u64, SocketAddr)>) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
    rustix::net::send(&socket, &question(family), SendFlags::empty())?;
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let (_, length) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read_messages(&buffer[..length], sockets)? {
            return Ok(());
        }
    }
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`, of which only family, protocol and states are not zero.
fn question(family: AddressFamily) -> Vec<u8> {
    let mut message = vec![0_u8; HEADER + 56];
    let length = u32::try_from(message.len()).unwrap_or_default();
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &length.to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &DUMP.to_ne_bytes());
    put(HEADER, &family.as_raw().to_le_bytes()[..1]);
    // IPPROTO_TCP
    put(HEADER + 1, &[6]);
    put(HEADER + 4, &LISTEN.to_ne_bytes());
    message
}

/// Reads one datagram of answers; whether it was the last.
fn read_messages(mut bytes: &[u8], sockets: &mut Vec<(u64, SocketAddr)>) -> io::Result<bool> {
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
            BY_FAMILY => sockets.push(answer(&message[HEADER..]).ok_or_else(garbled)?),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// A `struct inet_diag_msg`: family at 0, port at 4, address at 8, inode at 68.
fn answer(body: &[u8]) -> Option<(u64, SocketAddr)> {
    let port = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
    let family = u16::from(*body.first()?);
    let address: IpAddr = if family == AddressFamily::INET.as_raw() {
        Ipv4Addr::from(<[u8; 4]>::try_from(body.get(8..12)?).ok()?).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?).into()
    };
    Some((u32_at(body, 68)?.into(), SocketAddr::new(address, port)))
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

    proptest! {
        #[test]
        fn any_answer_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_u32..200) {
            let mut framed = length.to_ne_bytes().to_vec();
            framed.extend(BY_FAMILY.to_ne_bytes());
            framed.extend(&bytes);
            let _ = read_messages(&bytes, &mut Vec::new());
            let _ = read_messages(&framed, &mut Vec::new());
        }
    }
}
