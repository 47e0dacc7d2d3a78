//! Any name server that takes dynamic updates (RFC 2136) and zone transfers (RFC 5936) as a provider, with TSIG (RFC 8945).
//!
//! The zone is read by a transfer, so that names which nobody remembers are found too. An update's prerequisites make it the
//! compare-and-swap that the fence needs: the server compares and changes in one step (RFC 2136 section 3.7). All goes over TCP.

mod exchange;
mod key;
mod reading;
mod update;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use tokio::time::timeout;

use crate::provider::{Change, ChangeId, ChangeStatus, Provider, ProviderError};
use crate::record::{RecordSet, normal};
use exchange::Exchange;
pub use key::{KeyError, UpdateKey};

/// How long one update or one transfer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How many changes go into one update: with names and values of usual length, a third of the 64 KiB of a message (RFC 1035
/// section 4.2.2).
const MAX_CHANGES: usize = 400;

/// One zone of a name server.
#[derive(Debug, Clone)]
pub struct NameServer {
    server: SocketAddr,
    zone: Name,
    /// `server/zone`.
    what: String,
    key: Option<UpdateKey>,
}

impl NameServer {
    /// The zone `zone` of its primary `server`. Nothing is asked yet.
    ///
    /// # Errors
    /// When `zone` is not a name.
    pub fn new(
        server: SocketAddr,
        zone: &str,
        key: Option<UpdateKey>,
    ) -> Result<Self, ProviderError> {
        let zone = normal(zone);
        let what = format!("{server}/{zone}");
        let name = absolute(&zone).map_err(|why| ProviderError::Zone {
            what: what.clone(),
            why,
        })?;
        Ok(Self {
            server,
            zone: name,
            what,
            key,
        })
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let done = timeout(LIMIT, work).await;
        done.unwrap_or_else(|_| Err(self.unknown(format!("no answer within {LIMIT:?}"))))
    }

    async fn exchange(&self) -> Result<Exchange, ProviderError> {
        let connected = Exchange::connect(self.server, self.key.as_ref()).await;
        connected.map_err(|error| self.unknown(error.to_string()))
    }

    fn unknown(&self, why: String) -> ProviderError {
        ProviderError::Unknown {
            what: self.what.clone(),
            why,
        }
    }

    /// What an answer's code means (RFC 2136 section 2.2). All but the server's own failure say that nothing was done.
    fn refusal(&self, code: ResponseCode) -> ProviderError {
        use ResponseCode as C;
        let what = self.what.clone();
        let why = format!("{code} ({})", u16::from(code));
        match code {
            C::NXDomain | C::YXDomain | C::YXRRSet | C::NXRRSet | C::FormErr => {
                ProviderError::Rejected { what, why }
            }
            C::NotZone => ProviderError::Zone { what, why },
            C::Refused | C::NotAuth | C::NotImp => ProviderError::Refused {
                what,
                why: format!(
                    "{why}: does the server have this zone, and may this key update and transfer it?"
                ),
            },
            _ => ProviderError::Unknown { what, why },
        }
    }
}

#[async_trait]
impl Provider for NameServer {
    fn zone(&self) -> &str {
        &self.what
    }

    async fn records(&self) -> Result<Vec<RecordSet>, ProviderError> {
        self.within(async {
            let mut exchange = self.exchange().await?;
            let request = reading::request(&self.zone);
            let sent = exchange.send(request).await;
            sent.map_err(|error| self.unknown(error.to_string()))?;
            let mut transfer = reading::Transfer::default();
            while !transfer.is_whole() {
                let answer = exchange.receive().await;
                let answer = answer.map_err(|error| self.unknown(error.to_string()))?;
                match answer.response_code {
                    ResponseCode::NoError => transfer
                        .take(answer.answers)
                        .map_err(|error| self.unknown(error.to_string()))?,
                    code => return Err(self.refusal(code)),
                }
            }
            Ok(transfer.sets())
        })
        .await
    }

    async fn change(&self, batch: &[Change]) -> Result<ChangeId, ProviderError> {
        let request =
            update::request(&self.zone, batch).map_err(|why| ProviderError::Rejected {
                what: self.what.clone(),
                why,
            })?;
        self.within(async {
            let mut exchange = self.exchange().await?;
            let sent = exchange.send(request).await;
            sent.map_err(|error| self.unknown(error.to_string()))?;
            let answer = exchange.receive().await;
            let answer = answer.map_err(|error| self.unknown(error.to_string()))?;
            match answer.response_code {
                ResponseCode::NoError => Ok(ChangeId(answer.id.to_string())),
                code => Err(self.refusal(code)),
            }
        })
        .await
    }

    /// The primary has it as soon as it answers; how far its secondaries are, nobody can be asked.
    async fn status(&self, _: &ChangeId) -> Result<ChangeStatus, ProviderError> {
        Ok(ChangeStatus::InSync)
    }

    fn max_changes(&self) -> usize {
        MAX_CHANGES
    }

    fn max_characters(&self) -> usize {
        16_000
    }
}

/// A name from the root.
fn absolute(name: &str) -> Result<Name, String> {
    Name::from_ascii(format!("{}.", normal(name))).map_err(|error| format!("{name:?}: {error}"))
}
