//! What the engine is asked for on behalf of a request.

use std::sync::Arc;

use anytime_proto::{JobId, WeightsVersion, v1};

use super::dispatcher::TraceRecord;
use super::error::ApiError;
use super::request::Ask;
use super::settings::Served;
use crate::engine::GroupRequest;
use crate::plan::{Plan, Serving};

/// Below this temperature the likeliest token is taken.
const COLDEST: f32 = 1e-3;

/// A request for the engine, before it has its number.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    plan: Arc<Plan>,
    job_id: JobId,
    /// Prompt, seed and sampling; of a trace that goes on, its thinking so far.
    pub(crate) record: TraceRecord,
}

impl Order {
    /// `prompt` is that of a new trace; `before` is the trace that the request goes on from instead. `drawn` is the seed
    /// where it names none.
    ///
    /// # Errors
    /// What no engine can work with.
    pub(crate) fn try_new(
        ask: &Ask,
        served: &Served,
        prompt: Vec<u32>,
        before: Option<TraceRecord>,
        drawn: u64,
    ) -> Result<Self, ApiError> {
        let continues = before.as_ref().map(|record| record.number);
        let mut record = before.unwrap_or_else(|| TraceRecord {
            number: 0,
            prompt: prompt.into(),
            thinking: Arc::default(),
            seed: ask.seed.unwrap_or(drawn),
            sampling: served.sampling,
            is_deterministic: ask.seed.is_some() && served.is_reproducible,
        });
        let sampling = &mut record.sampling;
        match ask.temperature {
            // The likeliest token, whatever else is asked for. Colder than this, logits would not stay finite.
            Some(temperature) if temperature < COLDEST => {
                *sampling = v1::Sampling {
                    temperature: 1.0,
                    top_p: 1.0,
                    top_k: 1,
                };
            }
            _ => {
                sampling.temperature = ask.temperature.unwrap_or(sampling.temperature);
                sampling.top_p = ask.top_p.unwrap_or(sampling.top_p);
                sampling.top_k = ask.top_k.unwrap_or(sampling.top_k);
            }
        }
        let message = v1::RolloutPlan {
            budgets: ask.budgets.clone(),
            traces: ask.branches,
            summaries: ask.summaries,
            max_summary_tokens: ask.summary_tokens,
            sampling: Some(*sampling),
            markers: Some(served.markers.clone()),
            eos_ids: served.tokenizer.eos_ids().to_vec(),
            vocabulary: served.vocabulary,
            cache_policy: v1::CachePolicy::Keep.into(),
            extraction: v1::Extraction::Anytime.into(),
            conventions: None,
            no_thinking_traces: 0,
            max_prompt_tokens: u32::try_from(served.limits.prompt).unwrap_or(u32::MAX),
            deterministic: record.is_deterministic,
        };
        // Everything in it was checked where it came in.
        let mut plan = Plan::try_new(&message).map_err(ApiError::fault)?;
        plan.serving = Some(Serving {
            least_prefix: served.longest_prefix(),
            least_branch: served.longest_branch(),
            stops: ask.stops.clone(),
            tells_tokens: true,
            continues,
        });
        Ok(Self {
            plan: Arc::new(plan),
            job_id: served.job_id.clone(),
            record,
        })
    }

    /// The request with its number.
    pub(crate) fn request(&self, number: u64) -> GroupRequest {
        GroupRequest {
            number,
            job_id: self.job_id.clone(),
            min_version: WeightsVersion(0),
            manifest_checksum: None,
            seed: self.record.seed,
            prompt_ids: self.record.prompt.to_vec(),
            plan: Arc::clone(&self.plan),
        }
    }
}
