//! Which HAProxy is installed: where its program is and which version it has.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// How long `haproxy -v` may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A version of HAProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number; even ones are supported for long.
    pub minor: u16,
    /// The third number; 0 for development versions such as `3.1-dev5`.
    pub patch: u16,
}

impl Version {
    /// The oldest version that hafleet drives.
    pub const OLDEST: Self = Self {
        major: 2,
        minor: 4,
        patch: 0,
    };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

/// A text that is not a version of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of HAProxy")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    /// Reads what `haproxy -v` and `show info` give, such as `2.6.12-1+deb12u4`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let refused = || VersionError(text.chars().take(80).collect());
        let plain = text.split(['-', '+', '~']).next().unwrap_or_default();
        let mut numbers = plain.split('.').map(str::parse::<u16>);
        let mut next = || numbers.next().transpose().map_err(|_| refused());
        let (major, minor, patch) = (next()?, next()?, next()?);
        Ok(Self {
            major: major.ok_or_else(refused)?,
            minor: minor.ok_or_else(refused)?,
            patch: patch.unwrap_or(0),
        })
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;
    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

/// Why no HAProxy can be used. Permanent: it stays until someone installs or configures one.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// There is none.
    #[error(
        "HAProxy was not found: looked for {looked_for}. Install it (`apt install haproxy`), or name its program in the setting `haproxy.binary`"
    )]
    Missing {
        /// The paths that were tried, for people.
        looked_for: String,
    },
    /// It could not be run.
    #[error("{} could not be run", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran for longer than any HAProxy does to tell its version.
    #[error("{} -v did not end within {} s", path.display(), DEADLINE.as_secs())]
    Hangs {
        /// The program.
        path: PathBuf,
    },
    /// It is another program.
    #[error("{} is not HAProxy: `-v` answered {answer:?}", path.display())]
    NotHaproxy {
        /// The program.
        path: PathBuf,
        /// The beginning of what it wrote.
        answer: String,
    },
    /// It lacks what hafleet needs.
    #[error("{} is HAProxy {version}: {} or newer is needed", path.display(), Version::OLDEST)]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
}

/// An HAProxy that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
}

impl Binary {
    /// Finds HAProxy: at `configured` if given, else as `haproxy` in `PATH` and in `/usr/sbin` and `/usr/local/sbin`,
    /// which the `PATH` of services often lacks.
    ///
    /// # Errors
    /// When there is none, when it is too old, or when it is another program.
    pub async fn find(configured: Option<&Path>) -> Result<Self, BinaryError> {
        let candidates =
            configured.map_or_else(|| in_path("haproxy"), |path| vec![path.to_owned()]);
        let found = candidates.iter().find(|path| path.is_file());
        let Some(path) = found else {
            let names = candidates.iter().map(|path| path.display().to_string());
            return Err(BinaryError::Missing {
                looked_for: names.collect::<Vec<_>>().join(", "),
            });
        };
        let version = version_of(path).await?;
        if version < Version::OLDEST {
            return Err(BinaryError::TooOld {
                path: path.clone(),
                version,
            });
        }
        Ok(Self {
            path: path.clone(),
            version,
        })
    }
}

/// Where a program called `name` may be.
pub(crate) fn in_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut all: Vec<PathBuf> = Vec::new();
    for dir in std::env::split_paths(&path).chain(usual) {
        let candidate = dir.join(name);
        if dir.is_absolute() && !all.contains(&candidate) {
            all.push(candidate);
        }
    }
    all
}

async fn version_of(path: &Path) -> Result<Version, BinaryError> {
    let output = Command::new(path)
        .arg("-v")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .map_err(|_| BinaryError::Hangs {
            path: path.to_owned(),
        })?
        .map_err(|source| BinaryError::Unusable {
            path: path.to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_answer(&text).ok_or_else(|| BinaryError::NotHaproxy {
        path: path.to_owned(),
        answer: text.chars().take(100).collect(),
    })
}

/// `HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/`; before 2.4, `HA-Proxy version …`.
fn parse_answer(text: &str) -> Option<Version> {
    let mut words = text.lines().next()?.split_whitespace();
    let is_haproxy = matches!(words.next(), Some("HAProxy" | "HA-Proxy"));
    if !is_haproxy || words.next() != Some("version") {
        return None;
    }
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_builds_are_read() {
        let cases = [
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12",
            ),
            ("HA-Proxy version 2.2.9-2+deb11u6 2023/12/30", "2.2.9"),
            ("HAProxy version 3.1-dev5-abcdef 2024/08/01", "3.1.0"),
            ("HAProxy version 2.8.3~bpo11+1 2024/01/01", "2.8.3"),
        ];
        for (answer, version) in cases {
            assert_eq!(parse_answer(answer).unwrap().to_string(), version);
        }
        for answer in [
            "",
            "nginx version: 1.2",
            "HAProxy version",
            "HAProxy version x.y",
        ] {
            assert_eq!(parse_answer(answer), None, "{answer}");
        }
    }

    #[tokio::test]
    async fn the_installed_one_is_found() {
        let binary = Binary::find(None).await.unwrap();
        assert!(binary.version >= Version::OLDEST);
    }

    #[tokio::test]
    async fn a_missing_one_is_named_with_the_way_out() {
        let error = Binary::find(Some(Path::new("/nowhere/haproxy")))
            .await
            .unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("/nowhere/haproxy") && words.contains("haproxy.binary"),
            "{words}"
        );
    }

    #[tokio::test]
    async fn other_programs_and_old_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, answer: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let other = script("other", "busybox");
        let old = script("old", "HA-Proxy version 2.2.9 2023/12/30");
        assert!(matches!(
            Binary::find(Some(&other)).await,
            Err(BinaryError::NotHaproxy { .. })
        ));
        assert!(matches!(
            Binary::find(Some(&old)).await,
            Err(BinaryError::TooOld { .. })
        ));
    }
}
