//! The engine's loop: commands between steps, one decoding step for all rows, and the swap of weights.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use anytime_policy::{Decoder, Extension, check_row_independence};
use anytime_proto::v1::{AbandonReason, FinishReason};
use tch::{Device, IndexOp as _, Tensor};
use tracing::info;

use super::load::ShortOf;
use super::messages::{Command, EngineError, Event, GroupRequest, Installed, Model, ModelId};
use super::sampler::{Draw, Drawn, sample, sample_each};
use super::scheduler::TraceEnd;
use super::sequence::{Sequence, Task, TraceKey};
use super::served::draw_allowed;
use super::state::{EngineState, Memory};

/// How long an idle engine sleeps before it counts the time it waited.
const IDLE_TICK: Duration = Duration::from_millis(200);

/// How many of the latest weights are known by checksum. A group that took longer than that does not name its oldest.
const RECENT_MODELS: usize = 64;

/// Generates until a command or the end of all handles ends it.
///
/// # Errors
/// If the cache that a group needs cannot be had.
pub(crate) fn run(mut state: EngineState, commands: &Receiver<Command>) -> Result<(), EngineError> {
    let _no_grad = tch::no_grad_guard();
    loop {
        state.load.begin_turn();
        let applied = state.apply_waiting(commands);
        state.load.end_turn();
        if applied.is_break() {
            return Ok(());
        }
        if state.rows.is_empty() && state.scheduler.waiting() == 0 {
            if state.wait(commands).is_break() {
                return Ok(());
            }
            continue;
        }
        let started = Instant::now();
        state.load.begin_turn();
        state.step();
        state.load.end_turn();
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        state.meters.busy.add(started.elapsed());
        state.publish_load();
    }
}

impl EngineState {
    fn apply_waiting(&mut self, commands: &Receiver<Command>) -> ControlFlow<()> {
        loop {
            match commands.try_recv() {
                Ok(command) => self.apply(command)?,
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }

    fn wait(&mut self, commands: &Receiver<Command>) -> ControlFlow<()> {
        let started = Instant::now();
        let received = commands.recv_timeout(IDLE_TICK);
        let wait = match self.load.short_of(self.model.is_some()) {
            ShortOf::Weights => &mut self.meters.weights_wait,
            ShortOf::Verifier => &mut self.meters.verifier_wait,
            ShortOf::Leases => &mut self.meters.lease_wait,
        };
        wait.add(started.elapsed());
        match received {
            Ok(command) => self.apply(command),
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
        }
    }

    fn apply(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::AddGroup(request) => self.add_group(request),
            Command::CancelGroup(group) => self.drop_group(group),
            Command::StopGroup(group) => self.stop_group(group),
            Command::PruneTrace(group, trace) => self.prune_trace(TraceKey { group, trace }),
            Command::SwapWeights(model) => self.swap_weights(*model),
            Command::Shutdown => return ControlFlow::Break(()),
        }
        self.publish_load();
        ControlFlow::Continue(())
    }

    fn add_group(&mut self, request: GroupRequest) {
        let traces = request.plan.traces;
        match self.refuse(&request) {
            Some((reason, detail)) => self.emit(Event::GroupFailed {
                group: request.number,
                reason,
                detail,
            }),
            None => {
                if let Ok(resumed) = self.resume(&request) {
                    self.scheduler.add(request, resumed);
                }
            }
        }
        self.load
            .sequences
            .store(self.rows.len() + self.scheduler.waiting(), Ordering::Release);
        self.load.has_read(traces);
    }

    /// The reason why this model cannot compute tokens independently of each other; none where it can. Checked once for
    /// all versions of a model.
    fn dependence(&mut self) -> Option<String> {
        let model = self.model.as_mut()?;
        let known = self.independence.get_or_insert_with(|| {
            let started = Instant::now();
            let outcome = check_row_independence(&mut model.decoder);
            let seconds = started.elapsed().as_secs_f64();
            info!(?outcome, seconds, "looked whether tokens depend on each other");
            outcome
        });
        known.as_ref().err().cloned()
    }

    /// Tokens are computed independently of each other while a group that asks for it runs or waits.
    fn choose_independence(&mut self) {
        let is_wanted = self.scheduler.is_any_deterministic();
        if let Some(model) = &mut self.model {
            model.decoder.set_row_independent(is_wanted);
        }
    }

    /// The reason why a group cannot be generated; none where it can.
    fn refuse(&mut self, request: &GroupRequest) -> Option<(AbandonReason, String)> {
        if request.plan.deterministic
            && let Some(reason) = self.dependence()
        {
            let detail = format!("rollout.deterministic cannot be kept here: {reason}");
            return Some((AbandonReason::Engine, detail));
        }
        let Some(model) = &self.model else {
            return Some((AbandonReason::Shutdown, "no weights are held".to_owned()));
        };
        if let Some(problem) = wrong_weights(request, model) {
            return Some((AbandonReason::Shutdown, problem));
        }
        let length = request.prompt_ids.len();
        let longest = request.plan.max_prompt_tokens;
        if length == 0 || length > longest {
            return Some((
                AbandonReason::Engine,
                format!("the prompt has {length} tokens; it must have 1 to {longest}"),
            ));
        }
        let markers = &request.plan.markers;
        let given = [&request.prompt_ids, &markers.end, &markers.cut, &markers.summary];
        let size = model.config.vocab_size;
        if let Some(id) = given.into_iter().flatten().find(|&&id| i64::from(id) >= size) {
            return Some((
                AbandonReason::Engine,
                format!("token {id} is not among the model's {size}"),
            ));
        }
        None
    }

    /// Generates one token for every row, those just admitted included.
    fn step(&mut self) {
        self.choose_independence();
        let earlier = self.rows.len();
        self.admit();
        let (Some(model), Some(memory)) = (&self.model, &mut self.memory) else {
            return;
        };
        if self.rows.is_empty() {
            return;
        }
        let mut hidden = Vec::new();
        if earlier > 0 {
            let extensions: Vec<Extension<'_>> = self.rows[..earlier]
                .iter()
                .map(|row| Extension {
                    slot: row.slot,
                    start: row.cached(),
                    ids: &row.ids[row.ids.len() - 1..],
                    prefix: row.prefix,
                })
                .collect();
            hidden.push(model.decoder.extend(&mut memory.cache, &extensions));
            memory.tell_of_slowness();
        }
        if earlier < self.rows.len() {
            hidden.push(first_hidden(&self.rows[earlier..]));
        }
        let hidden = match hidden.as_slice() {
            [only] => only.shallow_clone(),
            both => Tensor::cat(both, 0),
        };
        let excluded: Vec<Option<u32>> = self.rows.iter().map(Sequence::excluded).collect();
        let draws: Vec<_> = self.rows.iter_mut().map(Sequence::draw).collect();
        let drawn = draw_tokens(&model.decoder, &hidden, &draws, &excluded);

        let version = model.id.version;
        let broken: BTreeSet<u64> = (self.rows.iter().zip(&drawn))
            .filter(|(_, drawn)| drawn.is_none())
            .map(|(row, _)| row.key.group)
            .collect();
        let mut generated: u64 = 0;
        let mut thinking_tokens = 0;
        let mut ended = Vec::new();
        let mut passed = Vec::new();
        for (index, (row, drawn)) in self.rows.iter_mut().zip(drawn).enumerate() {
            let Some(mut drawn) = drawn.filter(|_| !broken.contains(&row.key.group)) else {
                continue;
            };
            if row.must_not_draw(drawn.id, &model.tokenizer) {
                let hidden = hidden.narrow(0, index as i64, 1);
                drawn = draw_allowed(&model.decoder, &hidden, row, drawn, &model.tokenizer);
            }
            generated += 1;
            thinking_tokens += u64::from(row.task == Task::Thinking);
            let finish = row.push(drawn, version, &model.tokenizer);
            if let Some(event) = row.telling() {
                // Without a receiver the process is ending.
                let _ = self.events.send(event);
            }
            match finish {
                Some(finish) => ended.push((index, finish)),
                None => passed.extend(row.passed_budget().map(|budget| (row.key, budget))),
            }
        }
        for (key, budget) in passed {
            self.scheduler.pass_budget(key, budget);
        }
        self.load.generated(generated);
        self.meters.thinking_tokens.increment(thinking_tokens);
        self.meters.summary_tokens.increment(generated - thinking_tokens);
        // From the back, so that the row that fills a gap is one that goes on.
        for (row, finish) in ended.into_iter().rev() {
            self.finish_row(row, finish);
        }
        for group in broken {
            let detail = format!("the logits of a token are not finite under version {version} of the weights");
            self.fail_group(group, AbandonReason::Engine, detail);
        }
    }

    fn finish_row(&mut self, row: usize, finish: FinishReason) {
        let sequence = self.remove_row(row);
        let (key, is_thinking) = (sequence.key, sequence.task == Task::Thinking);
        let cached = sequence.cached();
        let (events, end) = self.scheduler.finish(sequence, finish);
        if let Some(Memory { slots, .. }) = &mut self.memory {
            if is_thinking && let Some(prefix) = slots.prefix_mut(key) {
                prefix.length = cached;
            }
            if matches!(end, TraceEnd::Over) {
                slots.release_trace(key);
            }
        }
        if let TraceEnd::Kept(kept) = end {
            self.keep(*kept);
        }
        for event in events {
            self.emit(event);
        }
    }

    /// The weights installed lately, with a new one behind them.
    fn recent_models(&self, newest: &ModelId) -> Arc<[ModelId]> {
        let before = self.installed.borrow();
        let known = before.as_ref().map_or(&[][..], |installed| &installed.recent);
        let kept = &known[known.len().saturating_sub(RECENT_MODELS - 1)..];
        kept.iter().chain([newest]).cloned().collect()
    }

    fn swap_weights(&mut self, model: Model) {
        let started = Instant::now();
        let goes_on = self
            .model
            .as_ref()
            .is_some_and(|held| held.id.job_id == model.id.job_id && held.config == model.config);
        let unfit = self
            .scheduler
            .groups_where(|request| !goes_on || wrong_weights(request, &model).is_some());
        for group in unfit {
            let detail = format!(
                "the weights changed to version {} of job {}",
                model.id.version, model.id.job_id
            );
            self.fail_group(group, AbandonReason::Shutdown, detail);
        }
        // What was computed with other weights does not go on.
        self.forget_kept();
        if !goes_on {
            self.memory = None;
            self.independence = None;
        }
        let installed = Installed {
            id: model.id.clone(),
            config: Arc::clone(&model.config),
            tokenizer: Arc::clone(&model.tokenizer),
            recent: self.recent_models(&model.id),
        };
        self.epoch += 1;
        let outdated = self.model.replace(model);
        let is_swap = outdated.is_some();
        free_elsewhere(outdated);
        self.choose_independence();
        let prefilled = self.recompute_caches();
        let (job_id, version) = (&installed.id.job_id, installed.id.version);
        info!(%job_id, version = version.0, running = self.rows.len(), prefilled, "weights installed");
        self.meters.version.set(version.0 as f64);
        self.installed.send_replace(Some(installed));
        self.load.changed.notify_one();
        let pause = started.elapsed();
        self.meters.weights_wait.add(pause);
        if is_swap {
            self.meters.weights_pause.record(pause);
        }
    }
}

/// The most bytes of logits that are computed at a time on the CPU. The allocator keeps blocks of this size for the
/// next step. Larger ones go back to the system, and each of their pages is a page fault in the next step.
const LOGITS_AT_A_TIME: usize = 30 << 20;

/// Draws a token for each row of hidden states [rows, hidden], but never the one that is excluded for the row. None for
/// a row whose logits are not finite.
fn draw_tokens(decoder: &Decoder, hidden: &Tensor, draws: &[Draw], excluded: &[Option<u32>]) -> Vec<Option<Drawn>> {
    let pieces = if hidden.device() == Device::Cpu {
        let bytes = draws.len() * decoder.config().vocab_size as usize * 4;
        bytes.div_ceil(LOGITS_AT_A_TIME)
    } else {
        1
    };
    let rows_at_a_time = draws.len().div_ceil(pieces).max(1);
    let mut drawn = Vec::with_capacity(draws.len());
    for draws in draws.chunks(rows_at_a_time) {
        let first = drawn.len();
        let piece = hidden.narrow(0, first as i64, draws.len() as i64);
        let logits = decoder.logits(&piece);
        for (row, id) in excluded[first..first + draws.len()].iter().enumerate() {
            if let Some(id) = id {
                let _ = logits.i((row as i64, i64::from(*id))).fill_(f64::NEG_INFINITY);
            }
        }
        if decoder.is_row_independent() {
            drawn.extend(sample_each(&logits, draws));
        } else {
            drawn.extend(sample(&logits, draws));
        }
    }
    drawn
}

/// Frees a model on another thread, because giving gigabytes back takes as long as a decoding step.
fn free_elsewhere(model: Option<Model>) {
    // Without a thread it is freed here.
    let _ = std::thread::Builder::new()
        .name("free weights".to_owned())
        .spawn(move || drop(model));
}

/// Says why a group must not be generated with this model, where it must not.
fn wrong_weights(request: &GroupRequest, model: &Model) -> Option<String> {
    let held = &model.id;
    if request.job_id != held.job_id {
        return Some(format!("the weights are of job {}", held.job_id));
    }
    if held.version < request.min_version {
        return Some(format!(
            "the weights have version {}, needed is {}",
            held.version, request.min_version
        ));
    }
    let pinned = request.manifest_checksum.as_ref()?;
    (*pinned != held.manifest_checksum).then(|| format!("the weights are those of version {}", held.version))
}

/// The hidden states that the first tokens of these rows are drawn from, [rows, hidden].
fn first_hidden(rows: &[Sequence]) -> Tensor {
    let states: Vec<Tensor> = rows
        .iter()
        .map(|row| {
            let state = row.prompt.last_hidden.borrow();
            let (_, hidden) = state
                .as_ref()
                .expect("admission computes the hidden state of every shared prompt");
            hidden.shallow_clone()
        })
        .collect();
    Tensor::cat(&states, 0)
}
