//! The list of jobs, page by page: a message is bounded, and the number of jobs is not. Filters leave jobs out, and change
//! neither the order nor what a page's token means.

use std::sync::Arc;

use anytime_proto::settings::check_labels;
use anytime_proto::{JobId, v1};
use prost::Message as _;

use crate::jobs::entry::JobEntry;

/// The most jobs of a page.
const MOST_JOBS: usize = 100;

/// The longest pattern of a name, in bytes: a name has no more.
const LONGEST_NAME: usize = 64;

/// A page ends where its jobs have so many bytes. The last one may take it beyond.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which jobs are asked for.
struct Filter<'a>(&'a v1::ListJobsRequest);

impl Filter<'_> {
    /// Checks what is asked for.
    fn check(&self) -> Result<(), Refused> {
        let Self(request) = self;
        let is_state =
            |state: &i32| v1::JobState::try_from(*state).is_ok_and(|state| state != v1::JobState::Unspecified);
        if let Some(state) = request.states.iter().find(|state| !is_state(state)) {
            return Err(("states", format!("states holds {state}, which is no state of a job")));
        }
        if request.name.len() > LONGEST_NAME {
            let reason = format!(
                "name has {} bytes; at most {LONGEST_NAME} are taken",
                request.name.len()
            );
            return Err(("name", reason));
        }
        check_labels("labels", &request.labels).map_err(|error| ("labels", error.to_string()))
    }

    fn holds(&self, job: &v1::Job) -> bool {
        let Self(request) = self;
        let spec = job.spec.as_ref();
        let has_label = |(name, text): (&String, &String)| spec.is_some_and(|spec| spec.labels.get(name) == Some(text));
        (request.states.is_empty() || request.states.contains(&job.state))
            && (request.name.is_empty() || is_like(spec.map_or("", v1::JobSpec::name), &request.name))
            && request.labels.iter().all(has_label)
    }
}

/// Whether a text is like a pattern, in which `*` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(place) => left = &left[place + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The field of a request that cannot be, and the sentence.
type Refused = (&'static str, String);

/// The page that is asked for, of jobs that are ordered from the newest to the oldest, each as `told` tells it.
///
/// # Errors
/// The field of the request that cannot be: a token that no page names, or a filter that no job can pass.
pub(super) fn page(
    entries: &[Arc<JobEntry>],
    request: &v1::ListJobsRequest,
    told: impl Fn(v1::Job) -> v1::Job,
) -> Result<v1::ListJobsResponse, Refused> {
    let filter = Filter(request);
    filter.check()?;
    let most = match request.page_size as usize {
        0 => MOST_JOBS,
        asked => asked.min(MOST_JOBS),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let no_token = || {
                (
                    "page_token",
                    "page_token is none that a page before has named".to_owned(),
                )
            };
            Some(position_of(token).ok_or_else(no_token)?)
        }
    };
    // A token is a place in the order and not a position in the list, because jobs come and go between two pages.
    let comes_after = |entry: &&Arc<JobEntry>| after.as_ref().is_none_or(|after| place(entry) > *after);
    let asked_for = |entry: &Arc<JobEntry>| {
        let job = entry.job();
        filter.holds(&job).then(|| (token_of(entry), job))
    };
    let mut rest = entries.iter().filter(comes_after).filter_map(asked_for).peekable();
    let (mut response, mut bytes) = (v1::ListJobsResponse::default(), 0);
    while response.jobs.len() < most && bytes < PAGE_BYTES {
        let Some((token, job)) = rest.next() else {
            break;
        };
        bytes += job.encoded_len();
        response.jobs.push(told(job));
        response.next_page_token = token;
    }
    if rest.peek().is_none() {
        response.next_page_token.clear();
    }
    Ok(response)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (text, pattern, is) in [
            ("r1-math", "r1-math", true),
            ("r1-math-2", "r1-math", false),
            ("r1-math-2", "r1-math*", true),
            ("r1-math", "*math", true),
            ("r1-math", "r1*h", true),
            ("r1-math", "*", true),
            ("r1-math", "*-*t*", true),
            ("r1-math", "*z*", false),
            ("aba", "ab*ba", false),
            ("abba", "ab*ba", true),
            ("", "*", true),
            ("a.b", "a?b", false),
        ] {
            assert_eq!(is_like(text, pattern), is, "{text} {pattern}");
        }
    }
}
