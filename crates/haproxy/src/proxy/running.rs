//! What a process runs, as it says itself.

use super::adopt::Current;
use crate::certificates::HeldCertificate;
use crate::plan::Running;
use crate::render::Rendered;
use crate::runtime::{RuntimeError, RuntimeSocket, ServersState};

/// Asks a process for all that a plan for `rendered` compares. With 10,000 servers this takes some milliseconds.
pub(super) async fn read(current: &Current, rendered: &Rendered) -> Result<Running, RuntimeError> {
    let socket = RuntimeSocket::new(&current.socket);
    let info = socket.info().await?;
    let servers = if rendered.backends().is_empty() {
        ServersState::default()
    } else {
        socket.servers_state().await?
    };
    let frontends = socket.frontends().await?;
    let stopped = frontends
        .0
        .into_iter()
        .filter(|stat| stat.status == "PAUSED");
    let paths = rendered.certificates().iter().map(HeldCertificate::path);
    Ok(Running {
        version: info.version.parse().unwrap_or(crate::Version::OLDEST),
        applied: current.known.clone(),
        servers,
        maps: std::collections::BTreeMap::new(),
        stopped_frontends: stopped.map(|stat| stat.proxy).collect(),
        certificates: socket.certificates(paths).await?,
    })
}
