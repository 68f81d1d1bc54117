//! Every metric of every process, by name, with its description: the one list that code, dashboards and tests share.
//! Base units, `_total` on counters, and no label whose values a user could make unbounded.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Buckets of every histogram of seconds: half a millisecond to an hour.
pub const SECONDS_BUCKETS: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    900.0, 3600.0,
];

/// Buckets of the time of one pair in the verifier: from a microsecond to the 20 milliseconds that no pair should
/// exceed, and one bucket beyond.
pub const PAIR_SECONDS_BUCKETS: [f64; 15] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 0.1,
];

/// Buckets of lengths in tokens: powers of two, as the labels of groups by length have them.
pub const TOKENS_BUCKETS: [f64; 18] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0,
    65536.0, 131_072.0,
];

/// Buckets of differences of log-probabilities, beside the one without a bound.
pub const LOG_PROB_GAP_BUCKETS: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// What only a process that computes on an NVIDIA GPU serves.
pub const OF_GPUS: [&str; 3] = [DEVICE_UTILISATION, DEVICE_POWER, DEVICE_TEMPERATURE];

macro_rules! metric_names {
    ($($kind:ident $constant:ident $name:literal $unit:ident $description:literal;)*) => {
        $(
            #[doc = $description]
            pub const $constant: &str = $name;
        )*

        /// Registers the descriptions with the recorder.
        pub(crate) fn describe() {
            $(metric_names!(@describe $kind $name $unit $description);)*
        }

        /// All names, for tests that compare the dashboards with them.
        pub const ALL: &[&str] = &[$($name),*];
    };
    (@describe counter $name:literal $unit:ident $description:literal) => {
        describe_counter!($name, Unit::$unit, $description);
    };
    (@describe gauge $name:literal $unit:ident $description:literal) => {
        describe_gauge!($name, Unit::$unit, $description);
    };
    (@describe histogram $name:literal $unit:ident $description:literal) => {
        describe_histogram!($name, Unit::$unit, $description);
    };
}

metric_names! {
    // every process
    gauge BUILD_INFO "anytime_build_info" Count
        "1; the labels are the version of the program and the commit that it was built from, or `unknown`.";

    counter DROPPED_SPANS "anytime_dropped_spans_total" Count
        "Spans of traces that were not sent, by reason (queue_full: too many waited, not_sent: the collector did not take them).";

    // actor and learner
    gauge DEVICE_MEMORY "anytime_device_memory_bytes" Bytes
        "Memory of the device (label `device`) that a process computes on, by state (total, free, held by this process, used of it, peak of used).";
    gauge DEVICE_UTILISATION "anytime_device_utilisation_ratio" Count
        "Share of time in which the GPU (label `device`) ran any kernel, 0 to 1, whoever started it; only where NVML answers.";
    gauge DEVICE_POWER "anytime_device_power_watts" Count
        "Electrical power that the GPU (label `device`) draws, in watts; only where NVML answers.";
    gauge DEVICE_TEMPERATURE "anytime_device_temperature_celsius" Count
        "Temperature of the GPU (label `device`); only where NVML answers.";

    gauge CONNECTIONS "anytime_connections" Count
        "Connections that a server has open (label `server`: grpc, metrics).";
    counter CONNECTIONS_REFUSED "anytime_connections_refused_total" Count
        "Connections that a server closed at once, by reason (full: too many are open, silent: it said nothing).";
    counter ACCESS_REFUSED "anytime_access_refused_total" Count
        "Calls and connections turned away, by reason (no_token, wrong_token, unknown_name, wrong_role, unknown_method, plain_text, unexpected_tls, no_certificate, expired_certificate, foreign_certificate, handshake).";
    gauge CERTIFICATE_EXPIRES "anytime_certificate_expires_timestamp_seconds" Seconds
        "When the certificate of a file (label `file`) ends, of several the first that does, in seconds since 1970; only where there are certificates.";
    gauge PEER_UP "anytime_peer_up" Count
        "Whether the last call of a kind reached its peer (label `call`: rollout.lease, weights.watch, weights.fetch, redis): 1, or 0 while the peer is lost.";

    // actor
    counter ACTOR_TOKENS "anytime_actor_generated_tokens_total" Count
        "Tokens generated, by phase (thinking, summary).";
    counter ACTOR_GROUPS "anytime_actor_groups_total" Count
        "Groups by outcome (pushed, duplicate, unwanted, refused, abandoned).";
    counter ACTOR_WEIGHTS_WAIT "anytime_actor_weights_wait_seconds_total" Seconds
        "Time without work because weights were missing or too old, or were being swapped.";
    counter ACTOR_LEASE_WAIT "anytime_actor_lease_wait_seconds_total" Seconds
        "Time in which the engine had nothing to generate because no lease was to be had, the verifier being there.";
    counter ACTOR_VERIFIER_WAIT "anytime_actor_verifier_wait_seconds_total" Seconds
        "Time in which the engine had nothing to generate because the verifier was away, so that no lease was asked for.";
    counter ACTOR_DECODE_BUSY "anytime_actor_engine_busy_seconds_total" Seconds
        "Time spent in forward passes and sampling.";
    gauge ACTOR_SEQUENCES "anytime_actor_sequences" Count
        "Sequences by state (running, waiting).";
    gauge ACTOR_SLOTS "anytime_actor_cache_slots" Count
        "Slots of the key-value cache, by state (used, total).";
    gauge ACTOR_WEIGHTS_VERSION "anytime_actor_weights_version" Count
        "The weights version that generates.";
    histogram ACTOR_GROUP_SECONDS "anytime_actor_group_seconds" Seconds
        "From lease to scored group.";
    gauge ACTOR_VERIFIER_AWAY "anytime_actor_verifier_away" Count
        "1 while the verifier judges nothing and the actor waits for it.";
    histogram ACTOR_VERIFY_SECONDS "anytime_actor_verify_seconds" Seconds
        "One call to the verifier, retries included.";
    histogram ACTOR_WEIGHTS_FETCH_SECONDS "anytime_actor_weights_fetch_seconds" Seconds
        "Fetching and checking one weights version.";
    counter ACTOR_WEIGHTS_BYTES "anytime_actor_weights_fetched_bytes_total" Bytes
        "Bytes of weights fetched, by form (whole, delta).";
    histogram ACTOR_DELTA_SECONDS "anytime_actor_weights_delta_decode_seconds" Seconds
        "Applying one delta to the weights that were held, and checking the result.";
    counter ACTOR_DELTA_FALLBACKS "anytime_actor_weights_delta_fallbacks_total" Count
        "Deltas that could not be applied or gave other weights than announced; the full weights were fetched instead.";
    histogram ACTOR_WEIGHTS_PAUSE "anytime_actor_weights_pause_seconds" Seconds
        "Time in which the engine did not generate because it swapped its weights for a newer version.";

    // actor that serves answers
    counter SERVE_REQUESTS "anytime_serve_requests_total" Count
        "Requests for an answer by outcome (answered, cancelled: the client has gone, failed, refused).";
    gauge SERVE_IN_FLIGHT "anytime_serve_in_flight" Count
        "Requests for an answer that are under way or wait.";
    histogram SERVE_REQUEST_SECONDS "anytime_serve_request_seconds" Seconds
        "From a request to its whole answer.";
    histogram SERVE_FIRST_TOKEN_SECONDS "anytime_serve_first_token_seconds" Seconds
        "From a request to the first token of its thinking.";

    // learner
    gauge LEARNER_ACTORS "anytime_learner_actors" Count
        "Actor processes that follow the weights.";
    gauge LEARNER_RANKS "anytime_learner_ranks" Count
        "Processes that compute updates together, those that have come; 1 where one computes alone.";
    gauge LEARNER_JOB_INFO "anytime_learner_job_info" Count
        "1 while the job of the labels (`job_id`, `name`, `kind`) runs, 0 once it does not.";
    gauge LEARNER_STEP "anytime_learner_step" Count
        "The last finished step of the running job; not a number while none trains, like all figures of a last step.";
    gauge LEARNER_TOTAL_STEPS "anytime_learner_total_steps" Count
        "How many steps the running job is to make.";
    gauge LEARNER_LAST_STEP "anytime_learner_last_step_timestamp_seconds" Seconds
        "When the running job finished its last step in this process, in seconds since 1970.";
    gauge LEARNER_WEIGHTS_VERSION "anytime_learner_weights_version" Count
        "The published weights version.";
    counter LEARNER_WAIT "anytime_learner_rollout_wait_seconds_total" Seconds
        "Time in which the trainer waited for rollouts; it grows every second while it waits.";
    counter LEARNER_TRAIN "anytime_learner_train_seconds_total" Seconds
        "Time spent updating the weights.";
    counter LEARNER_TOKENS "anytime_learner_trained_tokens_total" Count
        "Tokens trained.";
    histogram LEARNER_STEP_SECONDS "anytime_learner_step_seconds" Seconds
        "One training step, waiting included.";
    gauge LEARNER_LOSS "anytime_learner_loss" Count
        "Loss of the last step.";
    gauge LEARNER_GRADIENT_NORM "anytime_learner_gradient_norm" Count
        "L2 norm of the gradient before clipping, last step.";
    counter LEARNER_SKIPPED_UPDATES "anytime_learner_skipped_updates_total" Count
        "Optimiser updates that were skipped because their gradient was not finite.";
    gauge LEARNER_CLIPPED_GRADIENTS "anytime_learner_clipped_gradient_share" Count
        "Share of the tensors whose gradient was clipped, last step.";
    gauge LEARNER_LARGEST_TOKEN "anytime_learner_largest_token_share" Count
        "Share of the largest token in the gradients of all tokens at the logits, last step.";
    gauge LEARNER_CLIPPED_TOKENS "anytime_learner_clipped_token_share" Count
        "Share of the trained tokens whose ratio was clipped, last step.";
    gauge LEARNER_RATIO "anytime_learner_ratio" Count
        "Ratio of the training policy to the one before the step over the trained tokens (label `statistic`: mean, largest), last step.";
    gauge LEARNER_LEARNING_RATE "anytime_learner_learning_rate" Count
        "Learning rate of the last update.";
    counter LEARNER_WITHOUT_GRADIENT "anytime_learner_groups_without_gradient_total" Count
        "Trained groups of which no token had an advantage, so that they moved nothing.";
    gauge LEARNER_UPDATE_SIZE "anytime_learner_update_size" Count
        "Root mean square of the update over the parameters, in units of the learning rate, last step.";
    gauge LEARNER_REWARD "anytime_learner_reward" Count
        "Mean score per budget (label `budget`), last step.";
    gauge LEARNER_ANYTIME_REWARD "anytime_learner_anytime_reward" Count
        "Mean score over all budgets, last step.";
    gauge LEARNER_FORMATTED_SHARE "anytime_learner_formatted_share" Count
        "Share of summaries in the form asked for, last step.";
    gauge LEARNER_FINISHED_SHARE "anytime_learner_finished_share" Count
        "Share of traces that ended their thinking themselves, last step.";
    gauge LEARNER_OVERTHINKING_SHARE "anytime_learner_overthinking_share" Count
        "Share of traces that were right at an earlier budget and are not at the largest, last step.";
    gauge LEARNER_BASELINE_CORRELATION "anytime_learner_baseline_correlation" Count
        "Correlation of a baseline (label `baseline`: v1, v2, v) with the reward to go, by segment (label `budget`).";
    gauge LEARNER_BASELINE_VARIANCE "anytime_learner_baseline_variance_ratio" Count
        "Share of the reward to go's variance that a baseline (label `baseline`) leaves, by segment (label `budget`).";
    gauge LEARNER_ACCURACY "anytime_learner_accuracy" Count
        "Accuracy of the last evaluation per budget (label `budget`).";
    gauge LEARNER_EVALUATION_ANYTIME "anytime_learner_evaluation_anytime" Count
        "Mean accuracy of the last evaluation over its budgets.";
    gauge LEARNER_EVALUATION_OVERTHINKING "anytime_learner_evaluation_overthinking_share" Count
        "Share of traces that were right at an earlier budget and are not at the largest, last evaluation.";
    gauge LEARNER_THINKING_TOKENS "anytime_learner_thinking_tokens" Count
        "Mean thinking length, last step.";
    histogram LEARNER_THINKING_LENGTH "anytime_learner_thinking_length_tokens" Count
        "Thinking length of every trace of the trained groups.";
    gauge LEARNER_STALENESS "anytime_learner_staleness" Count
        "Mean weights versions between generation and training, last step.";
    gauge LEARNER_LOG_PROB_GAP "anytime_learner_fresh_log_prob_gap" Count
        "Mean absolute difference of behaviour and recomputed log-probabilities on fresh tokens, last step.";
    gauge LEARNER_LARGEST_LOG_PROB_GAP "anytime_learner_largest_log_prob_gap" Count
        "Largest absolute difference of behaviour and recomputed log-probabilities on fresh tokens, last step.";
    counter LEARNER_LOG_PROB_GAP_BUCKET "anytime_learner_log_prob_gap_bucket" Count
        "Fresh tokens whose absolute difference of behaviour and recomputed log-probability is at most `le`: the buckets of a histogram.";
    counter LEARNER_LOG_PROB_GAP_COUNT "anytime_learner_log_prob_gap_count" Count
        "Fresh tokens that were compared: the count of the same histogram.";
    gauge LEARNER_QUEUE_DEPTH "anytime_learner_queue_groups" Count
        "Scored groups in the replay queue.";
    gauge LEARNER_QUEUE_OLDEST "anytime_learner_queue_oldest_seconds" Seconds
        "How long the group that has waited longest has been in the replay queue, 0 where it is empty; since training was opened where it lay there before.";
    gauge LEARNER_LEASED "anytime_learner_leased_groups" Count
        "Groups that are leased and not yet pushed.";
    counter LEARNER_GROUPS "anytime_learner_groups_total" Count
        "Groups by outcome (accepted, duplicate, unwanted, refused, forged, queue_full, stale, skipped, abandoned, expired, back).";
    gauge LEARNER_REFUSED_IN_A_ROW "anytime_learner_refused_in_a_row" Count
        "Groups of one actor that were refused one after the other, of the actor with the most.";
    counter LEARNER_DEAD_LETTERS "anytime_learner_dead_letters_total" Count
        "Training groups that could not be trained, and that the job goes on without.";
    counter LEARNER_GROUPS_BY_LENGTH "anytime_learner_groups_by_length_total" Count
        "Groups by outcome (trained, stale, skipped) and by the longest thinking in tokens (the next power of two).";
    gauge LEARNER_AWAITED_GROUP "anytime_learner_awaited_group" Count
        "The sequence number of the group that the trainer takes next.";
    gauge LEARNER_AWAITED_SECONDS "anytime_learner_awaited_seconds" Seconds
        "How long the trainer has waited for that group; 0 where it does not wait.";
    histogram LEARNER_PUBLISH_SECONDS "anytime_learner_publish_seconds" Seconds
        "Making one weights version available.";
    counter LEARNER_WEIGHTS_BYTES "anytime_learner_weights_sent_bytes_total" Bytes
        "Bytes of weights sent to actors, by form (whole, delta).";
    gauge LEARNER_DELTA_RATIO "anytime_learner_weights_delta_ratio" Count
        "Bytes of the last delta between two weights versions, relative to the full weights.";
    histogram LEARNER_DELTA_SECONDS "anytime_learner_weights_delta_encode_seconds" Seconds
        "Encoding the step between two weights versions, beside the training.";
    gauge LEARNER_JOBS "anytime_learner_jobs" Count
        "Jobs by state.";
    gauge LEARNER_JOBS_KEPT_FOR_MODELS "anytime_learner_jobs_kept_for_models" Count
        "Jobs that --keep-jobs or --keep-jobs-for would have deleted, and that stay because their directories hold models.";
    counter LEARNER_DELETED_JOBS "anytime_learner_deleted_jobs_total" Count
        "Jobs that were deleted, by what deleted them (request, retention).";
    gauge LEARNER_DISK "anytime_learner_disk_bytes" Bytes
        "Bytes of the file system that holds the runs directory, by state (free: what the learner may still write, total).";
    counter LEARNER_DAMAGED_FILES "anytime_learner_damaged_files_total" Count
        "Files that were found damaged, by what they are (events, recovery, job).";
    counter LEARNER_FIGURES_REFUSED "anytime_learner_figures_refused_total" Count
        "Writes of a job's figures that the disk refused, by file (metrics.jsonl, tensorboard). They are made up for.";
    gauge LEARNER_REWARD_OF_BEST "anytime_learner_reward_of_best" Count
        "Mean reward at the largest budget over the last 20 steps, as a share of the best such mean of the job.";

    // verifier
    counter VERIFIER_VERDICTS "anytime_verifier_verdicts_total" Count
        "Verdicts by kind.";
    histogram VERIFIER_BATCH_SECONDS "anytime_verifier_batch_seconds" Seconds
        "Grading one batch.";
    counter VERIFIER_ITEMS "anytime_verifier_items_total" Count
        "Items graded.";
    histogram VERIFIER_PAIR_SECONDS "anytime_verifier_pair_seconds" Seconds
        "One item, by the kind of its verdict; the cache counts as grading.";
    counter VERIFIER_CACHE_HITS "anytime_verifier_cache_hits_total" Count
        "Verdicts that were in the cache.";
    counter VERIFIER_CACHE_MISSES "anytime_verifier_cache_misses_total" Count
        "Verdicts that were not in the cache.";
    gauge VERIFIER_CACHE_BYTES "anytime_verifier_cache_bytes" Bytes
        "Size of the cache of verdicts.";
    gauge VERIFIER_WAITING "anytime_verifier_waiting_batches" Count
        "Batches that wait for a grading thread.";
    counter VERIFIER_REFUSED "anytime_verifier_refused_batches_total" Count
        "Batches refused because too many waited.";
    gauge VERIFIER_STREAMS "anytime_verifier_streams" Count
        "Streams of batches that are open.";
    counter VERIFIER_ABANDONED_ITEMS "anytime_verifier_abandoned_items_total" Count
        "Items that hung: answered as out of time, their thread given up.";
    gauge VERIFIER_ABANDONED_THREADS "anytime_verifier_abandoned_threads" Count
        "Threads that were given up because their item hung, and have not ended.";
}
