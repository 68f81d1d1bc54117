//! Structured logs, Prometheus metrics and traces, set up the same way in every process.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;

use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::exit::ExitError;
use crate::last_lines::LastLines;
use crate::metric_names;
use crate::metrics_server;
use crate::process_metrics;
use crate::program::{self, COMMIT, VERSION};
use crate::security::{ServerSecurity, show_expiries};
use crate::traces::{self, Sending};

/// The form of log lines, an argument of every server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// The arguments for logs, metrics and traces, which every server process takes. [`start`] obeys them.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryArgs {
    /// Where Prometheus metrics are served, at `/metrics`; not served without it
    #[arg(long, env = "ANYTIME_METRICS_ADDRESS")]
    pub metrics_address: Option<SocketAddr>,
    /// Format of the log on standard error
    #[arg(long, env = "ANYTIME_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// Where traces are sent over OTLP (gRPC), as in http://localhost:4317; not sent without it
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// Starts logging (level from `RUST_LOG`, default `info`), the metrics endpoint and traces, and logs which program starts
/// and the warnings about the files of TLS and tokens. Needs a runtime. The result sends the last traces.
///
/// # Errors
/// [`ExitError`] with the configuration code if `RUST_LOG` cannot be read, if the metrics address cannot be bound or needs
/// TLS and tokens that are not there, or if traces cannot be sent as it is asked.
pub fn start(process: &'static str, args: &TelemetryArgs, security: &ServerSecurity) -> Result<Sending, ExitError> {
    start_log(process, args, security)?;
    if let Some(listener) = bind_metrics(args, security)? {
        let metrics = install(process)?;
        metrics_server::start(listener, metrics.0, security.clone());
    }
    traces::start(process, args.otlp_endpoint.as_deref())
}

/// The metrics of a process that serves them itself, beside other things.
#[derive(Clone)]
pub struct MetricsText(PrometheusHandle);

impl MetricsText {
    /// All metrics as Prometheus reads them. It takes milliseconds: not for an async thread.
    pub fn render(&self) -> String {
        process_metrics::read();
        self.0.render()
    }
}

/// As [`start`], and the metrics are given to the caller too, whether or not they have an address of their own.
///
/// # Errors
/// As [`start`].
pub fn start_serving(
    process: &'static str,
    args: &TelemetryArgs,
    security: &ServerSecurity,
) -> Result<(MetricsText, Sending), ExitError> {
    start_log(process, args, security)?;
    let listener = bind_metrics(args, security)?;
    let metrics = install(process)?;
    match listener {
        Some(listener) => metrics_server::start(listener, metrics.0.clone(), security.clone()),
        None => metrics_server::sum_up(metrics.0.clone()),
    }
    Ok((metrics, traces::start(process, args.otlp_endpoint.as_deref())?))
}

fn start_log(process: &'static str, args: &TelemetryArgs, security: &ServerSecurity) -> Result<(), ExitError> {
    let filter = filter(std::env::var_os(EnvFilter::DEFAULT_ENV))?;
    let json = match args.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        let builder = builder.json().flatten_event(true).with_current_span(false);
        builder.finish().with(LastLines).init();
    } else {
        builder.finish().with(LastLines).init();
    }
    let libtorch = program::libtorch();
    // Not `version`, which is a number in every other line: that of the weights.
    info!(process, release = VERSION, commit = COMMIT, libtorch, "starts");

    std::panic::set_hook(Box::new(log_panic));
    for warning in security.warnings() {
        warn!("{warning}");
    }
    Ok(())
}

fn bind_metrics(args: &TelemetryArgs, security: &ServerSecurity) -> Result<Option<TcpListener>, ExitError> {
    let Some(address) = args.metrics_address else {
        return Ok(None);
    };
    security.check_address("--metrics-address", address)?;
    let listener = metrics_server::bind(address);
    let listener =
        listener.map_err(|error| ExitError::configuration(format!("--metrics-address {address}: {error}")))?;
    Ok(Some(listener))
}

fn install(process: &'static str) -> Result<MetricsText, ExitError> {
    let handle = PrometheusBuilder::new()
        .add_global_label("process", process)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &metric_names::SECONDS_BUCKETS)
        .and_then(|builder| {
            let pair_seconds = Matcher::Full(metric_names::VERIFIER_PAIR_SECONDS.to_owned());
            builder.set_buckets_for_metric(pair_seconds, &metric_names::PAIR_SECONDS_BUCKETS)
        })
        .and_then(|builder| {
            let lengths = Matcher::Full(metric_names::LEARNER_THINKING_LENGTH.to_owned());
            builder.set_buckets_for_metric(lengths, &metric_names::TOKENS_BUCKETS)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| ExitError::configuration(format!("metrics: {error}")))?;
    metric_names::describe();
    process_metrics::begin();
    gauge!(metric_names::BUILD_INFO, "version" => VERSION, "commit" => COMMIT).set(1.0);
    show_expiries();
    Ok(MetricsText(handle))
}

/// Has a command that writes for people say, on standard error, what is wrong with a file of TLS or tokens that has changed
/// while it runs, and nothing else.
pub fn start_for_people() {
    // Where something logs already, as in a test, it goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("off,anytime_service::security=error"))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .try_init();
}

/// Logs a panic as one line: the first of its text, because the texts of libtorch's errors have dozens.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a text");
    let reason = text.lines().next().unwrap_or_default();
    error!(thread, location, reason, "panicked");
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        error!(text, backtrace = %std::backtrace::Backtrace::force_capture(), "where it panicked");
    }
}

/// What `RUST_LOG` asks for; `info` where it is not set or empty.
fn filter(wanted: Option<OsString>) -> Result<EnvFilter, ExitError> {
    let wanted = match wanted {
        Some(wanted) if !wanted.is_empty() => wanted,
        _ => return Ok(EnvFilter::new("info")),
    };
    let refuse = |reason: &str| {
        ExitError::configuration(format!(
            "RUST_LOG is {wanted:?}; it must be levels such as `debug` or `info,anytime_learner=debug` ({reason})"
        ))
    };
    let text = wanted.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    EnvFilter::try_new(text).map_err(|error| refuse(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_log_cannot_mean_is_refused_by_a_sentence() {
        for good in [
            "",
            "debug",
            "info,anytime_learner=debug",
            "warn,anytime_learner::queue=trace",
        ] {
            assert!(filter(Some(good.into())).is_ok(), "{good}");
        }
        assert!(filter(None).is_ok());
        for bad in ["anytime_learner=loud", "info,anytime=debgu", "=,=", "a=b=c"] {
            let refused = filter(Some(bad.into())).expect_err(bad).to_string();
            assert!(
                refused.starts_with(&format!("RUST_LOG is {bad:?}; it must be")),
                "{refused}"
            );
        }
    }
}
