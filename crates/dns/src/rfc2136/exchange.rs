//! One connection: messages framed by their length (RFC 1035 section 4.2.2), signed and verified where there is a key.

use std::io;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{TSigVerifier, TSigner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::key::UpdateKey;

/// A connection to a name server, for one request.
pub(super) struct Exchange {
    stream: TcpStream,
    signer: Option<TSigner>,
    verifier: Option<TSigVerifier>,
    id: u16,
}

/// Why no answer came, or none that can be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Wire(#[from] io::Error),
    #[error("the request is not a message: {0}")]
    Request(hickory_proto::ProtoError),
    #[error("the answer is not a message: {0}")]
    Answer(hickory_proto::serialize::binary::DecodeError),
    #[error("the answer's signature is not good: {0}")]
    Signature(hickory_proto::ProtoError),
    #[error("the answer is to another request")]
    Other,
}

impl Exchange {
    pub(super) async fn connect(server: SocketAddr, key: Option<&UpdateKey>) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::connect(server).await?,
            signer: key.map(|key| key.signer().clone()),
            verifier: None,
            id: 0,
        })
    }

    pub(super) async fn send(&mut self, mut request: Message) -> Result<(), ExchangeError> {
        self.id = request.id;
        if let Some(signer) = &self.signer {
            let signed = request.finalize(signer, now());
            self.verifier = signed.map_err(ExchangeError::Request)?;
        }
        let bytes = request.to_vec().map_err(ExchangeError::Request)?;
        let length = u16::try_from(bytes.len())
            .map_err(|_| ExchangeError::Request("it is longer than 65535 bytes".into()))?;
        let framed = [&length.to_be_bytes(), bytes.as_slice()].concat();
        Ok(self.stream.write_all(&framed).await?)
    }

    pub(super) async fn receive(&mut self) -> Result<Message, ExchangeError> {
        let length = self.stream.read_u16().await?;
        let mut bytes = vec![0; usize::from(length)];
        self.stream.read_exact(&mut bytes).await?;
        let answer = Message::from_vec(&bytes).map_err(ExchangeError::Answer)?;
        if answer.id != self.id {
            return Err(ExchangeError::Other);
        }
        // A server that does not know the key cannot sign what it says about it (RFC 8945 section 5.3.2).
        if let Some(verifier) = &mut self.verifier
            && answer.response_code != ResponseCode::NotAuth
        {
            verifier.verify(&bytes).map_err(ExchangeError::Signature)?;
        }
        Ok(answer)
    }
}

/// Seconds since 1970. A clock before that signs nothing that anybody takes.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
