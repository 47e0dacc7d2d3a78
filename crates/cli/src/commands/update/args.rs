//! Options of `update`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::args::{Format, duration};

/// Options of `update`. The global `--output` is the file here, as in scripts of this kind; see [`crate::args::Output`].
#[derive(Debug, Args)]
#[command(after_help = "\
Here --output is the file that is written (default: haproxy.cfg); --format is how the outcome is printed.
Credentials are found as all of AWS's programs find them: environment, profile, role of the container or instance.")]
pub(crate) struct UpdateArgs {
    /// Security groups, by id or name, whose running instances are wanted
    #[arg(long, required = true, num_args = 1.., value_name = "SG")]
    pub security_group: Vec<String>,
    /// Regions to ask; the environment's or the instance's own if absent
    #[arg(long, num_args = 1.., value_name = "REGION")]
    pub region: Vec<String>,
    /// The template (Jinja) that haproxy.cfg is made of; a small one that is built in if absent
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// HAProxy's program; looked for if absent
    #[arg(long, value_name = "FILE")]
    pub haproxy: Option<PathBuf>,
    /// Where HAProxy's process id is, and is written
    #[arg(long, value_name = "FILE", default_value = "/var/run/haproxy.pid")]
    pub pid: PathBuf,
    /// Do it again and again, with about so much time between, until SIGTERM or Ctrl-C
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub interval: Option<Duration>,
    /// Go on though no instance at all was found
    #[arg(long)]
    pub allow_empty: bool,
    /// Leave out instances that their Auto Scaling group holds in Standby or is ending; asks Auto Scaling too
    #[arg(long)]
    pub leave_out_standby: bool,
    /// How the outcome is printed
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// An access key. Everyone on this machine can read it while the command runs: leave it to the environment
    #[arg(long, value_name = "ID", requires = "secret_key")]
    pub access_key: Option<String>,
    /// Its secret part. The same holds, and more so
    #[arg(long, value_name = "SECRET", requires = "access_key")]
    pub secret_key: Option<Secret>,
}

/// A text that is never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(super) String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
