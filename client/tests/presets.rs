//! Presets are the rows of the paper's experiments, and `--preset` and `--set` do what they say.
#![allow(clippy::unwrap_used)]

mod support;

use anytime::presets::{self, Base, Method};
use anytime_proto::settings::{JobSettings, parse_job_file, with_defaults};
use anytime_proto::v1::objective_spec::Settings;
use anytime_proto::v1::{self, SummaryMethod, VarianceReduction};
use support::{anytime, train_job, write};

/// n_summary, summary_method, n_budget_support > 1, budget_probs, variance_reduction: run_experiments.sh of the
/// reference implementation, and the baselines of its variance_reduction under AR-uniform.
type Row = (&'static str, u32, SummaryMethod, bool, &'static str, VarianceReduction);

const ROWS: [Row; 11] = [
    ("grpo", 1, SummaryMethod::Grpo, false, "base", VarianceReduction::V2),
    (
        "ar-linear",
        4,
        SummaryMethod::Brpo,
        true,
        "linear",
        VarianceReduction::Brpo,
    ),
    (
        "ar-uniform",
        4,
        SummaryMethod::Brpo,
        true,
        "uniform",
        VarianceReduction::Brpo,
    ),
    ("ar-base", 4, SummaryMethod::Brpo, true, "base", VarianceReduction::Brpo),
    (
        "grpo+linear",
        1,
        SummaryMethod::Grpo,
        true,
        "linear",
        VarianceReduction::V2,
    ),
    (
        "grpo+decouple",
        4,
        SummaryMethod::Brpo,
        true,
        "base",
        VarianceReduction::V2,
    ),
    ("grpo+vr", 1, SummaryMethod::Grpo, true, "base", VarianceReduction::Brpo),
    (
        "grpo+vr+decouple",
        4,
        SummaryMethod::Brpo,
        true,
        "base",
        VarianceReduction::Brpo,
    ),
    ("v1only", 4, SummaryMethod::Brpo, true, "uniform", VarianceReduction::V1),
    ("v2only", 4, SummaryMethod::Brpo, true, "uniform", VarianceReduction::V2),
    ("none", 4, SummaryMethod::Brpo, true, "uniform", VarianceReduction::None),
];

/// The objectives of the related work, each a method of the same name.
const RELATED: [&str; 5] = ["elastic", "adaptthink", "degrpo", "short_rl", "kimi"];

/// (base, budgets, G).
const BASES: [(&str, &[u32], u32); 5] = [
    ("r1-distill-1.5b-8k", &[2000, 4000, 6000, 8000], 8),
    (
        "r1-distill-1.5b-16k",
        &[2000, 4000, 6000, 8000, 10000, 12000, 14000, 16000],
        16,
    ),
    ("demo", &[6, 12, 18, 24], 8),
    ("products", &[8, 16, 24, 32], 8),
    ("smollm2-sums", &[16, 32, 48], 8),
];

fn settings(name: &str) -> JobSettings {
    JobSettings::try_new(&presets::job(name).unwrap()).unwrap()
}

fn prior(name: &str, budgets: &[u32]) -> Vec<f64> {
    let sum: f64 = budgets.iter().map(|budget| f64::from(*budget)).sum();
    let last = budgets.len() - 1;
    let weight = |(index, budget): (usize, &u32)| match name {
        "linear" => f64::from(*budget) / sum,
        "uniform" => 1.0 / budgets.len() as f64,
        _ => f64::from(u8::from(index == last)),
    };
    budgets.iter().enumerate().map(weight).collect()
}

#[test]
fn every_preset_is_its_row_of_the_paper() {
    assert_eq!(Base::names().collect::<Vec<_>>(), BASES.map(|base| base.0));
    assert_eq!(Method::names().count(), ROWS.len() + RELATED.len());
    for (base, all_budgets, traces) in BASES {
        for (method, summaries, summary_method, has_all_budgets, prior_name, variance_reduction) in ROWS {
            let name = format!("{base}/{method}");
            let job = settings(&name);
            let budgets = if has_all_budgets {
                all_budgets
            } else {
                &all_budgets[all_budgets.len() - 1..]
            };
            assert_eq!(job.kind, v1::JobKind::Train, "{name}");
            assert_eq!(job.rollout.budgets, budgets, "{name}");
            assert_eq!(
                (job.rollout.traces, job.rollout.summaries),
                (traces, summaries),
                "{name}"
            );
            assert_eq!(job.objective.name, "brpo", "{name}");
            assert_eq!(job.objective.lambda, 0.5, "{name}");
            let Settings::Brpo(own) = &job.objective.own else {
                panic!("{name}: {:?}", job.objective.own);
            };
            assert_eq!(own.summary_method(), summary_method, "{name}");
            assert_eq!(own.variance_reduction(), variance_reduction, "{name}");
            assert_eq!(job.objective.prior, prior(prior_name, budgets), "{name}");
            assert_eq!(
                job.evaluation.budgets, all_budgets,
                "{name}: every method is evaluated at all budgets"
            );
            assert_eq!(job.checkpoint.output, None, "{name}: no method writes over another");
        }
    }
}

#[test]
fn the_related_work_runs_on_every_base_under_the_same_evaluation() {
    for (base, all_budgets, _) in BASES {
        for method in RELATED {
            let job = settings(&format!("{base}/{method}"));
            assert_eq!(job.objective.name, method, "{base}");
            assert_eq!(
                job.rollout.budgets,
                all_budgets[all_budgets.len() - 1..],
                "{base}/{method}"
            );
            assert_eq!(job.rollout.summaries, 1, "{base}/{method}");
            assert_eq!(job.evaluation.budgets, all_budgets, "{base}/{method}");
        }
        assert_eq!(settings(&format!("{base}/degrpo")).training.normaliser, 1.0, "{base}");
    }
}

#[test]
fn the_papers_hyper_parameters() {
    for (method, ..) in ROWS {
        let short = settings(&format!("r1-distill-1.5b-8k/{method}"));
        let long = settings(&format!("r1-distill-1.5b-16k/{method}"));
        assert_eq!((short.training.batch, short.training.minibatches), (64, 2));
        assert_eq!((long.training.batch, long.training.minibatches), (128, 2));
        assert_eq!(
            (short.training.steps, long.training.steps),
            (40_315 / 64, 3 * (40_315 / 128))
        );
        assert_eq!(
            (short.training.normaliser, long.training.normaliser),
            (10_176.0, 18_176.0)
        );
        assert_eq!((short.evaluation.every, long.evaluation.every), (20, 40));
        for job in [short, long] {
            assert_eq!(job.data.max_prompt_tokens, 1024);
            assert!(
                job.data
                    .instruction
                    .ends_with("output the final answer within \\boxed{}.")
            );
            assert_eq!(job.markers.cut, "...\n\n...\n\n");
            assert_eq!(job.markers.summary, "\n\n**Final Answer**\n");
            assert_eq!(job.rollout.max_summary_tokens, 118);
            assert_eq!((job.rollout.temperature, job.rollout.top_p), (1.0, 1.0));
            assert_eq!(job.objective.summary_weight, 1.0);
            let training = &job.training;
            assert_eq!(
                (training.learning_rate, training.schedule),
                (1e-6, v1::Schedule::Constant)
            );
            assert_eq!(
                (training.beta1, training.beta2, training.weight_decay),
                (0.9, 0.999, 0.01)
            );
            assert_eq!(
                (training.clip, training.gradient_clip, training.max_staleness),
                (0.2, 1.0, 0)
            );
            // The default is 1.05.
            assert_eq!(training.gradient_clip_history, 0.0);
            assert_eq!((job.evaluation.samples, job.evaluation.temperature), (32, 0.6));
            assert!(job.evaluation.before && job.evaluation.after);
            assert_eq!(job.checkpoint.recovery_every, 40);
        }
    }
}

#[tokio::test]
async fn presets_are_listed_and_printed_as_job_files() {
    let listed = anytime(&["presets"]).await;
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let methods = ROWS.len() + RELATED.len();
    assert_eq!(listed.stdout.lines().count(), BASES.len() * methods);
    for line in listed.stdout.lines() {
        let (name, description) = line.split_once("  ").unwrap();
        assert!(!description.trim().is_empty(), "{line}");
        let printed = anytime(&["presets", name]).await;
        let read = parse_job_file(&printed.stdout).unwrap();
        assert_eq!(read, presets::job(name).unwrap(), "{name}");
    }
    for name in ["demo", "demo/brpo", "nothing/grpo"] {
        let refused = anytime(&["presets", name]).await;
        assert!(
            refused.code == 64 && refused.stderr.contains("preset"),
            "{}",
            refused.stderr
        );
    }
}

#[tokio::test]
async fn a_preset_a_file_and_set_lie_over_each_other_in_this_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.toml");
    write(
        &file,
        "name = \"mine\"\n[training]\nsteps = 7\nbatch = 32\n[rollout]\nbudgets = [9]\n",
    );
    let arguments = [
        "check",
        "--settings-only",
        file.to_str().unwrap(),
        "--preset",
        "demo/grpo",
        "--set",
        "training.batch=8",
        "--set",
        "objective.prior=uniform",
        "--json",
    ];
    let ended = anytime(&arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let documents = ended.json();
    let spec = &documents[0]["spec"];
    assert_eq!((&spec["name"], &spec["training"]["steps"]), (&"mine".into(), &7.into()));
    assert_eq!(spec["training"]["batch"], 8);
    assert_eq!(spec["rollout"]["budgets"], serde_json::json!([9]));
    assert_eq!(spec["objective"]["prior"], "uniform");
    assert_eq!(spec["rollout"]["summaries"], 1, "of the method");
    assert_eq!(spec["training"]["normaliser"], 72.0, "of the base");

    let alone = anytime(&[
        "check",
        "--settings-only",
        "--preset",
        "demo/ar-base",
        "--set",
        "training.steps=3",
        "--json",
    ])
    .await;
    let documents = alone.json();
    assert_eq!(documents[0]["spec"]["kind"], "sft", "the warm start comes first");
    assert_eq!(documents[0]["spec"]["training"]["steps"], 2500, "and is left as it is");
    assert_eq!(documents[1]["spec"]["training"]["steps"], 3);
}

#[tokio::test]
async fn settings_are_changed_on_the_command_line_or_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.toml");
    write(&file, &train_job("x"));
    let file = file.to_str().unwrap();
    let changed = anytime(&[
        "check",
        "--settings-only",
        file,
        "--set",
        "training.learning_rate=0.5",
        "--json",
    ])
    .await;
    assert_eq!(changed.json()[0]["spec"]["training"]["learning_rate"], 0.5);
    let out = directory.path().join("out");
    let commands: [&[&str]; 4] = [
        &["check", file],
        &["submit", file],
        &["local", file, "--out", out.to_str().unwrap()],
        &["demo", "--out", out.to_str().unwrap()],
    ];
    for command in commands {
        for (set, name) in [
            ("rollout.budget=[6]", "rollout.budget"),
            ("training.steps=many", "training.steps"),
            ("training.clip=3", "training.clip"),
            ("evaluation", "KEY=VALUE"),
            ("rollout.budgets=[]", "rollout.budgets"),
            ("objective.kimi=[]", "a table of settings"),
            ("training=[3]", "a table of settings"),
        ] {
            let ended = anytime(&[command, &["--set", set]].concat()).await;
            assert_eq!(ended.code, 64, "{command:?} {set}: {}", ended.stderr);
            assert!(ended.stderr.contains(name), "{command:?} {set}: {}", ended.stderr);
            assert!(!out.exists());
        }
    }
    let evaluate = anytime(&[
        "evaluate",
        "--model",
        "m",
        "--problems",
        "p",
        "--set",
        "rollout.trace=1",
    ])
    .await;
    assert!(
        evaluate.code == 64 && evaluate.stderr.contains("rollout.trace"),
        "{}",
        evaluate.stderr
    );
}

#[test]
fn a_preset_without_changes_is_the_tasks_own_job_under_its_method() {
    let mut of_preset = with_defaults(&presets::job("demo/ar-linear").unwrap());
    let text = std::fs::read_to_string(support::repository().join("deploy/demo/train.toml")).unwrap();
    let mut of_demo = with_defaults(&parse_job_file(&text).unwrap());
    for spec in [&mut of_preset, &mut of_demo] {
        spec.name = None;
        spec.checkpoint.get_or_insert_default().output = None;
    }
    assert_eq!(of_preset, of_demo, "the demo is AR-linear");
}
