//! `anytime-learner replay`: trains steps of a job again, and prints what is equal to the run and what is not.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_policy::device;
use anytime_proto::settings::in_plain_words;
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde::Deserialize as _;
use serde_json::{Value, json};
use toml::Table;

use crate::args::ReplayArgs;
use crate::outputs::Places;
use crate::run::{Replay, ReplayPlan, ReplayedStep, StepOutcome, is_refusal, replay as train_again};

/// The exit code where a step differs from the run and no setting was changed.
const DIFFERS: u8 = 1;

/// `anytime-learner replay`
///
/// # Errors
/// [`ExitError`]: with 1 at the first step that differs, unless a setting was changed; with the configuration code where
/// something that is needed is not there, or an argument is wrong.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let over = changes(&args.set)?;
    let directory = job_directory(&args.job, &args.runs_dir);
    let plan = ReplayPlan::find(&directory, args.from, args.steps).map_err(refused)?;
    let model = args.out.as_deref().map(|out| place(args, &plan, out)).transpose()?;
    let threads = args.threads.map_or(plan.run.threads, u32::from).max(1) as usize;
    if let Err(error) = anytime_policy::waiting::wait_briefly(threads) {
        eprintln!("threads wait as libgomp has it, because the program cannot be started again: {error}");
    }
    anytime_policy::operators::keep_freed_memory();
    device::set_threads(threads);
    let named = args.device.as_ref().unwrap_or(&plan.run.device);
    let device =
        device::choose(named).map_err(|error| ExitError::configuration(format!("--device {named}: {error}")))?;

    let mut report = Report::begin(&plan, device::name(device), threads, args.json)?;
    let how = Replay {
        root: &args.root,
        device,
        change: &|spec: &v1::JobSpec| laid_over(spec, &over),
        model: model.as_deref(),
    };
    let is_changed = !over.is_empty();
    train_again(&plan, &how, &mut |step| {
        let is_equal = step.run.differences(&step.here).is_empty();
        report.add(step, is_changed)?;
        Ok(is_equal || is_changed)
    })
    .map_err(refused)?;
    report.conclude(&plan, model.as_deref(), is_changed)
}

/// A job's own directory, or that of an id in the directory of jobs.
fn job_directory(job: &str, runs_directory: &Path) -> PathBuf {
    let path = Path::new(job);
    if path.join("job.pb").is_file() {
        return path.to_owned();
    }
    runs_directory.join(job)
}

fn refused(failure: anyhow::Error) -> anyhow::Error {
    if is_refusal(&failure) {
        return ExitError::configuration(format!("{failure:#}")).into();
    }
    failure
}

/// Where the model goes. Whoever runs this may write wherever the file system lets them, but replaces no other model.
fn place(args: &ReplayArgs, plan: &ReplayPlan, out: &Path) -> anyhow::Result<PathBuf> {
    let places = Places {
        root: std::env::current_dir().context("current directory")?,
        runs_directory: args.runs_dir.clone(),
        output_roots: vec!["/".into()],
    };
    let out = out.to_str().context("--out must be UTF-8")?;
    let place = places.check_export(out, &plan.owner());
    Ok(place.map_err(|reason| ExitError::configuration(format!("--out {out}: {reason}")))?)
}

/// The settings of `--set`, each a line or a document of TOML, as one table.
fn changes(set: &[String]) -> Result<Table, ExitError> {
    let mut all = Table::new();
    for text in set {
        let table: Table = toml::from_str(text)
            .map_err(|error| ExitError::configuration(format!("--set {text}: {}", in_plain_words(error.message()))))?;
        merge(&mut all, &table);
    }
    Ok(all)
}

/// Sections are merged, everything else is replaced.
fn merge(table: &mut Table, over: &Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => merge(inner, over),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn laid_over(spec: &v1::JobSpec, over: &Table) -> anyhow::Result<v1::JobSpec> {
    if over.is_empty() {
        return Ok(spec.clone());
    }
    let mut table = Table::try_from(spec).context("the job's specification")?;
    merge(&mut table, over);
    let changed = v1::JobSpec::deserialize(table);
    changed.map_err(|error| ExitError::configuration(format!("--set: {}", in_plain_words(error.message()))).into())
}

/// What is printed: lines as they come, or one document at the end.
struct Report {
    is_json: bool,
    steps: Vec<Value>,
    /// The first step that differs, as a sentence.
    difference: Option<String>,
    computed: Value,
}

impl Report {
    fn begin(plan: &ReplayPlan, device: String, threads: usize, is_json: bool) -> anyhow::Result<Self> {
        let begins = match plan.checkpoint {
            None => "the weights that the job began with".to_owned(),
            Some(step) => format!("the recovery checkpoint of step {step}"),
        };
        if !is_json {
            let (job, first, last) = (plan.job_id(), plan.start + 1, plan.last);
            print(&format!(
                "job {job}: steps {first} to {last} again, from {begins} ({device}, threads {threads})"
            ))?;
        }
        Ok(Self {
            is_json,
            steps: Vec::new(),
            difference: None,
            computed: json!({ "device": device, "threads": threads }),
        })
    }

    fn add(&mut self, step: ReplayedStep, is_changed: bool) -> anyhow::Result<()> {
        let different = step.run.differences(&step.here);
        if !different.is_empty() && self.difference.is_none() {
            let mut sentence = format!("step {} differs from the run in {}", step.step, different.join(", "));
            let why = match step.differs.as_slice() {
                [] => "; it was computed as in the run".to_owned(),
                clauses => format!("; it was computed otherwise: {}", clauses.join("; ")),
            };
            sentence.push_str(&why);
            self.difference = Some(sentence);
        }
        if self.is_json {
            let outcome = |outcome: &StepOutcome| {
                json!({
                    "loss": outcome.loss,
                    "gradient_norm": outcome.gradient_norm,
                    "clipped_gradient_share": outcome.clipped_gradient_share,
                    "update_size": outcome.update_size,
                    "weights_checksum": outcome.weights_checksum,
                })
            };
            self.steps.push(json!({
                "step": step.step,
                "run": outcome(&step.run),
                "here": outcome(&step.here),
                "differs_in": different,
                "changed": step.changed,
                "computed_otherwise": step.differs,
            }));
            return Ok(());
        }
        if !is_changed {
            return print(&compared(&step, &different));
        }
        if self.steps.is_empty() {
            print(&format!("changed: {}", step.changed.join(", ")))?;
            print(&heading())?;
        }
        self.steps.push(Value::Null);
        print(&row(&step, &different))
    }

    fn conclude(self, plan: &ReplayPlan, model: Option<&Path>, is_changed: bool) -> anyhow::Result<()> {
        let model = model.filter(|_| is_changed || self.difference.is_none());
        if self.is_json {
            let document = json!({
                "job": plan.job_id(),
                "from_checkpoint": plan.checkpoint,
                "computed": self.computed,
                "equal": self.difference.is_none(),
                "steps": self.steps,
                "model": model,
            });
            print(&format!("{document:#}"))?;
        } else if let Some(model) = model {
            print(&format!("step {}: {}", plan.last, model.display()))?;
        }
        match self.difference {
            Some(message) if !is_changed => Err(ExitError { code: DIFFERS, message }.into()),
            _ => Ok(()),
        }
    }
}

/// A step that was trained as it was, beside the run.
fn compared(step: &ReplayedStep, different: &[&str]) -> String {
    let ReplayedStep { run, here, .. } = step;
    if different.is_empty() {
        let (loss, norm) = (here.loss, here.gradient_norm);
        let weights = short(&here.weights_checksum);
        return format!(
            "step {}: equal (loss {loss}, gradient norm {norm}, weights {weights})",
            step.step
        );
    }
    let figure = |what: &str, run: String, here: String| match different.contains(&what) {
        true => format!("{what} {run} in the run, {here} here"),
        false => format!("{what} equal"),
    };
    let figures = [
        figure("loss", run.loss.to_string(), here.loss.to_string()),
        figure(
            "gradient norm",
            run.gradient_norm.to_string(),
            here.gradient_norm.to_string(),
        ),
        figure(
            "weights",
            short(&run.weights_checksum).to_owned(),
            short(&here.weights_checksum).to_owned(),
        ),
    ];
    format!("step {}: {}", step.step, figures.join("; "))
}

/// As much of a checksum as tells it from others at sight.
fn short(checksum: &str) -> &str {
    checksum.get(..12).unwrap_or(checksum)
}

fn heading() -> String {
    format!(
        "{:>6}  {:>12} {:>12}  {:>12} {:>12}  {:>8} {:>8}  {:>8} {:>8}  weights",
        "step", "loss: run", "here", "norm: run", "here", "clipped", "here", "update", "here"
    )
}

fn row(step: &ReplayedStep, different: &[&str]) -> String {
    let ReplayedStep { run, here, .. } = step;
    let weights = if different.contains(&"weights") {
        "differ"
    } else {
        "equal"
    };
    format!(
        "{:>6}  {:>12.4e} {:>12.4e}  {:>12.4e} {:>12.4e}  {:>8.3} {:>8.3}  {:>8.3} {:>8.3}  {weights}",
        step.step,
        run.loss,
        here.loss,
        run.gradient_norm,
        here.gradient_norm,
        run.clipped_gradient_share,
        here.clipped_gradient_share,
        run.update_size,
        here.update_size
    )
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
