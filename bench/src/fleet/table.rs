//! What the cases print, a line for each measurement, and tables of it for a document.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// A table: the case whose lines it has, its title, and its columns with the figures that stand in them.
type Table = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static [&'static str])],
);

const TABLES: [Table; 6] = [
    (
        "push",
        "Pushed while the trainer stands still, beside redis-benchmark's XADD before and after",
        &[
            ("actors", &["actors"]),
            ("groups/s", &["groups_per_second"]),
            ("MB/s", &["megabytes_per_second"]),
            ("XADD/s", &["xadd_per_second"]),
            ("of XADD", &["of_xadd"]),
            ("push p50, p99 (ms)", &["push_p50_ms", "push_p99_ms"]),
            ("XADD p50, p99 (ms)", &["xadd_p50_ms", "xadd_p99_ms"]),
            ("lease p50, p99 (ms)", &["lease_p50_ms", "lease_p99_ms"]),
            (
                "CPU of a group: learner, Redis, actors (ms)",
                &["learner_cpu_ms", "redis_cpu_ms", "fleet_cpu_ms"],
            ),
            ("Redis' CPU of an XADD (ms)", &["xadd_redis_cpu_ms"]),
            ("learner, Redis (MiB)", &["learner_mib", "redis_mib"]),
        ],
    ),
    (
        "through",
        "While the trainer takes groups",
        &[
            ("actors", &["actors"]),
            ("groups/s in", &["groups_per_second"]),
            ("groups/s trained", &["trained_groups_per_second"]),
            ("MB/s", &["megabytes_per_second"]),
            ("push p50, p99 (ms)", &["push_p50_ms", "push_p99_ms"]),
            ("lease p50, p99 (ms)", &["lease_p50_ms", "lease_p99_ms"]),
            (
                "CPU of a group: learner, Redis, actors (ms)",
                &["learner_cpu_ms", "redis_cpu_ms", "fleet_cpu_ms"],
            ),
            ("learner, Redis (MiB)", &["learner_mib", "redis_mib"]),
        ],
    ),
    (
        "held",
        "While the trainer stands still and the queue is full",
        &[
            ("seconds", &["seconds"]),
            ("groups in Redis", &["stored"]),
            ("leased", &["leased"]),
            ("learner, Redis (MiB)", &["learner_mib", "redis_mib"]),
            ("cores that the learner keeps busy", &["learner_cores"]),
        ],
    ),
    (
        "many",
        "Over many pushes of small groups, each time all of them trained",
        &[
            ("pushes", &["pushes"]),
            ("seconds", &["seconds"]),
            ("fields of the hash, groups, keys", &["seen", "stored", "keys"]),
            (
                "queued, leased, waiting, taken",
                &["queued", "leased", "waiting", "taken"],
            ),
            ("learner, Redis (MiB)", &["learner_mib", "redis_mib"]),
        ],
    ),
    ("weights_whole", "Whole weights, fetched at the same time", &WEIGHTS),
    ("weights_delta", "Deltas, fetched at the same time", &WEIGHTS),
];

const WEIGHTS: [(&str, &[&str]); 5] = [
    ("actors", &["actors"]),
    ("bytes each", &["bytes_each"]),
    ("seconds until all have it", &["seconds"]),
    ("GB/s", &["gigabytes_per_second"]),
    ("learner's CPU seconds per GB", &["learner_cpu_seconds_per_gigabyte"]),
];

/// Prints a measurement as one line.
pub(super) fn print(case: &str, mut figures: Value) {
    figures["case"] = json!(case);
    figures["side"] = json!("anytime");
    println!("{figures}");
}

/// The value to three decimal places.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The lines that the cases printed.
///
/// # Errors
/// If a line is no JSON.
pub fn parse(lines: &str) -> anyhow::Result<Vec<Value>> {
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("no line of a case: {line}"));
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(parse)
        .collect()
}

/// The tables of all cases that are there, in Markdown.
pub fn tables(measured: &[Value]) -> String {
    let mut text = String::new();
    for (case, title, columns) in TABLES {
        let rows: Vec<&Value> = measured.iter().filter(|line| line["case"] == json!(case)).collect();
        if rows.is_empty() {
            continue;
        }
        let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
        text += &format!(
            "### {title}\n\n| {} |\n|{}\n",
            heads.join(" | "),
            "---|".repeat(heads.len())
        );
        for row in rows {
            let cell = |fields: &[&str]| -> String {
                let values: Vec<String> = fields.iter().map(|field| shown(&row[*field])).collect();
                values.join(", ")
            };
            let cells: Vec<String> = columns.iter().map(|(_, fields)| cell(fields)).collect();
            text += &format!("| {} |\n", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

/// A figure as it stands in a table: three digits are enough to compare.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() && value.abs() >= 100.0 => format!("{value:.0}"),
            Some(value) if number.is_f64() && value.abs() >= 10.0 => format!("{value:.1}"),
            Some(value) if number.is_f64() => format!("{value:.2}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The document of a run.
pub fn document(mut about: Map<String, Value>, measured: Vec<Value>) -> Value {
    about.insert("measured".to_owned(), Value::Array(measured));
    Value::Object(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_tables() {
        let lines = "{\"case\":\"many\",\"pushes\":3200,\"seconds\":1.5,\"seen\":2,\"stored\":0,\"keys\":2,\"queued\":0,\
            \"leased\":0,\"waiting\":0,\"taken\":0,\"learner_mib\":31.25,\"redis_mib\":1.5}\n\n";
        let measured = parse(lines).expect("lines");
        let text = tables(&measured);
        assert!(
            text.contains("| 3200 | 1.50 | 2, 0, 2 | 0, 0, 0, 0 | 31.2, 1.50 |"),
            "{text}"
        );
        assert!(!text.contains("XADD"));
        assert!(parse("nothing").is_err());
    }
}
