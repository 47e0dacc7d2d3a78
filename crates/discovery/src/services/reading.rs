//! One service out of its keys.

use std::net::SocketAddr;

use hafleet_model::endpoints::{Service, ServiceKind};
use hafleet_model::secrets::{CertificateName, Confidential};

use super::certificate::{self, Certificates, Wanted};
use super::layout::{Raw, Section};
use super::values;

/// A service that can be used.
#[derive(Debug)]
pub(super) struct FoundService {
    pub(super) service: Service,
    /// The certificate that came with it.
    pub(super) certificate: Option<(CertificateName, Confidential)>,
    /// Keys of it that could not be used, and why.
    pub(super) notes: Vec<(String, String)>,
}

/// The reading of one service's keys: it goes on after a fault, so that all of them are named.
pub(super) struct Reading<'a> {
    raw: &'a Raw<'a>,
    faults: Vec<String>,
    notes: Vec<(String, String)>,
    certificate: Option<(CertificateName, Confidential)>,
}

impl<'a> Reading<'a> {
    /// The service, or all that keeps it from being one.
    pub(super) fn of(
        raw: &'a Raw<'a>,
        certificates: &dyn Certificates,
    ) -> Result<FoundService, String> {
        let mut reading = Self {
            raw,
            faults: Vec::new(),
            notes: Vec::new(),
            certificate: None,
        };
        let name = values::name(raw.name);
        reading.faults.extend(name.err());
        let service = match raw.section {
            Section::Http => reading.http(certificates),
            Section::Tcp => reading.tcp(),
        };
        if !reading.faults.is_empty() {
            return Err(reading.faults.join("; "));
        }
        Ok(FoundService {
            service,
            certificate: reading.certificate,
            notes: reading.notes,
        })
    }

    fn http(&mut self, certificates: &dyn Certificates) -> Service {
        let is_anywhere = self.raw.field("domain").is_some() || self.raw.field("url_beg").is_some();
        if !is_anywhere {
            let why = "neither `domain` nor `url_beg` is there: give one, or both";
            self.faults.push(why.to_owned());
        }
        let kind = ServiceKind::Http {
            domain: self.value("domain", values::domain),
            path_prefix: self.value("url_beg", values::path),
            certificate: self.certificate(certificates),
        };
        self.service("port", values::http_balance, kind)
    }

    fn tcp(&mut self) -> Service {
        let kind = ServiceKind::Tcp {
            external_port: self.port("external_port"),
        };
        self.service("internal_port", values::tcp_balance, kind)
    }

    fn service(
        &mut self,
        port: &str,
        balance: fn(&str) -> Result<String, String>,
        kind: ServiceKind,
    ) -> Service {
        let port = self.port(port);
        Service {
            name: self.raw.name.to_owned(),
            port,
            balance: self.value("balance", balance),
            upstreams: self.upstreams(port),
            kind,
        }
    }

    /// A key that may be missing.
    fn value<T>(&mut self, key: &str, read: fn(&str) -> Result<T, String>) -> Option<T> {
        let read = read(self.raw.field(key)?);
        read.map_err(|why| self.faults.push(format!("`{key}`: {why}")))
            .ok()
    }

    /// A port, which has to be there.
    fn port(&mut self, key: &str) -> u16 {
        if self.raw.field(key).is_none() {
            self.faults.push(format!("`{key}` is missing: give a port"));
        }
        self.value(key, values::port).unwrap_or_default()
    }

    fn certificate(&mut self, certificates: &dyn Certificates) -> Option<String> {
        let cert = self.raw.field("cert")?;
        match certificate::wanted(self.raw.name, cert, certificates) {
            Ok(Wanted { name, pem, note }) => {
                let text = name.to_string();
                self.certificate = pem.map(|pem| (name, pem));
                self.notes.extend(note.map(|why| ("cert".to_owned(), why)));
                Some(text)
            }
            Err(why) => {
                self.faults.push(format!("`cert`: {why}"));
                None
            }
        }
    }

    /// The addresses, in order and each once. Some that are none are noted; if all are, it is a fault, since the service
    /// is not to be looked for in DNS instead.
    fn upstreams(&mut self, port: u16) -> Vec<SocketAddr> {
        let mut upstreams = Vec::new();
        for (key, value) in &self.raw.upstreams {
            match values::upstream(value, port) {
                Ok(upstream) => upstreams.push(upstream),
                Err(why) => self.notes.push((format!("upstreams/{key}"), why)),
            }
        }
        if upstreams.is_empty() && !self.raw.upstreams.is_empty() {
            let first = self.notes.last().map_or("", |(_, why)| why);
            let why = format!("none of its `upstreams` can be used: {first}");
            self.faults.push(why);
        }
        upstreams.sort_unstable();
        upstreams.dedup();
        upstreams
    }
}
