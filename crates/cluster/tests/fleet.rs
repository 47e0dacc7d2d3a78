//! Whole fleets in one process: real stores, real TLS, real ports on loopback; only time runs faster.

mod support;

use hafleet_cluster::{Expect, LinkState, Role, WriteError, WriteRequest};
use hafleet_model::{Digest, DocumentKind, Term};
use support::{Fleet, write_spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_agree_on_one_leader_and_store_its_writes() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let written = leader
        .cluster
        .write(write_spec("one", Expect::Absent))
        .await
        .unwrap();
    assert!(written.committed, "{written:?}");
    assert_eq!(written.stored_by.len(), 3);
    assert_eq!(written.header.stamp.digest, Digest::of(b"one"));
    for node in fleet.nodes() {
        node.until_spec_is("one").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_leads_itself() {
    let fleet = Fleet::of(1).await;
    let leader = fleet.agreed_leader().await;
    let written = leader
        .cluster
        .write(write_spec("alone", Expect::Any))
        .await
        .unwrap();
    assert!(written.committed);
    assert_eq!(written.known_members, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_to_write_to() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let follower = fleet.nodes().find(|node| node.id != leader.id).unwrap();
    let error = follower
        .cluster
        .write(write_spec("x", Expect::Any))
        .await
        .unwrap_err();
    let WriteError::NotLeader {
        leader: Some((id, address)),
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((id, address), (&leader.id, &leader.address));
    // And the follower has a channel there.
    follower.cluster.channel(id).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_expects_something_else_changes_nothing() {
    let fleet = Fleet::of(1).await;
    let leader = fleet.agreed_leader().await;
    let first = leader
        .cluster
        .write(write_spec("one", Expect::Absent))
        .await
        .unwrap();
    let error = leader
        .cluster
        .write(write_spec("two", Expect::Absent))
        .await
        .unwrap_err();
    assert!(matches!(error, WriteError::Unexpected { .. }), "{error}");
    let revision = first.header.stamp.revision;
    let second = leader
        .cluster
        .write(write_spec("two", Expect::Revision(revision)))
        .await
        .unwrap();
    assert_eq!(second.header.parent, Some(first.header.stamp));
    let history = leader.cluster.history(DocumentKind::Spec).unwrap();
    assert_eq!(history, [second.header, first.header]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_replaced_and_the_next_takes_writes() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let (old, first) = (
        leader.id.clone(),
        leader
            .cluster
            .write(write_spec("one", Expect::Any))
            .await
            .unwrap(),
    );
    fleet.kill(&old).await;
    let next = fleet.agreed_leader().await;
    assert_ne!(next.id, old);
    let next_id = next.id.clone();
    let written = next
        .cluster
        .write(write_spec(
            "two",
            Expect::Revision(first.header.stamp.revision),
        ))
        .await
        .unwrap();
    assert!(
        written.committed,
        "two of three nodes are a majority: {written:?}"
    );
    assert!(written.header.stamp.revision.term > first.header.stamp.revision.term);

    // The old leader comes back, follows, and has the write that it missed.
    fleet.start(&old).await;
    let back = fleet.node(&old);
    back.until_spec_is("two").await;
    let agreed = fleet.agreed_leader().await;
    assert_eq!(
        agreed.id, next_id,
        "a leader stays when an earlier node joins"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_with_all_of_the_history() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await.id.clone();
    let away = fleet
        .nodes()
        .find(|node| node.id != leader)
        .unwrap()
        .id
        .clone();
    fleet.kill(&away).await;
    for number in 0..30 {
        let body = format!("number {number}");
        fleet
            .node(&leader)
            .cluster
            .write(write_spec(&body, Expect::Any))
            .await
            .unwrap();
    }
    fleet.start(&away).await;
    let node = fleet.node(&away);
    node.until_spec_is("number 29").await;
    node.until("the history is filled", |node| {
        node.cluster.history(DocumentKind::Spec).unwrap().len() == 30
    })
    .await;
    assert!(node.cluster.conflicts(DocumentKind::Spec).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_written_unless_forced() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await.id.clone();
    let others: Vec<_> = fleet
        .nodes()
        .map(|node| node.id.clone())
        .filter(|id| *id != leader)
        .collect();
    for other in &others {
        fleet.kill(other).await;
    }
    let last = fleet.node(&leader);
    last.until("both others are seen to be gone", |node| {
        node.view().live_count() == 1
    })
    .await;
    let error = last
        .cluster
        .write(write_spec("x", Expect::Any))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::NoMajority {
                live: 1,
                known: 3,
                ..
            }
        ),
        "{error}"
    );
    let forced = WriteRequest {
        force: true,
        ..write_spec("forced", Expect::Any)
    };
    let written = last.cluster.write(forced).await.unwrap();
    assert!(!written.committed);
    assert_eq!(written.stored_by, std::slice::from_ref(&leader));

    // Asked again, it is no more than that. Who comes back and fetches it makes it no more certain, as long as somebody else
    // may know of another leader's write; that all have it does.
    let newest = last
        .cluster
        .document(DocumentKind::Spec)
        .borrow()
        .clone()
        .unwrap();
    let stamp = newest.stamp();
    let moment = std::time::Duration::from_millis(50);
    let held = |cluster: &hafleet_cluster::Cluster, patience| {
        let cluster = cluster.clone();
        async move { cluster.holding(DocumentKind::Spec, stamp, patience).await }
    };
    let holding = held(&last.cluster, moment).await;
    assert_eq!(
        (holding.nodes, holding.known, holding.is_committed),
        (vec![leader.clone()], 3, false)
    );
    fleet.start(&others[0]).await;
    let last = fleet.node(&leader);
    last.until("another has fetched it", |node| {
        node.view().holders(DocumentKind::Spec, stamp).count() == 2
    })
    .await;
    let holding = held(&last.cluster, moment).await;
    assert_eq!((holding.nodes.len(), holding.is_committed), (2, false));
    // Written again it is certain, and the one before it with it.
    let confirmed = last.cluster.confirm(&newest, "ada", moment).await;
    assert!(confirmed.holding.is_committed, "{confirmed:?}");
    assert_eq!(confirmed.header.parent, Some(stamp));
    let again = last
        .cluster
        .document(DocumentKind::Spec)
        .borrow()
        .clone()
        .unwrap();
    assert_eq!(again.body(), newest.body());
    let confirmed = last.cluster.confirm(&again, "ada", moment).await;
    assert_eq!(confirmed.header, *again.header(), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_go_on_without_a_majority_and_their_forks_are_no_conflicts() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await.id.clone();
    let others: Vec<_> = fleet
        .nodes()
        .map(|node| node.id.clone())
        .filter(|id| *id != leader)
        .collect();
    let endpoints = |body: &str| WriteRequest {
        kind: DocumentKind::Endpoints,
        ..write_spec(body, Expect::Any)
    };
    let written = fleet.node(&leader).cluster.write(endpoints("all")).await;
    assert!(written.unwrap().committed);
    for other in &others {
        fleet.kill(other).await;
    }
    let last = fleet.node(&leader);
    last.until("both others are seen to be gone", |node| {
        node.view().live_count() == 1
    })
    .await;
    let written = last.cluster.write(endpoints("left")).await.unwrap();
    assert!(!written.committed, "{written:?}");

    // The other side never heard of that, has one node of three, and goes on as well.
    fleet.kill(&leader).await;
    fleet.start(&others[0]).await;
    let right = fleet.node(&others[0]);
    right
        .until("it leads", |node| node.view().leadership.is_leader())
        .await;
    right.cluster.write(endpoints("right")).await.unwrap();
    fleet.start(&leader).await;
    for id in [&leader, &others[0]] {
        let node = fleet.node(id);
        node.until("one of the two is everywhere", |node| {
            let newest = node.cluster.document(DocumentKind::Endpoints);
            newest
                .borrow()
                .as_ref()
                .is_some_and(|newest| newest.body() == "right")
        })
        .await;
        assert!(node.cluster.conflicts(DocumentKind::Endpoints).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_minority_does_not_take_itself_for_the_fleet() {
    let mut fleet = Fleet::of(3).await;
    fleet.agreed_leader().await;
    let ids: Vec<_> = fleet.nodes().map(|node| node.id.clone()).collect();
    for id in &ids {
        fleet.kill(id).await;
    }
    fleet.start(&ids[2]).await;
    let alone = fleet.node(&ids[2]);
    alone
        .until("it leads", |node| {
            matches!(node.view().leadership.role, Role::Leader(_))
        })
        .await;
    assert_eq!(alone.view().members.len(), 3);
    let error = alone
        .cluster
        .write(write_spec("x", Expect::Any))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::NoMajority {
                live: 1,
                known: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sides_that_both_wrote_end_with_one_document_and_one_conflict() {
    let mut fleet = Fleet::of(2).await;
    let leader = fleet.agreed_leader().await.id.clone();
    let other = fleet
        .nodes()
        .find(|node| node.id != leader)
        .unwrap()
        .id
        .clone();
    fleet
        .node(&leader)
        .cluster
        .write(write_spec("common", Expect::Any))
        .await
        .unwrap();
    fleet.node(&other).until_spec_is("common").await;
    let forced = |body: &str| WriteRequest {
        force: true,
        ..write_spec(body, Expect::Any)
    };

    fleet.kill(&other).await;
    fleet
        .node(&leader)
        .until("the other is gone", |node| node.view().live_count() == 1)
        .await;
    fleet
        .node(&leader)
        .cluster
        .write(forced("left"))
        .await
        .unwrap();
    fleet.kill(&leader).await;
    fleet.start(&other).await;
    let right = fleet.node(&other);
    right
        .until("it leads", |node| node.view().leadership.is_leader())
        .await;
    right.cluster.write(forced("right")).await.unwrap();
    fleet.start(&leader).await;

    for id in [&leader, &other] {
        fleet.node(id).until_spec_is("right").await;
    }
    // The node that never had it lists it too, and has it when the other is gone and it has been started again.
    for id in [&leader, &other] {
        fleet.node(id).until_conflict_is("left").await;
    }
    fleet.kill(&leader).await;
    fleet.kill(&other).await;
    fleet.start(&other).await;
    fleet.node(&other).until_conflict_is("left").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_goodbye_is_gone_at_once_and_its_reports_are_seen() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let witness = fleet.nodes().find(|node| node.id != leader.id).unwrap();
    leader
        .cluster
        .report(|report| report.zone = Some("b".into()));
    witness
        .until("the report is seen", |node| {
            node.view()
                .member(&leader.id)
                .unwrap()
                .report
                .zone
                .as_deref()
                == Some("b")
        })
        .await;
    leader.cluster.shutdown().await;
    witness
        .until("it is seen to have left", |node| {
            let left = node.view().member(&leader.id).unwrap().liveness.to_string();
            left == "dead: it has left"
        })
        .await;
    witness
        .until("another leads", |node| {
            node.view()
                .leadership
                .leader
                .as_ref()
                .is_some_and(|id| *id != leader.id)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_becomes_unfit_hands_over() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let term = leader.view().leadership.term;
    leader
        .cluster
        .report(|report| report.unfit = Some("no credentials".into()));
    leader
        .until("another leads", |node| {
            let leadership = node.view().leadership.clone();
            leadership.leader.is_some_and(|id| id != leader.id) && leadership.term > term
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_authority_learns_nothing() {
    let fleet = Fleet::of(1).await;
    let stranger = fleet.stranger().await;
    stranger
        .until("it was refused", |node| {
            fleet.nodes().all(|ours| {
                let link = node.link_to(ours.address);
                matches!(link, None | Some(LinkState::Unreachable { .. }))
            }) && node.view().leadership.term > Term(0)
        })
        .await;
    assert_eq!(stranger.view().members.len(), 1);
    for node in fleet.nodes() {
        assert_eq!(node.view().members.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_grow_and_the_old_ones_do_not_come_back() {
    let mut fleet = Fleet::of(2).await;
    fleet.agreed_leader().await;
    let ids: Vec<_> = fleet.nodes().map(|node| node.id.clone()).collect();
    let mut last = fleet.node(&ids[1]).generation();
    for _ in 0..3 {
        fleet.kill(&ids[1]).await;
        fleet.start(&ids[1]).await;
        let next = fleet.node(&ids[1]).generation();
        assert!(next > last, "{next} after {last}");
        last = next;
        fleet
            .node(&ids[0])
            .until("the new generation is live", |node| {
                let view = node.view();
                let member = view.member(&ids[1]).unwrap();
                member.report.generation == next && member.liveness.is_live()
            })
            .await;
        assert_eq!(fleet.node(&ids[0]).view().members.len(), 2);
    }
    fleet.agreed_leader().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_document_reaches_everyone_and_a_larger_one_is_refused() {
    let fleet = Fleet::of(2).await;
    let leader = fleet.agreed_leader().await;
    let large = "x".repeat(8 * 1024 * 1024);
    let written = leader
        .cluster
        .write(write_spec(&large, Expect::Any))
        .await
        .unwrap();
    assert_eq!(written.stored_by.len(), 2);
    let too_large = "x".repeat(hafleet_cluster::MAX_BODY_LEN + 1);
    let error = leader
        .cluster
        .write(write_spec(&too_large, Expect::Any))
        .await
        .unwrap_err();
    assert!(
        matches!(error, WriteError::TooLarge { what: "body", .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_store_is_back_at_once_under_its_id() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await;
    let lost = leader.id.clone();
    leader
        .cluster
        .write(write_spec("one", Expect::Any))
        .await
        .unwrap();
    fleet.kill(&lost).await;
    fleet.wipe(&lost);
    fleet.start(&lost).await;
    fleet.node(&lost).until_spec_is("one").await;
    for node in fleet.nodes() {
        node.until("all are live", |node| node.view().live_count() == 3)
            .await;
    }
    let leader = fleet.agreed_leader().await;
    let written = leader
        .cluster
        .write(write_spec("two", Expect::Any))
        .await
        .unwrap();
    assert_eq!(written.stored_by.len(), 3);
    let conflicts = leader.cluster.conflicts(DocumentKind::Spec);
    assert!(conflicts.is_empty(), "{conflicts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_takes_no_writes_before_it_has_met_a_majority_of_its_seeds() {
    let mut fleet = Fleet::planned(3).await;
    let ids = fleet.ids();
    fleet.start(&ids[0]).await;
    let first = fleet.node(&ids[0]);
    first
        .until("it leads", |node| node.view().leadership.is_leader())
        .await;
    let refused = first.cluster.write(write_spec("x", Expect::Any)).await;
    let error = refused.unwrap_err();
    let words = error.to_string();
    let WriteError::NoMajority {
        live: 1,
        known: 3,
        missing,
    } = error
    else {
        panic!("{words}")
    };
    assert_eq!(missing.len(), 2);
    assert!(words.contains("never met"), "{words}");

    // Restarted in this state, it has still met nobody.
    fleet.kill(&ids[0]).await;
    fleet.start(&ids[0]).await;
    let first = fleet.node(&ids[0]);
    first
        .until("it leads again", |node| node.view().leadership.is_leader())
        .await;
    assert!(!first.view().has_majority());

    fleet.start(&ids[1]).await;
    for node in fleet.nodes() {
        node.until("two of three are there", |node| node.view().has_majority())
            .await;
    }
    let leader = fleet.agreed_leader().await;
    let written = leader
        .cluster
        .write(write_spec("one", Expect::Any))
        .await
        .unwrap();
    assert!(written.committed, "{written:?}");
    assert_eq!(written.stored_by, ids[..2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_who_is_counted_and_gone() {
    let mut fleet = Fleet::of(3).await;
    let leader = fleet.agreed_leader().await.id.clone();
    let mut others = fleet.ids();
    others.retain(|id| *id != leader);
    fleet.node(&others[0]).cluster.shutdown().await;
    fleet.kill(&others[1]).await;
    let last = fleet.node(&leader);
    last.until("both others are gone", |node| node.view().live_count() == 1)
        .await;
    let refused = last.cluster.write(write_spec("x", Expect::Any)).await;
    let WriteError::NoMajority { missing, .. } = refused.unwrap_err() else {
        panic!("another error")
    };
    let names: Vec<_> = missing.iter().map(|absent| absent.name.clone()).collect();
    assert_eq!(names, [others[0].to_string(), others[1].to_string()]);
    assert_eq!(missing[0].reason, "it has left");
    for absent in missing {
        let unseen_for = absent.unseen_for.unwrap();
        assert!(unseen_for < std::time::Duration::from_secs(60), "{absent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_healthy_fleet_refuses_no_gossip() {
    let fleet = Fleet::of(4).await;
    let leader = fleet.agreed_leader().await;
    for number in 0..150 {
        for node in fleet.nodes() {
            node.cluster
                .report(|report| report.zone = Some(format!("z{number}")));
        }
        if number % 10 == 0 {
            let body = format!("{number}");
            let written = leader.cluster.write(write_spec(&body, Expect::Any)).await;
            assert_eq!(written.unwrap().stored_by.len(), 4);
        }
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    for node in fleet.nodes() {
        node.until("the last reports are seen", |node| {
            let view = node.view();
            let mut zones = view.members.iter().map(|member| &member.report.zone);
            zones.all(|zone| zone.as_deref() == Some("z149"))
        })
        .await;
        assert_eq!(node.cluster.refused_frames(), 0, "{}", node.id);
    }
}
