//! `hafleet pki token`: tokens with which new nodes obtain their certificates.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use hafleet_api::v1;
use pbjson_types::Duration;

use super::args::TokenCommand;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// Does one of the `token` commands.
pub(super) async fn run(
    command: TokenCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    match command {
        TokenCommand::Create {
            node,
            address,
            lasting,
            issuer,
            out,
        } => {
            let request = client.request(v1::CreateJoinTokenRequest {
                node_id: node.map(|node| node.to_string()).unwrap_or_default(),
                lasting: Some(Duration::from(lasting)),
                addresses: address.iter().map(ToString::to_string).collect(),
                issuer: issuer.map(|issuer| issuer.to_string()).unwrap_or_default(),
            });
            let created = answer(client.admin.create_join_token(request).await)?;
            match out {
                Some(file) => {
                    write(&file, &created.token)?;
                    let info = created.info.unwrap_or_default();
                    printer.answer(&info, |info| {
                        format!(
                            "token {} of issuer {} in {}",
                            info.id,
                            info.issuer,
                            file.display()
                        )
                    })
                }
                // Nothing but the token, so that it can be piped to where it is used.
                None => printer.answer(&created, |created| created.token.clone()),
            }
        }
        TokenCommand::List => {
            let request = client.request(v1::ListJoinTokensRequest::default());
            let listed = answer(client.admin.list_join_tokens(request).await)?;
            printer.answer(&listed, table)
        }
        TokenCommand::Remove { id } => {
            let request = client.request(v1::RemoveJoinTokenRequest {
                id: id.clone(),
                this_node_only: false,
            });
            let removed = answer(client.admin.remove_join_token(request).await)?;
            printer.answer(&removed, |removed| {
                format!("token {id} of issuer {} is void", removed.issuer)
            })
        }
    }
}

fn write(file: &Path, token: &str) -> Result<(), Failure> {
    let write = || {
        let mut opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        opened.write_all(format!("{token}\n").as_bytes())
    };
    Ok(write().with_context(|| file.display().to_string())?)
}

fn table(listed: &v1::ListJoinTokensResponse) -> String {
    let mut text = if listed.tokens.is_empty() {
        "there are no tokens".to_owned()
    } else {
        let rows = listed.tokens.iter().map(row).collect();
        print::table(&["id", "node", "state", "until", "issuer", "by"], rows)
    };
    for missing in &listed.missing {
        text.push_str(&format!("\n\nnot asked: {missing}"));
    }
    text
}

fn row(token: &v1::JoinTokenInfo) -> Vec<(String, Tone)> {
    let until = token.expires_at.as_ref().map_or(0, |at| at.seconds);
    let until = jiff::Timestamp::from_second(until).unwrap_or_default();
    let node = match token.node_id.as_str() {
        "" => "any new node",
        node => node,
    };
    let state = if !token.used_by.is_empty() {
        (format!("used by {}", token.used_by), Tone::Plain)
    } else if until <= jiff::Timestamp::now() {
        ("expired".to_owned(), Tone::Plain)
    } else {
        ("good".to_owned(), Tone::Good)
    };
    vec![
        plain(&token.id),
        plain(node),
        state,
        plain(until.to_string()),
        plain(&token.issuer),
        plain(&token.author),
    ]
}
