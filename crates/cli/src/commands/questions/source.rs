//! Where a plain HAProxy's statistics are: `[NAME=]URL`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One load balancer that no agent manages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// What it is called in answers; never with a password.
    pub(crate) name: String,
    /// Where its statistics are.
    pub(crate) place: Place,
}

/// Where statistics are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A statistics page.
    Http(Page),
    /// A stats socket of this machine.
    Unix(PathBuf),
    /// A stats socket on TCP, HOST:PORT.
    Tcp(String),
    /// A page that somebody saved.
    File(PathBuf),
}

/// A statistics page over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With the `;csv` that asks for comma-separated values.
    pub(crate) path: String,
    /// User and password, if the URL has them.
    pub(crate) login: Option<(String, String)>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// Not a place of statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceError(String);

impl std::error::Error for SourceError {}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: write http://HOST:PORT/PATH;csv, https://…, unix:/PATH, tcp://HOST:PORT, or the path of a file or a socket",
            self.0
        )
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if is_name(name) => (Some(name), url),
            _ => (None, text),
        };
        let place = place(url)?;
        let shown = match &place {
            Place::Http(page) => format!("{}:{}", bracketed(&page.host), page.port),
            Place::Unix(path) | Place::File(path) => path.display().to_string(),
            Place::Tcp(address) => address.clone(),
        };
        Ok(Self {
            name: name.map_or(shown, str::to_owned),
            place,
        })
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(is_part)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn place(url: &str) -> Result<Place, SourceError> {
    if let Some(rest) = url.strip_prefix("http://") {
        return page(rest, false).map(Place::Http);
    }
    if let Some(rest) = url.strip_prefix("https://") {
        return page(rest, true).map(Place::Http);
    }
    if let Some(rest) = url.strip_prefix("tcp:") {
        let address = rest.trim_start_matches('/').to_owned();
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        return match port {
            Some(Ok(_)) => Ok(Place::Tcp(address)),
            _ => Err(SourceError(format!("{address:?} has no port"))),
        };
    }
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(Place::Unix(path.into()));
    }
    let path = url.strip_prefix("file:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains("://") {
        // The rest may hold a password.
        let scheme = path.split("://").next().unwrap_or_default();
        return Err(SourceError(format!("{scheme:?} is no way to statistics")));
    }
    Ok(if is_socket(Path::new(path)) {
        Place::Unix(path.into())
    } else {
        Place::File(path.into())
    })
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn page(rest: &str, is_tls: bool) -> Result<Page, SourceError> {
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, authority),
    };
    let login = login.map(|login| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        (decoded(user), decoded(password))
    });
    let usual = if is_tls { 443 } else { 80 };
    let wrong = || SourceError(format!("{address:?} is no HOST:PORT"));
    let (host, port) = match address
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong());
    }
    let path = if path.contains(";csv") {
        path.to_owned()
    } else {
        format!("{path};csv")
    };
    Ok(Page {
        is_tls,
        host: host.to_owned(),
        port,
        path,
        login,
    })
}

/// Percent-encoded text (RFC 3986, section 2.1); what is none is left as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_told_apart() {
        let Place::Http(page) = read("http://ada:p%40ss@lb1:8404/stats").place else {
            panic!("a page");
        };
        assert_eq!(
            (page.host.as_str(), page.port, page.path.as_str()),
            ("lb1", 8404, "/stats;csv")
        );
        assert_eq!(page.login, Some(("ada".into(), "p@ss".into())));
        let Place::Http(page) = read("https://[2001:db8::1]/haproxy?stats;csv;norefresh").place
        else {
            panic!("a page");
        };
        assert_eq!(
            (page.host.as_str(), page.port, page.is_tls),
            ("2001:db8::1", 443, true)
        );
        assert_eq!(page.path, "/haproxy?stats;csv;norefresh");
        assert!(read("unix:/run/h.sock").place == Place::Unix("/run/h.sock".into()));
        assert!(read("tcp://127.0.0.1:9999").place == Place::Tcp("127.0.0.1:9999".into()));
        assert!(read("/tmp/no-such-file.csv").place == Place::File("/tmp/no-such-file.csv".into()));
    }

    #[test]
    fn names_never_hold_a_password() {
        assert_eq!(read("http://ada:secret@lb1:8404/stats").name, "lb1:8404");
        assert_eq!(read("edge=http://ada:secret@lb1/stats").name, "edge");
        assert!(!format!("{:?}", read("http://ada:secret@lb1/")).contains("secret"));
        for text in [
            "ftp://ada:secret@lb1/x",
            "http://ada:secret@lb1:x/",
            "http://ada:secret@/",
        ] {
            let words = text.parse::<Source>().unwrap_err().to_string();
            assert!(!words.contains("secret"), "{words}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "tcp://host", "http://:80/", "x://y"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
