//! How busy and how hot the GPU is that a process computes on, as metrics. NVIDIA's management library (NVML) knows it,
//! which comes with the driver and is opened when the process runs; where there is none, there are no such metrics.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::metric_names::{DEVICE_POWER, DEVICE_TEMPERATURE, DEVICE_UTILISATION};
use crate::shutdown::sleep_unless_cancelled;

/// How often the device is asked.
const INTERVAL: Duration = Duration::from_secs(5);

/// The library by the name that the driver itself installs; the one without a number is for those who compile.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// By which name NVML knows a device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Index(u32),
    Uuid(String),
}

/// Asks the device (`cuda:0`, …) every few seconds until the token is cancelled. Returns at once on the CPU, and where
/// NVML is not there or does not know the device.
pub async fn report(device: String, shutdown: CancellationToken) {
    let Some(index) = device.strip_prefix("cuda:").and_then(|index| index.parse().ok()) else {
        return;
    };
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let Some(name) = name_of(visible.as_deref(), index) else {
        debug!(
            device,
            visible, "CUDA_VISIBLE_DEVICES does not say which device this is, its load is not shown"
        );
        return;
    };
    let ask = {
        let device = device.clone();
        move |nvml: &Nvml| show(nvml, &name, &device)
    };
    let opened = tokio::task::spawn_blocking(move || {
        let nvml = Nvml::builder().lib_path(OsStr::new(LIBRARY)).init()?;
        ask(&nvml)?;
        Ok::<_, NvmlError>((nvml, ask))
    });
    let (nvml, ask) = match opened.await {
        Ok(Ok((nvml, ask))) => (Arc::new(nvml), Arc::new(ask)),
        Ok(Err(error)) => {
            debug!(device, %error, "NVML does not answer, the load of the device is not shown");
            return;
        }
        Err(_) => return,
    };
    while sleep_unless_cancelled(INTERVAL, &shutdown).await {
        let (nvml, ask) = (Arc::clone(&nvml), Arc::clone(&ask));
        // It may make its caller wait. Without an answer the metrics keep their last values.
        let _ = tokio::task::spawn_blocking(move || ask(&nvml)).await;
    }
}

/// Sets the metrics of a device. A figure that this kind of device does not have is left out.
fn show(nvml: &Nvml, name: &Name, label: &str) -> Result<(), NvmlError> {
    let device = match name {
        Name::Index(index) => nvml.device_by_index(*index)?,
        Name::Uuid(uuid) => nvml.device_by_uuid(uuid.as_str())?,
    };
    if let Ok(rates) = device.utilization_rates() {
        gauge!(DEVICE_UTILISATION, "device" => label.to_owned()).set(f64::from(rates.gpu) / 100.0);
    }
    if let Ok(milliwatts) = device.power_usage() {
        gauge!(DEVICE_POWER, "device" => label.to_owned()).set(f64::from(milliwatts) / 1000.0);
    }
    if let Ok(degrees) = device.temperature(TemperatureSensor::Gpu) {
        gauge!(DEVICE_TEMPERATURE, "device" => label.to_owned()).set(f64::from(degrees));
    }
    Ok(())
}

/// NVML counts all devices of the machine, in the order of their places on the bus; CUDA counts those of
/// `CUDA_VISIBLE_DEVICES`. On a machine with cards of different kinds CUDA counts the fastest first, unless
/// `CUDA_DEVICE_ORDER=PCI_BUS_ID` is set; that order is not looked at here.
fn name_of(visible: Option<&str>, index: usize) -> Option<Name> {
    let Some(visible) = visible.filter(|visible| !visible.trim().is_empty()) else {
        return Some(Name::Index(u32::try_from(index).ok()?));
    };
    let entry = visible.split(',').nth(index)?.trim();
    if entry.starts_with("GPU-") || entry.starts_with("MIG-") {
        return Some(Name::Uuid(entry.to_owned()));
    }
    entry.parse().ok().map(Name::Index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_among_those_that_are_visible() {
        assert_eq!(name_of(None, 1), Some(Name::Index(1)));
        assert_eq!(name_of(Some(""), 0), Some(Name::Index(0)));
        assert_eq!(name_of(Some("3, 2"), 1), Some(Name::Index(2)));
        assert_eq!(name_of(Some("GPU-1a2b"), 0), Some(Name::Uuid("GPU-1a2b".to_owned())));
        for (visible, index) in [("3", 1), ("none", 0)] {
            assert_eq!(name_of(Some(visible), index), None, "{visible}");
        }
    }

    #[tokio::test]
    async fn nothing_happens_on_the_cpu() {
        // It would wait for the token otherwise.
        report("cpu".to_owned(), CancellationToken::new()).await;
    }
}
