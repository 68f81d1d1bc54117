//! What the process takes of its machine, by the names that Prometheus' own libraries give these metrics.

use std::time::SystemTime;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

const RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
const CPU: &str = "process_cpu_seconds_total";
const START_TIME: &str = "process_start_time_seconds";
const OPEN_FILES: &str = "process_open_fds";

/// Describes the metrics, and takes the time of the call for the start of the process.
pub(crate) fn begin() {
    describe_gauge!(
        RESIDENT_MEMORY,
        Unit::Bytes,
        "Memory of the machine that the process holds."
    );
    describe_counter!(CPU, Unit::Seconds, "Processor time of the process, in whole seconds.");
    describe_gauge!(
        START_TIME,
        Unit::Seconds,
        "When the process began, in seconds since 1970."
    );
    describe_gauge!(
        OPEN_FILES,
        Unit::Count,
        "Files and connections that the process has open."
    );
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    gauge!(START_TIME).set(since.unwrap_or_default().as_secs_f64());
}

/// Reads the figures anew. What the system does not tell keeps its last value.
pub(crate) fn read() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        gauge!(RESIDENT_MEMORY).set(bytes as f64);
    }
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let used = usage.user_time() + usage.system_time();
        counter!(CPU).absolute(u64::try_from(used.num_seconds()).unwrap_or_default());
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The listing itself is one of them.
        gauge!(OPEN_FILES).set(open.count().saturating_sub(1) as f64);
    }
}

/// What /proc/self/status says of the resident memory.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_out_of_the_status() {
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"),
            Some(2_097_152)
        );
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let of_this_process = std::fs::read_to_string("/proc/self/status").expect("linux");
        let bytes = resident_bytes(&of_this_process).expect("a figure");
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
    #[test]
    fn a_scrape_has_all_of_them() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            begin();
            read();
        });
        let text = recorder.handle().render();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = line.expect(name).parse().expect("a number");
            value
        };
        assert!(value(RESIDENT_MEMORY) > 1e6 && value(START_TIME) > 1.7e9, "{text}");
        assert!(value(OPEN_FILES) >= 3.0 && value(CPU) >= 0.0, "{text}");
    }
}
