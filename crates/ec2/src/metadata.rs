//! What the machine's own metadata service says of its addresses.

use std::net::IpAddr;
use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_sdk_ec2::error::DisplayErrorContext;

use crate::error::Ec2Error;

/// How long one attempt may take. The service is on the machine's own link.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How often one question is tried.
const ATTEMPTS: u32 = 2;

/// The instance metadata service, version 2: every question carries a token of a session (Amazon EC2 User Guide, "Use the
/// Instance Metadata Service to access instance metadata"). `AWS_EC2_METADATA_SERVICE_ENDPOINT` says where it is, if not
/// where it always is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metadata {
    client: Client,
}

/// An address that the service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataAddress {
    /// The public IPv4 address (`public-ipv4`).
    Public,
    /// The private IPv4 address of the first interface (`local-ipv4`).
    Private,
    /// The first IPv6 address of the first interface (`ipv6`).
    Ipv6,
}

impl MetadataAddress {
    /// The category of the instance's metadata (Amazon EC2 User Guide, "Instance metadata categories").
    fn category(self) -> &'static str {
        match self {
            Self::Public => "public-ipv4",
            Self::Private => "local-ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self::new()
    }
}

impl Metadata {
    /// One that has asked nothing yet.
    pub fn new() -> Self {
        let client = Client::builder()
            .max_attempts(ATTEMPTS)
            .connect_timeout(TIMEOUT)
            .read_timeout(TIMEOUT)
            .build();
        Self { client }
    }

    /// The region and the id of the instance that the machine is (`placement/region`, `instance-id`).
    ///
    /// # Errors
    /// When the service does not answer. Then nothing is known of it.
    pub async fn instance(&self) -> Result<(String, String), Ec2Error> {
        let region = self.text("placement/region").await?;
        Ok((region, self.text("instance-id").await?))
    }

    async fn text(&self, category: &str) -> Result<String, Ec2Error> {
        let path = format!("/latest/meta-data/{category}");
        let answer = self.client.get(path).await;
        let text = answer.map_err(|error| Ec2Error::Unreachable {
            what: format!("the instance metadata service ({category})"),
            why: DisplayErrorContext(&error).to_string(),
        })?;
        Ok(text.as_ref().trim().to_owned())
    }

    /// The machine's address of that kind; none if it has none.
    ///
    /// # Errors
    /// When the service does not answer, or not with an address. Then nothing is known of it.
    pub async fn address(&self, kind: MetadataAddress) -> Result<Option<IpAddr>, Ec2Error> {
        let category = kind.category();
        let what = || format!("the instance metadata service ({category})");
        match self
            .client
            .get(format!("/latest/meta-data/{category}"))
            .await
        {
            Ok(text) => {
                let text = text.as_ref().trim();
                let address = text.parse().map_err(|_| {
                    let found: String = text.chars().take(80).collect();
                    Ec2Error::malformed(what(), format!("{found:?} is no address"))
                })?;
                Ok(Some(address))
            }
            // It has no such category for a machine without such an address.
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => {
                Ok(None)
            }
            Err(error) => Err(Ec2Error::Unreachable {
                what: what(),
                why: DisplayErrorContext(&error).to_string(),
            }),
        }
    }
}
