//! The ways to a plain HAProxy's statistics: its page over HTTP, its stats socket, and files.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hafleet_identity::WebTrust;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::netrc;
use super::source::{Page, Place};

/// The most bytes of a page: about 500 bytes a server, so this is for 100,000.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Whom to trust on https.
pub(super) struct Secure(Result<WebTrust, String>);

impl Secure {
    /// The authority in `file`, or those that the machine trusts. What is wrong with them is told where they are needed.
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self(WebTrust::load(file).map_err(|error| error.to_string()))
    }
}

/// Reads a page over HTTP.
pub(super) async fn page(page: &Page, secure: &Secure) -> Result<String, String> {
    let stream = TcpStream::connect((page.host.as_str(), page.port)).await;
    let stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
    if page.is_tls {
        let trust = secure.0.as_ref().map_err(String::clone)?;
        let stream = trust.connect(stream, &page.host).await;
        return get(page, stream.map_err(|error| error.to_string())?).await;
    }
    get(page, stream).await
}

async fn get(
    page: &Page,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<String, String> {
    let broken = |error: hyper::Error| format!("its page broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request(page)?).await.map_err(broken)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                return Err("it asks for a user and a password: put them into the URL, ~/.netrc, or HAFLEET_STATS_USER and HAFLEET_STATS_PASSWORD".to_owned());
            }
            other => return Err(format!("its page answers {other}")),
        }
        let limit = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| format!("its page broke off: {error}"))?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    };
    let answer = answer.await;
    connection.abort();
    answer
}

fn request(page: &Page) -> Result<Request<Empty<Bytes>>, String> {
    let host = if page.host.contains(':') {
        format!("[{}]:{}", page.host, page.port)
    } else {
        format!("{}:{}", page.host, page.port)
    };
    let mut request = Request::get(&page.path)
        .header(HOST, host)
        .header(USER_AGENT, "hafleet");
    if let Some((user, password)) = login(page) {
        let words = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::from_str(&words).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

/// The URL's own user and password, or the environment's, or those of the netrc file.
fn login(page: &Page) -> Option<(String, String)> {
    let environment = || {
        let user = std::env::var("HAFLEET_STATS_USER").ok()?;
        Some((
            user,
            std::env::var("HAFLEET_STATS_PASSWORD").unwrap_or_default(),
        ))
    };
    let file = || {
        let path = std::env::var_os("NETRC").map_or_else(
            || std::env::var_os("HOME").map(|home| Path::new(&home).join(".netrc")),
            |path| Some(path.into()),
        )?;
        netrc::login(&std::fs::read_to_string(path).ok()?, &page.host)
    };
    page.login.clone().or_else(environment).or_else(file)
}

/// Runs a command over a stats socket.
pub(super) async fn command(place: &Place, command: &str) -> Result<String, String> {
    let unreached = |error: std::io::Error| format!("it cannot be reached: {error}");
    match place {
        Place::Unix(path) => {
            exchange(UnixStream::connect(path).await.map_err(unreached)?, command).await
        }
        Place::Tcp(address) => {
            exchange(
                TcpStream::connect(address).await.map_err(unreached)?,
                command,
            )
            .await
        }
        Place::Http(_) | Place::File(_) => Err("it is no socket".to_owned()),
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    command: &str,
) -> Result<String, String> {
    let broken = |error: std::io::Error| format!("its socket broke off: {error}");
    stream
        .write_all(format!("{command}\n").as_bytes())
        .await
        .map_err(broken)?;
    let mut reply = Vec::new();
    stream
        .take(MAX_BYTES)
        .read_to_end(&mut reply)
        .await
        .map_err(broken)?;
    // An empty line ends each reply (Management Guide, section 9.3).
    if !reply.ends_with(b"\n\n") {
        return Err(format!(
            "its socket closed before the answer to {command:?} was complete"
        ));
    }
    let text = String::from_utf8_lossy(&reply);
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Reads a file, and when it was written; what a pipe has, such as `/dev/stdin`, is new.
pub(super) async fn file(path: &Path) -> Result<(String, SystemTime), String> {
    let failed = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let written = file
        .metadata()
        .await
        .and_then(|found| found.modified())
        .map_err(failed)?;
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .await
        .map_err(failed)?;
    Ok((text, written))
}
