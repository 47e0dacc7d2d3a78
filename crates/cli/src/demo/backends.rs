//! The demo's four small servers, inside the command's own process.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::missing;
use crate::failure::Failure;

/// The servers' names and the last byte of their addresses, as the demo's spec has them.
const SERVERS: [(&str, u8); 4] = [("site1", 21), ("site2", 22), ("api1", 23), ("api2", 24)];
/// The port of each.
const PORT: u16 = 9000;

/// Serves until the returned set is dropped.
pub(super) async fn serve() -> Result<JoinSet<()>, Failure> {
    let mut servers = JoinSet::new();
    for (name, last) in SERVERS {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let listener = TcpListener::bind((address, PORT)).await.map_err(|error| {
            missing(
                &format!("{address}:{PORT} cannot be bound ({error})"),
                "end the program that listens there",
            )
        })?;
        let hello = move |request: Request| async move {
            format!("{name} answers {}\n", request.uri().path())
        };
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .fallback(hello);
        servers.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(name, %error, "a small server ended");
            }
        });
    }
    Ok(servers)
}
