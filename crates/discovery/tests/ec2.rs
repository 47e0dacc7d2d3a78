//! The EC2 source against moto. What all sources have in common is in `contract`.

#![cfg(test)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "made for all tests; these need a part of it"
)]
#[path = "../../../tests/src/aws/mod.rs"]
mod aws;

use std::time::Duration;

use aws::{Cloud, Fault, KEY, REGION};
use hafleet_discovery::ec2::Ec2Source;
use hafleet_discovery::query::Ec2Query;
use hafleet_discovery::source::Said;
use hafleet_discovery::{
    AddressKind, Answer, Answers, Condition, Source as _, SourceError, SourceSettings,
};
use hafleet_ec2::{Ec2, Ec2Settings, StaticKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what has to come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A source at work.
struct Asked {
    said: watch::Receiver<Option<Said>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn client(cloud: &Cloud) -> Ec2 {
    Ec2::new(Ec2Settings {
        endpoint: Some(cloud.endpoint()),
        region: Some(REGION.into()),
        key: Some(StaticKey {
            id: KEY.into(),
            secret: "nobody checks it".into(),
        }),
        attempts: 1,
        ..Ec2Settings::default()
    })
}

fn group(name: &str) -> Ec2Query {
    Ec2Query {
        security_groups: [name.to_owned()].into(),
        ..Ec2Query::default()
    }
}

fn ask(client: &Ec2, query: Ec2Query, interval: Duration) -> Asked {
    let stop = CancellationToken::new();
    let (answers, said) = Answers::new(stop.clone());
    let settings = SourceSettings {
        interval,
        ..SourceSettings::default()
    };
    let source = Box::new(Ec2Source::new(client.clone(), query, settings));
    let task = tokio::spawn(source.run(answers));
    Asked { said, stop, task }
}

impl Asked {
    /// The first thing said, from the newest on, of which `wanted` holds.
    async fn until(
        &mut self,
        wanted: impl Fn(&Result<Answer, SourceError>) -> bool,
    ) -> Result<Answer, SourceError> {
        let said = self
            .said
            .wait_for(|said| said.as_ref().is_some_and(|said| wanted(&said.result)));
        let said = timeout(DEADLINE, said).await.expect("it is said in time");
        said.expect("the source goes on").clone().unwrap().result
    }

    async fn until_found(&mut self, ids: &[&str]) -> Answer {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let is_it = |result: &Result<Answer, _>| {
            let found = result.as_ref().map(|answer| &answer.found);
            found.is_ok_and(|found| found.iter().map(|found| &found.id).eq(&ids))
        };
        self.until(is_it).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        let ended = timeout(Duration::from_secs(2), self.task).await;
        ended.expect("it ends soon").expect("without a panic");
    }
}

const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn instances_become_servers_and_changes_follow() {
    let cloud = Cloud::start();
    let web = cloud.add_group("web");
    let one = cloud.add(&web, &[("port", "81")]);
    let mut asked = ask(&client(&cloud), group("web"), SOON);
    let answer = asked.until_found(&[&one]).await;
    let found = &answer.found[0];
    assert_eq!(found.labels["port"], "81");
    assert_eq!(
        (found.port, found.weight),
        (None, None),
        "tags are not read here"
    );
    assert_eq!(found.zone.as_deref(), Some("eu-west-1a"));
    assert_eq!(found.condition, Condition::InService);
    let kinds: Vec<_> = found
        .addresses
        .iter()
        .map(|address| &address.kind)
        .collect();
    assert_eq!(kinds, [&AddressKind::Private, &AddressKind::Public]);
    assert_eq!(found.addresses[0].ip.to_string(), cloud.private_ip(&one));

    let two = cloud.add(&web, &[]);
    asked.until_found(&[&one, &two]).await;
    cloud.change(&one, "port", "82");
    asked
        .until(|said| {
            said.as_ref().is_ok_and(|answer| {
                answer
                    .found
                    .iter()
                    .any(|found| found.labels.get("port").is_some_and(|port| port == "82"))
            })
        })
        .await
        .unwrap();
    cloud.remove(&[&one]);
    asked.until_found(&[&two]).await;
    cloud.stop(&[&two]);
    asked.until_found(&[]).await;
    asked.end().await;
}

#[tokio::test]
async fn every_fault_is_an_error_and_passes_by_itself() {
    let cloud = Cloud::start();
    let one = cloud.add(&cloud.add_group("web"), &[]);
    cloud.break_down();
    let mut asked = ask(&client(&cloud), group("web"), SOON);
    let error = asked.until(Result::is_err).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Unreachable { .. }),
        "{error:?}"
    );
    cloud.mend();
    asked.until_found(&[&one]).await;
    type Is = fn(&SourceError) -> bool;
    let faults: [(Fault, Is); 4] = [
        (Fault::Down, |error| {
            matches!(error, SourceError::Unreachable { .. })
        }),
        (Fault::Throttled, |error| {
            matches!(error, SourceError::Throttled { .. })
        }),
        (Fault::Denied, |error| {
            matches!(error, SourceError::Refused { .. })
        }),
        (Fault::OtherPage, |error| {
            matches!(error, SourceError::Malformed { .. })
        }),
    ];
    for (fault, is_right) in faults {
        cloud.gate().set(fault);
        asked
            .until(|said| said.as_ref().is_err_and(is_right))
            .await
            .unwrap_err();
        cloud.mend();
        asked.until_found(&[&one]).await;
    }
    asked.end().await;
}

#[tokio::test]
async fn who_is_in_standby_is_set_aside() {
    let cloud = Cloud::start();
    let blue = cloud.add_auto_scaling_group("blue", 2);
    let query = Ec2Query {
        auto_scaling_groups: ["blue".to_owned()].into(),
        ..Ec2Query::default()
    };
    let mut asked = ask(&client(&cloud), query, SOON);
    let conditions = |answer: &Answer| {
        let found = answer.found.iter();
        found
            .filter(|found| found.condition == Condition::SetAside)
            .map(|found| found.id.clone())
            .collect::<Vec<_>>()
    };
    let ids: Vec<_> = blue.iter().map(String::as_str).collect();
    assert_eq!(conditions(&asked.until_found(&ids).await), [""; 0]);
    cloud.set_aside("blue", &blue[0]);
    let is_set_aside = |said: &Result<Answer, _>| {
        said.as_ref()
            .is_ok_and(|answer| conditions(answer) == blue[..1])
    };
    asked.until(is_set_aside).await.unwrap();
    asked.end().await;
}

#[tokio::test]
async fn throttled_it_waits_an_interval_and_one_client_counts_for_all() {
    let cloud = Cloud::start();
    cloud.add_group("web");
    let client = client(&cloud);
    let interval = Duration::from_secs(1);
    cloud.gate().set(Fault::Throttled);
    let begun = Instant::now();
    let mut one = ask(&client, group("web"), interval);
    let mut other = ask(&client, group("api"), interval);
    for asked in [&mut one, &mut other] {
        let said = asked
            .said
            .wait_for(|said| said.as_ref().is_some_and(|said| said.count >= 3));
        timeout(DEADLINE, said)
            .await
            .expect("it is asked again")
            .expect("it goes on");
    }
    let elapsed = begun.elapsed();
    assert!(elapsed >= 2 * interval.mul_f64(0.9), "{elapsed:?}");
    let calls = client.calls().total();
    assert_eq!(calls, cloud.gate().actions().len() as u64);
    // Each asked three times; the quicker of the two perhaps once more.
    let most = 2 * (2 + elapsed.as_millis() / interval.mul_f64(0.9).as_millis());
    assert!(
        (6..=most).contains(&u128::from(calls)),
        "{calls} in {elapsed:?}"
    );
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn it_ends_in_the_middle_of_a_question_and_when_nobody_listens() {
    let cloud = Cloud::start();
    cloud.gate().set(Fault::Slow);
    let client = client(&cloud);
    let waiting = async |count| {
        let arrived = async {
            while cloud.gate().count("DescribeInstances") < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, arrived).await.expect("it asks");
    };
    let asked = ask(&client, group("web"), SOON);
    waiting(1).await;
    asked.end().await;
    let Asked {
        said,
        task,
        stop: _stop,
    } = ask(&client, group("web"), SOON);
    waiting(2).await;
    drop(said);
    timeout(Duration::from_secs(2), task)
        .await
        .expect("it ends soon")
        .expect("without a panic");
}
