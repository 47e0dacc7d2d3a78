//! Writes: through any agent, with history, and refused without a trace when they are wrong.

use hafleet_api::v1;
use hafleet_tests::fleet::written;
use hafleet_tests::{Fleet, can_make_namespaces};

fn revisions(fleet: &Fleet) -> Vec<v1::RevisionInfo> {
    let finished = fleet
        .client()
        .run(&["spec", "history", "--output", "json"])
        .expect_code(0);
    finished.json::<v1::ListSpecHistoryResponse>().revisions
}

#[test]
fn a_write_through_a_follower_reaches_every_node() {
    if !can_make_namespaces() {
        return;
    }
    let fleet = Fleet::builder().start();
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let spec = fleet.spec("first");
    let revision = fleet.apply(follower, &spec);
    fleet.wait_converged(&revision);
    for number in fleet.numbers() {
        fleet.assert_serves(number, "first");
        let held = fleet
            .client_of(number)
            .run(&["spec", "get", "--output", "json"])
            .expect_code(0);
        assert_eq!(held.json::<v1::GetSpecResponse>().spec, spec);
    }
    assert_eq!(fleet.leader(), leader, "a write does not change who leads");
    let author = &revisions(&fleet)[0].author;
    assert_eq!(
        author, "ada (admin)",
        "a forwarded write is by who asked for it"
    );
}

#[test]
fn the_same_spec_again_makes_no_revision() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, revision) = Fleet::serving();
    let again = fleet
        .client()
        .apply(&fleet.spec("first"), &[])
        .expect_code(0);
    let response: v1::WriteSpecResponse = again.json();
    assert!(response.unchanged, "{again}");
    assert_eq!(response.revision.map(|info| info.revision), Some(revision));
    assert_eq!(revisions(&fleet).len(), 1);
}

#[test]
fn history_shows_who_and_why_and_can_be_returned_to() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let client = fleet.client();
    let second = written(&client.apply(
        &fleet.spec("second"),
        &["-m", "a better marker", "--wait", "60s"],
    ));
    fleet.wait_served("second");

    let history = revisions(&fleet);
    let listed: Vec<_> = history.iter().map(|info| info.revision.as_str()).collect();
    assert_eq!(listed, [second.as_str(), first.as_str()]);
    let newest = &history[0];
    assert_eq!(
        (newest.comment.as_str(), newest.author.as_str()),
        ("a better marker", "ada (admin)")
    );
    assert_eq!(newest.parent, first);

    let diff = client
        .run(&["spec", "diff", &first, &second])
        .expect_code(0);
    assert!(
        diff.stdout
            .contains("-      - http-response set-header x-marker first"),
        "{diff}"
    );
    assert!(
        diff.stdout
            .contains("+      - http-response set-header x-marker second"),
        "{diff}"
    );

    let third = written(&client.run(&["spec", "rollback", &first, "--output", "json"]));
    fleet.wait_converged(&third);
    fleet.wait_served("first");
    let text = client.run(&["spec", "get"]).expect_code(0);
    assert_eq!(text.stdout.trim_end(), fleet.spec("first").trim_end());
    assert_eq!(revisions(&fleet).len(), 3);
}

#[test]
fn a_plan_says_what_each_node_would_do_and_does_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, revision) = Fleet::serving();
    let plan = |spec: &str| {
        let file = fleet.scratch().file("plan.yaml", spec);
        let path = file.display().to_string();
        fleet
            .client()
            .run(&["plan", &path, "--output", "json"])
            .expect_code(0)
            .json::<v1::PlanSpecResponse>()
    };
    let changes = |plan: &v1::PlanSpecResponse| {
        plan.nodes
            .iter()
            .map(|node| (node.node_id.clone(), node.change.clone()))
            .collect::<Vec<_>>()
    };
    let all = |change: &str| ["n1", "n2", "n3"].map(|id| (id.to_owned(), change.to_owned()));

    let same = plan(&fleet.spec("first"));
    assert_eq!(
        (same.base_revision.as_str(), same.diff.as_str()),
        (revision.as_str(), "")
    );
    assert_eq!(changes(&same), all("nothing"));

    let other = plan(&fleet.spec("second"));
    assert!(other.diff.contains("x-marker second"), "{other:?}");
    assert_eq!(changes(&other), all("reload"), "{other:?}");
    assert_eq!(revisions(&fleet).len(), 1);
    fleet.assert_serves(1, "first");
}

#[test]
fn of_many_writes_that_expect_the_same_revision_one_wins() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let write = &|number: usize| {
        let spec = fleet.spec(&format!("writer-{number}"));
        let via = fleet.client_of(1 + number % 3);
        via.apply(&spec, &["--expect", &first])
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..9)
            .map(|number| scope.spawn(move || write(number)))
            .collect();
        writers
            .into_iter()
            .filter_map(|writer| writer.join().ok())
            .collect()
    });
    let ended = |code| {
        all.iter()
            .filter(move |finished| finished.code == Some(code))
            .count()
    };
    for finished in &all {
        assert!(matches!(finished.code, Some(0 | 3)), "{finished}");
    }
    assert_eq!((ended(0), ended(3)), (1, 8));
    assert_eq!(revisions(&fleet).len(), 2);
    fleet.wait_converged(&fleet.current(1));
}

#[test]
fn refused_writes_change_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, first) = Fleet::serving();
    let client = fleet.client();
    let second = written(&client.apply(&fleet.spec("second"), &["--expect", &first]));
    fleet.wait_converged(&second);
    let pids: Vec<_> = fleet
        .numbers()
        .iter()
        .map(|number| fleet.node(*number).haproxy())
        .collect();

    let stale = client
        .apply(&fleet.spec("third"), &["--expect", &first])
        .expect_code(3);
    stale.expect_complaint(&[&first, &second, "--expect"]);
    let stale = client
        .run(&["spec", "rollback", &first, "--expect", &first])
        .expect_code(3);
    stale.expect_complaint(&[&second]);

    for arguments in [
        &["spec", "get", "9.9"][..],
        &["spec", "diff", "9.9"],
        &["spec", "rollback", "9.9"],
    ] {
        client
            .run(arguments)
            .expect_code(1)
            .expect_complaint(&["no revision 9.9", "spec history"]);
    }
    client
        .run(&["spec", "get", "newest"])
        .expect_code(2)
        .expect_complaint(&["newest", "TERM.SEQUENCE"]);

    let missing = fleet
        .spec("third")
        .replace("default_backend: app", "default_backend: application");
    let refused = client.apply(&missing, &[]).expect_code(2);
    refused.expect_complaint(&["spec.yaml:", "frontends[0].default_backend", "application"]);
    let unknown = fleet
        .spec("third")
        .replace("default_backend", "defaultbackend");
    let refused = client.apply(&unknown, &[]).expect_code(2);
    refused.expect_complaint(&[
        "spec.yaml:6:",
        "defaultbackend",
        "did you mean `default_backend`",
    ]);
    let rejected = fleet
        .spec("third")
        .replace("set-header x-marker", "set-heather x-marker");
    let refused = client.apply(&rejected, &[]).expect_code(2);
    refused.expect_complaint(&["spec.yaml:8:", "frontends[0].raw[0]", "set-heather"]);

    fleet.authority().person("eve", "viewer");
    let viewer = fleet.client_as("eve", &[1, 2, 3]);
    viewer.run(&["status"]).expect_code(0);
    viewer
        .apply(&fleet.spec("third"), &[])
        .expect_code(3)
        .expect_complaint(&["eve", "admin"]);

    let all = revisions(&fleet);
    assert_eq!(
        all.iter().map(|info| &info.revision).collect::<Vec<_>>(),
        [&second, &first]
    );
    for (number, process) in fleet.numbers().into_iter().zip(pids) {
        fleet.assert_serves(number, "second");
        assert_eq!(
            fleet.node(number).haproxy(),
            process,
            "no HAProxy was reloaded"
        );
    }
}
