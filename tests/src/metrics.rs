//! Reads the metrics of one process, without a Prometheus.

use std::sync::LazyLock;
use std::time::Duration;

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name and labels as the process wrote them.
    pub series: String,
    /// Its value.
    pub value: f64,
}

/// The one client of HTTP, because each reads all CAs of this machine, which takes a program that is not optimised long.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // reqwest has no provider of cryptography of its own here. Whoever was first has chosen the same.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    // A connection ends with the runtime of the test that opened it, and would be of no use to the next.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    client.build().expect("nothing is set that could not be")
});

/// A client of HTTP, which opens a connection for every request.
pub fn web_client() -> reqwest::Client {
    CLIENT.clone()
}

/// Scrapes `host:port`; None if nobody answers.
pub async fn scrape(address: &str) -> Option<Vec<Sample>> {
    let request = web_client()
        .get(format!("http://{address}/metrics"))
        .timeout(Duration::from_secs(5));
    let text = request.send().await.ok()?.text().await.ok()?;
    Some(samples(&text))
}

/// The samples of an exposition.
pub fn samples(text: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((series, value)) = line.rsplit_once(' ') {
            samples.push(Sample {
                series: series.to_owned(),
                value: value.parse().unwrap_or(f64::NAN),
            });
        }
    }
    samples
}

/// The sum over all series of this name that contain this label pair (`state="running"`).
pub fn sum(samples: &[Sample], name: &str, label: &str) -> f64 {
    let is_wanted = |sample: &&Sample| {
        let named = sample.series.split('{').next() == Some(name);
        named && sample.series.contains(label)
    };
    samples.iter().filter(is_wanted).map(|sample| sample.value).sum()
}
