//! From the lines that the cases printed to one table and `results.json`.
//!
//! Every figure is the median of all repetitions of its case and side; a ratio is one of medians. Beside it is the
//! ratio of the fastest repetitions, which other work on the machine disturbs least. What was not measured in the run
//! has no figure and no ratio.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// This project's side.
pub const OWN: &str = "anytime";
/// The library that most of the ratios are over.
pub const TRANSFORMERS: &str = "transformers";
/// Plain products of libtorch.
pub const LIBTORCH: &str = "libtorch";

/// One ratio of the table: what it is, and what it should reach.
struct Ratio {
    name: &'static str,
    what: &'static str,
    goal: &'static str,
    value: fn(&View<'_>) -> Option<f64>,
}

const RATIOS: &[Ratio] = &[
    Ratio {
        name: "decode_f32_b1",
        what: "tokens/s over transformers, 1 sequence, f32",
        goal: "≥ 1.4",
        value: |figures| figures.speed_over("decode_f32_b1", TRANSFORMERS),
    },
    Ratio {
        name: "decode_f32_b16",
        what: "the same, 16 sequences of 1 prompt",
        goal: "",
        value: |figures| figures.speed_over("decode_f32_b16", TRANSFORMERS),
    },
    Ratio {
        name: "decode_f32_b64",
        what: "the same, 64 sequences of 4 prompts",
        goal: "≥ 2.4",
        value: |figures| figures.speed_over("decode_f32_b64", TRANSFORMERS),
    },
    Ratio {
        name: "decode_f32_b256",
        what: "the same, 256 sequences of 16 prompts",
        goal: "",
        value: |figures| figures.speed_over("decode_f32_b256", TRANSFORMERS),
    },
    Ratio {
        name: "decode_bf16_b1",
        what: "tokens/s over transformers, 1 sequence, bf16",
        goal: "",
        value: |figures| figures.speed_over("decode_bf16_b1", TRANSFORMERS),
    },
    Ratio {
        name: "decode_bf16_b64",
        what: "the same, 64 sequences of 4 prompts",
        goal: "≥ 3.5",
        value: |figures| figures.speed_over("decode_bf16_b64", TRANSFORMERS),
    },
    Ratio {
        name: "decode_bf16_b256",
        what: "the same, 256 sequences of 16 prompts",
        goal: "",
        value: |figures| figures.speed_over("decode_bf16_b256", TRANSFORMERS),
    },
    Ratio {
        name: "decode_f32_b1_llamacpp",
        what: "tokens/s over llama.cpp, 1 sequence, f32 both",
        goal: "",
        value: |figures| figures.speed_over("decode_f32_b1", "llama.cpp f32"),
    },
    Ratio {
        name: "decode_bf16_b1_llamacpp_f16",
        what: "the same, bf16 over its f16",
        goal: "",
        value: |figures| {
            Some(figures.seconds("decode_f32_b1", "llama.cpp f16")? / figures.seconds("decode_bf16_b1", OWN)?)
        },
    },
    Ratio {
        name: "decode_f32_b256_over_b64",
        what: "our tokens/s at 256 sequences over those at 64",
        goal: "> 1",
        value: |figures| Some(figures.speed("decode_f32_b256", OWN)? / figures.speed("decode_f32_b64", OWN)?),
    },
    Ratio {
        name: "decode_f32_b64_of_limit",
        what: "our tokens/s over libtorch's linear layers alone at 64 rows",
        goal: "≥ 0.8",
        value: |figures| Some(figures.speed("decode_f32_b64", OWN)? / figures.speed("limit_f32_64", LIBTORCH)?),
    },
    Ratio {
        name: "decode_bf16_b64_of_limit",
        what: "the same in bf16",
        goal: "",
        value: |figures| Some(figures.speed("decode_bf16_b64", OWN)? / figures.speed("limit_bf16_64", LIBTORCH)?),
    },
    Ratio {
        name: "anytime_rollout_f32",
        what: "seconds of transformers over ours, anytime rollouts",
        goal: "≥ 4.5",
        value: |figures| figures.speed_over("anytime_rollout_f32", TRANSFORMERS),
    },
    Ratio {
        name: "summary_overhead",
        what: "seconds of summaries over the decoding of their own tokens",
        goal: "≤ 1.25",
        value: |figures| figures.summary_overhead(),
    },
    Ratio {
        name: "train_update_f32",
        what: "seconds of transformers over ours, one update, f32",
        goal: "≥ 6.5",
        value: |figures| figures.speed_over("train_update_f32", TRANSFORMERS),
    },
    Ratio {
        name: "train_update_bf16",
        what: "the same in bf16 on f32 masters",
        goal: "",
        value: |figures| figures.speed_over("train_update_bf16", TRANSFORMERS),
    },
    Ratio {
        name: "train_update_of_limit",
        what: "seconds of the update's matrix products alone over ours",
        goal: "≥ 0.6",
        value: |figures| {
            Some(figures.seconds("train_limit_f32", LIBTORCH)? / figures.seconds("train_update_f32", OWN)?)
        },
    },
    Ratio {
        name: "decode_f32_b64_busy",
        what: "seconds beside one busy thread over those on a quiet machine, 64 sequences",
        goal: "≤ 2",
        value: |figures| figures.slowdown("decode_f32_b64_busy", "decode_f32_b64"),
    },
    Ratio {
        name: "anytime_rollout_f32_busy",
        what: "the same, anytime rollouts",
        goal: "≤ 2",
        value: |figures| figures.slowdown("anytime_rollout_f32_busy", "anytime_rollout_f32"),
    },
    Ratio {
        name: "decode_f32_b64_waiting",
        what: "seconds over those with OpenMP's own long wait, quiet machine, 64 sequences",
        goal: "≤ 1.05",
        value: |figures| figures.slowdown("decode_f32_b64", "decode_f32_b64_long_wait"),
    },
    Ratio {
        name: "weight_bytes",
        what: "bytes of a weights update that travel",
        goal: "",
        value: |figures| figures.value("weights", "weight_bytes"),
    },
    Ratio {
        name: "weight_pause_ms",
        what: "milliseconds that generation pauses for a weights update",
        goal: "",
        value: |figures| figures.value("weights", "weight_pause_ms"),
    },
];

/// The lines of one run, by case and side.
pub struct Measurements {
    cases: Cases,
}

type Cases = BTreeMap<(String, String), Figures>;

/// The lines with one number for the repetitions of each case.
struct View<'a> {
    cases: &'a Cases,
    /// The median, or the fastest.
    statistic: fn(&[f64]) -> Option<f64>,
}

#[derive(Default)]
struct Figures {
    seconds: Vec<f64>,
    /// What else the last line of the case said.
    other: Map<String, Value>,
}

impl Measurements {
    /// Reads one JSON object a line; lines of the same case and side are repetitions of it.
    ///
    /// # Errors
    /// A line is not an object with `case`, `side` and numbers in `seconds`, where it has them.
    pub fn parse(lines: &str) -> anyhow::Result<Self> {
        let mut all = Cases::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let context = || format!("line {line:?}");
            let mut object: Map<String, Value> = serde_json::from_str(line).with_context(context)?;
            let mut text = |name: &str| -> anyhow::Result<String> {
                let value = object.remove(name).and_then(|value| value.as_str().map(str::to_owned));
                value.with_context(|| format!("{name} is missing in {line:?}"))
            };
            let key = (text("case")?, text("side")?);
            let figures = all.entry(key).or_default();
            if let Some(seconds) = object.remove("seconds") {
                let seconds: Vec<f64> = serde_json::from_value(seconds).with_context(context)?;
                figures.seconds.extend(seconds);
            }
            figures.other = object;
        }
        Ok(Self { cases: all })
    }

    fn medians(&self) -> View<'_> {
        View {
            cases: &self.cases,
            statistic: median,
        }
    }

    fn fastest(&self) -> View<'_> {
        View {
            cases: &self.cases,
            statistic: fastest,
        }
    }

    /// The versions that the sides reported.
    pub fn versions(&self) -> Map<String, Value> {
        let mut versions = Map::new();
        for figures in self.cases.values() {
            if let Some(Value::Object(reported)) = figures.other.get("versions") {
                versions.extend(reported.clone());
            }
        }
        versions
    }

    /// The document of `results.json`: `about` as it is, every figure under `measured`, every ratio under `ratios`.
    pub fn document(&self, about: Map<String, Value>) -> Value {
        let mut measured: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        let medians = self.medians();
        for ((case, side), figures) in &self.cases {
            let mut entry = figures.other.clone();
            entry.remove("versions");
            if let Some(seconds) = medians.seconds(case, side) {
                entry.insert("seconds_median".to_owned(), json!(seconds));
                entry.insert("repetitions".to_owned(), json!(figures.seconds.len()));
                entry.insert("seconds".to_owned(), json!(sample(&figures.seconds)));
                if let Some(flop) = figures.other.get("flop").and_then(Value::as_f64) {
                    entry.insert("gflop_per_second".to_owned(), json!(flop / seconds / 1e9));
                }
            }
            if let Some(speed) = medians.speed(case, side) {
                entry.insert("tokens_per_second".to_owned(), json!(speed));
            }
            measured
                .entry(case)
                .or_default()
                .insert(side.clone(), Value::Object(entry));
        }
        let ratios = |view: View<'_>| -> Map<String, Value> {
            let ratios = view.ratios().into_iter();
            ratios.map(|(name, value)| (name.to_owned(), json!(value))).collect()
        };
        let mut document = about;
        document.insert("measured".to_owned(), json!(measured));
        document.insert("ratios".to_owned(), json!(ratios(medians)));
        document.insert("ratios_of_fastest".to_owned(), json!(ratios(self.fastest())));
        Value::Object(document)
    }

    /// All figures and all ratios, in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from("| case | side | median s | fastest | slowest | of | tokens/s | GFLOP/s |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        let medians = self.medians();
        for ((case, side), figures) in &self.cases {
            let Some(seconds) = medians.seconds(case, side) else {
                continue;
            };
            let fastest = fastest(&figures.seconds).unwrap_or(seconds);
            let slowest = figures.seconds.iter().copied().fold(0.0, f64::max);
            let flop = figures.other.get("flop").and_then(Value::as_f64);
            let cells = [
                case.clone(),
                side.clone(),
                format!("{seconds:.4}"),
                format!("{fastest:.4}"),
                format!("{slowest:.4}"),
                figures.seconds.len().to_string(),
                medians
                    .speed(case, side)
                    .map_or(String::new(), |speed| format!("{speed:.1}")),
                flop.map_or(String::new(), |flop| format!("{:.1}", flop / seconds / 1e9)),
            ];
            text.push_str(&row(&cells));
        }
        text.push_str("\n| figure | value | of the fastest | goal | what |\n|---|---|---|---|---|\n");
        let number = |value: Option<f64>| match value {
            None => "not measured".to_owned(),
            // A count of bytes needs no decimals.
            Some(large) if large >= 1e5 => format!("{large:.0}"),
            Some(small) => format!("{small:.3}"),
        };
        for ratio in RATIOS {
            text.push_str(&row(&[
                format!("`{}`", ratio.name),
                number((ratio.value)(&medians)),
                number((ratio.value)(&self.fastest())),
                ratio.goal.to_owned(),
                ratio.what.to_owned(),
            ]));
        }
        text
    }
}

impl View<'_> {
    fn figures(&self, case: &str, side: &str) -> Option<&Figures> {
        self.cases.get(&(case.to_owned(), side.to_owned()))
    }

    /// Median, or the fastest, of a case on a side.
    fn seconds(&self, case: &str, side: &str) -> Option<f64> {
        (self.statistic)(&self.figures(case, side)?.seconds).filter(|seconds| *seconds > 0.0)
    }

    /// Tokens per second.
    fn speed(&self, case: &str, side: &str) -> Option<f64> {
        let tokens = self.figures(case, side)?.other.get("tokens")?.as_f64()?;
        Some(tokens / self.seconds(case, side)?)
    }

    /// How many times as fast this side runs a case of equal work.
    fn speed_over(&self, case: &str, other: &str) -> Option<f64> {
        Some(self.seconds(case, other)? / self.seconds(case, OWN)?)
    }

    /// The seconds of a case of ours over those of another.
    fn slowdown(&self, case: &str, over: &str) -> Option<f64> {
        Some(self.seconds(case, OWN)? / self.seconds(over, OWN)?)
    }

    fn value(&self, case: &str, name: &str) -> Option<f64> {
        self.figures(case, OWN)?.other.get(name)?.as_f64()
    }

    /// The summaries' overhead, as [`crate::rollout`] defines it.
    fn summary_overhead(&self) -> Option<f64> {
        let rollouts = self.seconds("anytime_rollout_f32", OWN)?;
        let thinking = self.seconds("rollout_thinking_f32", OWN)?;
        Some((rollouts - thinking) / self.seconds("rollout_own_tokens_f32", OWN)?)
    }

    /// Every ratio by its name; `None` where something that it needs was not measured.
    fn ratios(&self) -> Vec<(&'static str, Option<f64>)> {
        RATIOS.iter().map(|ratio| (ratio.name, (ratio.value)(self))).collect()
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The middle value, or the mean of the two middle ones; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn fastest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

/// The first values, to be written down: a limit may have hundreds.
fn sample(values: &[f64]) -> &[f64] {
    &values[..values.len().min(20)]
}

/// Processor, cores and memory of this machine.
pub fn hardware() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = read("/proc/cpuinfo");
    let kibibytes =
        field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    json!({
        "processor": field(&processor, "model name"),
        "family": field(&processor, "cpu family"),
        "model": field(&processor, "model\t"),
        "instructions": instructions(&field(&processor, "flags").unwrap_or_default()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_gib": kibibytes.map(|kibibytes| (kibibytes / 1024.0 / 1024.0 * 10.0).round() / 10.0),
    })
}

/// The vector instructions that decide how fast matrix products are.
fn instructions(flags: &str) -> Vec<&str> {
    const TELLING: [&str; 6] = ["avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile"];
    flags.split_whitespace().filter(|flag| TELLING.contains(flag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[Value]) -> Measurements {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        Measurements::parse(&text.join("\n")).unwrap()
    }

    fn ratio(figures: &Measurements, name: &str) -> Option<f64> {
        let found = figures.medians().ratios().into_iter().find(|(ratio, _)| *ratio == name);
        found.unwrap().1
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_of_medians_over_all_lines() {
        let figures = parse(&[
            json!({"case": "decode_f32_b64", "side": "anytime", "seconds": [1.0], "tokens": 2048}),
            json!({"case": "decode_f32_b64", "side": "anytime", "seconds": [3.0, 2.0], "tokens": 2048}),
            json!({"case": "decode_f32_b64", "side": "transformers", "seconds": [5.0, 50.0, 4.0], "tokens": 2048}),
            json!({"case": "limit_f32_64", "side": "libtorch", "seconds": [0.05], "tokens": 64, "flop": 1e9}),
        ]);
        assert_eq!(ratio(&figures, "decode_f32_b64"), Some(2.5));
        // 1024 tokens/s of 1280.
        assert!((ratio(&figures, "decode_f32_b64_of_limit").unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(ratio(&figures, "decode_f32_b1"), None);
        let document = figures.document(Map::new());
        assert_eq!(document["measured"]["decode_f32_b64"]["anytime"]["repetitions"], 3);
        assert_eq!(
            document["measured"]["decode_f32_b64"]["anytime"]["tokens_per_second"],
            1024.0
        );
        assert_eq!(
            document["measured"]["limit_f32_64"]["libtorch"]["gflop_per_second"],
            20.0
        );
        assert_eq!(document["ratios"]["decode_f32_b64"], 2.5);
        assert!(document["ratios"]["decode_f32_b1"].is_null());
        assert_eq!(document["ratios_of_fastest"]["decode_f32_b64"], 4.0);
    }

    #[test]
    fn what_summaries_cost_beside_their_own_tokens() {
        let seconds = |case: &str, seconds: f64| json!({"case": case, "side": "anytime", "seconds": [seconds]});
        let mut lines = vec![
            seconds("anytime_rollout_f32", 40.0),
            seconds("rollout_thinking_f32", 25.0),
        ];
        assert_eq!(ratio(&parse(&lines), "summary_overhead"), None);
        lines.push(seconds("rollout_own_tokens_f32", 12.0));
        assert_eq!(ratio(&parse(&lines), "summary_overhead"), Some(1.25));
        // Noise that swallows the difference is no figure.
        lines[2] = seconds("rollout_own_tokens_f32", -0.5);
        assert_eq!(ratio(&parse(&lines), "summary_overhead"), None);
    }

    #[test]
    fn an_update_beside_its_products() {
        let figures = parse(&[
            json!({"case": "train_update_f32", "side": "anytime", "seconds": [4.0]}),
            json!({"case": "train_update_f32", "side": "transformers", "seconds": [26.0]}),
            json!({"case": "train_limit_f32", "side": "libtorch", "seconds": [2.4]}),
            json!({"case": "weights", "side": "anytime", "weight_bytes": 1234567, "weight_pause_ms": 3.5}),
        ]);
        assert_eq!(ratio(&figures, "train_update_f32"), Some(6.5));
        assert_eq!(ratio(&figures, "train_update_of_limit"), Some(0.6));
        let table = figures.table();
        assert!(table.contains("| `weight_bytes` | 1234567 |"), "{table}");
        assert!(table.contains("| `weight_pause_ms` | 3.500 |"), "{table}");
        assert!(table.contains("| `decode_f32_b1` | not measured |"), "{table}");
    }

    #[test]
    fn a_line_that_is_no_case_is_refused() {
        for line in ["{}", "nothing", r#"{"case": "a", "side": "b", "seconds": ["c"]}"#] {
            assert!(Measurements::parse(line).is_err(), "{line}");
        }
    }
}
