use super::*;

const TEXT: &str = "\
defaults
    mode http
frontend web
    bind :80
    server none 192.0.2.9:80
backend app
    # server s0 192.0.2.10:80
    server s1 192.0.2.11:80 check # the old one
\tserver\ts2\t192.0.2.12:80
    server s3 192.0.2.13:80 disabled
    server s4 'unix@/run/a b'
    server-template t 3 app.example.com:80
listen both
    bind :81
    server s1 192.0.2.21:80
peers others
    server lb2 192.0.2.31:1024
";

fn found() -> Vec<WrittenServer> {
    in_text(TEXT, &[])
}

#[test]
fn servers_of_backends_are_found_and_what_looks_like_them_is_not() {
    let names: Vec<_> = found()
        .iter()
        .map(|server| format!("{}/{} {}", server.backend, server.name, server.own.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            "app/s1 ready",
            "app/s2 ready",
            "app/s3 maint",
            "app/s4 ready",
            "both/s1 ready"
        ]
    );
}

#[test]
fn the_specs_own_servers_are_not_among_them() {
    let body = "backend app\n    server s1 192.0.2.1:80\n    server s2 192.0.2.2:80\n";
    let origins = [
        "backends[0]",
        "backends[0].servers[0]",
        "backends[0].raw[0]",
    ];
    let found = in_text(body, &origins.map(str::to_owned));
    let names: Vec<_> = found.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["s2"]);
}

#[test]
fn maintenance_stands_behind_the_address_and_goes_without_a_trace() {
    let cases = [
        (
            0,
            "    server s1 192.0.2.11:80 disabled check # the old one",
        ),
        (1, "\tserver\ts2\t192.0.2.12:80 disabled"),
        (2, "    server s3 192.0.2.13:80 disabled"),
        (3, "    server s4 'unix@/run/a b'"),
        (4, "    server s1 192.0.2.21:80 disabled"),
    ];
    for (index, line) in cases {
        let mut server = found().remove(index);
        let mut body = TEXT.to_owned();
        server.asked = Some(AdminState::Maint);
        put(&mut body, &server);
        assert_eq!(body.lines().nth(server.line), Some(line));
        assert_eq!(body.lines().count(), TEXT.lines().count());
        server.asked = None;
        put(&mut body, &server);
        assert_eq!(body, TEXT);
    }
}
