//! What goes over the wires of a namespace, as somebody sees it who listens there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

use crate::namespace::Namespace;

/// `ETH_P_ALL` in the order of the network (packet(7)).
const EVERYTHING: u32 = 0x0003_u16.to_be() as u32;
/// Longer than what the kernel puts together on a virtual wire.
const LONGEST: usize = 1 << 17;

/// Listens until it is dropped, and keeps all that it hears.
#[derive(Debug)]
pub struct Wire {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Wire {
    /// Listens to all interfaces of `namespace` from now on.
    pub fn tap(namespace: &Namespace) -> Self {
        let socket = namespace.run(|| {
            let protocol = Protocol::from_raw(EVERYTHING.try_into().expect("not zero"));
            let flags = SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(
                AddressFamily::PACKET,
                SocketType::RAW,
                flags,
                Some(protocol),
            );
            let socket = socket.expect("root may listen");
            let limit = Some(Duration::from_millis(100));
            set_socket_timeout(&socket, Timeout::Recv, limit).expect("a time limit");
            socket
        });
        let (heard, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (packets, stop): (Arc<Mutex<Vec<Vec<u8>>>>, _) =
            (Arc::clone(&heard), Arc::clone(&is_over));
        let listener = std::thread::spawn(move || {
            let mut buffer = vec![0; LONGEST];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, _)) =
                    rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())
                {
                    let mut packets = packets.lock().unwrap_or_else(PoisonError::into_inner);
                    packets.push(buffer[..length].to_vec());
                }
            }
        });
        Self {
            heard,
            is_over,
            listener: Some(listener),
        }
    }

    /// Whether `mark` was in a packet so far.
    pub fn has(&self, mark: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |packet: &Vec<u8>| {
            let mut windows = packet.windows(mark.len());
            windows.any(|window| window == mark.as_bytes())
        };
        heard.iter().any(has)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}
