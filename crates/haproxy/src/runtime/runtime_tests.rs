use proptest::prelude::*;
use tokio::net::UnixListener;

use super::*;

/// A socket that reads one command and answers with `reply`; it keeps the connection open if told so.
async fn answering(reply: &'static [u8], keeps_open: bool) -> (tempfile::TempDir, RuntimeSocket) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut command = [0; 64];
        let _ = stream.read(&mut command).await;
        stream.write_all(reply).await.unwrap();
        if keeps_open {
            std::future::pending::<()>().await;
        }
    });
    (dir, RuntimeSocket::new(path))
}

#[tokio::test]
async fn a_reply_cut_short_is_no_reply() {
    for reply in [&b""[..], b"Name: HAProxy\nVers", b"Name: HAProxy\n"] {
        let (_dir, socket) = answering(reply, false).await;
        let error = socket.info().await.unwrap_err();
        assert!(matches!(error, RuntimeError::ClosedEarly { .. }), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let (_dir, socket) = answering(b"Name: HAProxy\n\n", true).await;
    let socket = socket.with_deadline(Duration::from_millis(30));
    let error = socket.info().await.unwrap_err();
    assert!(matches!(error, RuntimeError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_reply_is_refused() {
    let (_dir, socket) = answering(&[b'x'; 4096], false).await;
    let error = socket.with_max_reply(1000).stat().await.unwrap_err();
    assert!(
        matches!(error, RuntimeError::TooLong { limit: 1000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_socket_is_unreachable() {
    let error = RuntimeSocket::new("/nowhere/s").info().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn refusals_keep_their_words() {
    let set = Command::new(&["set", "server", "a/b", "weight", "1"]).unwrap();
    let (_dir, socket) = answering(b"No such server.\n\n", false).await;
    let error = socket.tell(&set).await.unwrap_err();
    assert!(error.to_string().contains("No such server."), "{error}");
    let (_dir, socket) =
        answering(b"Unknown command: 'x', but maybe\n  show info\n\n", false).await;
    assert!(matches!(
        socket.ask(&set).await,
        Err(RuntimeError::Refused { .. })
    ));
    let (_dir, socket) = answering(b"\n", false).await;
    socket.tell(&set).await.unwrap();
}

const STAT: &str = "# pxname,svname,scur,status,weight,type,hrsp_5xx,req_tot,new_in_9,\n\
                    web,FRONTEND,3,OPEN,,0,7,10,x,\napp,\"a,1\",0,UP 1/3,50,2,,,,\napp,BACKEND,0,UP,50,1,7,,,\n";

#[test]
fn statistics_are_read_by_the_names_of_columns() {
    let stats = Stats::parse(STAT).unwrap();
    assert_eq!(stats.0.len(), 3);
    assert_eq!(stats.0[0].requests_total, Some(10));
    assert_eq!(stats.0[0].field("new_in_9"), Some("x"));
    let server = stats.server("app", "a,1").unwrap();
    assert_eq!(
        (server.status.as_str(), server.weight),
        ("UP 1/3", Some(50))
    );
    assert_eq!(server.responses_5xx, None);
}

#[test]
fn garbage_is_an_error_and_says_what_is_wrong() {
    assert!(Info::parse("Pid: x\n").unwrap_err().contains("Pid"));
    assert!(ServersState::parse("2\n").unwrap_err().contains("version"));
    assert!(
        ServersState::parse("1\n# be_name\nx\n")
            .unwrap_err()
            .contains("srv_")
    );
    assert!(Stats::parse("x").is_err());
    assert!(
        Stats::parse("# pxname,type\na,9\n")
            .unwrap_err()
            .contains("type")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..STAT.len()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Info::parse(&text);
        let _ = ServersState::parse(&text);
        let _ = ServersState::parse(&format!("1\n# be_name srv_name srv_port\n{text}"));
        let _ = Stats::parse(&text);
        let _ = Stats::parse(&format!("# pxname,svname,type\n{text}"));
        let _ = Stats::parse(&STAT[..cut]);
    }
}

/// A socket that answers each line of a session with the next of `replies`, then closes.
async fn conversing(
    replies: &'static [&'static [u8]],
    keeps_open: bool,
) -> (tempfile::TempDir, RuntimeSocket) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for reply in replies {
            let mut command = [0; 256];
            let _ = stream.read(&mut command).await;
            let _ = stream.write_all(reply).await;
        }
        if keeps_open {
            std::future::pending::<()>().await;
        }
    });
    (dir, RuntimeSocket::new(path))
}

#[tokio::test]
async fn a_session_tells_replies_apart_and_keeps_refusals() {
    let replies: &[&[u8]] = &[
        b"\n> ",
        b"New server registered.\n\n> ",
        b"Only servers in maintenance mode can be deleted.\n> ",
    ];
    let (_dir, socket) = conversing(replies, false).await;
    let mut session = socket.session().await.unwrap();
    let command = Command::fixed("add server a/b 192.0.2.1:80");
    session.tell(&command).await.unwrap();
    let error = session
        .tell(&Command::fixed("del server a/b"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("maintenance mode"), "{error}");
    let error = session.ask(&command).await.unwrap_err();
    assert!(
        matches!(
            error,
            RuntimeError::ClosedEarly { .. } | RuntimeError::Broken { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_session_ends_with_a_typed_error() {
    let command = Command::fixed("show map");
    let (_dir, socket) = conversing(&[b"\n> ", b"half"], true).await;
    let socket = socket.with_deadline(Duration::from_millis(30));
    let mut session = socket.session().await.unwrap();
    let late = session.ask(&command).await.unwrap_err();
    assert!(matches!(late, RuntimeError::TimedOut { .. }), "{late}");

    let (_dir, socket) = conversing(&[b"\n> ", b"half"], false).await;
    let half = socket.session().await.unwrap().ask(&command).await;
    assert!(matches!(half, Err(RuntimeError::ClosedEarly { .. })));

    let (_dir, socket) = conversing(&[b"\n> ", &[b'x'; 4096]], false).await;
    let mut session = socket.with_max_reply(1000).session().await.unwrap();
    let long = session.ask(&command).await.unwrap_err();
    assert!(matches!(long, RuntimeError::TooLong { .. }), "{long}");

    let (_dir, socket) = conversing(&[b"Permission denied\n\n> "], false).await;
    let refused = socket.session().await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Refused { .. }), "{refused}");
}

const MAPS: &str = "# id (file) description\n0 (/a (b)/x.map) pattern loaded from file '/a (b)/x.map' used by map at file \
                    'h.cfg' line 15. curr_ver=0 next_ver=0 entry_cnt=1\n-1 (virt) no file\n";

#[tokio::test]
async fn maps_are_read_and_what_is_none_is_an_error() {
    let maps = super::maps::parse_list(MAPS).unwrap();
    assert_eq!(maps.len(), 1);
    assert_eq!(
        (maps[0].id, maps[0].path.to_str()),
        (0, Some("/a (b)/x.map"))
    );
    let entries = super::maps::parse_entries("0x1 a.com b c\n0x2 /x/ d\n").unwrap();
    assert_eq!(entries[0], ("a.com".to_owned(), "b c".to_owned()));
    assert_eq!(entries.len(), 2);
    let (_dir, socket) = answering(
        b"Unknown map identifier. Please use #<id> or <file>.\n\n",
        false,
    )
    .await;
    let error = socket.map(7).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Garbled { .. }), "{error}");
    let (_dir, socket) = answering(b"0x1 a b", false).await;
    let error = socket.map(7).await.unwrap_err();
    assert!(matches!(error, RuntimeError::ClosedEarly { .. }), "{error}");
    let (_dir, socket) = answering(b"garbage\n\n", false).await;
    let error = socket.maps().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Garbled { .. }), "{error}");
}

proptest! {
    #[test]
    fn any_maps_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..MAPS.len()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = super::maps::parse_list(&format!("# id (file) \n{text}"));
        let _ = super::maps::parse_list(&MAPS[..cut]);
        let _ = super::maps::parse_entries(&text);
    }
}
