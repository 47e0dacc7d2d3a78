//! What stands between AWS and who asks: it lets calls pass, counts them, or answers them with a fault.

use std::io::{self, BufReader};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{self, Message};

/// How often a gate looks whether it is over.
const TICK: Duration = Duration::from_millis(5);

/// What becomes of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// Connections are closed as they come.
    Down,
    /// They are taken and not answered, until the fault is another.
    Slow,
    /// The second page of an answer ends in the middle, with the length of all of it.
    HalfPage,
    /// The same without a length, so that HTTP cannot tell.
    HalfPageUnnoticed,
    /// The second page is answered with `InternalError`.
    FailingPage,
    /// `RequestLimitExceeded`.
    Throttled,
    /// `UnauthorizedOperation`.
    Denied,
    /// `UnauthorizedOperation` for Auto Scaling alone.
    AutoScalingDenied,
    /// `AccessDenied` for whoever wants to assume a role.
    RoleDenied,
    /// A page of somebody else's, with 200.
    OtherPage,
}

/// One call that came through, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called, such as `DescribeInstances`.
    pub action: String,
    /// When all of it had come.
    pub at: Instant,
    /// How long it took until it was answered; none while it is not, and of those that never are.
    pub answered_after: Option<Duration>,
}

/// The gate. It goes when it is dropped, with all its connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    behind: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    is_over: bool,
    calls: Vec<Call>,
    connections: Vec<TcpStream>,
}

impl Gate {
    /// A gate in front of `behind`, on a port that the system chooses.
    ///
    /// # Panics
    /// When there is no port.
    pub fn before(behind: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), behind)
    }

    /// The same at another address of where this runs.
    ///
    /// # Panics
    /// When that is no address of this place.
    pub fn at(address: IpAddr, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        listener
            .set_nonblocking(true)
            .expect("a listener can be polled");
        let address = listener.local_addr().expect("a listener has an address");
        let state = State {
            fault: Fault::None,
            is_over: false,
            calls: Vec::new(),
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared {
            behind,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = shared.clone();
        let listening = std::thread::spawn(move || accept(&listener, &accepting));
        Self {
            address,
            shared,
            listening: Some(listening),
        }
    }

    /// What `AWS_ENDPOINT_URL` should be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of calls from now on, also of those that wait for an answer.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.state();
        state.fault = fault;
        if fault == Fault::Down {
            close_all(&mut state);
        }
        self.shared.changed.notify_all();
    }

    /// The actions that were called so far, such as `DescribeInstances`, in their order; those answered with faults too.
    pub fn actions(&self) -> Vec<String> {
        let calls = self.calls();
        calls.into_iter().map(|call| call.action).collect()
    }

    /// The same with their times.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How often `action` was called.
    pub fn count(&self, action: &str) -> usize {
        let actions = self.actions();
        actions.iter().filter(|called| *called == action).count()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        close_all(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Notes a call that came; its number.
    fn note(&self, action: String) -> usize {
        let calls = &mut self.state().calls;
        calls.push(Call {
            action,
            at: Instant::now(),
            answered_after: None,
        });
        calls.len() - 1
    }

    fn note_answer(&self, number: usize) {
        let call = &mut self.state().calls[number];
        call.answered_after = Some(call.at.elapsed());
    }

    /// The fault of now; one that is [`Fault::Slow`] holds on to the caller. None when all is over.
    fn fault(&self) -> Option<Fault> {
        let mut state = self.state();
        while state.fault == Fault::Slow && !state.is_over {
            state = self.changed.wait(state).expect("no holder panics");
        }
        (!state.is_over).then_some(state.fault)
    }
}

fn close_all(state: &mut State) {
    for connection in state.connections.drain(..) {
        let _ = connection.shutdown(Shutdown::Both);
    }
}

/// Lets in who comes, until all is over. It looks for that itself: the network that it is in may be gone by then, and with it
/// every way to wake it.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let came = listener.accept();
        let mut state = shared.state();
        if state.is_over {
            return;
        }
        match came {
            Ok(_) if state.fault == Fault::Down => {}
            Ok((connection, _)) => {
                state.connections.extend(connection.try_clone());
                drop(state);
                let shared = shared.clone();
                std::thread::spawn(move || serve(connection, &shared));
            }
            Err(_) => {
                let waited = shared.changed.wait_timeout(state, TICK);
                drop(waited.expect("no holder panics"));
            }
        }
    }
}

/// Answers the calls of one connection until either side closes it. An error is the other side's closing.
fn serve(mut connection: TcpStream, shared: &Shared) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    let mut requests = BufReader::new(connection.try_clone()?);
    while let Some(request) = Message::read(&mut requests)? {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let parameter = |name: &str| {
            let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(found, value)| (found == name).then(|| value.to_owned()))
        };
        let action = parameter("Action").unwrap_or_default();
        let is_auto_scaling = action.contains("AutoScaling");
        let is_assume_role = action == "AssumeRole";
        let call = shared.note(action);
        let is_later_page = parameter("NextToken").is_some();
        let pass = || http::exchange(shared.behind, &request);
        let Some(fault) = shared.fault() else {
            break;
        };
        match fault {
            Fault::Down => break,
            Fault::HalfPage if is_later_page => {
                let whole = pass()?;
                whole.write_part(&mut connection, whole.body.len() / 2)?;
                break;
            }
            Fault::HalfPageUnnoticed if is_later_page => {
                let whole = pass()?;
                let half = after_an_instance(&whole.body);
                whole.write_until_closed(&mut connection, half)?;
                break;
            }
            Fault::FailingPage if is_later_page => {
                failure(500, "InternalError").write(&mut connection)?;
            }
            Fault::Throttled => failure(503, "RequestLimitExceeded").write(&mut connection)?,
            Fault::Denied => failure(403, "UnauthorizedOperation").write(&mut connection)?,
            Fault::AutoScalingDenied if is_auto_scaling => {
                failure(403, "AccessDenied").write(&mut connection)?;
            }
            Fault::RoleDenied if is_assume_role => {
                failure(403, "AccessDenied").write(&mut connection)?;
            }
            Fault::OtherPage => {
                answer(
                    200,
                    "<html><body>Sign in to the hotel's network</body></html>",
                )
                .write(&mut connection)?;
            }
            _ => pass()?.write(&mut connection)?,
        }
        shared.note_answer(call);
    }
    let _ = connection.shutdown(Shutdown::Both);
    Ok(())
}

/// Where the first instance of a page ends: up to there it is what a shorter page would be.
fn after_an_instance(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(body);
    let end = "</instancesSet>";
    text.find(end).map_or(body.len() / 2, |at| at + end.len())
}

fn answer(status: u16, body: &str) -> Message {
    Message {
        first: format!("HTTP/1.1 {status} Said"),
        headers: vec!["Content-Type: text/xml".to_owned()],
        body: body.as_bytes().to_vec(),
    }
}

fn failure(status: u16, code: &str) -> Message {
    answer(
        status,
        &format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>as the test wants it</Message></Error></Errors><RequestID>0</RequestID></Response>"
        ),
    )
}
