//! What stands between the agents and Route53, lets one batch after the other through, and notes what became of each.

use std::io::{self, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Namespace, wait_for, wait_until};

use super::batch::Batch;
use super::http::{self, Message};

/// The witness. Its threads end with the program.
pub(crate) struct Witness {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behind: SocketAddr,
    /// Held while a batch is on its way and back, so that the order of the notes is the order in which they were applied.
    turn: Mutex<()>,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    calls: u32,
    batches: Vec<Batch>,
    hold: Hold,
}

/// What becomes of the next batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Hold {
    /// It passes.
    #[default]
    Nothing,
    /// It waits.
    Next,
    /// One waits; others pass.
    One,
}

impl Witness {
    /// A witness at `address` of `namespace`, before Route53 at `behind` of the same.
    pub(super) fn start(namespace: &Namespace, address: IpAddr, behind: SocketAddr) -> Self {
        let listener = namespace.run(|| TcpListener::bind((address, 0)).expect("a port"));
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            behind,
            turn: Mutex::default(),
            state: Mutex::default(),
            released: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        namespace.thread(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(connection, &shared));
            }
        });
        Self { address, shared }
    }

    /// What `AWS_ENDPOINT_URL` should be.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls came so far, of any kind.
    pub(super) fn calls(&self) -> u32 {
        self.shared.state().calls
    }

    /// All batches that were answered, in the order in which they were applied.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.shared.state().batches.clone()
    }

    /// The last batch that was applied.
    pub(super) fn last(&self) -> Option<Batch> {
        let batches = self.batches();
        batches.into_iter().rev().find(|batch| batch.is_accepted)
    }

    /// The addresses that are published, sorted.
    pub(super) fn published(&self) -> Vec<IpAddr> {
        let batches = self.batches().into_iter().rev();
        let mut accepted = batches.filter(|batch| batch.is_accepted);
        let mut published = accepted
            .find_map(|batch| batch.addresses)
            .unwrap_or_default();
        published.sort_unstable();
        published
    }

    /// Waits for a batch after `since` that publishes without `gone`, and says when its acceptance was answered.
    pub(super) fn wait_without(&self, gone: IpAddr, since: Instant) -> Instant {
        let is_without = |batch: &Batch| {
            let addresses = batch.addresses.as_ref();
            addresses.is_some_and(|addresses| !addresses.contains(&gone))
        };
        wait_for("who is gone leaves DNS", PATIENCE, || {
            let batches = self.batches().into_iter();
            let mut later = batches.filter(|batch| batch.is_accepted && batch.answered >= since);
            let found = later.find(is_without).map(|batch| batch.answered);
            found.ok_or_else(|| format!("{:?} are published", self.published()))
        })
    }

    /// The next batch waits, until [`Witness::release`].
    pub(super) fn hold_next(&self) {
        self.shared.state().hold = Hold::Next;
    }

    /// Waits until one does.
    pub(super) fn wait_held(&self) {
        wait_until("a batch is on its way", PATIENCE, || {
            self.shared.state().hold == Hold::One
        });
    }

    /// Lets the batch that waits go on.
    pub(super) fn release(&self) {
        self.shared.state().hold = Hold::Nothing;
        self.shared.released.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Passes a batch on when it may go, and notes what became of it.
    fn pass_batch(&self, request: &Message) -> io::Result<Message> {
        self.wait_released();
        let turn = self.turn.lock().expect("no holder panics");
        let answer = http::exchange(self.behind, request)?;
        let is_accepted = answer.first.contains(" 200 ");
        let batch = Batch::read(&String::from_utf8_lossy(&request.body), is_accepted);
        self.state().batches.push(batch);
        drop(turn);
        Ok(answer)
    }

    fn wait_released(&self) {
        let mut state = self.state();
        if state.hold == Hold::Next {
            state.hold = Hold::One;
            let is_held = |state: &mut State| state.hold == Hold::One;
            let released = self.released.wait_while(state, is_held);
            drop(released.expect("no holder panics"));
        }
    }
}

/// Answers the calls of one connection until either side closes it. An error is the other side's closing.
fn serve(mut connection: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut requests = BufReader::new(connection.try_clone()?);
    while let Some(request) = Message::read(&mut requests)? {
        shared.state().calls += 1;
        let is_batch = request.first.starts_with("POST ") && request.first.contains("/rrset");
        let answer = match is_batch {
            true => shared.pass_batch(&request)?,
            false => http::exchange(shared.behind, &request)?,
        };
        answer.write(&mut connection)?;
    }
    Ok(())
}
