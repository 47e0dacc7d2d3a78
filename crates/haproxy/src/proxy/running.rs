//! What a process runs, as it says itself.

use std::collections::BTreeMap;

use super::adopt::Current;
use crate::certificates::HeldCertificate;
use crate::files::Files;
use crate::plan::{Running, RunningMap};
use crate::render::Rendered;
use crate::runtime::{RuntimeError, RuntimeSocket, ServersState};

/// Asks a process for all that a plan for `rendered` compares. With 10,000 servers this takes some milliseconds.
pub(super) async fn read(
    current: &Current,
    rendered: &Rendered,
    files: &Files,
) -> Result<Running, RuntimeError> {
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
        maps: maps(&socket, rendered, files).await?,
        warming: current.warming.clone(),
        stopped_frontends: stopped.map(|stat| stat.proxy).collect(),
        certificates: socket.certificates(paths).await?,
    })
}

/// The maps of routes that the process has loaded, by name: those of `rendered`, wherever below our directory they were.
async fn maps(
    socket: &RuntimeSocket,
    rendered: &Rendered,
    files: &Files,
) -> Result<BTreeMap<String, RunningMap>, RuntimeError> {
    let mut maps = BTreeMap::new();
    if rendered.maps().is_empty() {
        return Ok(maps);
    }
    let root = files.maps_root();
    let loaded = socket.maps().await?;
    for map in rendered.maps() {
        let name = map.file_name();
        let is_it = |path: &std::path::Path| path.starts_with(&root) && path.ends_with(&name);
        let Some(found) = loaded.iter().find(|loaded| is_it(&loaded.path)) else {
            continue;
        };
        let entries = socket.map(found.id).await?;
        let id = found.id;
        maps.insert(map.name.clone(), RunningMap { id, entries });
    }
    Ok(maps)
}
