//! Looking without touching: render, check and plan, also while a change is under way.

use std::borrow::Cow;
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use hafleet_model::Spec;
use hafleet_model::report::{Change, NodeContext};
use hafleet_model::secrets::Confidential;
use hafleet_model::spec::{Finding, Findings};
use tokio::sync::watch;

use super::adopt::Current;
use super::{OpenError, PlanError, Settings, fit, running};
use crate::binary::Binary;
use crate::certificates::Certificates;
use crate::check::{self, CheckError, ToolError};
use crate::files::Files;
use crate::plan::{self, Plan, Running};
use crate::render::{self, Families, Prelude, RenderError, Rendered, UnspeakablePath, quote_word};
use crate::runtime::{Command, RuntimeError, RuntimeSocket};

/// What a process says of itself, as HAProxy writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessWords {
    /// `show stat`; empty when it was not asked.
    pub stat: String,
    /// `show info`; empty when it was not asked.
    pub info: String,
}

/// A view of one HAProxy. Cheap to clone; it holds on to the directory but changes nothing.
#[derive(Debug, Clone)]
pub struct Inspector {
    shared: Arc<Shared>,
    current: watch::Receiver<Option<Current>>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// None of a node that runs no HAProxy.
    binary: Option<Binary>,
    files: Files,
    families: Families,
    certificates: Certificates,
}

impl Inspector {
    pub(super) fn new(
        settings: Settings,
        binary: Option<Binary>,
        files: Files,
        certificates: Certificates,
        current: watch::Receiver<Option<Current>>,
    ) -> Self {
        let shared = Shared {
            settings,
            binary,
            files,
            families: families(),
            certificates,
        };
        Self {
            shared: Arc::new(shared),
            current,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(super) fn files(&self) -> &Files {
        &self.shared.files
    }

    /// The fleet's certificates that this node holds.
    pub fn certificates(&self) -> &Certificates {
        &self.shared.certificates
    }

    /// That of a node without HAProxy: it renders as for the newest version, and cannot ask.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn without_haproxy(settings: Settings) -> Result<Self, OpenError> {
        let files = super::take_hold(&settings).await?;
        let certificates = Certificates::open(files.dir())?;
        let (_, nothing_runs) = watch::channel(None);
        Ok(Self::new(settings, None, files, certificates, nothing_runs))
    }

    /// HAProxy's program and version; none on a node that runs none.
    pub(super) fn binary(&self) -> Option<&Binary> {
        self.shared.binary.as_ref()
    }

    /// The node that configurations are rendered for.
    pub fn node(&self) -> &NodeContext {
        &self.shared.settings.node
    }

    /// The configuration of this node for `spec`.
    ///
    /// # Errors
    /// What cannot be rendered, and where in the spec it is.
    pub fn render(&self, spec: &Spec) -> Result<Rendered, RenderError> {
        let held = self.shared.certificates.held();
        let spec = match &self.shared.binary {
            Some(binary) => fit::fit(spec, binary.version),
            None => Cow::Borrowed(spec),
        };
        render::render_with(&spec, self.node(), self.shared.families, &held)
    }

    /// The whole file that `rendered` would become, with its maps as comments, with the runtime socket of the process that runs now; the next
    /// generation's differs in that one path.
    pub fn preview(&self, rendered: &Rendered) -> String {
        let current = self
            .current
            .borrow()
            .as_ref()
            .map(|current| current.socket.clone());
        let socket = current.unwrap_or_else(|| self.shared.files.socket(1));
        match self.prelude(rendered, &socket) {
            Ok(prelude) => rendered.preview(&prelude),
            Err(_) => rendered.body().to_owned(),
        }
    }

    /// Asks HAProxy whether `rendered` is valid; its warnings, if it is.
    ///
    /// # Errors
    /// HAProxy's words at the spec paths that they are about, when it is not; or when HAProxy could not be asked.
    pub async fn check(&self, rendered: &Rendered) -> Result<Vec<Finding>, CheckError> {
        let files = &self.shared.files;
        let binary = self.shared.binary.as_ref().ok_or(ToolError::Absent)?;
        check::check(
            binary,
            rendered,
            // Checking binds nothing, so any generation's socket will do.
            &files.socket(0),
            files.dir(),
            self.shared.settings.start_timeout,
        )
        .await
    }

    /// What goes before `rendered` in the file of a process whose runtime socket is `socket`.
    pub(super) fn prelude(
        &self,
        rendered: &Rendered,
        socket: &Path,
    ) -> Result<Prelude, UnspeakablePath> {
        let files = &self.shared.files;
        Prelude::new(socket, &files.maps_dir(rendered), &files.state())
    }

    /// Asks HAProxy whether it could serve `pem`, which nobody holds yet.
    ///
    /// # Errors
    /// HAProxy's words, when it could not; or when HAProxy could not be asked.
    pub async fn check_certificate(&self, pem: &Confidential) -> Result<(), CheckError> {
        let laid_out = self.shared.certificates.lay_out(pem);
        let file = laid_out.map_err(|source| ToolError::Write {
            dir: self.shared.files.dir().to_owned(),
            source,
        })?;
        let path = file.path().display().to_string();
        let word = quote_word(&path).unwrap_or_default();
        let text = format!(
            "listen check\n    mode tcp\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\n    \
             bind 127.0.0.1:1 ssl crt {word}\n    server none 127.0.0.1:1\n"
        );
        let spec = Spec {
            haproxy_cfg: Some(text),
            ..Spec::default()
        };
        let rendered = self
            .render(&spec)
            .map_err(|error| CheckError::Invalid(error.0))?;
        let checked = self.check(&rendered).await.map(|_| ());
        checked.map_err(|error| match error {
            CheckError::Invalid(findings) => {
                let findings = findings.0.into_iter().map(|finding| {
                    Finding::new("", finding.message.replace(&path, "the certificate"))
                });
                CheckError::Invalid(Findings(findings.collect()))
            }
            error @ CheckError::Tool(_) => error,
        })
    }

    /// The least that brings HAProxy to `rendered` from what it runs, which it is asked.
    ///
    /// # Errors
    /// When HAProxy runs but does not answer.
    pub async fn plan(&self, rendered: &Rendered) -> Result<Plan, PlanError> {
        let current = self.current.borrow().clone();
        let Some(current) = current.filter(|current| current.process.is_alive()) else {
            return Ok(plan::plan(None, rendered));
        };
        let Some(binary) = &self.shared.binary else {
            return Ok(plan::plan(None, rendered));
        };
        let is_like = current
            .known
            .as_ref()
            .is_some_and(|known| known.skeleton == *rendered.skeleton());
        let running = if is_like {
            match running::read(&current, rendered, &self.shared.files).await {
                Ok(running) => running,
                Err(RuntimeError::Unreachable { .. }) => {
                    let reason = "HAProxy's runtime socket cannot be reached";
                    return Ok(Plan::whole(Change::Reload, reason));
                }
                Err(error) => return Err(error.into()),
            }
        } else {
            Running::unasked(binary.version, current.known)
        };
        Ok(plan::plan(Some(&running), rendered))
    }

    /// How many connections clients have now to the process that serves: the sum of its frontends' sessions. 0 where none
    /// runs. Old processes are not asked.
    ///
    /// # Errors
    /// When HAProxy runs but does not answer.
    pub async fn client_connections(&self) -> Result<u64, RuntimeError> {
        let Some(current) = self.alive() else {
            return Ok(0);
        };
        let stats = RuntimeSocket::new(&current.socket).frontends().await?;
        let sessions = stats.0.iter().filter_map(|frontend| frontend.sessions);
        Ok(sessions.fold(0, u64::saturating_add))
    }

    /// What the process that serves says of itself, in HAProxy's own words: the rows of `show stat` whose kinds are in
    /// `mask` (Management Guide, section 9.3: 1 frontends, 2 backends, 4 servers, 8 listeners), and `show info` if
    /// `with_info`; none where none runs.
    ///
    /// # Errors
    /// When HAProxy runs but does not answer.
    pub async fn words(
        &self,
        mask: u8,
        with_info: bool,
    ) -> Result<Option<ProcessWords>, RuntimeError> {
        let Some(current) = self.alive() else {
            return Ok(None);
        };
        let socket = RuntimeSocket::new(&current.socket);
        let mut words = ProcessWords::default();
        if mask != 0 {
            words.stat = socket.rows(mask).await?;
        }
        if with_info {
            words.info = socket.ask(&Command::fixed("show info")).await?;
        }
        Ok(Some(words))
    }

    /// The process that serves, while it is alive.
    pub(super) fn alive(&self) -> Option<Current> {
        let current = self.current.borrow().clone();
        current.filter(|current| current.process.is_alive())
    }
}

/// Whether the kernel has IPv6: opening a socket tells, binding it to all addresses is what a wildcard bind does.
fn families() -> Families {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Families::Both,
        Err(_) => Families::Ipv4,
    }
}
