//! The process `anytime-learner`.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anytime_learner::args::{Args, Command};
use anytime_learner::hub::{self, Ears, HubSource};
use anytime_learner::ranks::{self, Meeting};
use anytime_learner::{offline, run as job, server};
use anytime_policy::memory::DeviceMemory;
use anytime_proto::limits::PROGRESS;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use anytime_service::exit::{self, ExitError};
use anytime_service::security::ServerSecurity;
use anytime_service::{device_load, device_memory, program, shutdown, telemetry};
use prost::Message as _;
use tch::Device;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a rank may take to end: rank 0 may need it for its last checkpoint.
const LEAVING: Duration = Duration::from_secs(9);

fn main() {
    program::begin(Some(anytime_policy::operators::libtorch_version()));
    let args = exit::parse_or_exit::<Args>();
    exit::conclude_now(run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Some(Command::Export(export)) => return offline::export(export),
        Some(Command::Merge(merge)) => return offline::merge(merge),
        Some(Command::Replay(replay)) => return offline::replay(replay),
        Some(Command::Leases(leases)) => return offline::leases(leases),
        Some(Command::Groups(groups)) => return offline::groups(groups),
        Some(Command::Measure(measure)) => return offline::measure(measure),
        None => {}
    }
    if let Err(error) = anytime_policy::waiting::wait_briefly(usize::from(args.threads)) {
        eprintln!("threads wait as libgomp has it, because the program cannot be started again: {error}");
    }
    anytime_policy::operators::keep_freed_memory();
    anytime_policy::device::set_threads(usize::from(args.threads));
    let device = anytime_policy::device::choose(&args.device)
        .map_err(|error| ExitError::configuration(format!("--device {}: {error}", args.device)))?;
    if args.check {
        return check(args);
    }
    if args.meeting.rank > 0 {
        return follow(args, device);
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let security = ServerSecurity::load(&args.identity, &args.serving)?;
        let mut warnings = Vec::new();
        let redis = args.redis.target(&mut warnings)?;
        let sending = telemetry::start("learner", &args.telemetry, &security)?;
        let outcome = async {
            job::begin_counters();
            for warning in warnings {
                warn!("{warning}");
            }
            let token = shutdown::on_signal().context("install the signal handlers")?;
            report_device(device, &token);
            let listener = anytime_service::server::bind(args.listen, &security).await?;
            let meeting = Meeting::open(&args.meeting)?;
            let config = args.config(redis, security);
            let place = job::UpdatePlace {
                device,
                share: args.memory_share,
                ranks: meeting.as_ref().map_or(1, Meeting::world),
            };
            let (at_submission, at_export) = (args.places(), args.places());
            server::run(
                config,
                listener,
                token,
                Arc::new(move |spec, inputs, root| {
                    let checked = job::validate(spec, inputs, root, place)?;
                    at_submission.check_job(&checked.settings, None)?;
                    Ok(checked)
                }),
                Arc::new(move |context| job::run_job_with(context, meeting.as_ref())),
                server::Writing {
                    export: Arc::new(move |request| job::export_recovery(request, &at_export)),
                    take_start: Arc::new(job::take_start),
                },
            )
            .await
        }
        .await;
        sending.finish().await;
        outcome
    });
    // What still runs has had its time.
    runtime.shutdown_background();
    outcome
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("start the runtime")
}

/// Starts the metrics of the device; they end with the token.
fn report_device(device: Device, token: &CancellationToken) {
    let ask = move || DeviceMemory::ask(device).ok().map(|memory| memory.states());
    let name = anytime_policy::device::name(device);
    tokio::spawn(device_memory::report(name.clone(), ask, token.clone()));
    tokio::spawn(device_load::report(name, token.clone()));
}

/// Computes updates with another learner, which has the jobs.
fn follow(args: &Args, device: Device) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let security = ServerSecurity::load(&args.identity, &args.serving)?;
        let sending = telemetry::start("learner", &args.telemetry, &security)?;
        let token = shutdown::on_signal().context("install the signal handlers")?;
        report_device(device, &token);
        let (meeting, ending) = (args.meeting.clone(), token.clone());
        let mut following = tokio::task::spawn_blocking(move || ranks::follow(&meeting, device, &ending));
        let outcome = tokio::select! {
            outcome = &mut following => Some(outcome),
            () = token.cancelled() => tokio::time::timeout(LEAVING, following).await.ok(),
        };
        sending.finish().await;
        match outcome {
            Some(outcome) => outcome.context("the thread that computes")?,
            None => Ok(()),
        }
    });
    // A thread in the middle of a collective is left there; the others see that the process is gone.
    runtime.shutdown_background();
    outcome
}

/// Checks one job without serving: `anytime check` starts it so where there is no learner to ask.
fn check(args: &Args) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("read the job")?;
    let mut spec = v1::JobSpec::decode(bytes.as_slice())
        .map_err(|error| ExitError::configuration(format!("standard input is no job: {error}")))?;
    let settings = JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
    let ears = Ears {
        stop: &|| false,
        say: &|text| eprintln!("{PROGRESS}{text}"),
    };
    let inputs = hub::fetch(&HubSource::Environment, &settings, &[], &ears).map_err(ExitError::configuration)?;
    hub::pin(&mut spec, &inputs);
    let places = args.places();
    let checked = job::validate_here(&mut spec, &inputs, &places)?;
    places
        .check_job(&checked.settings, None)
        .map_err(ExitError::configuration)?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(&checked.found.encode_to_vec())
        .and_then(|()| output.flush())
        .context("write what was found")
}
