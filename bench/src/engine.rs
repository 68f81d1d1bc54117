//! The actor's engine as the actor runs it, on its own thread, with a clock on its events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use anytime_actor::engine::{
    self, Command, EngineError, EngineHandle, EngineLimits, Event, GroupRequest, Model, ModelId,
};
use anytime_actor::plan::Plan;
use anytime_proto::{JobId, WeightsVersion, v1};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::model::LoadedModel;

/// The end marker: four tokens that a model never draws in a row, so that all lengths are those of the plan. Each run
/// checks that they are.
pub const END_MARKER: [u32; 4] = [3, 4, 3, 4];
/// The summary marker, which is inserted before each summary.
pub const SUMMARY_MARKER: [u32; 4] = [5, 6, 5, 6];

/// The lengths of all sequences of a group.
#[derive(Clone, Debug)]
pub struct GroupShape {
    /// The prompt that all traces continue.
    pub prompt: Vec<u32>,
    /// Traces of the group: G.
    pub traces: usize,
    /// Thinking tokens; the last one is the length of every thinking.
    pub budgets: Vec<u32>,
    /// Summaries per budget: A.
    pub summaries: usize,
    /// Tokens of every summary.
    pub summary_tokens: usize,
    /// Whether no number of a token may depend on what is computed together with it.
    pub deterministic: bool,
}

impl GroupShape {
    /// Tokens of a sequence of the group: prompt, thinking, markers, summary.
    pub fn tokens(&self) -> usize {
        let thinking = self.budgets.last().map_or(0, |&budget| budget as usize);
        self.prompt.len() + thinking + END_MARKER.len() + SUMMARY_MARKER.len() + self.summary_tokens
    }
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The last thinking has ended; summaries are cancelled.
    ThinkingEnds,
    /// Everything has ended.
    AllEnds,
}

/// How long a run took and what it generated.
#[derive(Clone, Debug)]
pub struct RunFigures {
    /// From the first request to the end.
    pub elapsed: Duration,
    /// Tokens drawn for thinkings.
    pub thinking_tokens: usize,
    /// Tokens drawn for summaries.
    pub summary_tokens: usize,
    /// A digest of all ids drawn before the end, by group, trace, node and summary. Two builds have the same one
    /// exactly when they drew the same tokens. A run until [`Until::ThinkingEnds`] counts thinkings alone.
    pub ids_digest: String,
}

/// The actor's engine on its own thread, with a model, as the cases use it.
pub struct TimedEngine {
    handle: EngineHandle,
    events: UnboundedReceiver<Event>,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
    next_number: u64,
    vocabulary: i64,
    longest_sequence: usize,
}

impl TimedEngine {
    /// Starts the thread and gives it the weights. No sequence of any run may have more than `longest_sequence` tokens,
    /// markers included: the cache is allocated for it in the first run, and stays.
    ///
    /// # Errors
    /// No thread can be started, or the weights do not fit their configuration.
    pub fn start(model: &LoadedModel, limits: EngineLimits, longest_sequence: usize) -> anyhow::Result<Self> {
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        let (handle, thread) = engine::spawn(limits, sender).context("engine thread")?;
        let id = ModelId {
            job_id: job(),
            version: WeightsVersion(0),
            manifest_checksum: String::new(),
        };
        handle.send(Command::SwapWeights(Box::new(Model {
            id,
            config: Arc::new(model.config.clone()),
            tokenizer: Arc::clone(&model.tokenizer),
            decoder: model.decoder()?,
        })));
        Ok(Self {
            handle,
            events,
            thread: Some(thread),
            next_number: 0,
            vocabulary: model.config.vocab_size,
            longest_sequence,
        })
    }

    /// Generates groups that are all requested at once.
    ///
    /// # Errors
    /// The engine refuses a group, or a sequence has another length than the plan forces.
    pub fn run(&mut self, groups: &[GroupShape], until: Until) -> anyhow::Result<RunFigures> {
        let first = self.next_number;
        let mut requests = Vec::with_capacity(groups.len());
        for group in groups {
            requests.push(self.request(group)?);
        }
        let mut thinkings_left: usize = groups.iter().map(|group| group.traces).sum();
        let mut groups_left = groups.len();
        let (mut thinking_tokens, mut summary_tokens) = (0, 0);
        let mut ids: BTreeMap<[u64; 4], Vec<u32>> = BTreeMap::new();

        let started = Instant::now();
        for request in requests {
            self.handle.send(Command::AddGroup(request));
        }
        let goes_on = |thinkings: usize, groups: usize| match until {
            Until::ThinkingEnds => thinkings > 0,
            Until::AllEnds => groups > 0,
        };
        while goes_on(thinkings_left, groups_left) {
            let Some(event) = self.events.blocking_recv() else {
                return Err(self.end());
            };
            match event {
                Event::TraceFinished {
                    group, trace, thinking, ..
                } if group >= first => {
                    thinkings_left -= 1;
                    thinking_tokens += thinking.ids.len();
                    let expected = groups[(group - first) as usize].budgets.last().copied();
                    check_length(thinking.ids.len(), expected.unwrap_or(0) as usize)?;
                    ids.insert([group - first, trace as u64, 0, 0], thinking.ids);
                }
                Event::NodeFinished {
                    group,
                    trace,
                    node,
                    summaries,
                } if group >= first => {
                    for (index, summary) in summaries.into_iter().enumerate() {
                        summary_tokens += summary.ids.len();
                        check_length(summary.ids.len(), groups[(group - first) as usize].summary_tokens)?;
                        if until == Until::AllEnds {
                            let place = [group - first, trace as u64, 1 + node as u64, index as u64];
                            ids.insert(place, summary.ids);
                        }
                    }
                }
                Event::GroupFinished { group } if group >= first => groups_left -= 1,
                Event::GroupFailed { detail, .. } => bail!("the engine gave a group up: {detail}"),
                // An event of a run that was cut off.
                _ => {}
            }
        }
        let elapsed = started.elapsed();
        for number in first..self.next_number {
            self.handle.send(Command::CancelGroup(number));
        }
        // A step under way must not fall into the next run.
        while self.handle.load().outstanding() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(RunFigures {
            elapsed,
            thinking_tokens,
            summary_tokens,
            ids_digest: digest(&ids),
        })
    }

    /// Why the thread has ended.
    fn end(&mut self) -> anyhow::Error {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error.into(),
            _ => anyhow!("the engine ended"),
        }
    }

    fn request(&mut self, group: &GroupShape) -> anyhow::Result<GroupRequest> {
        let after_prompt = group.tokens() - group.prompt.len();
        let longest_prompt = self.longest_sequence.checked_sub(after_prompt);
        let longest_prompt = longest_prompt.context("a sequence is longer than the cache")?;
        let plan = v1::RolloutPlan {
            budgets: group.budgets.clone(),
            traces: group.traces as u32,
            summaries: group.summaries as u32,
            max_summary_tokens: group.summary_tokens as u32,
            sampling: Some(v1::Sampling {
                temperature: 1.0,
                top_p: 1.0,
                top_k: 0,
            }),
            markers: Some(v1::MarkerIds {
                end: END_MARKER.to_vec(),
                cut: Vec::new(),
                summary: SUMMARY_MARKER.to_vec(),
                end_text: String::new(),
            }),
            // Without an end of sequence all lengths are forced.
            eos_ids: Vec::new(),
            vocabulary: self.vocabulary as u32,
            max_prompt_tokens: longest_prompt as u32,
            deterministic: group.deterministic,
            ..Default::default()
        };
        let number = self.next_number;
        self.next_number += 1;
        Ok(GroupRequest {
            number,
            job_id: job(),
            min_version: WeightsVersion(0),
            manifest_checksum: None,
            seed: 1000 + number,
            prompt_ids: group.prompt.clone(),
            plan: Arc::new(Plan::try_new(&plan)?),
        })
    }
}

impl Drop for TimedEngine {
    fn drop(&mut self) {
        self.handle.send(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn digest(ids: &BTreeMap<[u64; 4], Vec<u32>>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (place, sequence) in ids {
        for number in place.iter().chain([&(sequence.len() as u64)]) {
            hasher.update(&number.to_le_bytes());
        }
        for id in sequence {
            hasher.update(&id.to_le_bytes());
        }
    }
    // 16 digits are enough to tell builds apart.
    hasher.finalize().to_hex()[..16].to_owned()
}

fn check_length(length: usize, expected: usize) -> anyhow::Result<()> {
    if length != expected {
        bail!("a sequence has {length} tokens, the plan forces {expected}");
    }
    Ok(())
}

fn job() -> JobId {
    JobId("bench".to_owned())
}
