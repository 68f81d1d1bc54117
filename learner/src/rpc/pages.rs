//! The list of jobs, page by page: a message is bounded, and the number of jobs is not.

use std::sync::Arc;

use anytime_proto::{JobId, v1};
use prost::Message as _;

use crate::jobs::entry::JobEntry;

/// The most jobs of a page.
const MOST_JOBS: usize = 100;

/// A page ends where its jobs have so many bytes. The last one may take it beyond.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The page that is asked for, of jobs that are ordered from the newest to the oldest. None where the token is not one
/// that a page names.
pub(super) fn page(entries: &[Arc<JobEntry>], request: &v1::ListJobsRequest) -> Option<v1::ListJobsResponse> {
    let most = match request.page_size as usize {
        0 => MOST_JOBS,
        asked => asked.min(MOST_JOBS),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(position_of(token)?),
    };
    // A token is a place in the order and not a position in the list, because jobs come and go between two pages.
    let comes_after = |entry: &&Arc<JobEntry>| after.as_ref().is_none_or(|after| place(entry) > *after);
    let mut rest = entries.iter().filter(comes_after).peekable();
    let (mut response, mut bytes) = (v1::ListJobsResponse::default(), 0);
    while response.jobs.len() < most && bytes < PAGE_BYTES {
        let Some(entry) = rest.next() else {
            break;
        };
        let job = entry.job();
        bytes += job.encoded_len();
        response.jobs.push(job);
        response.next_page_token = token_of(entry);
    }
    if rest.peek().is_none() {
        response.next_page_token.clear();
    }
    Some(response)
}

/// The place of a job in the order of the list.
type Place = (std::cmp::Reverse<(i64, i32)>, JobId);

fn place(entry: &JobEntry) -> Place {
    (std::cmp::Reverse(entry.created()), entry.id().clone())
}

fn token_of(entry: &JobEntry) -> String {
    let (seconds, nanos) = entry.created();
    format!("{seconds}.{nanos}/{}", entry.id())
}

fn position_of(token: &str) -> Option<Place> {
    let (time, id) = token.split_once('/')?;
    let (seconds, nanos) = time.split_once('.')?;
    let created = (seconds.parse().ok()?, nanos.parse().ok()?);
    Some((std::cmp::Reverse(created), JobId(id.to_owned())))
}
