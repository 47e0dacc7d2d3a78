//! The command line: every command and option, as clap reads them and as the manual page and completions show them.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::TimeSpan;
use hafleet_model::{NodeId, Revision};

use crate::commands::dns_args::DnsArgs;
use crate::commands::members_args::{ConflictsArgs, ForgetArgs, LeaveArgs};
use crate::commands::pki::args::PkiCommand;
use crate::commands::questions::args::{CheckArgs, QueryArgs, WaitArgs};
use crate::commands::roll::args::RollArgs;
use crate::commands::server_args::{LastingArgs, OverrideArgs, ServerCommand};
use crate::commands::top::args::TopArgs;
use crate::commands::update::UpdateArgs;

/// Run a fleet of HAProxy load balancers as one.
#[derive(Debug, Parser)]
#[command(name = "hafleet", version, propagate_version = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Where and as whom.
    #[command(flatten)]
    pub target: Target,

    /// How to print the answer [default: table]. In `update`, the file to write.
    #[arg(long, short, global = true, value_parser = OutputParser)]
    pub output: Option<Output>,
}

impl Cli {
    /// How to print the answer.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            Some(Output::As(format)) => format,
            Some(Output::To(_)) | None => Format::Table,
        }
    }
}

const EXIT_STATUS: &str = "\
Exit status: 0 done, 1 failed, 2 wrong usage or invalid file, 3 refused (revision conflict, no majority), \
4 unreachable or timed out. `check`, `query` and `wait` have their own, as monitoring systems expect.";

/// Which fleet to talk to, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// An agent's HOST:PORT (7440 if no port is given); repeat it, and they are tried in turn
    #[arg(
        long,
        global = true,
        env = "HAFLEET_ENDPOINT",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub endpoint: Vec<String>,

    /// The directory with your ca.pem, cert.pem and key.pem, as `hafleet pki issue` makes it
    #[arg(long, global = true, env = "HAFLEET_IDENTITY", value_name = "DIR")]
    pub identity: Option<PathBuf>,

    /// How long a call may take [default: 30s]; in `wait`, how long to wait [default: 5m]
    #[arg(long, global = true, value_parser = long_duration, value_name = "DURATION")]
    pub timeout: Option<Duration>,
}

impl Target {
    /// How long a call may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(30))
    }
}

/// What `--output` means. Scripts that `update` replaces have it for the file that they write, and so has `update`; behind
/// it, whatever is given is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// How the answer is printed.
    As(Format),
    /// The file that `update` writes.
    To(PathBuf),
}

#[derive(Debug, Clone)]
struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = Output;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Output, clap::Error> {
        if command.get_name() == "update" {
            return Ok(Output::To(value.into()));
        }
        let formats = EnumValueParser::<Format>::new();
        formats.parse_ref(command, argument, value).map(Output::As)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let formats = Format::value_variants().iter();
        Some(Box::new(formats.filter_map(ValueEnum::to_possible_value)))
    }
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent beside an HAProxy
    Agent(AgentArgs),
    /// Start a whole fleet on this machine, to look at
    Demo(DemoArgs),
    /// The fleet's authority, certificates of nodes and people, and how they are renewed, revoked and obtained
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Show the fleet: leader, spec, nodes
    Status(StatusArgs),
    /// Show the nodes alone
    Nodes,
    /// Show one node, drain it or take that back, have it leave, or forget it
    #[command(subcommand)]
    Node(NodeCommand),
    /// Have servers drain, be out of service or have another weight, on all nodes
    #[command(subcommand)]
    Server(ServerCommand),
    /// Show what was done by hand: drained nodes, states and weights of servers
    Overrides,
    /// Show what applying a spec would change, and what each node would do
    Plan {
        /// The spec, YAML or JSON; - for standard input
        file: PathBuf,
    },
    /// Make a spec the fleet's
    Apply(ApplyArgs),
    /// Read, compare and check specs
    #[command(subcommand)]
    Spec(SpecCommand),
    /// The certificates that clients of the load balancers are shown
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// The key under which certificates and their keys are sealed
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Show where servers come from, what is wrong with it, and what is held back
    Sources(SourcesArgs),
    /// Show the names in DNS through which clients find the fleet, who may write them, and what is held back
    Dns(DnsArgs),
    /// Show what was denied and what was changed: who, what, from where, how it ended
    Audit(AuditArgs),
    /// Ask all load balancers whether something may be done or is as it should be, for monitoring and for scripts
    Check(CheckArgs),
    /// Evaluate an expression over all load balancers
    Query(QueryArgs),
    /// Wait until an expression over all load balancers is true
    Wait(WaitArgs),
    /// Watch nodes, backends and servers live on the terminal; drain and ready them there
    Top(TopArgs),
    /// Run a command for each server of a backend, some at a time: drained before, ready after, and stopped at the first
    /// failure
    Roll(RollArgs),
    /// Print the haproxy.cfg that a node would have
    Render(RenderArgs),
    /// Without a fleet: render a template with the instances of EC2's security groups, and reload HAProxy
    Update(UpdateArgs),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), or write one page for each command
    Man {
        /// Write hafleet.1, hafleet-apply.1 and so on into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Options of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent's file
    #[arg(long, default_value = "/etc/hafleet/agent.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Say what is wrong without starting
    #[arg(long)]
    pub check: bool,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many load balancers, each on an address of its own from 127.0.0.11
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub nodes: u8,
    /// Where the demo keeps everything; a temporary directory if absent
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// End by itself after so long; until Ctrl-C if absent
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub run_for: Option<Duration>,
    /// The spec to apply; a small one that is built in if absent
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again after each change, until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
}

/// The commands of `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Show one node in full: its HAProxy, its last reloads
    Show {
        /// Which node; the one that answers if absent
        node: Option<NodeId>,
    },
    /// Take a node out of DNS; its HAProxy goes on serving
    Drain {
        /// Which node
        node: NodeId,
        /// For how long.
        #[command(flatten)]
        lasting: LastingArgs,
        /// Words and conditions.
        #[command(flatten)]
        write: OverrideArgs,
        /// Wait until it can be stopped: out of DNS, the names' TTL over, no client connected. 5m unless told otherwise
        #[arg(long, value_parser = duration, value_name = "DURATION", num_args = 0..=1, default_missing_value = "5m")]
        wait: Option<Duration>,
    },
    /// Have a node leave the fleet: out of DNS, leading no more, counting no more; its agent ends, its HAProxy goes on
    Leave(LeaveArgs),
    /// Go on without a dead node that will not return, so that it does not count for a majority
    Forget(ForgetArgs),
    /// Have a node that runs a configuration of its own run the fleet's spec again
    FollowFleet {
        /// Which node; the one that answers if absent
        node: Option<NodeId>,
    },
    /// Take a drain back
    Undrain {
        /// Which node
        node: NodeId,
        /// Words and conditions.
        #[command(flatten)]
        write: OverrideArgs,
    },
}

/// Options of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The spec, YAML or JSON; - for standard input
    pub file: PathBuf,
    /// Conditions and words.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// What every write takes.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// Refuse unless this is the current revision
    #[arg(long, value_name = "REVISION")]
    pub expect: Option<Revision>,
    /// Why, for the history
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Wait so long for every live node to run it
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub wait: Option<Duration>,
    /// Write even if no majority of the nodes is live. Should the others get another write meanwhile, one of the two
    /// loses and is kept as a conflict
    #[arg(long)]
    pub force_without_majority: bool,
}

/// The commands of `spec`.
#[derive(Debug, Subcommand)]
pub(crate) enum SpecCommand {
    /// Print the spec as it was written
    Get {
        /// TERM.SEQUENCE; the newest if absent
        revision: Option<Revision>,
    },
    /// List the revisions, newest first
    History {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show the difference between two revisions
    Diff {
        /// From this one
        from: Revision,
        /// To this one; the newest if absent
        to: Option<Revision>,
    },
    /// List the revisions that lost in a conflict, or dismiss one
    Conflicts(ConflictsArgs),
    /// Make an earlier revision the newest again
    Rollback {
        /// Which one
        revision: Revision,
        /// Conditions and words.
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Print the JSON Schema of a spec
    Schema,
    /// Check a file without changing anything; with --endpoint the fleet checks it, else this machine
    Check {
        /// The spec, YAML or JSON; - for standard input
        file: PathBuf,
    },
}

/// The commands of `certificate`.
#[derive(Debug, Subcommand)]
pub(crate) enum CertificateCommand {
    /// Give the fleet a certificate, or another one under the same name; in use, it is replaced without a reload
    Put {
        /// What binds call it: a name as of a file, such as www.example.com.pem
        name: CertificateName,
        /// PEM files with the certificate, its chain and its key, in any order; - for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Take it though it or its chain has expired or is not valid yet
        #[arg(long)]
        allow_expired: bool,
        /// Conditions and words.
        #[command(flatten)]
        write: CertificateWriteArgs,
    },
    /// List the fleet's certificates: for which names, until when, who uses them
    List,
    /// Show one with its chain, never its key
    Show {
        /// Its name
        name: CertificateName,
    },
    /// Take a certificate and its key out of the fleet
    Remove {
        /// Its name
        name: CertificateName,
        /// Though the spec uses it: binds mean a file of that name on the nodes then
        #[arg(long)]
        force: bool,
        /// Conditions and words.
        #[command(flatten)]
        write: CertificateWriteArgs,
    },
}

/// The commands of `secrets`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Seal all certificates and keys under a new key, for the nodes that are known now. A node that was forgotten, or
    /// whose certificate was revoked, cannot read what is written from then on
    RotateKey {
        /// Conditions and words.
        #[command(flatten)]
        write: CertificateWriteArgs,
    },
}

/// What every write of a certificate takes.
#[derive(Debug, Args)]
pub(crate) struct CertificateWriteArgs {
    /// Why, for the history
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Write even if no majority of the nodes is live. Should the others get another write meanwhile, one of the two
    /// loses and is kept as a conflict
    #[arg(long)]
    pub force_without_majority: bool,
}

/// Options of `sources`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SourcesArgs {
    /// What to do, if not to show them.
    #[command(subcommand)]
    pub command: Option<SourcesCommand>,
}

/// The commands of `sources`.
#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// Let through what is held back of a backend's servers
    Confirm {
        /// Which backend, or `services` for services out of etcd
        backend: String,
    },
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// At most so many records, newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only what the node that answers remembers
    #[arg(long)]
    pub this_node: bool,
}

/// Options of `render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The spec, YAML or JSON; - for standard input
    pub file: PathBuf,
    /// For this node of the fleet, as it would have it; without --endpoint only its name is used
    #[arg(long, value_name = "ID")]
    pub node: Option<NodeId>,
    /// Without --endpoint: the address that `node` in a bind stands for
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// Without --endpoint: where the node's certificates are
    #[arg(long, value_name = "DIR", default_value = "/etc/hafleet/certificates")]
    pub certificate_dir: String,
}

/// A time such as 30s or 500ms.
pub(crate) fn duration(text: &str) -> Result<Duration, hafleet_model::spec::TimeSpanError> {
    text.parse().map(TimeSpan::duration)
}

/// A validity such as 365d: days and hours beyond what HAProxy's timers hold.
pub(crate) fn long_duration(text: &str) -> Result<Duration, String> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok())
        .filter(|days| *days > 0);
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        None => duration(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn output_is_the_file_of_an_update_and_else_the_format() {
        let parse = |words: &[&str]| Cli::try_parse_from(words);
        let cli = parse(&["hafleet", "nodes", "--output", "json"]).unwrap();
        assert_eq!(cli.format(), Format::Json);
        let update = ["hafleet", "update", "--security-group", "a", "b"];
        let cli = parse(&[&update[..], &["--output", "json"]].concat()).unwrap();
        assert_eq!(cli.output, Some(Output::To("json".into())));
        assert_eq!(cli.format(), Format::Table);
        let cli = parse(&[&["hafleet", "-o", "json"], &update[1..]].concat()).unwrap();
        assert_eq!(cli.format(), Format::Json);
        assert!(parse(&["hafleet", "nodes", "--output", "x.cfg"]).is_err());
    }

    #[test]
    fn endpoints_repeat() {
        let cli = Cli::parse_from(["hafleet", "--endpoint", "a:1", "--endpoint", "b", "nodes"]);
        assert_eq!(cli.target.endpoint, ["a:1", "b"]);
    }
}
