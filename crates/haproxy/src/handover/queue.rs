//! A queue of the kernel in which first packets wait for our word (NFQUEUE; `linux/netfilter/nfnetlink_queue.h`).
//!
//! The packets themselves stay in the kernel; we read only that they came, so that the socket does not fill up, and let
//! all of them go with one message. When this program ends, the kernel drops what is held (clients send it again after 1 s)
//! and lets pass what comes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// `NFNL_SUBSYS_QUEUE << 8`, to which a message's number is added.
const QUEUE: u16 = 3 << 8;
/// `NFQNL_MSG_CONFIG`.
const CONFIG: u16 = QUEUE | 2;
/// `NFQNL_MSG_VERDICT_BATCH`: a verdict for all packets up to one.
const VERDICT_BATCH: u16 = QUEUE | 3;
/// `NLM_F_REQUEST`, and with `NLM_F_ACK`.
const REQUEST: u16 = 1;
const ACKNOWLEDGED: u16 = 5;
/// `NLMSG_ERROR`, which also carries the acknowledgement.
const ERROR: u16 = 2;
/// How many packets may wait; beyond that they pass.
const MOST_HELD: u32 = 65_536;
/// Room for the notices of that many packets as far as the kernel grants it, in bytes.
const RECEIVE_BUFFER: usize = 64 * 1024 * 1024;
/// How often the notices are read.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How many queue numbers are tried, should another program have the first.
const ATTEMPTS: u16 = 16;

/// A queue that is ours. Dropping it lets go what it holds.
#[derive(Debug)]
pub(super) struct SynQueue {
    socket: OwnedFd,
    number: u16,
}

impl SynQueue {
    /// Takes the queue `first`, or one of the next if another program has it.
    ///
    /// # Errors
    /// When the kernel has no such queues, or forbids them.
    pub(super) fn open(first: u16) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
        for number in first..first.saturating_add(ATTEMPTS) {
            match bind(number) {
                Ok(socket) => return Ok(Self { socket, number }),
                Err(error) => refused = error,
            }
            let is_taken = [
                rustix::io::Errno::BUSY.raw_os_error(),
                rustix::io::Errno::PERM.raw_os_error(),
            ];
            if !refused
                .raw_os_error()
                .is_some_and(|code| is_taken.contains(&code))
            {
                break;
            }
        }
        Err(refused)
    }

    /// Its number, for the rules that lead into it.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Reads the notices of packets that were held, for as long as it is awaited. Cancel-safe. The receive buffer has room
    /// for far more than come between two looks.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            self.drain();
        }
    }

    /// Lets go all that is held.
    pub(super) fn release(&self) {
        self.drain();
        // `struct nfqnl_msg_verdict_hdr`: NF_ACCEPT, and an id above all that a queue of this age has given out.
        let verdict = [1_u32.to_be_bytes(), 0x7fff_ffff_u32.to_be_bytes()].concat();
        let message = message(VERDICT_BATCH, REQUEST, self.number, &[(2, &verdict)]);
        if let Err(error) = rustix::net::send(&self.socket, &message, SendFlags::empty()) {
            tracing::warn!(%error, "held packets could not be let go; clients send them again");
        }
        self.drain();
    }

    fn drain(&self) {
        let mut buffer = [0_u8; 4096];
        // An overrun (ENOBUFS) is an error once and ends nothing: the packets are held all the same.
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl Drop for SynQueue {
    fn drop(&mut self) {
        self.release();
    }
}

fn bind(number: u16) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
    let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
    // `struct nfqnl_msg_config_cmd`: NFQNL_CFG_CMD_BIND.
    configure(&socket, number, &[(1, &[1, 0, 0, 0])])?;
    // `struct nfqnl_msg_config_params`: no bytes of the packet, NFQNL_COPY_META. The longest queue; and beyond it
    // packets pass (mask and flags: NFQA_CFG_F_FAIL_OPEN).
    let open = 1_u32.to_be_bytes();
    let attributes: [(u16, &[u8]); 4] = [
        (2, &[0, 0, 0, 0, 1]),
        (3, &MOST_HELD.to_be_bytes()),
        (4, &open),
        (5, &open),
    ];
    configure(&socket, number, &attributes)?;
    Ok(socket)
}

/// Sends a configuration message and waits for the kernel's word on it.
fn configure(socket: &OwnedFd, number: u16, attributes: &[(u16, &[u8])]) -> io::Result<()> {
    let message = message(CONFIG, ACKNOWLEDGED, number, attributes);
    rustix::net::send(socket, &message, SendFlags::empty())?;
    let mut buffer = [0_u8; 4096];
    loop {
        let (_, length) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answer.get(4..6) != Some(&ERROR.to_ne_bytes()) {
            continue;
        }
        let code = answer.get(16..20).and_then(|word| word.try_into().ok());
        return match code.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
            None => Err(io::ErrorKind::InvalidData.into()),
        };
    }
}

/// A `struct nlmsghdr`, a `struct nfgenmsg` for queue `number`, and attributes.
fn message(kind: u16, flags: u16, number: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0_u8; 20];
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[18..20].copy_from_slice(&number.to_be_bytes());
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap_or_default();
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let bytes = message(CONFIG, REQUEST, 7, &[(2, &[0, 0, 0, 0, 1])]);
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[20..22], 9_u16.to_ne_bytes());
    }
}
