use std::sync::Mutex;

use async_trait::async_trait;
use hafleet_model::spec;

use super::*;

/// Sources that say nothing by themselves; the test speaks for them.
#[derive(Default)]
struct Stage {
    on: Mutex<BTreeMap<String, Answers>>,
    starts: Mutex<Vec<String>>,
}

struct Actor {
    name: String,
    stage: Arc<Stage>,
}

#[async_trait]
impl Source for Actor {
    async fn run(self: Box<Self>, answers: Answers) {
        let name = self.name.clone();
        self.stage
            .on
            .lock()
            .unwrap()
            .insert(name.clone(), answers.clone());
        answers.stopped().await;
        self.stage.on.lock().unwrap().remove(&name);
    }
}

struct Theatre(Arc<Stage>);

impl Launch for Theatre {
    fn source(&self, query: &Query, _: SourceSettings) -> Result<Box<dyn Source>, SourceError> {
        if query.kind() == "etcd" {
            return Err(SourceError::Unconfigured {
                what: query.to_string(),
                why: "give discovery.etcd".into(),
            });
        }
        self.0.starts.lock().unwrap().push(query.to_string());
        Ok(Box::new(Actor {
            name: query.to_string(),
            stage: Arc::clone(&self.0),
        }))
    }
}

fn spec(sources: &[&str]) -> Spec {
    let mut text =
        "version: 1\ndiscovery: {etcd: {endpoints: ['http://192.0.2.1:2379']}}\nbackends:\n"
            .to_owned();
    for (index, source) in sources.iter().enumerate() {
        text.push_str(&format!(
            "  - {{name: b{index}, sources: [{{{source}}}]}}\n"
        ));
    }
    spec::load(&text).unwrap().spec
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
}

fn names(stage: &Stage) -> Vec<String> {
    stage.on.lock().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn what_several_backends_want_is_asked_once_and_ends_with_the_last_of_them() {
    let stage = Arc::new(Stage::default());
    let mut engine = Engine::new("shop", Arc::new(Theatre(Arc::clone(&stage))));
    let (one, two) = (
        "file: {path: /one, port: 80}",
        "file: {path: /two, port: 80}",
    );
    engine.set_spec(&spec(&[one, one, two]));
    engine.decide(&Endpoints::default());
    until(|| names(&stage) == ["file /one", "file /two"]).await;
    engine.set_spec(&spec(&[one]));
    engine.decide(&Endpoints::default());
    until(|| names(&stage) == ["file /one"]).await;
    assert_eq!(stage.starts.lock().unwrap().len(), 2);
    drop(engine);
    until(|| names(&stage).is_empty()).await;
}

#[tokio::test]
async fn an_answer_wakes_the_engine_and_shows_in_its_status() {
    let stage = Arc::new(Stage::default());
    let mut engine = Engine::new("shop", Arc::new(Theatre(Arc::clone(&stage))));
    engine.set_spec(&spec(&["file: {path: /one, port: 80}"]));
    engine.changed().await;
    engine.decide(&Endpoints::default());
    until(|| !names(&stage).is_empty()).await;
    let answers = stage.on.lock().unwrap()["file /one"].clone();
    answers.put(Ok(Answer::default()));
    engine.changed().await;
    engine.decide(&Endpoints::default());
    let status = engine.status();
    assert!(status.sources[0].answered.is_some());
    assert_eq!(status.sources[0].backends, ["b0".to_owned()].into());
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_says_why() {
    let stage = Arc::new(Stage::default());
    let mut engine = Engine::new("shop", Arc::new(Theatre(stage)));
    engine.set_spec(&spec(&["etcd: {port: 80}"]));
    engine.decide(&Endpoints::default());
    engine.changed().await;
    engine.decide(&Endpoints::default());
    let error = engine.status().sources[0].error.clone().unwrap().1;
    assert!(error.to_string().contains("give discovery.etcd"), "{error}");
}
