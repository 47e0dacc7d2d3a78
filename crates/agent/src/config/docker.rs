//! The section `docker`: which engine's containers are servers.

use std::path::PathBuf;

use hafleet_discovery::docker::DockerEngine;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DockerSection {
    endpoint: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl DockerSection {
    /// The engine, if there is one; what cannot be is a fault.
    pub(super) fn engine(&self, faults: &mut Vec<String>) -> Option<DockerEngine> {
        let files = [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ];
        let Some(endpoint) = &self.endpoint else {
            let given = files.iter().filter(|(_, file)| file.is_some());
            faults.extend(given.map(|(key, _)| format!("docker.{key}: it needs docker.endpoint")));
            return None;
        };
        let engine = match endpoint.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => {
                Some(DockerEngine::Socket(path.into()))
            }
            Some(("tcp" | "http", address)) => {
                let address = address.parse().ok();
                let address = address.filter(|at: &std::net::SocketAddr| at.ip().is_loopback());
                address.map(DockerEngine::Loopback)
            }
            Some(("https", address)) => return self.with_tls(address, faults),
            _ => None,
        };
        if engine.is_none() {
            faults.push(format!(
                "docker.endpoint: {endpoint:?} is not an engine: write unix:///var/run/docker.sock, \
                 https://HOST:PORT with ca, certificate and key, or tcp://127.0.0.1:PORT"
            ));
        }
        for (key, _) in files.iter().filter(|(_, file)| file.is_some()) {
            faults.push(format!("docker.{key}: it is for an endpoint of https only"));
        }
        engine
    }

    fn with_tls(&self, address: &str, faults: &mut Vec<String>) -> Option<DockerEngine> {
        let mut needed = |key: &str, file: &Option<PathBuf>| {
            if file.is_none() {
                faults.push(format!(
                    "docker.{key}: it is required for an endpoint of https"
                ));
            }
            file.clone()
        };
        let authority = needed("ca", &self.ca);
        let certificate = needed("certificate", &self.certificate);
        let key = needed("key", &self.key);
        Some(DockerEngine::Tls {
            address: address.to_owned(),
            authority: authority?,
            certificate: certificate?,
            key: key?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: &str, with_files: bool) -> Result<Option<DockerEngine>, String> {
        let file = |name: &str| with_files.then(|| PathBuf::from(name));
        let section = DockerSection {
            endpoint: Some(endpoint.to_owned()),
            ca: file("/ca"),
            certificate: file("/cert"),
            key: file("/key"),
        };
        let mut faults = Vec::new();
        let engine = section.engine(&mut faults);
        match faults.as_slice() {
            [] => Ok(engine),
            faults => Err(faults.join("\n")),
        }
    }

    #[test]
    fn an_engine_is_a_socket_or_protected() {
        let socket = read("unix:///var/run/docker.sock", false).unwrap();
        assert_eq!(
            socket,
            Some(DockerEngine::Socket("/var/run/docker.sock".into()))
        );
        assert!(read("tcp://127.0.0.1:2375", false).is_ok());
        assert!(read("https://docker.test:2376", true).unwrap().is_some());
        let fault = |endpoint, with_files| read(endpoint, with_files).unwrap_err();
        assert!(fault("tcp://192.0.2.1:2375", false).contains("docker.endpoint"));
        assert!(fault("/var/run/docker.sock", false).contains("unix:///"));
        assert!(fault("https://docker.test:2376", false).contains("docker.key"));
        assert!(fault("unix:///x", true).contains("https only"));
    }
}
