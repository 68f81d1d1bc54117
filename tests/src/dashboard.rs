//! The dashboards that are in the repository, and their queries.

use std::path::PathBuf;

use anytime_service::metric_names as names;
use serde_json::Value;

use crate::programs;

/// One query of one panel.
#[derive(Clone, Debug)]
pub struct PanelQuery {
    /// Name of the dashboard's file, without its ending.
    pub dashboard: String,
    /// Title of the panel.
    pub panel: String,
    /// The query as Grafana would send it.
    pub expression: String,
}

/// What a query may ask for besides this project's metrics: whether targets answer, alerts, what Redis' exporter and
/// Prometheus say of themselves, and what every process says of its memory and processor time.
const METRICS_OF_OTHERS: [&str; 5] = ["up", "ALERTS", "redis_", "prometheus_", "process_"];

/// Every dashboard by the name of its file without its ending, in the order of the names.
pub fn dashboards() -> Vec<(String, Value)> {
    let folder = programs::repository().join("deploy/grafana/dashboards");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let dashboard: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        (name.to_owned(), dashboard)
    };
    paths.into_iter().map(read).collect()
}

/// Every panel of a dashboard that is no row, also those that a folded row holds.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        if panel["type"] == "row" {
            found.extend(panels(panel));
        } else {
            found.push(panel);
        }
    }
    found
}

/// Every query of every panel, with Grafana's interval variables filled in for a scrape every second, and the variables of
/// the dashboards for all processes.
pub fn queries() -> Vec<PanelQuery> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards() {
        collect(&name, &dashboard, &mut found);
    }
    found
}

fn collect(name: &str, dashboard: &Value, found: &mut Vec<PanelQuery>) {
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a target has an expression");
            let expression = expression
                .replace("$__rate_interval", "10s")
                .replace("$__interval", "1s")
                .replace("$__range", "5m")
                .replace("$job", ".*")
                .replace("$instance", ".*");
            assert!(!expression.contains('$'), "an unknown variable in {expression}");
            found.push(PanelQuery {
                dashboard: name.to_owned(),
                panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                expression,
            });
        }
    }
}

/// Whether an expression asks for something that is not this project's.
pub fn asks_others(expression: &str) -> bool {
    words(expression).any(|word| {
        let is_named = |name: &str| word == name || (name.ends_with('_') && word.starts_with(name));
        METRICS_OF_OTHERS.into_iter().any(is_named)
    })
}

/// Whether an expression asks for what only a process on a GPU serves, which a test's does not compute on.
pub fn asks_gpus(expression: &str) -> bool {
    let asked = metric_names(expression);
    asked.iter().any(|name| names::OF_GPUS.contains(&name.as_str()))
}

/// The project's metrics that an expression or a file names, without the suffixes of a histogram's series.
pub fn metric_names(text: &str) -> Vec<String> {
    let metrics = words(text).filter(|word| word.starts_with("anytime_"));
    metrics.map(|word| base_name(word).to_owned()).collect()
}

/// What may be names of metrics.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(move |c: char| !is_part(c))
}

fn base_name(series: &str) -> &str {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(base) = series.strip_suffix(suffix)
            && names::ALL.contains(&base)
        {
            return base;
        }
    }
    series
}

/// Path of a file in deploy/prometheus.
pub fn prometheus_file(name: &str) -> PathBuf {
    programs::repository().join("deploy/prometheus").join(name)
}
