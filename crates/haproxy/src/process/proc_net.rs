//! What a process listens on, asked of the kernel: which sockets listen in this network namespace, and which of them are
//! in `/proc/PID/fd` (proc(5)).

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{ProcessId, sock_diag};

/// A TCP socket in state LISTEN that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListeningSocket {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The descriptor under which the process holds it.
    descriptor: u32,
    inode: u64,
}

/// The TCP sockets on which `process` listens.
///
/// # Errors
/// When the system does not let us look, for instance at a process of another user.
pub(crate) fn listening(process: ProcessId) -> io::Result<Vec<ListeningSocket>> {
    let pid = process.pid;
    let inodes = listening_here();
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Some(descriptor) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Some(inode) = inode_of(pid, descriptor) else {
            continue;
        };
        if let Some(address) = inodes.get(&inode) {
            sockets.push(ListeningSocket {
                address: *address,
                descriptor,
                inode,
            });
        }
    }
    sockets.sort_unstable();
    Ok(sockets)
}

/// Whether `process` still holds any of `sockets`.
pub(crate) fn still_open(process: ProcessId, sockets: &[ListeningSocket]) -> bool {
    sockets
        .iter()
        .any(|socket| inode_of(process.pid, socket.descriptor) == Some(socket.inode))
}

/// The established TCP connections that each of `processes` holds, in their order.
pub(crate) fn connections(processes: &[ProcessId]) -> Vec<u32> {
    if processes.is_empty() {
        return Vec::new();
    }
    let established = sock_diag::established().unwrap_or_default();
    let established: HashSet<_> = established.into_iter().collect();
    let counts = processes.iter().map(|process| {
        let held = inodes_of(process.pid).unwrap_or_default();
        let count = held.iter().filter(|inode| established.contains(*inode));
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    });
    counts.collect()
}

/// The longest round trip of connections to `port` of this machine, as the kernel estimates it; none when there are none,
/// or it does not tell.
pub(crate) fn round_trip(port: u16) -> Option<Duration> {
    sock_diag::round_trip(port).ok().flatten()
}

/// A listening TCP socket of a program that is not ours.
#[derive(Debug)]
pub(crate) struct Stranger {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    inode: u64,
}

impl Stranger {
    /// The program, such as `nginx (process 812)`, if it can be told.
    pub(crate) fn name(&self) -> String {
        holder_of_any(&[self.inode]).unwrap_or_else(|| "another program".to_owned())
    }
}

/// The sockets of this machine that listen on TCP and that none of `ours` holds; none where we may not look at ours, since
/// nothing could be told apart then.
pub(crate) fn strangers(ours: &[ProcessId]) -> Vec<Stranger> {
    let held: Option<Vec<_>> = ours.iter().map(|process| inodes_of(process.pid)).collect();
    let Some(known) = held.map(|held| held.concat()) else {
        return Vec::new();
    };
    listening_here()
        .into_iter()
        .filter(|(inode, _)| !known.contains(inode))
        .map(|(inode, address)| Stranger { address, inode })
        .collect()
}

/// The program that listens on `port`, such as `nginx (process 812)`, if it can be told.
pub(crate) fn holder_of(port: u16) -> Option<String> {
    let inodes: Vec<_> = listening_here()
        .into_iter()
        .filter(|(_, address)| address.port() == port)
        .map(|(inode, _)| inode)
        .collect();
    holder_of_any(&inodes)
}

fn holder_of_any(inodes: &[u64]) -> Option<String> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let held = inodes_of(*pid).unwrap_or_default();
        held.iter().any(|inode| inodes.contains(inode))
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (process {pid})", name.trim()))
}

/// All sockets of our network namespace that listen on TCP, by inode.
fn listening_here() -> BTreeMap<u64, SocketAddr> {
    match sock_diag::listening() {
        Ok(sockets) => sockets.into_iter().collect(),
        Err(_) => listening_in_proc(),
    }
}

/// The same where the kernel has no better way to tell.
fn listening_in_proc() -> BTreeMap<u64, SocketAddr> {
    ["tcp", "tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/self/net/{table}")).ok())
        .flat_map(|text| {
            let rows = text.lines().skip(1).filter_map(listening_row);
            rows.collect::<Vec<_>>()
        })
        .collect()
}

/// The sockets that a process holds; none when we may not look.
fn inodes_of(pid: u32) -> Option<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let inodes = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|descriptor| inode_of(pid, descriptor));
    Some(inodes.collect())
}

fn inode_of(pid: u32, descriptor: u32) -> Option<u64> {
    let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    let name = target.to_str()?;
    name.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The inode and address of a row in state LISTEN (0A).
fn listening_row(line: &str) -> Option<(u64, SocketAddr)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    if state != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((inode, SocketAddr::new(address_of(address)?, port)))
}

/// The kernel prints addresses as 32-bit words in the machine's byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let text = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0_u8; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_listeners_are_seen_until_they_close() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        let me = ProcessId::of(std::process::id()).unwrap();
        let mine = |listener: &TcpListener| {
            let address = listener.local_addr().unwrap();
            let all = listening(me).unwrap();
            all.into_iter()
                .filter(|s| s.address == address)
                .collect::<Vec<_>>()
        };
        let sockets = [mine(&v4), mine(&v6)].concat();
        assert_eq!(sockets.len(), 2);
        let in_proc = listening_in_proc();
        for socket in &sockets {
            assert_eq!(
                in_proc.get(&socket.inode),
                Some(&socket.address),
                "both ways agree"
            );
        }
        let port = v4.local_addr().unwrap().port();
        assert!(
            holder_of(port)
                .unwrap()
                .contains(&std::process::id().to_string())
        );
        drop(v4);
        assert!(still_open(me, &sockets));
        drop(v6);
        assert!(!still_open(me, &sockets));
    }
}
