//! All keys below a prefix at one revision, in pages.

use std::collections::BTreeMap;

use etcd_client::{GetOptions, GetResponse, KvClient};

use super::cluster::Member;
use super::error::is_out_of_range;
use super::keys::Keys;
use crate::answer::SourceError;

/// Keys in the first page that is tried; where that is too much for one message, an eighth of it.
const PAGE: i64 = 4096;

/// The largest message that is taken. A value has at most 1.5 MB (etcd's `--max-request-bytes`), so that pages of one
/// always fit.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// The most keys below one prefix. Far above any fleet's; it keeps a prefix that was cut short by mistake from filling
/// the memory.
pub(super) const MAX_KEYS: usize = 200_000;

/// Reads all keys below `prefix` as they are at one revision, which is not older than the question. What is larger than
/// one message takes several, all at the revision of the first.
pub(super) async fn all(member: &Member, prefix: &str) -> Result<Keys, SourceError> {
    let mut page = PAGE;
    loop {
        match pages(member, prefix, page).await? {
            Some(keys) => return Ok(keys),
            // Too large, or compacted under way: both go away with smaller pages of a new revision.
            None if page > 1 => page /= 8,
            None => {
                let why = "a key is too large, or its history is compacted faster than it is read";
                return Err(malformed(member, why.to_owned()));
            }
        }
    }
}

/// How many keys there are below `prefix`, and the cluster's revision. A majority of the members vouches for both.
pub(super) async fn count(member: &Member, prefix: &str) -> Result<(usize, i64), SourceError> {
    let options = range(prefix).with_count_only();
    let response = client(member).get(prefix, Some(options)).await;
    let response = response.map_err(|error| member.error(&error))?;
    let count = usize::try_from(response.count()).unwrap_or_default();
    Ok((count, revision(member, &response)?))
}

/// None when it has to be tried with smaller pages.
async fn pages(member: &Member, prefix: &str, page: i64) -> Result<Option<Keys>, SourceError> {
    let mut values = BTreeMap::new();
    let (mut from, mut at) = (prefix.as_bytes().to_vec(), 0);
    loop {
        let options = range(prefix).with_limit(page).with_revision(at);
        let mut response = match client(member).get(from.clone(), Some(options)).await {
            Ok(response) => response,
            Err(error) if is_out_of_range(&error) => return Ok(None),
            Err(error) => return Err(member.error(&error)),
        };
        if at == 0 {
            at = revision(member, &response)?;
        }
        let more = response.more();
        for pair in response.take_kvs() {
            let (key, value) = pair.into_key_value();
            values.insert(key, value);
        }
        expect_few(member, prefix, values.len())?;
        let Some(last) = values.keys().next_back().filter(|_| more) else {
            return Ok(Some(Keys::new(values, at)));
        };
        // The least key after the last one.
        let mut next = last.clone();
        next.push(0);
        if next <= from {
            let why = "a page of keys ended before it began".to_owned();
            return Err(malformed(member, why));
        }
        from = next;
    }
}

/// Refuses more keys than [`MAX_KEYS`].
pub(super) fn expect_few(member: &Member, prefix: &str, count: usize) -> Result<(), SourceError> {
    if count <= MAX_KEYS {
        return Ok(());
    }
    let why =
        format!("{prefix} has more than {MAX_KEYS} keys below it: give the prefix that is meant");
    Err(malformed(member, why))
}

fn client(member: &Member) -> KvClient {
    let client = member.client.kv_client();
    client.max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// Up to the end of the prefix, from whichever key is asked for.
fn range(prefix: &str) -> GetOptions {
    GetOptions::new().with_range(end_of(prefix))
}

/// The least key that is greater than all that begin with `prefix`, which ends in a slash.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn revision(member: &Member, response: &GetResponse) -> Result<i64, SourceError> {
    let header = response.header();
    let revision = header.map_or(0, etcd_client::ResponseHeader::revision);
    if revision > 0 {
        return Ok(revision);
    }
    Err(malformed(member, "an answer without a revision".to_owned()))
}

fn malformed(member: &Member, why: String) -> SourceError {
    SourceError::Malformed {
        what: format!("etcd at {}", member.url),
        why,
    }
}
