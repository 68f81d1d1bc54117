//! `anytime-learner measure`: the accuracy at every budget of a server that OpenAI's clients can ask, whoever wrote it, by the
//! same grader and with the same figures as an evaluation of a job.
//!
//! A server of this project answers all budgets in one request (`reply`), another is asked once for each. `endpoint` asks,
//! and asks again what may pass; `graded` makes of the answers what an evaluation counts.

mod endpoint;
mod graded;
mod reply;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use anytime_service::exit::{ExitError, UNAVAILABLE};
use futures::StreamExt as _;
use prost::Message as _;

use self::endpoint::{Asking, Endpoint, Failure};
use self::graded::{Counted, group_of};
use crate::args::MeasureArgs;
use crate::data::{DataFiles, Fields, ProblemRow, read_problems};
use crate::evaluation::result::evaluation_result;
use crate::evaluation::tally::Tally;
use crate::run::with_instruction;

/// Measures the endpoint on the problems of the job on standard input (protobuf `JobSpec`), and writes the result
/// (protobuf `EvaluationResult`) to standard output; what a user should know of it goes to standard error.
///
/// # Errors
/// [`ExitError`]: configuration where the job or the endpoint's refusal says so, unavailable where nothing was answered.
pub fn measure(args: &MeasureArgs) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("read the job")?;
    let spec = v1::JobSpec::decode(bytes.as_slice())
        .map_err(|error| ExitError::configuration(format!("standard input is no job: {error}")))?;
    let settings = JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
    let source = DataFiles {
        setting: "evaluation.path",
        names: &settings.evaluation.path,
        root: &args.root,
        fields: Fields {
            problem: settings.data.problem_field.as_deref(),
            answer: settings.data.answer_field.as_deref(),
            or_common: false,
        },
        until: None,
    };
    let problems = read_problems(&source).map_err(ExitError::configuration)?.rows;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(measure_all(args, &settings, problems))?;
    let mut output = std::io::stdout().lock();
    output.write_all(&result.encode_to_vec()).context("write the result")?;
    Ok(output.flush()?)
}

async fn measure_all(
    args: &MeasureArgs,
    settings: &JobSettings,
    problems: Vec<ProblemRow>,
) -> anyhow::Result<v1::EvaluationResult> {
    let started = Instant::now();
    let evaluation = &settings.evaluation;
    let endpoint = Endpoint::open(args, settings).await?;
    eprintln!("{} answers as {}", args.endpoint, endpoint.shown());
    let endpoint = Arc::new(endpoint);
    let conventions = Arc::new(graded::conventions(settings)?);

    // Every sample of every row is asked for by itself; a row that repeats has more samples.
    let mut leases_of = Vec::with_capacity(problems.len());
    let mut places = 0;
    for row in &problems {
        let first = places;
        places += row.repeats as usize;
        leases_of.push(first..places);
    }
    let mut tally = Tally::new(leases_of.clone(), evaluation.budgets.len());
    let asked: Vec<(usize, usize)> = (leases_of.iter().enumerate())
        .flat_map(|(problem, leases)| leases.clone().map(move |place| (place, problem)))
        .collect();
    let problems = Arc::new(problems);
    let mut answers = futures::stream::iter(asked.into_iter().map(|(place, problem)| {
        let (endpoint, conventions, problems) =
            (Arc::clone(&endpoint), Arc::clone(&conventions), Arc::clone(&problems));
        let settings = settings.clone();
        async move {
            let row = &problems[problem];
            let text = with_instruction(&row.problem, &settings.data.instruction);
            let mut samples = Vec::new();
            for sample in 0..settings.evaluation.samples {
                let asking = Asking {
                    text: &text,
                    // As many seeds as there are samples, the same in every measurement.
                    seed: settings
                        .evaluation
                        .seed
                        .wrapping_add(((place as u64) << 16) + u64::from(sample)),
                };
                samples.push(endpoint.ask(&asking).await?);
            }
            let answers = row.answers.clone();
            let budgets = settings.evaluation.budgets.clone();
            let grading = move || group_of(&samples, &answers, &budgets, &conventions);
            let graded = tokio::task::spawn_blocking(grading).await;
            let (group, counted) = graded.map_err(|error| Failure::Lost(format!("grading: {error}")))?;
            Ok::<_, Failure>((place, group, counted))
        }
    }))
    .buffer_unordered(args.concurrency as usize);

    let mut counted = Counted::default();
    let (mut done, mut lost) = (0, Vec::new());
    let mut progress = Progress::begin(places);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok((place, group, one)) => {
                tally.add(place, &group);
                counted.add(&one);
            }
            Err(Failure::Refused(message)) => return Err(ExitError::configuration(message).into()),
            Err(Failure::Lost(message)) => lost.push(message),
        }
        done += 1;
        progress.show(done);
    }
    drop(answers);
    if tally.groups() == 0 {
        let why = lost.first().cloned().unwrap_or_default();
        let message = format!("{} answered none of {places} problems: {why}", args.endpoint);
        return Err(ExitError {
            code: UNAVAILABLE,
            message,
        }
        .into());
    }
    for line in counted.says() {
        eprintln!("warning: {line}");
    }
    if let Some(first) = lost.first() {
        eprintln!(
            "warning: {} of {places} problems were not answered: {first}",
            lost.len()
        );
    }
    let mut result = evaluation_result(&tally, &evaluation.budgets);
    result.left_out_groups = lost.len() as u32;
    result.seconds = started.elapsed().as_secs_f64();
    Ok(result)
}

/// How far it is, on a terminal.
struct Progress {
    of: usize,
    shown: Option<Instant>,
}

impl Progress {
    fn begin(of: usize) -> Self {
        let shown = std::io::stderr().is_terminal().then(Instant::now);
        Self { of, shown }
    }

    fn show(&mut self, done: usize) {
        let Some(shown) = &mut self.shown else { return };
        if shown.elapsed() > Duration::from_millis(500) || done == self.of {
            *shown = Instant::now();
            let end = if done == self.of { "\n" } else { "" };
            eprint!("\r{done} of {} problems{end}", self.of);
        }
    }
}
