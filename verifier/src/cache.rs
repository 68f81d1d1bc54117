//! Keeps verdicts, so that an answer which many responses give is graded once.
//!
//! The key is the conventions, the extracted answer and the ground truths, as exact strings that are compared in full:
//! a verdict of another pair with the same hash would be a false one. What a response says around its answer is not
//! part of the key. Faults say nothing about a pair and are not kept.

use anytime_proto::v1::{Verdict, VerdictKind, VerifyItem};
use metrics::{Counter, Gauge};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::extract::extract;
use crate::grade::{grade, grade_extracted};
use crate::limits::MAX_RESPONSE_BYTES;
use crate::meters::Meters;
use crate::options::{Conventions, Options};

/// Bytes that an entry takes beside its strings: the key and the verdict, their place in the table and in the queue.
const ENTRY_BYTES: usize = 256;
/// Bytes that a string takes beside its characters: its place in a list and the allocator's rounding.
const STRING_BYTES: usize = 40;
/// Larger entries are not kept: such an answer is no more likely to come again than a short one, and takes the room of
/// a hundred short ones.
const LARGEST_ENTRY_BYTES: usize = 32 * 1024;

/// A cache of verdicts that all threads share. It is bounded in bytes, and, because no entry is free, in entries.
pub(crate) struct VerdictCache {
    /// None if the cache is off.
    entries: Option<Cache<Key, Verdict, ByBytes>>,
    hits: Counter,
    misses: Counter,
    bytes: Gauge,
}

/// Must hash as [`Wanted`] does: the same fields in the same order.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    conventions: Conventions,
    answer: String,
    ground_truths: Vec<String>,
}

/// A key that is looked for, without copying it.
#[derive(Hash)]
struct Wanted<'a> {
    conventions: &'a Conventions,
    answer: &'a str,
    ground_truths: &'a [String],
}

impl Wanted<'_> {
    fn to_key(&self) -> Key {
        Key {
            conventions: *self.conventions,
            answer: self.answer.to_owned(),
            ground_truths: self.ground_truths.to_vec(),
        }
    }

    /// Roughly what an entry with this key and verdict takes.
    fn entry_bytes(&self, verdict: &Verdict) -> usize {
        entry_bytes(self.answer, self.ground_truths, verdict)
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.conventions == key.conventions
            && self.answer == key.answer
            && self.ground_truths == key.ground_truths.as_slice()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Verdict> for ByBytes {
    fn weight(&self, key: &Key, verdict: &Verdict) -> u64 {
        entry_bytes(&key.answer, &key.ground_truths, verdict) as u64
    }
}

fn entry_bytes(answer: &str, ground_truths: &[String], verdict: &Verdict) -> usize {
    let lengths = [answer.len(), verdict.extracted.len(), verdict.detail.len()];
    let lengths = lengths.into_iter().chain(ground_truths.iter().map(String::len));
    ENTRY_BYTES + lengths.map(|length| length + STRING_BYTES).sum::<usize>()
}

impl VerdictCache {
    /// A cache of at most this many bytes; 0 is none.
    pub(crate) fn new(capacity_bytes: u64, meters: &Meters) -> Self {
        let entries = (capacity_bytes > 0).then(|| {
            let estimated_entries = capacity_bytes / (ENTRY_BYTES + 4 * STRING_BYTES) as u64;
            let estimated_entries = usize::try_from(estimated_entries).unwrap_or(usize::MAX);
            Cache::with_weighter(estimated_entries, capacity_bytes, ByBytes)
        });
        Self {
            entries,
            hits: meters.cache_hits.clone(),
            misses: meters.cache_misses.clone(),
            bytes: meters.cache_bytes.clone(),
        }
    }

    /// The verdict on this answer, from the cache or else from the grading.
    pub(crate) fn get_or_grade(
        &self,
        conventions: &Conventions,
        answer: &str,
        ground_truths: &[String],
        grade: impl FnOnce() -> Verdict,
    ) -> Verdict {
        let Some(entries) = &self.entries else {
            return grade();
        };
        let wanted = Wanted {
            conventions,
            answer,
            ground_truths,
        };
        if let Some(verdict) = entries.get(&wanted) {
            self.hits.increment(1);
            return verdict;
        }
        self.misses.increment(1);
        // Another thread may grade the same pair meanwhile. That is cheaper than waiting, and both reach the same
        // verdict.
        let verdict = grade();
        if !is_fault(verdict.kind()) && wanted.entry_bytes(&verdict) <= LARGEST_ENTRY_BYTES {
            entries.insert(wanted.to_key(), verdict.clone());
        }
        verdict
    }

    /// Puts the size into the metrics.
    pub(crate) fn show_size(&self) {
        if let Some(entries) = &self.entries {
            self.bytes.set(entries.weight() as f64);
        }
    }
}

/// Grades one item of a request through the cache.
pub(crate) fn grade_item(cache: &VerdictCache, item: &VerifyItem, options: &Options) -> Verdict {
    let VerifyItem {
        response,
        ground_truths,
    } = item;
    // This comes before the search for an answer, as it does in grading.
    if response.len() > MAX_RESPONSE_BYTES {
        return grade(response, ground_truths, options);
    }
    match extract(response, options.extraction) {
        Some(answer) => cache.get_or_grade(&options.conventions, answer, ground_truths, || {
            grade_extracted(answer, ground_truths, &options.conventions)
        }),
        None => grade(response, ground_truths, options),
    }
}

fn is_fault(kind: VerdictKind) -> bool {
    matches!(
        kind,
        VerdictKind::Unspecified | VerdictKind::OutOfTime | VerdictKind::InternalError
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::grade::verdict;
    use crate::options::Units;

    const MEGABYTE: u64 = 1 << 20;

    fn cache(capacity_bytes: u64) -> VerdictCache {
        VerdictCache::new(capacity_bytes, &Meters::new())
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Whether the pair had to be graded.
    fn is_graded(cache: &VerdictCache, conventions: &Conventions, answer: &str, ground_truths: &[&str]) -> bool {
        let graded = Cell::new(false);
        let found = cache.get_or_grade(conventions, answer, &strings(ground_truths), || {
            graded.set(true);
            verdict(VerdictKind::Wrong, answer, ground_truths.join("|"))
        });
        assert_eq!(
            (found.extracted.as_str(), found.detail),
            (answer, ground_truths.join("|"))
        );
        graded.get()
    }

    #[test]
    fn the_same_pair_is_graded_once() {
        let cache = cache(MEGABYTE);
        let conventions = Conventions::default();
        assert!(is_graded(&cache, &conventions, "1", &["2", "3"]));
        assert!(!is_graded(&cache, &conventions, "1", &["2", "3"]));
    }

    #[test]
    fn whatever_differs_is_another_pair() {
        let cache = cache(MEGABYTE);
        let conventions = Conventions::default();
        assert!(is_graded(&cache, &conventions, "1", &["2", "3"]));
        for (answer, ground_truths) in [
            ("1 ", &["2", "3"][..]),
            ("1", &["3", "2"]),
            ("1", &["2"]),
            ("1", &["23"]),
            ("12", &["3"]),
            ("1", &["2", "3", ""]),
            ("", &["1", "2", "3"]),
        ] {
            assert!(
                is_graded(&cache, &conventions, answer, ground_truths),
                "{answer} {ground_truths:?}"
            );
        }
        let units_count = Conventions {
            units: Units::Required,
            ..conventions
        };
        assert!(is_graded(&cache, &units_count, "1", &["2", "3"]));
    }

    #[test]
    fn faults_and_giants_are_not_kept() {
        let cache = cache(MEGABYTE);
        for kind in [VerdictKind::OutOfTime, VerdictKind::InternalError] {
            let graded = Cell::new(0);
            for _ in 0..3 {
                cache.get_or_grade(&Conventions::default(), "1", &strings(&["1"]), || {
                    graded.set(graded.get() + 1);
                    verdict(kind, "", "")
                });
            }
            assert_eq!(graded.get(), 3);
        }
        let giant = "1".repeat(LARGEST_ENTRY_BYTES);
        assert!(is_graded(&cache, &Conventions::default(), &giant, &["1"]));
        assert!(is_graded(&cache, &Conventions::default(), &giant, &["1"]));
    }

    #[test]
    fn off_means_off() {
        let cache = cache(0);
        assert!(is_graded(&cache, &Conventions::default(), "1", &["1"]));
        assert!(is_graded(&cache, &Conventions::default(), "1", &["1"]));
    }

    #[test]
    fn its_size_has_a_bound() {
        let cache = cache(MEGABYTE);
        for number in 0..20_000 {
            is_graded(&cache, &Conventions::default(), &number.to_string(), &["1"]);
        }
        let entries = cache.entries.as_ref().unwrap();
        assert!(entries.weight() <= MEGABYTE, "{}", entries.weight());
        assert!(entries.len() > 500, "{}", entries.len());
    }

    #[test]
    fn what_stands_around_an_answer_does_not_count() {
        let cache = cache(MEGABYTE);
        let options = Options::default();
        for response in [
            "**Final Answer**\n\\boxed{7}",
            "So\n\n**Final Answer**\nIt is \\boxed{7}.",
        ] {
            let item = VerifyItem {
                response: response.to_owned(),
                ground_truths: strings(&["7.0"]),
            };
            let expected = grade(&item.response, &item.ground_truths, &options);
            for _ in 0..2 {
                assert_eq!(grade_item(&cache, &item, &options), expected);
            }
        }
        assert_eq!(cache.entries.as_ref().unwrap().len(), 1);
        let without_answer = VerifyItem {
            response: "seven".to_owned(),
            ground_truths: strings(&["7"]),
        };
        assert_eq!(
            grade_item(&cache, &without_answer, &options).kind(),
            VerdictKind::NoAnswer
        );
    }
}
