//! `hafleet certificate put|list|show|remove`: the certificates that clients of the load balancers are shown.

use std::path::PathBuf;

use hafleet_api::v1;
use hafleet_identity::Bundle;
use hafleet_model::secrets::{CertificateName, MAX_PEM_BYTES};
use jiff::Timestamp;

use super::read_at_most;
use crate::args::{CertificateCommand, CertificateWriteArgs, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// Days before its end at which a certificate is shown as one that somebody should look after.
const SOON: i64 = 21;

/// Does one of the `certificate` commands.
pub(crate) async fn run(
    command: CertificateCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    match command {
        CertificateCommand::Put {
            name,
            files,
            allow_expired,
            write,
        } => {
            let pem = read(&files)?;
            let message = v1::PutCertificateRequest {
                name: name.to_string(),
                pem,
                allow_expired,
                comment: write.comment.clone(),
                force_without_majority: write.force_without_majority,
            };
            let mut client = Client::connect(target).await?;
            let request = client.request(message);
            let written = answer(client.admin.put_certificate(request).await)?;
            for warning in &written.warnings {
                print::note(&format!("{name}: warning: {warning}"));
            }
            finish(&written, &name, &write, printer)
        }
        CertificateCommand::Remove { name, force, write } => {
            let mut client = Client::connect(target).await?;
            let request = client.request(v1::RemoveCertificateRequest {
                name: name.to_string(),
                force,
                comment: write.comment.clone(),
                force_without_majority: write.force_without_majority,
            });
            let written = answer(client.admin.remove_certificate(request).await)?;
            finish(&written, &name, &write, printer)
        }
        CertificateCommand::List => {
            let mut client = Client::connect(target).await?;
            let request = client.request(v1::ListCertificatesRequest {});
            let list = answer(client.admin.list_certificates(request).await)?;
            printer.answer(&list, list_for_people)
        }
        CertificateCommand::Show { name } => {
            let mut client = Client::connect(target).await?;
            let name = name.to_string();
            let request = client.request(v1::GetCertificateRequest { name });
            let info = answer(client.admin.get_certificate(request).await)?;
            printer.answer(&info, show_for_people)
        }
    }
}

/// The texts of `files`, put in order here already, so that a key leaves this machine only with its certificate.
fn read(files: &[PathBuf]) -> Result<String, Failure> {
    let texts: Vec<_> = files
        .iter()
        .map(|file| read_at_most(file, MAX_PEM_BYTES))
        .collect::<Result<_, _>>()?;
    let bundle = Bundle::read(texts.iter().map(String::as_str)).map_err(|error| {
        let names: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        Failure::invalid(format_args!("{}: {error}", names.join(", ")))
    })?;
    Ok(bundle.pem().expose().to_owned())
}

fn finish(
    written: &v1::WriteCertificateResponse,
    name: &CertificateName,
    write: &CertificateWriteArgs,
    printer: Printer,
) -> Result<(), Failure> {
    printer.answer(written, |written| write_for_people(written, name))?;
    if written.committed {
        return Ok(());
    }
    Failure::not_committed(
        written.stored_by.len(),
        written.known_nodes,
        write.force_without_majority,
    )
}

fn write_for_people(written: &v1::WriteCertificateResponse, name: &CertificateName) -> String {
    if written.unchanged {
        return format!("{name} is this certificate already; nothing was written");
    }
    let revision = written.revision.clone().unwrap_or_default().revision;
    format!(
        "{name}: revision {revision} of the certificates stored by {} of {} nodes: {}",
        written.stored_by.len(),
        written.known_nodes,
        written.stored_by.join(", ")
    )
}

fn list_for_people(list: &v1::ListCertificatesResponse) -> String {
    let certificates = certificates_for_people(list);
    let lost = list.conflicts.iter().map(|info| {
        let (revision, author, comment) = (&info.revision, &info.author, &info.comment);
        format!("\nlost in a conflict, to be done again: {revision} by {author}: {comment}")
    });
    format!("{certificates}{}", lost.collect::<String>())
}

fn certificates_for_people(list: &v1::ListCertificatesResponse) -> String {
    if list.certificates.is_empty() {
        return "the fleet has no certificates; `hafleet certificate put NAME FILE…` gives it one"
            .to_owned();
    }
    let header = ["name", "for", "expires", "sha-256", "used by"];
    print::table(&header, list.certificates.iter().map(row).collect())
}

fn row(info: &v1::CertificateInfo) -> Vec<(String, Tone)> {
    let used_by = match info.used_by.as_slice() {
        [] => "-".to_owned(),
        users => users.join(", "),
    };
    let Some(certificate) = &info.certificate else {
        let unread = (info.error.clone(), Tone::Bad);
        return vec![
            plain(&info.name),
            unread,
            plain("-"),
            plain("-"),
            plain(used_by),
        ];
    };
    let sha256: String = certificate.sha256.chars().take(16).collect();
    vec![
        plain(&info.name),
        plain(names(certificate)),
        expiry(certificate, Timestamp::now()),
        plain(sha256),
        plain(used_by),
    ]
}

/// Its alternative names, as far as they fit into a table; its subject when it has none.
fn names(certificate: &v1::TrafficCertificate) -> String {
    match certificate.names.as_slice() {
        [] => certificate.subject.clone(),
        [first, second, _, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second} and {} more", rest.len() + 1)
        }
        few => few.join(", "),
    }
}

/// The day of its end, and how far that is.
fn expiry(certificate: &v1::TrafficCertificate, now: Timestamp) -> (String, Tone) {
    let Some(end) = &certificate.not_after else {
        return plain("-");
    };
    let text = time(certificate.not_after.as_ref());
    let day = text.split('T').next().unwrap_or_default();
    match (end.seconds - now.as_second()).div_euclid(86_400) {
        days if days < 0 => (format!("{day} (expired)"), Tone::Bad),
        days if days < SOON => (format!("{day} ({days} days)"), Tone::Warning),
        days => (format!("{day} ({days} days)"), Tone::Plain),
    }
}

fn time(at: Option<&pbjson_types::Timestamp>) -> String {
    let at = at.and_then(|at| Timestamp::from_second(at.seconds).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

fn show_for_people(info: &v1::CertificateInfo) -> String {
    let used_by = match info.used_by.as_slice() {
        [] => "nothing".to_owned(),
        users => users.join(", "),
    };
    let mut lines = vec![
        format!("name        {}", info.name),
        format!("used by     {used_by}"),
    ];
    match &info.certificate {
        Some(certificate) => lines.extend(certificate_lines(certificate)),
        None => lines.push(format!("unreadable  {}", info.error)),
    }
    for (number, signer) in info.chain.iter().enumerate() {
        lines.push(String::new());
        lines.push(format!(
            "signer      {} of {}",
            number + 1,
            info.chain.len()
        ));
        lines.extend(certificate_lines(signer));
    }
    lines.join("\n")
}

fn certificate_lines(certificate: &v1::TrafficCertificate) -> Vec<String> {
    let (expiry, _) = expiry(certificate, Timestamp::now());
    let mut lines = vec![format!("subject     {}", certificate.subject)];
    if !certificate.names.is_empty() {
        lines.push(format!("names       {}", certificate.names.join(", ")));
    }
    lines.extend([
        format!("issuer      {}", certificate.issuer),
        format!(
            "valid       {} to {}",
            time(certificate.not_before.as_ref()),
            time(certificate.not_after.as_ref())
        ),
        format!("expires     {expiry}"),
        format!("key         {}", certificate.key),
        format!("serial      {}", certificate.serial),
        format!("sha-256     {}", certificate.sha256),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_shown_by_how_near_it_is() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let tone = |days: i64| {
            let certificate = v1::TrafficCertificate {
                not_after: Some(pbjson_types::Timestamp {
                    seconds: now.as_second() + days * 86_400,
                    nanos: 0,
                }),
                ..Default::default()
            };
            expiry(&certificate, now)
        };
        assert_eq!(tone(-1).1, Tone::Bad);
        assert_eq!(tone(20).1, Tone::Warning);
        assert_eq!(tone(90), ("2027-04-15 (90 days)".to_owned(), Tone::Plain));
    }

    #[test]
    fn many_names_are_counted() {
        let names = |count: usize| {
            let certificate = v1::TrafficCertificate {
                subject: "CN=x".into(),
                names: (0..count).map(|number| number.to_string()).collect(),
                ..Default::default()
            };
            super::names(&certificate)
        };
        assert_eq!(names(0), "CN=x");
        assert_eq!(names(3), "0, 1, 2");
        assert_eq!(names(5), "0, 1 and 3 more");
    }
}
