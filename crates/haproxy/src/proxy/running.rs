//! What a process runs, as it says itself.

use std::collections::BTreeMap;

use super::adopt::Current;
use crate::certificates::HeldCertificate;
use crate::files::Files;
use crate::plan::{Running, RunningFrontend, RunningMap, Target};
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
    let has_servers = !rendered.backends().is_empty() || !rendered.written().is_empty();
    let servers = if !has_servers {
        ServersState::default()
    } else {
        socket.servers_state().await?
    };
    let frontends = socket.frontends().await?.0.into_iter();
    let frontends = frontends.map(|stat| RunningFrontend {
        state: stat.frontend_state(),
        limit: stat.sessions_limit,
        name: stat.proxy,
    });
    let paths = rendered.certificates().iter().map(HeldCertificate::path);
    Ok(Running {
        version: info.version.parse().unwrap_or(crate::Version::OLDEST),
        applied: current.known.clone(),
        servers,
        maps: maps(&socket, rendered, files).await?,
        warming: current.warming.clone(),
        frontends: frontends.collect(),
        server_limits: server_limits(&socket, rendered).await?,
        lowered_limit: info.lowered_limit(),
        certificates: socket.certificates(paths).await?,
    })
}

/// The limits of servers, where the spec says one of any: this takes longer than all else, and does not tell much.
async fn server_limits(
    socket: &RuntimeSocket,
    rendered: &Rendered,
) -> Result<BTreeMap<Target, u32>, RuntimeError> {
    if rendered.servers().all(|server| server.maxconn.is_none()) {
        return Ok(BTreeMap::new());
    }
    let stats = socket.servers_stat().await?.0.into_iter();
    let limits = stats.filter_map(|stat| {
        let target = Target::new(&stat.proxy, &stat.service);
        Some((target, stat.sessions_limit?))
    });
    Ok(limits.collect())
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
