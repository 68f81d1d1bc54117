//! An examination in lines for people: the parts, the jobs, the actors, what was found, and last the verdict. Whatever
//! another process wrote is shown without anything that steers a terminal.

use anytime_proto::ShortName as _;
use anytime_proto::v1::{self, Activity, ActorWait, Presence, Purpose};

use super::examination::Examination;
use super::going_on;
use super::verifiers::{SeenVerifier, seen};
use super::words::{bytes, counted, listed, time};
use crate::job_view::{evaluation_line, notice_line, step_line};
use crate::show::one_line;

/// Characters of a text of a log, or of a reason.
const WIDTH: usize = 160;

/// Characters of an actor's name.
const NAME: usize = 40;

/// All of it for people; the last line is the verdict.
pub fn in_words(examination: &Examination) -> String {
    let diagnosis = &examination.diagnosis;
    let mut lines = Vec::new();
    if let Some(learner) = &diagnosis.learner {
        let address = one_line(&examination.learner, WIDTH);
        lines.push(format!("learner     {address}, {}", process(learner, 0.0)));
        lines.extend(log_lines(learner, 0.0));
    }
    lines.extend(diagnosis.redis.as_ref().map(redis));
    lines.extend(diagnosis.disks.iter().map(disk));
    for verifier in seen(diagnosis) {
        lines.extend(self::verifier(&verifier));
    }
    if !diagnosis.outcomes.is_empty() {
        let outcomes = diagnosis.outcomes.iter();
        let counts: Vec<String> = outcomes
            .map(|count| format!("{} {}", count.outcome, count.groups))
            .collect();
        lines.push(format!("groups      {} (since the learner's start)", counts.join(", ")));
    }
    for job in &diagnosis.jobs {
        lines.push(String::new());
        lines.extend(self::job(job, &examination.learner_argument));
    }
    if diagnosis.jobs_left_out > 0 {
        lines.push(format!(
            "… and {} that are not over",
            counted(u64::from(diagnosis.jobs_left_out), "more job")
        ));
    }
    if !diagnosis.actors.is_empty() {
        lines.push(String::new());
        lines.extend(actors(diagnosis));
    }
    lines.push(String::new());
    for finding in &examination.findings {
        let sign = if finding.is_fault { "fault" } else { "note" };
        lines.push(format!(
            "{sign:11} {} ({})",
            one_line(&finding.in_words(), 4 * WIDTH),
            finding.kind
        ));
    }
    lines.push(format!("verdict     {}", one_line(&examination.verdict, 4 * WIDTH)));
    lines.join("\n")
}

fn process(process: &v1::ProcessReport, age: f64) -> String {
    let libtorch = match process.libtorch.as_str() {
        "" => String::new(),
        libtorch => format!(", libtorch {}", one_line(libtorch, NAME)),
    };
    format!(
        "{} (commit {}{libtorch}), up {}",
        one_line(&process.version, NAME),
        one_line(&process.commit, NAME),
        time(process.up_seconds + age)
    )
}

fn log_lines(process: &v1::ProcessReport, age: f64) -> Vec<String> {
    let said = [("error", &process.last_error), ("warning", &process.last_warning)];
    let said = said
        .into_iter()
        .filter_map(|(level, line)| Some((level, line.as_ref()?)));
    said.map(|(level, line)| {
        format!(
            "            last {level} {} ago: {}",
            time(line.seconds_ago + age),
            one_line(&line.text, WIDTH)
        )
    })
    .collect()
}

fn redis(redis: &v1::RedisStanding) -> String {
    let address = one_line(&redis.address, WIDTH);
    if !redis.problem.is_empty() {
        let state = if redis.is_up { "up" } else { "DOWN" };
        return format!("redis       {address}, {state}: {}", one_line(&redis.problem, WIDTH));
    }
    let limit = match redis.max_memory {
        0 => "without a limit".to_owned(),
        limit => format!("of {}", bytes(limit)),
    };
    let keeps = match (redis.appends, redis.syncs.as_str()) {
        (true, "") => "append-only file".to_owned(),
        (true, syncs) => format!("append-only file, synced {}", one_line(syncs, NAME)),
        (false, _) => "NO append-only file".to_owned(),
    };
    let writes = if redis.writes { "writes well" } else { "WRITES FAIL" };
    format!(
        "redis       {address}, {}, up {}, {} {limit}, {keeps}, {writes}",
        one_line(&redis.version, NAME),
        time(redis.up_seconds as f64),
        bytes(redis.used_memory)
    )
}

fn disk(disk: &v1::DiskStanding) -> String {
    let directory = one_line(&disk.directory, WIDTH);
    if !disk.problem.is_empty() {
        return format!(
            "disk        {} {directory}: {}",
            disk.what,
            one_line(&disk.problem, WIDTH)
        );
    }
    let share = 100.0 * disk.free as f64 / disk.total.max(1) as f64;
    format!(
        "disk        {} {directory}: {} of {} free ({share:.0} %)",
        disk.what,
        bytes(disk.free),
        bytes(disk.total)
    )
}

fn verifier(verifier: &SeenVerifier<'_>) -> Vec<String> {
    let mut parts = vec![one_line(verifier.address, WIDTH)];
    if !verifier.judges_for.is_empty() {
        parts.push(format!("judges for {}", listed(&verifier.judges_for)));
    }
    if !verifier.away_for.is_empty() {
        parts.push(format!(
            "AWAY for {} (for {})",
            listed(&verifier.away_for),
            time(verifier.away_seconds)
        ));
    }
    parts.extend(verifier.process.map(|told| process(told, 0.0)));
    let mut lines = vec![format!("verifier    {}", one_line(&parts.join(", "), 4 * WIDTH))];
    if let Some(line) = verifier.last_error {
        let age = time(line.seconds_ago);
        lines.push(format!(
            "            last failed call {age} ago: {}",
            one_line(&line.text, WIDTH)
        ));
    }
    lines.extend(verifier.process.into_iter().flat_map(|told| log_lines(told, 0.0)));
    lines
}

fn job(job: &v1::JobStanding, learner_argument: &str) -> Vec<String> {
    let stepped = match job.stepped_seconds_ago {
        Some(seconds) => format!(", the last one {} ago", time(seconds)),
        None => String::new(),
    };
    let mut lines = vec![format!(
        "job         {} ({}), {}, step {} of {}{stepped}, has run {}",
        job.job_id,
        job.kind,
        job.state().short_name(),
        job.step,
        job.total_steps,
        time(job.run_seconds)
    )];
    if !job.error.is_empty() {
        lines.push(format!("  error     {}", one_line(&job.error, 2 * WIDTH)));
    }
    if job.activity() != Activity::Rests {
        lines.push(format!("  now       {}", activity(job)));
    }
    if let Some(queue) = &job.queue {
        let oldest = match queue.queued {
            0 => String::new(),
            _ => format!(", the oldest for {}", time(queue.oldest_seconds)),
        };
        lines.push(format!(
            "  queue     {} of {} queued{oldest}; {} leased, {} to be leased again, {} taken",
            queue.queued, queue.bound, queue.leased, queue.to_lease_again, queue.taken
        ));
    }
    if let Some(published) = &job.published {
        let age = time(published.seconds_ago);
        lines.push(format!(
            "  weights   version {}, published {age} ago",
            published.version
        ));
    }
    if let Some(step) = &job.last_step {
        lines.push(format!("  last step {}", step_line(step)));
        lines.push(format!(
            "  loss      {:.5}, gradient {:.3}, gap between actors and learner {:.1e}, {} skipped",
            step.loss,
            step.gradient_norm,
            step.fresh_log_prob_gap,
            counted(u64::from(step.skipped_updates), "update")
        ));
    }
    lines.push(format!("  lost      {}", lost(job)));
    match job.checkpoints.first() {
        Some(checkpoint) => lines.push(format!(
            "  checkpoint step {}, {} ago, {}",
            checkpoint.step,
            time(checkpoint.seconds_ago),
            one_line(&checkpoint.directory, WIDTH)
        )),
        None => lines.push("  checkpoint none yet".to_owned()),
    }
    lines.extend(
        job.evaluation
            .iter()
            .map(|result| format!("  {}", evaluation_line(result))),
    );
    let notices = job.notices.iter().rev().take(3).rev();
    lines.extend(notices.map(|notice| format!("  {}", one_line(&notice_line(notice), 2 * WIDTH))));
    let commands = going_on::commands(job, learner_argument);
    lines.push(format!("  go on     {}", commands.join("; ")));
    lines
}

fn activity(job: &v1::JobStanding) -> String {
    let what = match job.activity() {
        Activity::Prepares => "reads model and data".to_owned(),
        Activity::AwaitsGroups => match &job.queue {
            Some(queue) if queue.next_is_queued => "takes groups".to_owned(),
            Some(queue) if queue.next_actor_id.is_empty() => {
                format!("waits for group {}, which no actor has", queue.next)
            }
            Some(queue) => format!(
                "waits for group {}, which {} has had for {}",
                queue.next,
                one_line(&queue.next_actor_id, NAME),
                time(queue.next_held_seconds)
            ),
            None => "waits for groups".to_owned(),
        },
        Activity::Computes => "computes".to_owned(),
        Activity::Evaluates => {
            let evaluating = job.evaluating.unwrap_or_default();
            format!(
                "evaluates: {} of {} groups are there, {} leased",
                evaluating.done_groups, evaluating.total_groups, evaluating.leased
            )
        }
        Activity::AwaitsDisk => "waits for the disk".to_owned(),
        Activity::AwaitsRedis => "waits for Redis, or for the right to the job".to_owned(),
        Activity::Rests | Activity::Unspecified => "nothing".to_owned(),
    };
    format!("{what} (for {})", time(job.activity_seconds))
}

fn lost(job: &v1::JobStanding) -> String {
    let letters = match job.dead_letters {
        Some(letters) => counted(letters, "dead letter"),
        None => "dead letters unknown".to_owned(),
    };
    let queue = job.queue.clone().unwrap_or_default();
    format!(
        "{} too old, {} given up, {letters}, {} undone and done again",
        counted(queue.stale, "group"),
        queue.skipped,
        counted(job.undone_steps, "step")
    )
}

const HEADINGS: [&str; 9] = [
    "ACTOR",
    "IS",
    "HEARD",
    "WEIGHTS",
    "LAG",
    "TOKENS/S",
    "RUNS",
    "WAITS FOR",
    "GROUPS (OLDEST)",
];

fn actors(diagnosis: &v1::Diagnosis) -> Vec<String> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(diagnosis.actors.iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut rows = rows.into_iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let mut lines = Vec::new();
    lines.extend(rows.next());
    for (line, actor) in rows.zip(&diagnosis.actors) {
        lines.push(line);
        let process = actor.report.as_ref().and_then(|report| report.process.as_ref());
        lines.extend(
            process
                .into_iter()
                .flat_map(|process| log_lines(process, actor.reported_seconds_ago)),
        );
    }
    if diagnosis.actors_left_out > 0 {
        lines.push(format!(
            "… and {}",
            counted(u64::from(diagnosis.actors_left_out), "more actor")
        ));
    }
    lines
}

fn row(actor: &v1::ActorStanding) -> [String; 9] {
    let is = match (actor.presence(), actor.left_seconds_ago) {
        (Presence::Gone, Some(seconds)) if actor.lost_groups > 0 => format!("DEAD since {}", time(seconds)),
        (Presence::Gone, Some(seconds)) => format!("left {} ago", time(seconds)),
        (Presence::Lost, Some(seconds)) => format!("lost for {}", time(seconds)),
        (presence, _) => presence.short_name(),
    };
    let groups = match actor.leases.first() {
        Some(oldest) => {
            let of_evaluation = if oldest.purpose() == Purpose::Evaluate {
                " of an evaluation"
            } else {
                ""
            };
            let (sequence, held) = (oldest.sequence, time(oldest.held_seconds));
            format!("{} ({sequence}{of_evaluation}, for {held})", actor.leased_groups)
        }
        None => "0".to_owned(),
    };
    let name = one_line(&actor.actor_id, NAME);
    let heard = format!("{} ago", time(actor.heard_seconds_ago));
    let Some(report) = &actor.report else {
        let unknown = || "?".to_owned();
        return [
            name,
            is,
            heard,
            unknown(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
            groups,
        ];
    };
    let waits = match report.waits_for() {
        ActorWait::Nothing | ActorWait::Unspecified => "-".to_owned(),
        wait => format!(
            "{} {}",
            wait.short_name(),
            time(report.wait_seconds + actor.reported_seconds_ago)
        ),
    };
    let weights = match report.weights_job_id.as_str() {
        "" => "none".to_owned(),
        _ => report.weights_version.to_string(),
    };
    let lag = actor.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
    let rate = format!("{:.0}", report.tokens_per_second);
    let runs = format!("{}/{}", report.sequences, report.slots);
    [name, is, heard, weights, lag, rate, runs, waits, groups]
}
