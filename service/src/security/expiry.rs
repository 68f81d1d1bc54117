//! Until when the certificates of this process are good, as a metric.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use metrics::gauge;

use crate::metric_names::CERTIFICATE_EXPIRES;

/// By file. The files are read before there is anything that keeps metrics, which is told of them later.
static KNOWN: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());

/// The certificate of this file that ends first ends then, in seconds since 1970.
pub(super) fn note(path: &Path, ends: i64) {
    let file = path.display().to_string();
    show(&file, ends);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(file, ends);
}

/// Shows what was noted so far.
pub(crate) fn show_expiries() {
    for (file, ends) in KNOWN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        show(file, *ends);
    }
}

fn show(file: &str, ends: i64) {
    gauge!(CERTIFICATE_EXPIRES, "file" => file.to_owned()).set(ends as f64);
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn what_was_noted_before_there_were_metrics_is_shown_by_file() {
        note(Path::new("secrets/early.pem"), 2_000_000_000);
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            show_expiries();
            note(Path::new("secrets/late.pem"), 2_100_000_000);
        });
        let text = recorder.handle().render();
        for line in [
            "anytime_certificate_expires_timestamp_seconds{file=\"secrets/early.pem\"} 2000000000",
            "anytime_certificate_expires_timestamp_seconds{file=\"secrets/late.pem\"} 2100000000",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
