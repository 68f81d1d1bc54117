//! The groups of an evaluation are used as they come and are not kept: few are in memory at any time, and figures and
//! generations are those of all groups at once.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anytime_learner::data::ProblemRow;
use anytime_learner::evaluation::bootstrap;
use anytime_learner::evaluation::counts::TraceCounts;
use anytime_learner::evaluation::generations::{Asked, Generations, Reading};
use anytime_learner::evaluation::repeats::repeated;
use anytime_learner::evaluation::result::{evaluation_leases, evaluation_result};
use anytime_learner::evaluation::tally::Tally;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::evaluation_leases::{EvaluationLeases, MOST_WAITING_GROUPS, MOST_WAITING_TOKENS};
use anytime_objectives::ScoreTable;
use anytime_objectives::statistics::mean;
use anytime_policy::Tokenizer;
use anytime_proto::generations::KeptProblem;
use anytime_proto::nodes::{inserted_ids, node_spans};
use anytime_proto::v1::{self, JobState, PushStatus, WaitReason};
use anytime_proto::{ActorId, check_group};
use tempfile::TempDir;

use crate::rollouts::{lease, push};
use crate::support::eventually;
use crate::support::groups::{group_for, plan};
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::weights;

const PROBLEMS: u32 = 60;

fn tokenizer() -> Tokenizer {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/fixtures");
    Tokenizer::load(&fixtures.join("tokenizer-r1")).unwrap()
}

/// Three summaries at each budget, so that means are no round numbers and the order of a sum shows.
fn uneven_plan() -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: vec![3, 5, 9],
        summaries: 3,
        vocabulary: 300,
        ..plan()
    }
}

fn rows() -> Vec<ProblemRow> {
    let row = |number: u32| ProblemRow {
        id: format!("problem {number}"),
        row: u64::from(number),
        place: format!("line {number}"),
        problem: format!("{number}+1="),
        answers: vec![(number + 1).to_string()],
        repeats: 1 + number % 4,
        is_message: false,
    };
    (0..PROBLEMS).map(row).collect()
}

/// The leases of an evaluation of [`rows`], and which are those of each problem.
fn leases_of_rows(checksum: String) -> (Vec<v1::Lease>, Vec<Range<usize>>) {
    let problems: Vec<v1::Problem> = rows()
        .into_iter()
        .map(|row| v1::Problem {
            id: row.id,
            prompt_ids: vec![1, row.row as u32],
            ground_truths: row.answers,
        })
        .collect();
    let (all, leases_of) = repeated(&problems, rows().iter().map(|row| row.repeats));
    let leases = evaluation_leases("demo", 0, &all, &uneven_plan(), 7, (0, checksum), 60);
    (leases, leases_of)
}

/// A valid group of the lease whose lengths, texts and scores depend on its seed alone.
fn uneven_group(lease: &v1::Lease) -> v1::ScoredGroup {
    let mut state = lease.seed;
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as u32
    };
    let plan = lease.plan.clone().unwrap();
    let markers = plan.markers.clone().unwrap();
    let generated = |length: u32, finish: v1::FinishReason, draw: &mut dyn FnMut(u64) -> u32| {
        Some(v1::Generated {
            ids: (0..length).map(|_| 10 + draw(250)).collect(),
            log_probs: vec![-0.5; length as usize],
            versions: vec![0; length as usize],
            finish: finish.into(),
        })
    };
    let mut traces = Vec::new();
    for _ in 0..plan.traces {
        let length = 1 + draw(9);
        let ended_itself = length < 9;
        let finish = if ended_itself {
            v1::FinishReason::EndMarker
        } else {
            v1::FinishReason::Length
        };
        let mut nodes = Vec::new();
        for span in node_spans(&plan.budgets, length as usize) {
            let mut summaries = Vec::new();
            for _ in 0..span.multiplicity * plan.summaries as usize {
                let is_right = draw(3) == 0;
                summaries.push(v1::Summary {
                    generated: generated(1 + draw(3), v1::FinishReason::Length, &mut draw),
                    verdict: if is_right {
                        v1::VerdictKind::Correct.into()
                    } else {
                        v1::VerdictKind::Wrong.into()
                    },
                    formatted: is_right || draw(2) == 0,
                    score: if is_right { 1.0 } else { 0.0 },
                });
            }
            let is_whole = span.cut == length as usize;
            nodes.push(v1::Node {
                cut: span.cut as u32,
                first_budget: span.first_budget as u32,
                multiplicity: span.multiplicity as u32,
                inserted_ids: inserted_ids(&markers.cut, &markers.end, &markers.summary, is_whole && ended_itself),
                summaries,
            });
        }
        traces.push(v1::Trace {
            thinking: generated(length, finish, &mut draw),
            nodes,
        });
    }
    let group = v1::ScoredGroup {
        budgets: plan.budgets.clone(),
        traces,
        ..group_for(lease, "a", 0)
    };
    check_group(&group).unwrap();
    group
}

/// Figures and generations that are made as groups come.
struct AsTheyCome<'a> {
    tally: Tally,
    generations: Generations<'a>,
}

impl<'a> AsTheyCome<'a> {
    fn new(directory: &Path, tokenizer: &'a Tokenizer, leases_of: Vec<Range<usize>>) -> Self {
        let reading = Reading {
            tokenizer,
            extraction: v1::Extraction::Anytime,
        };
        let leases = leases_of.last().unwrap().end;
        Self {
            tally: Tally::new(leases_of, uneven_plan().budgets.len()),
            generations: Generations::begin(directory, reading, leases).unwrap(),
        }
    }

    fn add(&mut self, place: usize, group: &v1::ScoredGroup) {
        self.tally.add(place, group);
        self.generations.add(place, group).unwrap();
    }

    fn finish(self) -> (v1::EvaluationResult, String) {
        let plan = uneven_plan();
        let rows = rows();
        let asked = Asked {
            rows: &rows,
            budgets: &plan.budgets,
            summaries_per_budget: plan.summaries,
        };
        let path = self.generations.finish(0, &self.tally, &asked, &|| Ok(())).unwrap();
        let result = evaluation_result(&self.tally, &plan.budgets);
        (result, std::fs::read_to_string(path).unwrap())
    }
}

/// The groups of each problem as one group, in their order. Some are missing.
fn merged(groups: &[Option<v1::ScoredGroup>], leases_of: &[Range<usize>]) -> Vec<(usize, v1::ScoredGroup)> {
    let mut merged = Vec::new();
    for (problem, leases) in leases_of.iter().enumerate() {
        let mut of_problem = groups[leases.clone()].iter().flatten().cloned();
        if let Some(mut whole) = of_problem.next() {
            whole.traces.extend(of_problem.flat_map(|group| group.traces));
            merged.push((problem, whole));
        }
    }
    merged
}

/// The figures computed from all groups at once, straight from their definitions.
fn figures_at_once(groups: &[(usize, v1::ScoredGroup)]) -> v1::EvaluationResult {
    let budgets = uneven_plan().budgets;
    let mut columns = vec![Vec::new(); budgets.len() + 1];
    let mut counts = TraceCounts::default();
    for (_, group) in groups {
        let rewards = ScoreTable::of_group(group).mean_per_budget();
        counts.add(group, &rewards);
        let mut anytime = 0.0;
        for budget in 0..budgets.len() {
            let accuracy = mean(rewards.iter().map(|row| row[budget]));
            columns[budget].push(accuracy);
            anytime += accuracy / budgets.len() as f64;
        }
        columns[budgets.len()].push(anytime);
    }
    let half_width = |column: &Vec<f64>| {
        let (center, count) = (mean(column), column.len() as f64);
        let variance = column.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (count - 1.0);
        1.959_964 * (variance / count).sqrt()
    };
    let mut means: Vec<f64> = columns.iter().map(mean).collect();
    let mut ci95: Vec<f64> = columns.iter().map(half_width).collect();
    let mut intervals = bootstrap::intervals(&columns);
    let (anytime, anytime_ci95) = (means.pop().unwrap(), ci95.pop().unwrap());
    let of_anytime = intervals.pop().unwrap();
    v1::EvaluationResult {
        r#final: *means.last().unwrap(),
        accuracy: means,
        ci95,
        anytime,
        anytime_ci95,
        mean_thinking_tokens: counts.mean_thinking_tokens(),
        problems: groups.len() as u32,
        samples: groups[0].1.traces.len() as u32,
        generated_tokens: counts.generated_tokens(),
        formatted_share: counts.formatted_share(),
        finished_share: counts.finished_share(),
        overthinking_share: counts.overthinking_share(),
        accuracy_low: intervals.iter().map(|interval| interval.low).collect(),
        accuracy_high: intervals.iter().map(|interval| interval.high).collect(),
        anytime_low: of_anytime.low,
        anytime_high: of_anytime.high,
        budgets,
        ..v1::EvaluationResult::default()
    }
}

/// The file's lines, each of one group with all traces of its problem.
fn lines_at_once(groups: &[(usize, v1::ScoredGroup)], tokenizer: &Tokenizer) -> String {
    let mut lines = String::new();
    for (problem, group) in groups {
        let directory = TempDir::new().unwrap();
        let mut leases_of: Vec<Range<usize>> = vec![0..0; PROBLEMS as usize];
        leases_of[*problem] = 0..1;
        leases_of[problem + 1..].fill(1..1);
        let mut alone = AsTheyCome::new(directory.path(), tokenizer, leases_of);
        alone.add(0, group);
        let line = alone.finish().1;
        let mut kept: KeptProblem = serde_json::from_str(&line).unwrap();
        // The texts of the numbers are read back to within their last digit.
        let rewards = ScoreTable::of_group(group).mean_per_budget();
        for (budget, accuracy) in kept.head.accuracy.iter_mut().enumerate() {
            *accuracy = mean(rewards.iter().map(|row| row[budget]));
        }
        let id = rows()[*problem].id.clone();
        assert_eq!((&kept.head.id, kept.traces.len()), (&id, group.traces.len()));
        assert!(line == serde_json::to_string(&kept).unwrap() + "\n", "{line}");
        lines.push_str(&line);
    }
    lines
}

#[test]
fn figures_and_generations_do_not_depend_on_the_order_in_which_groups_come() {
    let tokenizer = tokenizer();
    let (leases, leases_of) = leases_of_rows(String::new());
    let mut groups: Vec<Option<v1::ScoredGroup>> = leases.iter().map(|lease| Some(uneven_group(lease))).collect();
    // A problem without any group, and one that lacks its first.
    groups[leases_of[0].start] = None;
    groups[leases_of[7].start] = None;
    let merged = merged(&groups, &leases_of);
    assert_eq!(merged.len(), PROBLEMS as usize - 1);
    let expected = (figures_at_once(&merged), lines_at_once(&merged, &tokenizer));
    let count = groups.len();
    assert_eq!(count, 150);
    // These have no factor in common with 150, so that every order has each group once.
    for step in [1, 149, 7, 67] {
        let directory = TempDir::new().unwrap();
        let mut coming = AsTheyCome::new(directory.path(), &tokenizer, leases_of.clone());
        for number in 0..count {
            let place = number * step % count;
            if let Some(group) = &groups[place] {
                coming.add(place, group);
            }
        }
        let (figures, lines) = coming.finish();
        assert_eq!(figures, expected.0, "step {step}");
        assert!(lines == expected.1, "step {step}");
    }
}

/// What the thread of a job does with an evaluation, and what a test sees of it.
#[derive(Default)]
struct Seen {
    taken: AtomicUsize,
    dropped: AtomicUsize,
    made: Mutex<Option<(v1::EvaluationResult, String)>>,
}

/// A learner whose job evaluates [`leases_of_rows`] and waits for the gate before it lets a group go.
async fn evaluating(redis: &RedisServer, runs: &Path, seen: Arc<Seen>, gate: mpsc::Receiver<()>) -> TestLearner {
    let gate = Mutex::new(gate);
    let learner = TestLearner::start(&redis.url(), runs, move |context: &JobContext| {
        context.publish(weights(0));
        let tokenizer = tokenizer();
        let (leases, leases_of) = leases_of_rows(context.manifest_checksum());
        let mut coming = AsTheyCome::new(context.directory(), &tokenizer, leases_of);
        context.evaluate(leases, |taken| {
            seen.taken.fetch_add(1, Ordering::SeqCst);
            // An error says that the gate is open for good.
            let _ = gate.lock().unwrap().recv();
            coming.add(taken.place, &taken.group);
            drop(taken);
            seen.dropped.fetch_add(1, Ordering::SeqCst);
        })?;
        *seen.made.lock().unwrap() = Some(coming.finish());
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner
}

#[tokio::test(flavor = "multi_thread")]
async fn few_groups_are_in_memory_however_slow_the_job_and_however_late_the_last() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let seen = Arc::new(Seen::default());
    let (open, gate) = mpsc::channel();
    let learner = evaluating(&redis, runs.path(), seen.clone(), gate).await;
    let mut leases = lease(&learner, "a", 120, 5000).await.leases;
    assert_eq!(leases.len(), 120);
    let groups: Vec<v1::ScoredGroup> = leases.iter().map(uneven_group).collect();
    let late = &groups[0];

    // The job's thread has one group in hand, and as many as may be wait.
    let mut accepted = 1;
    assert_eq!(push(&learner, groups[1].clone()).await.unwrap(), PushStatus::Accepted);
    eventually("the job has one in hand", async || {
        seen.taken.load(Ordering::SeqCst) == 1
    })
    .await;
    while push(&learner, groups[1 + accepted].clone()).await.unwrap() == PushStatus::Accepted {
        accepted += 1;
    }
    assert_eq!(accepted, 1 + MOST_WAITING_GROUPS);
    let next = &groups[1 + accepted];
    assert_eq!(push(&learner, next.clone()).await.unwrap(), PushStatus::QueueFull);
    assert_eq!(push(&learner, groups[1].clone()).await.unwrap(), PushStatus::Duplicate);
    assert_eq!(lease(&learner, "a", 10, 0).await.wait_reason(), WaitReason::QueueFull);
    assert_eq!(learner.get("demo").await.state(), JobState::Running);

    // The job's thread lets one group go, which makes room for one more, also for an actor that waits for a lease.
    let waits = tokio::spawn({
        let mut rollouts = learner.rollouts();
        let request = v1::LeaseRequest {
            actor_id: "b".to_owned(),
            max_groups: 256,
            wait_ms: 10_000,
            ..v1::LeaseRequest::default()
        };
        async move { rollouts.lease(request).await.unwrap().into_inner().leases }
    });
    open.send(()).unwrap();
    leases.extend(waits.await.unwrap());
    let (all, leases_of) = leases_of_rows(String::new());
    assert_eq!(leases.len(), all.len());
    assert_eq!(push(&learner, next.clone()).await.unwrap(), PushStatus::Accepted);
    accepted += 1;
    let one_more = groups[1 + accepted].clone();
    assert_eq!(push(&learner, one_more).await.unwrap(), PushStatus::QueueFull);

    // From now on the job is quick. An actor that is told that the queue is full pushes again.
    drop(open);
    let mut most = 0;
    for lease in &leases[1 + accepted..] {
        let group = uneven_group(lease);
        eventually("there is room", async || {
            push(&learner, group.clone()).await.unwrap() == PushStatus::Accepted
        })
        .await;
        accepted += 1;
        most = most.max(accepted - seen.dropped.load(Ordering::SeqCst));
    }
    assert!(most <= 1 + MOST_WAITING_GROUPS, "{most} groups were in memory");
    eventually("all but the late one are gone", async || {
        seen.dropped.load(Ordering::SeqCst) == all.len() - 1
    })
    .await;
    assert_eq!(learner.get("demo").await.state(), JobState::Running);
    assert_eq!(push(&learner, late.clone()).await.unwrap(), PushStatus::Accepted);
    learner.wait_for_state("demo", JobState::Succeeded).await;

    let groups: Vec<Option<v1::ScoredGroup>> = all.iter().map(|lease| Some(uneven_group(lease))).collect();
    let merged = merged(&groups, &leases_of);
    let made = seen.made.lock().unwrap().take().unwrap();
    assert_eq!(made.0, figures_at_once(&merged));
    assert!(made.1 == lines_at_once(&merged, &tokenizer()));
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_stops_lets_go_of_an_evaluation_that_is_full() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let seen = Arc::new(Seen::default());
    let (open, gate) = mpsc::channel();
    let learner = evaluating(&redis, runs.path(), seen.clone(), gate).await;
    let leases = lease(&learner, "a", 120, 5000).await.leases;
    for lease in &leases {
        if push(&learner, uneven_group(lease)).await.unwrap() == PushStatus::QueueFull {
            break;
        }
    }
    eventually("the job has one in hand", async || {
        seen.taken.load(Ordering::SeqCst) == 1
    })
    .await;
    // It is told to stop first: the group in hand is the last that is taken.
    tokio::join!(learner.stop(), async { open.send(()).unwrap() });
    assert_eq!(seen.taken.load(Ordering::SeqCst), 1);
    assert!(seen.made.lock().unwrap().is_none());
    let kept = runs.path().join("demo/generations");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0, "nothing is left of it");
}

/// As many tokens as may wait, in few groups.
#[test]
fn large_groups_wait_by_their_tokens_and_an_actor_that_keeps_one_keeps_its_lease() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let holder = Holder::unnamed(&ActorId("a".to_owned()));
    let (all, _) = leases_of_rows(String::new());
    let mut evaluation = EvaluationLeases::new(all[..10].to_vec(), start);
    let large = |lease: &v1::Lease| {
        let mut group = group_for(lease, "a", 0);
        let thinking = group.traces[0].thinking.as_mut().unwrap();
        thinking.ids = vec![3; MOST_WAITING_TOKENS / 4];
        group
    };
    let leases: Vec<v1::Lease> = (0..6).map(|_| evaluation.lease(&holder, start).unwrap()).collect();
    for lease in &leases[..4] {
        assert_eq!(evaluation.push(large(lease), at(1)), PushStatus::Accepted);
    }
    assert!(evaluation.is_full() && evaluation.lease(&holder, at(1)).is_none());
    assert_eq!(evaluation.progress(), (0, 10));
    // Leased for a minute, but kept since the fiftieth second: only the other one runs out.
    assert_eq!(evaluation.push(large(&leases[4]), at(50)), PushStatus::QueueFull);
    assert_eq!(evaluation.expire(at(70)), 1);
    assert_eq!(evaluation.leased_groups(), 1);

    // In the order in which they came, and each one that is taken makes room.
    assert_eq!(evaluation.take().map(|taken| taken.place), Some(0));
    assert_eq!(evaluation.progress(), (1, 10));
    assert!(!evaluation.is_full());
    assert_eq!(evaluation.push(large(&leases[4]), at(71)), PushStatus::Accepted);
    assert_eq!(evaluation.push(large(&leases[4]), at(72)), PushStatus::Duplicate);
    let again = evaluation.take().and_then(|_| evaluation.lease(&holder, at(72)));
    assert_eq!(again.map(|lease| lease.group_id), Some(leases[5].group_id.clone()));
}
