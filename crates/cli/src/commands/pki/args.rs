//! The command line of `hafleet pki`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hafleet_identity::certificate::Serial;
use hafleet_identity::{PersonName, Role};
use hafleet_model::{FleetName, NodeId};

use crate::args::{duration, long_duration};

/// The commands of `pki`.
#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the certificate authority of a new fleet
    Init {
        /// The fleet's name
        #[arg(long)]
        fleet: FleetName,
        /// Where ca.pem and ca-key.pem are written
        #[arg(long, default_value = "pki", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issue a certificate for a node or a person
    Issue(IssueArgs),
    /// Put a new certificate and key in place of those in a directory, for the same holder
    Renew(RenewArgs),
    /// Make an issuer: a key by which an agent certifies new nodes, without the authority's
    Issuer(IssuerArgs),
    /// Take certificates back: make the authority's next list of revoked ones
    Revoke(RevokeArgs),
    /// Give the fleet a list that `revoke` has made
    PublishRevocations {
        /// The list
        #[arg(default_value = "pki/revocations.pem")]
        file: PathBuf,
    },
    /// Tokens with which new nodes obtain their certificates
    #[command(subcommand)]
    Token(TokenCommand),
    /// Obtain the certificate of this new node by a token
    Join(JoinArgs),
    /// Show what a certificate says
    Show {
        /// A certificate (PEM), or a directory with a cert.pem or a ca.pem
        path: PathBuf,
    },
}

/// Options of `pki issue`.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// The directory of the authority, as `pki init` made it
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub authority: PathBuf,
    /// For the agent of this node
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "person",
        conflicts_with = "person"
    )]
    pub node: Option<NodeId>,
    /// An address at which the node is reached; repeat it. Peers hold the node to them
    #[arg(long, value_name = "IP", requires = "node")]
    pub address: Vec<IpAddr>,
    /// For this person, or program that acts for people
    #[arg(long, value_name = "NAME", value_parser = |text: &str| PersonName::new(text))]
    pub person: Option<PersonName>,
    /// What they may do: viewer, operator or admin
    #[arg(long, default_value = "viewer", conflicts_with = "node")]
    pub role: Role,
    /// How long it is valid
    #[arg(long, default_value = "365d", value_parser = long_duration, value_name = "DURATION")]
    pub valid_for: Duration,
    /// Where ca.pem, cert.pem and key.pem are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `pki renew`.
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The directory with the ca.pem, cert.pem and key.pem to renew
    pub dir: PathBuf,
    /// The directory of the authority, as `pki init` made it
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub authority: PathBuf,
    /// How long the new one is valid
    #[arg(long, default_value = "365d", value_parser = long_duration, value_name = "DURATION")]
    pub valid_for: Duration,
}

/// Options of `pki issuer`.
#[derive(Debug, Args)]
pub(crate) struct IssuerArgs {
    /// The directory of the authority, as `pki init` made it
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub authority: PathBuf,
    /// The node that will have it
    #[arg(long, value_name = "ID")]
    pub node: NodeId,
    /// How long it is valid; what it certifies is valid no longer
    #[arg(long, default_value = "90d", value_parser = long_duration, value_name = "DURATION")]
    pub valid_for: Duration,
    /// Where issuer.pem and issuer-key.pem are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `pki revoke`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true))]
pub(crate) struct RevokeArgs {
    /// The directory of the authority, as `pki init` made it. The list is kept there, as revocations.pem
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub authority: PathBuf,
    /// All certificates that this authority has issued to this node; repeat it
    #[arg(long, value_name = "ID", group = "whom")]
    pub node: Vec<NodeId>,
    /// All certificates that this authority has issued to this person; repeat it
    #[arg(long, value_name = "NAME", value_parser = |text: &str| PersonName::new(text), group = "whom")]
    pub person: Vec<PersonName>,
    /// The certificate with this serial number, as `pki show` and `node show` have it; repeat it
    #[arg(long, value_name = "HEX", group = "whom")]
    pub serial: Vec<Serial>,
    /// The certificate in this file; repeat it
    #[arg(long, value_name = "FILE", group = "whom")]
    pub certificate: Vec<PathBuf>,
    /// Give the list to the fleet too, as `publish-revocations` does
    #[arg(long)]
    pub publish: bool,
}

/// The commands of `pki token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print it: whoever has it can be the node
    Create {
        /// For this node, which may be known already; for any that the fleet does not know if absent
        #[arg(long, value_name = "ID")]
        node: Option<NodeId>,
        /// An address that the node's certificate shall grant; repeat it. That from which it asks if absent
        #[arg(long, value_name = "IP")]
        address: Vec<IpAddr>,
        /// How long it is good, a day at most
        #[arg(long = "for", default_value = "15m", value_parser = duration, value_name = "DURATION")]
        lasting: Duration,
        /// By the issuer of this node; by any if absent
        #[arg(long, value_name = "ID")]
        issuer: Option<NodeId>,
        /// Write the token to this file (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the tokens that are good, and those that were used or have expired within the last day
    List,
    /// Take a token back
    Remove {
        /// Its id, as `list` has it
        id: String,
    },
}

/// Options of `pki join`.
#[derive(Debug, Args)]
#[command(
    after_help = "The token is read from a file, from standard input or from the variable HAFLEET_JOIN_TOKEN, and from no \
argument: everybody on a machine can see the arguments of its processes."
)]
pub(crate) struct JoinArgs {
    /// The file with the token; - for standard input. HAFLEET_JOIN_TOKEN if absent
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// This node's name, where the token has none
    #[arg(long, value_name = "ID")]
    pub node: Option<NodeId>,
    /// An address that the certificate shall grant; repeat it. The one from which the issuer is asked if absent
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// Where the issuer is reached, if not where the token says
    #[arg(long, value_name = "HOST:PORT")]
    pub issuer: Option<String>,
    /// Where ca.pem, cert.pem and key.pem are written
    #[arg(long, default_value = "/etc/hafleet/identity", value_name = "DIR")]
    pub out: PathBuf,
}
