//! The queries of the dashboard that is in the repository.

use std::path::PathBuf;

use serde_json::Value;

use crate::programs;

/// One query of one panel.
#[derive(Clone, Debug)]
pub struct PanelQuery {
    /// Title of the panel.
    pub panel: String,
    /// The query as Grafana would send it.
    pub expression: String,
}

/// Every query of every panel, with Grafana's interval variables filled in for a scrape every second.
pub fn queries() -> Vec<PanelQuery> {
    let path = programs::repository().join("deploy/grafana/dashboards/anytime.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let dashboard: Value = serde_json::from_str(&text).expect("a dashboard");
    let mut found = Vec::new();
    collect(&dashboard["panels"], &mut found);
    found
}

/// Rows hold their panels when they are folded.
fn collect(panels: &Value, found: &mut Vec<PanelQuery>) {
    for panel in panels.as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a target has an expression");
            let expression = expression
                .replace("$__rate_interval", "10s")
                .replace("$__interval", "1s")
                .replace("$__range", "5m");
            assert!(!expression.contains('$'), "an unknown variable in {expression}");
            found.push(PanelQuery {
                panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                expression,
            });
        }
        collect(&panel["panels"], found);
    }
}

/// The project's metrics that an expression or a file names, without the suffixes of a histogram's series.
pub fn metric_names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c: char| !is_part(c));
    let metrics = words.filter(|word| word.starts_with("anytime_"));
    metrics.map(|word| base_name(word).to_owned()).collect()
}

fn base_name(series: &str) -> &str {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(base) = series.strip_suffix(suffix)
            && base.ends_with("_seconds")
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
