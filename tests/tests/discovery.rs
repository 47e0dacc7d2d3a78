//! Servers that are found: they come and go without a reload, and nothing that fails takes one away.

use hafleet_api::v1;
use hafleet_tests::backend::Backend;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::listed::List;
use hafleet_tests::load::{Load, Plan};
use hafleet_tests::process::Process;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

fn addresses(servers: &[Backend]) -> impl Iterator<Item = std::net::SocketAddr> {
    servers.iter().map(Backend::address)
}

/// A fleet of three that serves from four listed servers.
fn found(lines: &[&str]) -> (Fleet, List, Vec<Backend>) {
    let fleet = Fleet::builder().start();
    let servers = fleet.start_servers(8101..8105);
    let list = List::new(fleet.scratch());
    list.write(addresses(&servers));
    fleet.apply(1, &list.spec(lines));
    fleet.wait_served_from(&fleet.numbers(), &servers);
    (fleet, list, servers)
}

fn haproxies(fleet: &Fleet) -> Vec<Process> {
    let numbers = fleet.numbers().into_iter();
    numbers.map(|number| fleet.node(number).haproxy()).collect()
}

fn load(fleet: &Fleet) -> Load {
    let numbers = fleet.numbers().into_iter();
    let targets = numbers.map(|number| fleet.node(number).traffic()).collect();
    Load::start(fleet.outside(), Plan { targets, rate: 150 })
}

fn backend(sources: &v1::ListSourcesResponse) -> v1::BackendStatus {
    let app = sources.backends.iter().find(|item| item.backend == "app");
    app.cloned().unwrap_or_default()
}

#[test]
fn a_server_that_appears_is_served_by_all_nodes_without_a_reload() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, mut servers) = found(&[]);
    let before = haproxies(&fleet);
    let load = load(&fleet);
    servers.extend(fleet.start_servers(8105..8107));
    list.write(addresses(&servers));
    fleet.wait_served_from(&fleet.numbers(), &servers);

    // Two of six go, which is not so many that it could be a fault.
    list.write(addresses(&servers).skip(2));
    fleet.wait_served_from(&fleet.numbers(), &servers[2..]);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
    assert_eq!(haproxies(&fleet), before, "nobody was reloaded");

    // Everybody sees that all nodes have it, and what a node has is what is rendered for it.
    wait_for("all nodes say that they have it", PATIENCE, || {
        let status = fleet.status_of(2)?;
        let newest = status.endpoints.clone().unwrap_or_default().revision;
        let state = |node: &v1::NodeStatus| node.endpoints.clone().unwrap_or_default();
        let has_it = |node: &v1::NodeStatus| state(node).applied_revision == newest;
        let is_all = !newest.is_empty() && status.nodes.iter().all(has_it);
        is_all.then_some(()).ok_or_else(|| format!("{status:#?}"))
    });
    let spec = fleet.scratch().file("spec.yaml", &list.spec(&[]));
    let spec = spec.to_str().expect("a path of plain characters");
    let rendered = fleet.client().run(&["render", spec, "--node", "n3"]);
    let rendered = rendered.expect_code(0);
    assert!(rendered.stdout.contains("s8106"), "{rendered}");
    assert!(!rendered.stdout.contains("s8101"), "{rendered}");
    let plan = fleet.client().run(&["plan", spec]).expect_code(0);
    assert!(!plan.stdout.contains("reload"), "{plan}");
}

#[test]
fn a_new_leader_goes_on_where_the_last_one_was() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, mut servers) = found(&[]);
    let (leader, before) = (fleet.leader(), fleet.endpoints(fleet.follower()));
    let load = load(&fleet);
    fleet.kill_agent(leader);
    let next = fleet.leader();
    assert_ne!(next, leader);
    let sources = fleet.wait_sources(next, "the new leader asks", |sources| {
        let answered = |source: &v1::SourceStatus| source.answered_at.is_some();
        sources.sources.iter().all(answered) && !sources.sources.is_empty()
    });
    assert_eq!(sources.leader, fleet.node(next).id());
    assert_eq!(backend(&sources).servers, 4, "{sources:#?}");
    assert_eq!(fleet.endpoints(next), before, "there is nothing to write");

    servers.extend(fleet.start_servers(8105..8106));
    list.write(addresses(&servers));
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != leader)
        .collect();
    fleet.wait_served_from(&others, &servers);
    fleet.restart(leader);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    let outcome = load.stop();
    assert_eq!(outcome.failed(), 0, "{outcome}");
}

#[test]
fn a_source_that_fails_takes_nothing_away() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, servers) = found(&[]);
    let follower = fleet.follower();
    let before = fleet.endpoints(follower);
    list.remove();
    let sources = fleet.wait_sources(follower, "the error is told", |sources| {
        sources
            .sources
            .iter()
            .any(|source| !source.error.is_empty())
    });
    let source = &sources.sources[0];
    assert!(source.failing_since.is_some(), "{sources:#?}");
    assert_eq!((source.found, backend(&sources).servers), (4, 4));
    let table = fleet.client().run(&["sources"]).expect_code(0);
    for words in ["file /", "fails since", "app", "as its sources say"] {
        assert!(table.stdout.contains(words), "{words:?} is not in {table}");
    }

    // Another leader, to whom the source never answered, keeps them too.
    let leader = fleet.leader();
    fleet.kill_agent(leader);
    let next = fleet.leader();
    fleet.wait_sources(next, "the new leader has asked", |sources| {
        sources
            .sources
            .iter()
            .any(|source| !source.error.is_empty())
    });
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers);
    }
    assert_eq!(fleet.endpoints(next), before);
    list.write(addresses(&servers));
    fleet.wait_sources(next, "it answers again", |sources| {
        sources.sources.iter().all(|source| source.error.is_empty())
    });
    assert_eq!(fleet.endpoints(next), before);
}

#[test]
fn many_that_go_at_once_are_held_back_until_somebody_confirms() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, servers) = found(&["shrink_confirm: 100000"]);
    let follower = fleet.follower();
    let before = fleet.endpoints(follower);
    list.write(addresses(&servers[..1]));
    let sources = fleet.wait_sources(follower, "it is held back", |sources| {
        backend(sources).held.is_some()
    });
    let held = backend(&sources).held.expect("it is held back");
    assert_eq!(held.going, ["s8102", "s8103", "s8104"], "{held:?}");
    assert!(held.reason.contains("3 of 4"), "{held:?}");
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers);
    }
    assert_eq!(fleet.endpoints(follower), before);
    let table = fleet.client().run(&["sources"]).expect_code(0);
    for words in ["holds back 3", "hafleet sources confirm app"] {
        assert!(table.stdout.contains(words), "{words:?} is not in {table}");
    }

    // Those who may only look may not let it through; nor is anything let through of a backend that has no sources.
    fleet.authority().person("vera", "viewer");
    let vera = fleet.client_as("vera", &[follower]);
    let confirm = ["sources", "confirm", "app"];
    vera.run(&["sources"]).expect_code(0);
    let denied = vera.run(&confirm);
    assert_ne!(denied.code, Some(0), "{denied}");
    denied.expect_complaint(&["operator"]);
    let unknown = fleet.client().run(&["sources", "confirm", "nobody"]);
    unknown.expect_code(2).expect_complaint(&["nobody", "app"]);

    fleet.authority().person("olaf", "operator");
    let olaf = fleet.client_as("olaf", &[follower]);
    let confirmed = olaf.run(&confirm).expect_code(0);
    assert!(confirmed.stdout.contains("s8102"), "{confirmed}");
    fleet.wait_served_from(&fleet.numbers(), &servers[..1]);
    let again = olaf.run(&confirm).expect_code(0);
    assert!(again.stdout.contains("nothing"), "{again}");
}

#[test]
fn what_repeats_itself_is_believed() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, servers) = found(&["shrink_confirm: 2"]);
    list.write([]);
    let sources = fleet.wait_sources(1, "it is held back", |sources| {
        backend(sources).held.is_some()
    });
    assert_eq!(backend(&sources).servers, 4, "{sources:#?}");
    fleet.wait_sources(1, "it is believed", |sources| backend(sources).servers == 0);
    list.write(addresses(&servers));
    fleet.wait_served_from(&fleet.numbers(), &servers);
}

#[test]
fn the_last_one_goes_on_alone() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, mut servers) = found(&[]);
    let last = fleet.follower();
    for number in fleet.numbers() {
        if number != last {
            fleet.kill_agent(number);
        }
    }
    assert_eq!(fleet.leader(), last);
    servers.extend(fleet.start_servers(8105..8106));
    list.write(addresses(&servers));
    fleet.wait_served_from(&[last], &servers);
    // Nobody tells the others, and they keep what they have.
    for number in fleet.numbers() {
        if number != last {
            fleet.assert_served_from(number, &servers[..4]);
        }
    }
    for number in fleet.numbers() {
        if number != last {
            fleet.restart(number);
        }
    }
    fleet.wait_served_from(&fleet.numbers(), &servers);
    let status = fleet.status_of(last).expect("a node that runs answers");
    assert!(status.conflicts.is_empty(), "{status:#?}");
}

#[test]
fn two_halves_that_found_different_things_are_one_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, mut servers) = found(&[]);
    let alone = fleet.leader();
    fleet.cut(alone);
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != alone)
        .collect();
    fleet.leader_among(&others);
    servers.extend(fleet.start_servers(8105..8106));
    list.write(addresses(&servers));
    // Both sides have a leader, and both see the same list.
    fleet.wait_served_from(&fleet.numbers(), &servers);
    fleet.heal(alone);
    fleet.wait_formed();
    wait_for("all have one revision", PATIENCE, || {
        let held: Vec<_> = fleet
            .numbers()
            .into_iter()
            .map(|n| fleet.endpoints(n))
            .collect();
        let is_one = held.windows(2).all(|pair| pair[0] == pair[1]);
        is_one.then_some(()).ok_or_else(|| format!("{held:?}"))
    });
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers);
        let status = fleet.status_of(number).expect("a node that runs answers");
        assert!(status.conflicts.is_empty(), "{status:#?}");
    }
}

#[test]
fn agents_that_start_without_the_source_serve_what_was_found() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, servers) = found(&[]);
    for number in fleet.numbers() {
        fleet.kill_agent(number);
        fleet.node(number).haproxy().kill();
    }
    list.remove();
    for number in fleet.numbers() {
        fleet.restart(number);
    }
    fleet.wait_served_from(&fleet.numbers(), &servers);
    fleet.wait_sources(1, "a leader has asked", |sources| {
        sources
            .sources
            .iter()
            .any(|source| !source.error.is_empty())
    });
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers);
    }
}

#[test]
fn a_spec_without_the_source_has_no_server_of_it() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, _servers) = found(&[]);
    let revision = fleet.apply(1, &fleet.spec("listed"));
    fleet.wait_converged(&revision);
    fleet.wait_served("listed");
    let sources = fleet.sources(1).expect("sources");
    assert!(sources.sources.is_empty(), "{sources:#?}");
    list.remove();
    let table = fleet.client().run(&["sources"]).expect_code(0);
    assert!(table.stdout.contains("no backend"), "{table}");
}

#[test]
fn a_leader_that_stood_still_undoes_nothing() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, list, mut servers) = found(&[]);
    let leader = fleet.leader();
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != leader)
        .collect();
    fleet.stop(leader);
    fleet.leader_among(&others);
    servers.extend(fleet.start_servers(8105..8107));
    list.write(addresses(&servers));
    fleet.wait_served_from(&others, &servers);
    let newest = fleet.endpoints(others[0]);
    fleet.go_on(leader);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    fleet.wait_formed();
    for number in fleet.numbers() {
        assert_eq!(fleet.endpoints(number), newest, "nothing was written since");
    }
}
