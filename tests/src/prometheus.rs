//! A real Prometheus with the repository's own configuration, pointed at the processes of a test, and a real exporter of
//! Redis.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::dashboard::prometheus_file;
use crate::metrics::web_client;
use crate::ports::free_address;
use crate::process::Process;
use crate::programs;
use crate::secrets::Secrets;
use crate::wait::eventually;
use crate::workplace::Workplace;

const START_SECONDS: u64 = 30;

/// A running Prometheus that scrapes every second and answers queries; it ends when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    address: String,
    client: reqwest::Client,
}

/// A running exporter of a Redis; it ends when it is dropped.
#[derive(Debug)]
pub struct RedisExporter {
    _process: Process,
    /// Where it serves its metrics.
    pub address: String,
}

impl RedisExporter {
    /// Starts one for the Redis at a URL, and waits until it serves.
    pub async fn start(workplace: &Workplace, redis_url: &str) -> Self {
        let address = free_address();
        let mut command = Command::new(programs::redis_exporter());
        command
            .arg(format!("--redis.addr={redis_url}"))
            .arg(format!("--web.listen-address={address}"))
            .env("GOMAXPROCS", "1");
        let logs = workplace.path("redis-exporter");
        let url = format!("http://{address}/metrics");
        let mut exporter = Self {
            _process: Process::start("redis-exporter", command, workplace.mark(), &logs),
            address,
        };
        eventually("the exporter of redis", START_SECONDS, async || {
            exporter._process.assert_runs();
            let answer = web_client().get(&url).send().await.ok()?;
            let metrics = answer.text().await.ok()?;
            metrics.contains("redis_up 1").then_some(())
        })
        .await;
        exporter
    }
}

/// The answer to a query: the value of every series.
pub type Values = Vec<f64>;

impl Prometheus {
    /// Starts one that scrapes every second. `targets`: addresses by the job's name in the configuration.
    pub async fn start(workplace: &Workplace, targets: &[(&str, Vec<String>)]) -> Self {
        Self::start_with(workplace, targets, None).await
    }

    /// The same over TLS and with a token, which are in `secrets`; without it in plain text, as on loopback.
    pub async fn start_with(workplace: &Workplace, targets: &[(&str, Vec<String>)], secrets: Option<&Secrets>) -> Self {
        let address = free_address();
        let directory = workplace.path("prometheus");
        std::fs::create_dir_all(&directory).expect("directory of prometheus");
        let mut targets = targets.to_vec();
        targets.push(("prometheus", vec![address.clone()]));
        std::fs::write(directory.join("prometheus.yml"), configuration(&targets, secrets)).expect("configuration");
        std::fs::copy(prometheus_file("alerts.yml"), directory.join("alerts.yml")).expect("alerts");

        let process = Process::start(
            "prometheus",
            command(&directory, &address),
            workplace.mark(),
            &directory,
        );
        let mut prometheus = Self {
            _process: process,
            address,
            client: web_client(),
        };
        eventually("prometheus", START_SECONDS, async || {
            prometheus._process.assert_runs();
            prometheus.get("/-/ready").await
        })
        .await;
        prometheus
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs one query now. Empty while there is no data; NaN is no data.
    pub async fn query(&self, expression: &str) -> Values {
        let answer = self
            .json(&format!("/api/v1/query?query={}", percent_encoded(expression)))
            .await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = &answer["data"]["result"];
        let texts: Vec<&str> = match answer["data"]["resultType"].as_str() {
            Some("scalar") => result[1].as_str().into_iter().collect(),
            _ => {
                let series = result.as_array().into_iter().flatten();
                series.filter_map(|one| one["value"][1].as_str()).collect()
            }
        };
        let values = texts.into_iter().filter_map(|text| text.parse::<f64>().ok());
        values.filter(|value| value.is_finite()).collect()
    }

    /// The names of all series that were ever scraped.
    pub async fn series_names(&self) -> Vec<String> {
        let answer = self.json("/api/v1/label/__name__/values").await;
        let names = answer["data"].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// The alerts' names with their health, which is `ok` once the expression has been evaluated without an error.
    pub async fn alerts(&self) -> Vec<(String, String)> {
        let answer = self.json("/api/v1/rules?type=alert").await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let groups = answer["data"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules.map(|rule| (text(&rule["name"]), text(&rule["health"]))).collect()
    }

    async fn json(&self, path: &str) -> Value {
        let text = self.get(path).await.expect("prometheus answers");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The body of the answer, whatever its status; None while Prometheus is not ready.
    async fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", self.address);
        let response = self
            .client
            .get(url)
            .timeout(Duration::from_secs(10))
            .send()
            .await
            .ok()?;
        if response.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        response.text().await.ok()
    }
}

fn command(directory: &Path, address: &str) -> Command {
    let mut command = Command::new(programs::prometheus());
    command
        .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .env("GOMAXPROCS", "1");
    command
}

/// Where the containers have their secrets.
const SECRETS: &str = "/run/secrets/";

/// What the configuration has for TLS and tokens.
const TLS: [&str; 4] = ["scheme:", "tls_config:", "server_name:", "authorization:"];

/// What it has for finding containers by their name, of which a test has none.
const DISCOVERY: [&str; 4] = ["dns_sd_configs:", "- { names:", "file_sd_configs:", "- files:"];

/// What a test may do without: its jobs have no targets then. Most ask nobody for answers.
const HELPERS: [&str; 3] = ["redis", "alertmanager", "serve"];

/// The repository's configuration with other targets, scraping every second. Every job but the helpers' must be given
/// targets.
fn configuration(targets: &[(&str, Vec<String>)], secrets: Option<&Secrets>) -> String {
    let original = std::fs::read_to_string(prometheus_file("prometheus.yml")).expect("the configuration");
    let mut lines = Vec::new();
    let mut job = String::new();
    for line in original.lines() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        if let Some(name) = line.trim().strip_prefix("- job_name:") {
            job = name.trim().to_owned();
        } else if line.trim() == "alertmanagers:" {
            // Whom alerts are sent to, before the jobs.
            job = "alertmanager".to_owned();
        }
        let rewritten = if line.trim().starts_with("- targets:") {
            let found = targets.iter().find(|(name, _)| *name == job);
            let is_helper = HELPERS.contains(&job.as_str());
            assert!(
                found.is_some() || is_helper,
                "no targets for the job {job} of prometheus.yml"
            );
            let addresses = found.map(|(_, addresses)| addresses.as_slice()).unwrap_or_default();
            format!("{indentation}- targets: {addresses:?}")
        } else if line.trim().starts_with("scrape_interval:") {
            format!("{indentation}scrape_interval: 1s")
        } else if line.trim().starts_with("evaluation_interval:") {
            format!("{indentation}evaluation_interval: 2s")
        } else if let Some((key, path)) = line.split_once(SECRETS) {
            match secrets {
                Some(secrets) => format!("{key}{}", secrets.path(path)),
                None => continue,
            }
        } else if starts_with_one_of(line, &DISCOVERY) || secrets.is_none() && starts_with_one_of(line, &TLS) {
            continue;
        } else {
            line.to_owned()
        };
        lines.push(rewritten);
    }
    lines.join("\n") + "\n"
}

fn starts_with_one_of(line: &str, keys: &[&str]) -> bool {
    keys.iter().any(|key| line.trim().starts_with(key))
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: &u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(encode).collect()
}
