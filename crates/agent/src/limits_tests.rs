use bytes::Bytes;
use hafleet_identity::{PersonName, Principal, Role};
use hafleet_model::{FleetName, NodeId};
use http_body::Body as _;
use tokio::sync::mpsc;
use tonic::Code;
use tower::{Layer as _, Service as _};

use super::*;

fn person(name: &str) -> Identity {
    Identity {
        fleet: FleetName::new("shop").unwrap(),
        principal: Principal::Person {
            name: PersonName::new(name).unwrap(),
            role: Role::Viewer,
        },
    }
}

fn node() -> Identity {
    Identity::node(FleetName::new("shop").unwrap(), NodeId::new("lb1").unwrap())
}

#[test]
fn one_who_calls_too_often_is_refused_and_nobody_else() {
    let guard = RequestGuard::new(RequestLimits {
        requests_per_second: NonZeroU32::new(5).unwrap(),
        ..RequestLimits::default()
    });
    let admitted = |who: &Identity| (0..150).filter(|_| guard.shared.admit(who).is_ok()).count();
    let ada = admitted(&person("ada"));
    assert!((10..50).contains(&ada), "{ada}");
    let refused = guard.shared.admit(&person("ada")).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("limits.requests_per_second"));
    assert!(guard.shared.admit(&person("bob")).is_ok());
    assert_eq!(admitted(&node()), 150);
}

/// A message whose parts come when they are sent.
struct Parts(mpsc::Receiver<Bytes>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let part = self.0.poll_recv(context);
        part.map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// What a service behind the guard reads of a body, and how that ends.
fn body(guard: &RequestGuard, caller: &Identity) -> (mpsc::Sender<Bytes>, TimedBody) {
    let (sender, parts) = mpsc::channel(8);
    let body = TimedBody {
        deadline: Box::pin(tokio::time::sleep(guard.shared.limits.message_deadline)),
        shared: Arc::clone(&guard.shared),
        caller: caller.clone(),
        sending: Arc::new(Sending {
            bytes: AtomicUsize::default(),
            total: guard.shared.sent_by(caller),
        }),
        inner: Body::new(Parts(parts)),
    };
    (sender, body)
}

async fn next(body: &mut TimedBody) -> Option<Result<usize, Code>> {
    let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(match frame {
        Ok(frame) => Ok(frame.data_ref().map_or(0, Bytes::len)),
        Err(status) => Err(status.code()),
    })
}

#[tokio::test(start_paused = true)]
async fn a_message_that_dribbles_is_ended() {
    let guard = RequestGuard::new(RequestLimits::default());
    let (sender, mut body) = body(&guard, &person("ada"));
    tokio::spawn(async move {
        while sender.send(Bytes::from_static(b"x")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    });
    let mut parts = 0;
    let end = loop {
        match next(&mut body).await {
            Some(Ok(_)) => parts += 1,
            other => break other,
        }
    };
    assert_eq!(end, Some(Err(Code::DeadlineExceeded)));
    assert!((7..=9).contains(&parts), "{parts} in 30 s");
}

#[tokio::test]
async fn what_is_not_answered_yet_is_bounded_over_all_calls_of_one() {
    let guard = RequestGuard::new(RequestLimits {
        message_bytes: 100,
        ..RequestLimits::default()
    });
    let (first, mut one) = body(&guard, &person("ada"));
    let (second, mut two) = body(&guard, &person("ada"));
    let (other, mut three) = body(&guard, &person("bob"));
    for sender in [&first, &second, &other] {
        sender.send(Bytes::from_static(&[0; 60])).await.unwrap();
    }
    assert_eq!(next(&mut one).await, Some(Ok(60)));
    assert_eq!(next(&mut two).await, Some(Err(Code::ResourceExhausted)));
    assert_eq!(next(&mut three).await, Some(Ok(60)));
    drop((one, two));
    let (again, mut four) = body(&guard, &person("ada"));
    again.send(Bytes::from_static(&[0; 60])).await.unwrap();
    assert_eq!(next(&mut four).await, Some(Ok(60)));
}

#[tokio::test]
async fn nobody_is_served_who_is_not_known() {
    let guard = RequestGuard::new(RequestLimits::default());
    let never = tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
    });
    let mut service = guard.layer(never);
    let answer = service
        .call(http::Request::new(Body::empty()))
        .await
        .unwrap();
    let status = answer.headers().get("grpc-status").unwrap();
    assert_eq!(status, &(Code::Unauthenticated as i32).to_string());
}

#[test]
fn refused_calls_are_told_once_in_ten_seconds_and_all_are_counted() {
    let (mut refused, start) = (Refused::default(), Instant::now());
    let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
    let told: Vec<_> = (0..250)
        .filter_map(|tenths| refused.one_more(at(tenths)))
        .collect();
    assert_eq!(told, [(1, 1), (101, 100), (201, 100)]);
}
