//! The helper: a process inside the load balancer's namespace that drives one HAProxy as it is told.
//!
//! It is a process and not a thread because a process sees its own namespace in `/proc`.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hafleet_haproxy::runtime::AdminState;
use hafleet_haproxy::{HandoverChoice, Proxy, Rendered, Settings};
use hafleet_model::spec::load;
use hafleet_model::{Revision, Spec, Term};
use hafleet_tests::request::ask;

use super::call::{Answer, Ask};
use super::site::node_context;

/// How long an apply waits for the answer that it is to bring about.
const LIMIT: Duration = Duration::from_secs(30);
/// How long HAProxy may take to end.
const GRACE: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Default)]
struct State {
    proxy: Option<Proxy>,
    sequence: u64,
}

/// Answers until the input ends.
pub(crate) fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut state = State::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input is text");
        let ask: Ask = serde_json::from_str(&line).expect("a question");
        let answer = runtime.block_on(state.answer(ask));
        let answer = answer.unwrap_or_else(|error| Answer::Refused {
            words: words(&*error),
        });
        let mut text = serde_json::to_string(&answer).expect("an answer is plain values");
        text.push('\n');
        let mut output = std::io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .expect("somebody listens");
    }
    ExitCode::SUCCESS
}

impl State {
    async fn answer(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Open { home, handover } => self.open(&home, &handover).await,
            Ask::Apply { spec } => {
                let rendered = self.rendered(&spec)?;
                self.apply(&rendered).await
            }
            Ask::Served {
                spec,
                address,
                body,
            } => self.served(&spec, address, body).await,
            Ask::Drain {
                spec,
                backend,
                server,
            } => {
                let mut rendered = self.rendered(&spec)?;
                if !rendered.set_admin(&backend, &server, AdminState::Drain) {
                    return Err(format!("there is no server {backend}/{server}").into());
                }
                self.apply(&rendered).await
            }
            Ask::Plan { spec, rounds } => self.plan(&parsed(&spec)?, rounds).await,
            Ask::Stop => {
                self.proxy()?.stop(GRACE).await;
                Ok(Answer::Stopped)
            }
        }
    }

    async fn open(&mut self, home: &Path, handover: &str) -> Result<Answer> {
        let node = node_context(home);
        std::fs::create_dir_all(&node.certificate_dir)?;
        let mut settings = Settings::new(node, home, home.join("run"));
        settings.handover = choice(handover)?;
        let settle = settings.settle;
        self.proxy = Some(Proxy::open(settings).await?);
        Ok(Answer::Opened { settle })
    }

    fn proxy(&mut self) -> Result<&mut Proxy> {
        Ok(self.proxy.as_mut().ok_or("nothing was opened")?)
    }

    fn rendered(&mut self, spec: &str) -> Result<Rendered> {
        let spec = parsed(spec)?;
        Ok(self.proxy()?.render(&spec)?)
    }

    async fn apply(&mut self, rendered: &Rendered) -> Result<Answer> {
        self.sequence += 1;
        let revision = Revision::new(Term(1), self.sequence);
        let begun = Instant::now();
        let applied = self.proxy()?.apply(rendered, revision).await?;
        Ok(Answer::Done {
            change: applied.change,
            reason: applied.plan.reason,
            handover: applied.handover,
            pid: applied.pid,
            took: begun.elapsed(),
            served: None,
        })
    }

    /// The clock runs from before the plan, which is the first that an apply does, to the answer.
    async fn served(&mut self, spec: &str, address: SocketAddr, body: String) -> Result<Answer> {
        let rendered = self.rendered(spec)?;
        let begun = Instant::now();
        let watch = tokio::spawn(async move {
            while begun.elapsed() < LIMIT {
                let answer = ask(address, "/", LIMIT).await;
                if answer.is_ok_and(|answer| answer.body == body) {
                    return Some(begun.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            None
        });
        let mut answer = self.apply(&rendered).await?;
        let seen = watch.await?.ok_or("it was not served within the limit")?;
        if let Answer::Done { served, .. } = &mut answer {
            *served = Some(seen);
        }
        Ok(answer)
    }

    async fn plan(&mut self, spec: &Spec, rounds: u32) -> Result<Answer> {
        let mut times = Vec::new();
        let proxy = self.proxy()?;
        let mut change = None;
        for _ in 0..rounds {
            let begun = Instant::now();
            let rendered = proxy.render(spec)?;
            let rendering = begun.elapsed();
            let plan = proxy.plan(&rendered).await?;
            times.push((rendering, begun.elapsed() - rendering));
            change = Some(plan.change);
        }
        Ok(Answer::Planned {
            change: change.ok_or("no rounds")?,
            times,
        })
    }
}

fn parsed(spec: &str) -> Result<Spec> {
    Ok(load(spec).map_err(|findings| findings.to_string())?.spec)
}

fn choice(word: &str) -> Result<HandoverChoice> {
    Ok(serde_json::from_value(word.into())?)
}

/// An error with its causes, in one line.
fn words(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |words, cause| {
        format!("{words}: {cause}")
    })
}
