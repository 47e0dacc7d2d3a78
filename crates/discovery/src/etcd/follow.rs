//! One source: reads, then watches, and says what the keys come to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, sleep, sleep_until};

use super::cluster::{Cluster, Member};
use super::keys::Keys;
use super::read;
use super::retry::Retry;
use crate::answer::{Answer, SourceError};
use crate::source::{Answers, Source, SourceSettings};

/// Changes that follow one another so closely are said together. The first is said at once.
const GATHERED: Duration = Duration::from_millis(50);

/// What keys below a prefix mean.
pub(super) type Meaning = Box<dyn Fn(&str, &Keys) -> Answer + Send + Sync>;

/// A source that follows the keys below one prefix.
pub(super) struct Follower {
    cluster: Arc<Cluster>,
    prefix: String,
    settings: SourceSettings,
    meaning: Meaning,
}

/// What a watching source waits for.
enum Event {
    /// The watch said something.
    Watched(Result<Option<WatchResponse>, etcd_client::Error>),
    /// The time for changes to gather is over.
    Gathered,
    /// Nothing was said for an interval, and this is how many keys there are, and the revision.
    Counted(Result<(usize, i64), SourceError>),
}

/// What was said last.
struct Speech<'a> {
    answers: &'a Answers,
    last: Option<Answer>,
    at: Instant,
    /// When the keys' meaning was last looked for, whether or not it was said.
    looked: Instant,
    /// How long that took.
    effort: Duration,
}

#[async_trait]
impl Source for Follower {
    async fn run(self: Box<Self>, answers: Answers) {
        // All that it holds, the connection too, goes with the future.
        tokio::select! {
            () = answers.stopped() => {}
            () = self.follow(&answers) => {}
        }
    }
}

impl Follower {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        prefix: String,
        settings: SourceSettings,
        meaning: Meaning,
    ) -> Self {
        Self {
            cluster,
            prefix,
            settings,
            meaning,
        }
    }

    /// Follows for ever, with one member after the other.
    async fn follow(&self, answers: &Answers) {
        let mut retry = Retry::new(self.cluster.size(), self.settings.interval);
        loop {
            let Err(error) = self.with_member(answers, &mut retry).await else {
                continue;
            };
            tracing::debug!(prefix = self.prefix, %error, "following etcd");
            if let Some(pause) = retry.failed(rand::random()) {
                answers.put(Err(error));
                sleep(pause).await;
            }
        }
    }

    async fn with_member(&self, answers: &Answers, retry: &mut Retry) -> Result<(), SourceError> {
        let member = self.cluster.member(self.settings.timeout).await?;
        let mut speech = Speech::new(answers);
        loop {
            match self.read_and_watch(&member, &mut speech, retry).await {
                Ok(()) => {
                    tracing::debug!(
                        prefix = self.prefix,
                        "the watch of etcd is stale: reading anew"
                    );
                }
                Err(error) => {
                    self.cluster.leave(&member).await;
                    return Err(error);
                }
            }
        }
    }

    /// Ends without an error when the keys have to be read anew: their history is compacted, or they are others than the
    /// watch told of.
    async fn read_and_watch(
        &self,
        member: &Member,
        speech: &mut Speech<'_>,
        retry: &mut Retry,
    ) -> Result<(), SourceError> {
        let prefix = self.prefix.as_str();
        let mut keys = member.within(read::all(member, prefix)).await?;
        self.say(speech, &keys, true);
        let mut watch = member.within(self.watch(member, keys.revision())).await?;
        let mut is_changed = false;
        let mut count = Box::pin(self.count(member, speech.at));
        loop {
            let event = tokio::select! {
                message = watch.message() => Event::Watched(message),
                () = sleep_until(speech.next_look()), if is_changed => Event::Gathered,
                counted = &mut count => Event::Counted(counted),
            };
            match event {
                Event::Watched(message) => {
                    let response = message.map_err(|error| member.error(&error))?;
                    let response = response.ok_or_else(|| ended(member))?;
                    if response.canceled() {
                        return canceled(member, &response);
                    }
                    if apply(&mut keys, prefix, &response) {
                        is_changed = true;
                        read::expect_few(member, prefix, keys.len())?;
                        retry.well();
                    }
                    continue;
                }
                Event::Gathered => {
                    is_changed = false;
                    if !self.say(speech, &keys, false) {
                        continue;
                    }
                }
                Event::Counted(counted) => {
                    let (found, revision) = counted?;
                    if found != keys.len() || revision < keys.revision() {
                        return Ok(());
                    }
                    retry.well();
                    is_changed = false;
                    self.say(speech, &keys, true);
                }
            }
            count = Box::pin(self.count(member, speech.at));
        }
    }

    async fn watch(&self, member: &Member, revision: i64) -> Result<WatchStream, SourceError> {
        let options = WatchOptions::new()
            .with_range(read::end_of(&self.prefix))
            .with_start_revision(revision + 1);
        let client = member.client.watch_client();
        client
            .max_decoding_message_size(read::MAX_MESSAGE_BYTES)
            .watch(self.prefix.as_bytes(), Some(options))
            .await
            .map_err(|error| member.error(&error))
    }

    /// Waits until nearly an interval has passed since `at`, and counts the keys then. That a watch is silent proves
    /// nothing; that a majority of the members counts as many keys proves that there was nothing to tell.
    async fn count(&self, member: &Member, at: Instant) -> Result<(usize, i64), SourceError> {
        let interval = self.settings.interval.mul_f64(rand::random_range(0.9..1.0));
        sleep_until(at + interval).await;
        member.within(read::count(member, &self.prefix)).await
    }

    /// Says what `keys` come to: always if `is_due`, and otherwise if that is not what was said last. Whether it did.
    fn say(&self, speech: &mut Speech<'_>, keys: &Keys, is_due: bool) -> bool {
        let began = Instant::now();
        let answer = (self.meaning)(&self.prefix, keys);
        speech.looked = Instant::now();
        speech.effort = speech.looked - began;
        if !is_due && speech.last.as_ref() == Some(&answer) {
            return false;
        }
        speech.answers.put(Ok(answer.clone()));
        speech.last = Some(answer);
        speech.at = Instant::now();
        true
    }
}

impl<'a> Speech<'a> {
    fn new(answers: &'a Answers) -> Self {
        let now = Instant::now();
        Self {
            answers,
            last: None,
            at: now,
            looked: now,
            effort: Duration::ZERO,
        }
    }

    /// When to look for the meaning of changes, at the soonest. It takes a tenth of the time at most.
    fn next_look(&self) -> Instant {
        self.looked + GATHERED.max(self.effort * 9)
    }
}

/// Takes over what a watch tells; whether that is anything.
fn apply(keys: &mut Keys, prefix: &str, response: &WatchResponse) -> bool {
    let mut is_changed = false;
    let pairs = response.events().iter().filter_map(etcd_client::Event::kv);
    for pair in pairs.filter(|pair| pair.key().starts_with(prefix.as_bytes())) {
        // A key that exists has a version of 1 or more (etcd, `mvccpb.KeyValue`). The client's own word for the kind of
        // an event panics where it does not know it.
        let value = (pair.version() > 0).then(|| pair.value());
        keys.apply(pair.key(), value, pair.mod_revision());
        is_changed = true;
    }
    is_changed
}

/// The member does not go on with the watch: for the keys' history is compacted, or else an error.
fn canceled(member: &Member, response: &WatchResponse) -> Result<(), SourceError> {
    if response.compact_revision() > 0 {
        return Ok(());
    }
    Err(SourceError::Refused {
        what: format!("etcd at {}", member.url),
        why: format!("the watch was ended: {}", response.cancel_reason()),
    })
}

fn ended(member: &Member) -> SourceError {
    SourceError::Unreachable {
        what: format!("etcd at {}", member.url),
        why: "it ended the watch".to_owned(),
    }
}
