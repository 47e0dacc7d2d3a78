//! What stands before Route53, sees each batch, and knows in which order they were applied and whose they were.
//!
//! Batches pass one at a time, so that the order here is the server's. Each call is let through, kept out or held by the
//! address that it comes from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, BufReader};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::http::{self, Message};
use super::moto::texts;

/// How often a door looks whether it is over.
const TICK: Duration = Duration::from_millis(10);

/// What becomes of the calls from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// They pass.
    Open,
    /// Their connections are closed as they come.
    Closed,
    /// Batches wait before the server until the passage is another, also when who sent them is no more.
    BatchesHeld,
    /// Batches are applied, and their answers wait until the passage is another.
    AnswersHeld,
}

/// A batch that came to the server, and its answer.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where it came from.
    pub from: IpAddr,
    /// When its answer had come.
    pub answered: Instant,
    /// Whether it was applied. If not, nothing of it was.
    pub is_applied: bool,
    /// What it is about.
    pub changes: Vec<Changed>,
}

/// One change of a batch.
#[derive(Debug, Clone)]
pub struct Changed {
    /// `CREATE`, `DELETE` or `UPSERT`.
    pub action: String,
    /// The set's name, without the dot at its end.
    pub name: String,
    /// The set's type.
    pub kind: String,
    /// The set's values.
    pub values: Vec<String>,
}

/// The witness. Its doors close when it is dropped.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behind: SocketAddr,
    /// Held while a batch is at the server.
    batches: Mutex<Vec<Batch>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    everyone: Passage,
    passages: BTreeMap<IpAddr, Passage>,
    /// Whose batches or answers are held now.
    held: Vec<IpAddr>,
    /// How many calls a second pass, and when the last ones did.
    rate: Option<usize>,
    passed: VecDeque<Instant>,
    throttled: usize,
    calls: usize,
    is_over: bool,
}

impl Witness {
    /// One before the server at `endpoint`, without doors.
    ///
    /// # Panics
    /// When that is no endpoint of a test's own.
    pub fn before(endpoint: &str) -> Self {
        let behind = endpoint.trim_start_matches("http://").parse();
        let state = State {
            everyone: Passage::Open,
            passages: BTreeMap::new(),
            held: Vec::new(),
            rate: None,
            passed: VecDeque::new(),
            throttled: 0,
            calls: 0,
            is_over: false,
        };
        let shared = Shared {
            behind: behind.expect("an address and a port"),
            batches: Mutex::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A door, still closed, in the network of who asks for it: at `address`, on a port that the system chooses.
    ///
    /// # Panics
    /// When that is no address of this place.
    pub fn door_at(address: IpAddr) -> TcpListener {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        listener
            .set_nonblocking(true)
            .expect("a listener can be polled");
        listener
    }

    /// Lets in who comes to the door; what `AWS_ENDPOINT_URL` should be there. The server is asked from the network of who
    /// opens it.
    ///
    /// # Panics
    /// When it is no door any more.
    pub fn open(&self, door: TcpListener) -> String {
        let address = door.local_addr().expect("a listener has an address");
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || accept(&door, &shared));
        format!("http://{address}")
    }

    /// What becomes of all calls from now on, where nothing is said of who calls.
    pub fn set_all(&self, passage: Passage) {
        self.shared.state().everyone = passage;
        self.shared.changed.notify_all();
    }

    /// What becomes of calls from `address` from now on, also of those that are held.
    pub fn set(&self, address: impl Into<IpAddr>, passage: Passage) {
        let passages = &mut self.shared.state().passages;
        passages.insert(address.into(), passage);
        self.shared.changed.notify_all();
    }

    /// How many calls a second pass from now on; all others are answered with `Throttling`.
    pub fn set_rate(&self, rate: usize) {
        self.shared.state().rate = Some(rate);
    }

    /// How many calls came, of any kind.
    pub fn calls(&self) -> usize {
        self.shared.state().calls
    }

    /// The last batch that was applied.
    pub fn last(&self) -> Option<Batch> {
        let mut batches = self.batches().into_iter().rev();
        batches.find(|batch| batch.is_applied)
    }

    /// How many calls were answered with `Throttling`.
    pub fn throttled(&self) -> usize {
        self.shared.state().throttled
    }

    /// Whether a batch from `address`, or the answer to one, is held.
    pub fn holds(&self, address: impl Into<IpAddr>) -> bool {
        self.shared.state().held.contains(&address.into())
    }

    /// All batches that came to the server, in their order.
    pub fn batches(&self) -> Vec<Batch> {
        self.shared.batches().clone()
    }

    /// Asserts that no write of a superseded leader was applied: at each name the term never became lower, nobody else wrote in
    /// the same term, each write replaced the very one before it, and none had a value that had been there. And that nothing was
    /// changed without that.
    #[track_caller]
    pub fn assert_fenced(&self) {
        let batches = self.batches();
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        let mut used = BTreeSet::new();
        for batch in batches.iter().filter(|batch| batch.is_applied) {
            let owned = |action: &str, name: &str| {
                let mut changes = batch.changes.iter();
                let found = changes.find(|change| change.is_ownership(name, action));
                found.and_then(|change| change.values.first())
            };
            let published: BTreeSet<_> = batch.changes.iter().map(Changed::published).collect();
            for name in published {
                let before = owned("DELETE", name).map(String::as_str);
                let after = owned("CREATE", name).map(String::as_str);
                assert_eq!(before, last.get(name).copied(), "{name} in {batches:#?}");
                assert!(before.is_some() || after.is_some(), "{name}: {batch:#?}");
                if let (Some(before), Some(after)) = (before, after) {
                    assert_follows(before, after);
                }
                match after {
                    Some(after) => {
                        assert!(used.insert((name, after)), "{after} was there before");
                        last.insert(name, after);
                    }
                    None => drop(last.remove(name)),
                }
            }
        }
        assert!(!used.is_empty(), "nothing was written: {batches:#?}");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Batch {
    /// The leader that sent it and its term, as the ownership record says that it makes; none if it makes none.
    pub fn writer(&self) -> Option<(u64, &str)> {
        let makes = |change: &&Changed| change.kind == "TXT" && change.action != "DELETE";
        let ownership = self.changes.iter().find(makes)?.values.first()?;
        let term = word(ownership, "term").parse().ok()?;
        Some((term, word(ownership, "leader")))
    }

    /// The addresses that it gives `name`; none if it leaves them as they are.
    pub fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut changes = self.changes.iter();
        let made = changes.find(|change| {
            change.kind == "A" && change.action != "DELETE" && change.name == name
        })?;
        let values = made.values.iter();
        Some(values.filter_map(|value| value.parse().ok()).collect())
    }
}

impl Changed {
    /// The published name that it is about, also where it is of the name's ownership.
    pub fn published(&self) -> &str {
        self.name.strip_prefix("_hafleet.").unwrap_or(&self.name)
    }

    fn is_ownership(&self, name: &str, action: &str) -> bool {
        self.kind == "TXT"
            && self.action == action
            && self.name.strip_prefix("_hafleet.") == Some(name)
    }
}

/// Asserts that `after` may replace `before`.
#[track_caller]
fn assert_follows(before: &str, after: &str) {
    let number = |text: &str, name: &str| word(text, name).parse::<u64>().unwrap_or_default();
    let (old, new) = (number(before, "term"), number(after, "term"));
    assert!(new >= old, "{after:?} was written over {before:?}");
    let is_same_writer = word(before, "leader") == word(after, "leader");
    assert!(new > old || is_same_writer, "{after:?} over {before:?}");
    assert!(number(after, "sequence") > number(before, "sequence"));
    assert_eq!(word(before, "fleet"), word(after, "fleet"));
}

/// What a record of ownership says under `name`; empty if it does not.
fn word<'a>(ownership: &'a str, name: &str) -> &'a str {
    let words = ownership.trim_matches('"').split(',');
    words
        .filter_map(|word| word.split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
        .unwrap_or_default()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.batches.lock().expect("no holder panics")
    }

    fn passage(&self, from: IpAddr) -> Passage {
        self.state().passage(from)
    }

    /// Waits while the passage of `from` is `held`.
    fn hold(&self, from: IpAddr, held: Passage) {
        let mut state = self.state();
        if state.passage(from) != held {
            return;
        }
        state.held.push(from);
        while state.passage(from) == held && !state.is_over {
            state = self.changed.wait(state).expect("no holder panics");
        }
        if let Some(at) = state.held.iter().position(|found| *found == from) {
            state.held.swap_remove(at);
        }
    }

    /// Whether one more call may pass now.
    fn has_turn(&self) -> bool {
        let mut state = self.state();
        let Some(rate) = state.rate else {
            return true;
        };
        let now = Instant::now();
        state
            .passed
            .retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        let has_turn = state.passed.len() < rate;
        match has_turn {
            true => state.passed.push_back(now),
            false => state.throttled += 1,
        }
        has_turn
    }

    /// Has the server apply a batch, or not, before any other.
    fn apply(&self, from: IpAddr, request: &Message) -> io::Result<Message> {
        let changes = changes(&String::from_utf8_lossy(&request.body));
        let mut batches = self.batches();
        let answer = http::exchange(self.behind, request)?;
        batches.push(Batch {
            from,
            answered: Instant::now(),
            is_applied: answer.first.contains(" 200 "),
            changes,
        });
        Ok(answer)
    }
}

impl State {
    fn passage(&self, from: IpAddr) -> Passage {
        self.passages.get(&from).copied().unwrap_or(self.everyone)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept() {
            Ok((connection, from)) => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || serve(&connection, from.ip(), &shared));
            }
            Err(_) => {
                let state = shared.state();
                let waited = shared.changed.wait_timeout(state, TICK);
                if waited.expect("no holder panics").0.is_over {
                    return;
                }
            }
        }
    }
}

/// Answers the calls of one connection until either side closes it. An error is the other side's closing.
fn serve(connection: &TcpStream, from: IpAddr, shared: &Shared) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    let mut requests = BufReader::new(connection.try_clone()?);
    let mut answers = connection.try_clone()?;
    while let Some(request) = Message::read(&mut requests)? {
        shared.state().calls += 1;
        let is_batch = request.first.starts_with("POST ") && request.first.contains("/rrset");
        if is_batch {
            shared.hold(from, Passage::BatchesHeld);
        }
        if shared.passage(from) == Passage::Closed {
            break;
        }
        let answer = match shared.has_turn() {
            false => throttling(),
            true if is_batch => shared.apply(from, &request)?,
            true => http::exchange(shared.behind, &request)?,
        };
        if is_batch {
            shared.hold(from, Passage::AnswersHeld);
        }
        answer.write(&mut answers)?;
    }
    connection.shutdown(Shutdown::Both)
}

fn changes(body: &str) -> Vec<Changed> {
    let changes = texts(body, "Change");
    let changes = changes.iter().map(|change| {
        let first = |name: &str| texts(change, name).into_iter().next().unwrap_or_default();
        let values = texts(change, "Value").into_iter();
        Changed {
            action: first("Action"),
            name: first("Name").trim_end_matches('.').to_owned(),
            kind: first("Type"),
            values: values.map(|value| value.replace("&quot;", "\"")).collect(),
        }
    });
    changes.collect()
}

fn throttling() -> Message {
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>\
                <RequestId>0</RequestId></ErrorResponse>";
    Message {
        first: "HTTP/1.1 400 Bad Request".to_owned(),
        headers: vec!["Content-Type: text/xml".to_owned()],
        body: body.as_bytes().to_vec(),
    }
}
