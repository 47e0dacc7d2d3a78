//! `hafleet spec check` and `hafleet render`: what a spec would be, before anyone has it.
//!
//! With an endpoint the fleet answers, as its nodes would have it. Without one this machine does, for editors and
//! pipelines that have no fleet at hand.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hafleet_api::v1;
use hafleet_haproxy::render::Prelude;
use hafleet_haproxy::{
    Binary, BinaryError, CheckError, Rendered, check as haproxy_check, render as render_spec,
};
use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::{self, Finding, Findings, LoadedSpec};
use serde::Serialize;

use super::read_text;
use crate::args::{RenderArgs, Target};
use crate::client::Client;
use crate::failure::Failure;
use crate::print::{self, Printer};

/// Where a node's runtime socket is, with the defaults of the agent's file.
const USUAL_SOCKET: &str = "/var/lib/hafleet/run/haproxy-1.sock";
/// Where a node's maps are, each configuration's in a directory of its own below it.
const USUAL_MAPS: &str = "/var/lib/hafleet/haproxy/maps";
/// Where the state is that a node's servers begin with.
const USUAL_STATE: &str = "/var/lib/hafleet/haproxy/server-state";
/// Where a node's certificates are, with the defaults of the agent's file.
const USUAL_CERTIFICATES: &str = "/etc/hafleet/certificates";

/// How long HAProxy may take to check; one backend of 20,000 servers takes about 6 s.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// What a check found.
#[derive(Serialize)]
struct Checked {
    valid: bool,
    /// Who had the last word: the fleet, this machine's HAProxy, or nobody.
    checked_by: &'static str,
    warnings: Vec<Finding>,
}

/// Checks a file without changing anything.
pub(crate) async fn check(file: &Path, target: &Target, printer: Printer) -> Result<(), Failure> {
    let text = read_text(file)?;
    let loaded = spec::load(&text).map_err(|findings| Failure::spec(file, &findings))?;
    let checked = if target.endpoint.is_empty() {
        check_here(file, &loaded).await?
    } else {
        check_there(file, text, target).await?
    };
    printer.answer(&checked, |checked| {
        let warnings = checked
            .warnings
            .iter()
            .map(|warning| format!("{}:{warning} (warning)\n", file.display()));
        format!(
            "{}{}: valid, says {}",
            warnings.collect::<String>(),
            file.display(),
            checked.checked_by
        )
    })
}

async fn check_there(file: &Path, spec: String, target: &Target) -> Result<Checked, Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::CheckSpecRequest { spec });
    let answer = client.admin.check_spec(request).await;
    let answer = answer
        .map_err(|status| Failure::call_with_spec(&status, file))?
        .into_inner();
    let warnings = answer.warnings.into_iter().map(Into::into).collect();
    Ok(Checked {
        valid: true,
        checked_by: "the fleet",
        warnings,
    })
}

async fn check_here(file: &Path, loaded: &LoadedSpec) -> Result<Checked, Failure> {
    let rendered = rendered(
        file,
        loaded,
        &context(None, USUAL_CERTIFICATES, [127, 0, 0, 1].into())?,
    )?;
    let unasked = |reason: &str| {
        print::note(&format!("HAProxy was not asked: {reason}"));
        Ok(Checked {
            valid: true,
            checked_by: "its form alone",
            warnings: Vec::new(),
        })
    };
    if names_files(loaded) {
        return unasked(
            "the spec names certificates, which are on the nodes; --endpoint asks a node",
        );
    }
    let binary = match Binary::find(None).await {
        Ok(binary) => binary,
        Err(BinaryError::Missing { .. }) => {
            return unasked("it is not installed here; --endpoint asks a node");
        }
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    let dir = tempfile::tempdir().context("a temporary directory")?;
    let socket = dir.path().join("check.sock");
    let locate = |findings: Vec<Finding>| {
        findings
            .into_iter()
            .map(|finding| loaded.locate(finding))
            .collect()
    };
    match haproxy_check::check(&binary, &rendered, &socket, dir.path(), CHECK_TIMEOUT).await {
        Ok(warnings) => Ok(Checked {
            valid: true,
            checked_by: "HAProxy",
            warnings: locate(warnings),
        }),
        Err(CheckError::Invalid(findings)) => {
            Err(Failure::spec(file, &Findings(locate(findings.0))))
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// Whether the spec names files of a node's certificate directory.
fn names_files(loaded: &LoadedSpec) -> bool {
    let binds = loaded
        .spec
        .frontends
        .iter()
        .flat_map(|frontend| &frontend.binds);
    let servers = loaded
        .spec
        .backends
        .iter()
        .flat_map(|backend| &backend.servers);
    binds.into_iter().any(|bind| bind.tls.is_some())
        || servers
            .into_iter()
            .any(|server| server.tls.as_ref().is_some_and(|tls| tls.ca.is_some()))
}

/// Prints the haproxy.cfg that a node would have.
pub(crate) async fn render(
    args: &RenderArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let text = read_text(&args.file)?;
    let loaded = spec::load(&text).map_err(|findings| Failure::spec(&args.file, &findings))?;
    let rendering = if target.endpoint.is_empty() {
        let context = context(args.node.clone(), &args.certificate_dir, args.address)?;
        let rendered = rendered(&args.file, &loaded, &context)?;
        let prelude = Prelude::new(
            Path::new(USUAL_SOCKET),
            Path::new(USUAL_MAPS),
            Path::new(USUAL_STATE),
        )
        .map_err(anyhow::Error::from)?;
        v1::RenderSpecResponse {
            node_id: context.id.to_string(),
            haproxy_cfg: rendered.preview(&prelude),
        }
    } else {
        let mut client = Client::connect(target).await?;
        let node_id = args
            .node
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let request = client.request(v1::RenderSpecRequest {
            spec: text,
            node_id,
        });
        let answer = client.admin.render_spec(request).await;
        answer
            .map_err(|status| Failure::call_with_spec(&status, &args.file))?
            .into_inner()
    };
    printer.answer(&rendering, |rendering| rendering.haproxy_cfg.clone())
}

fn context(
    node: Option<NodeId>,
    certificate_dir: &str,
    address: std::net::IpAddr,
) -> Result<NodeContext, Failure> {
    let id = node
        .map_or_else(|| NodeId::new("node"), Ok)
        .map_err(anyhow::Error::from)?;
    Ok(NodeContext {
        fleet: "fleet".into(),
        id,
        address,
        zone: None,
        certificate_dir: certificate_dir.to_owned(),
    })
}

fn rendered(file: &Path, loaded: &LoadedSpec, context: &NodeContext) -> Result<Rendered, Failure> {
    render_spec(&loaded.spec, context).map_err(|error| {
        let findings = error
            .0
            .0
            .into_iter()
            .map(|finding| loaded.locate(finding))
            .collect();
        Failure::spec(file, &Findings(findings))
    })
}
