//! The states of servers, of one load balancer and of a fleet.

use super::*;

const ALL_UP: &str =
    "app,BACKEND,1,UP,2,,\napp,i-1,2,UP,1,Layer7 check passed,OK\napp,web,2,no check,1,,\n";

async fn backends(agent: Obliging, prefix: &str, path: &str) -> (StatusCode, serde_json::Value) {
    told_in(StateWords::Haproxy, agent, prefix, path).await
}

async fn told_in(
    words: StateWords,
    agent: Obliging,
    prefix: &str,
    path: &str,
) -> (StatusCode, serde_json::Value) {
    let mut scene = Scene::new(agent);
    scene.settings.states = words;
    scene.settings.only_prefix = prefix.to_owned();
    let keys = scene.local(Role::Viewer);
    scene.ask(keys, post(path, "ignored")).await
}

#[tokio::test]
async fn every_word_of_haproxy_has_one_of_elb() {
    let rows = [
        ("UP", "1", "InService"),
        ("UP 1/3", "1", "InService"),
        ("no check", "1", "InService"),
        ("UP", "0", "OutOfService"),
        ("DOWN", "1", "OutOfService"),
        ("DOWN 1/2", "1", "OutOfService"),
        ("DRAIN", "0", "OutOfService"),
        ("NOLB", "1", "OutOfService"),
        ("MAINT", "1", "OutOfService"),
        ("MAINT (via app/x)", "1", "OutOfService"),
        ("DOZING", "1", "Unknown"),
    ];
    for (status, weight, state) in rows {
        let page = format!("app,BACKEND,1,UP,1,,\napp,s,2,{status},{weight},,\n");
        let agent = Obliging {
            pages: vec![("n1", page.leak())],
            ..Obliging::default()
        };
        let again = Obliging {
            pages: agent.pages.clone(),
            ..Obliging::default()
        };
        let (_, own) = backends(again, "", "/getBackends").await;
        let word = own["message"][0]["state"].as_str().unwrap();
        assert!(word.starts_with(status), "{own}");
        let (_, answer) = told_in(StateWords::Elb, agent, "", "/getBackends").await;
        let server = &answer["message"][0];
        assert_eq!(server["state"], state, "{status} at {weight}: {answer}");
        let description = server["description"].as_str().unwrap();
        assert!(description.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn servers_are_told_in_the_order_and_form_of_lb_agent() {
    let agent = || Obliging {
        pages: vec![("n1", ALL_UP)],
        ..Obliging::default()
    };
    let (status, answer) = backends(agent(), "", "/getBackends").await;
    let first = serde_json::json!({
        "instance_id": "i-1", "state": "UP", "description": "Layer7 check passed, OK",
    });
    let second = serde_json::json!({
        "instance_id": "web", "state": "no check", "description": "",
    });
    let all = serde_json::json!({"success": true, "message": [first, second]});
    assert_eq!((status, answer), (StatusCode::OK, all));
    let (_, answer) = backends(agent(), "i-", "/getBackends").await;
    assert_eq!(answer["message"], serde_json::json!([first]));
}

#[tokio::test]
async fn a_fleet_says_in_service_only_with_one_voice() {
    let down = "app,BACKEND,1,UP,1,,\napp,i-1,2,DOWN,1,Layer4 timeout,\n";
    let agent = Obliging {
        pages: vec![("n1", ALL_UP), ("n2", down), ("n3", ALL_UP)],
        ..Obliging::default()
    };
    let (status, answer) = backends(agent, "", "/getBackends?scope=fleet").await;
    assert_eq!(status, StatusCode::OK);
    let server = |id: &str, state: &str, description: &str| serde_json::json!({"instance_id": id, "state": state, "description": description});
    let first = server(
        "i-1",
        "DOWN",
        "n2: DOWN: Layer4 timeout; n1, n3: UP: Layer7 check passed, OK",
    );
    let second = server("web", "not there", "n2: not there; n1, n3: no check");
    assert_eq!(answer["message"], serde_json::json!([first, second]));

    let agent = Obliging {
        pages: vec![("n1", ALL_UP), ("n2", ALL_UP)],
        ..Obliging::default()
    };
    let (_, answer) = backends(agent, "", "/getBackends?scope=fleet").await;
    let first = &answer["message"][0];
    assert_eq!(first["state"], "UP");
    assert_eq!(first["description"], "Layer7 check passed, OK");
}

#[tokio::test]
async fn without_one_load_balancer_there_is_no_answer() {
    let missing = Missing {
        lb: "n2".to_owned(),
        reason: "it did not answer within 2000 ms".to_owned(),
    };
    let agent = Obliging {
        pages: vec![("n1", ALL_UP)],
        missing: vec![missing],
        ..Obliging::default()
    };
    let (status, answer) = backends(agent, "", "/getBackends?scope=fleet").await;
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(error.contains("n2: it did not answer"), "{answer}");

    let agent = Obliging {
        pages: vec![("n1", "other,BACKEND,1,UP,1,,\n")],
        ..Obliging::default()
    };
    let (status, answer) = backends(agent, "", "/getBackends").await;
    let error = answer["error"].as_str().unwrap();
    assert!(
        status == StatusCode::NOT_FOUND && error.contains("\"app\""),
        "{answer}"
    );
}
