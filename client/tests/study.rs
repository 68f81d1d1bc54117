//! Studies: which are refused, which runs the repository's studies describe, and what a report says.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use anytime::study::claims::{Verdict, claims};
use anytime::study::figures;
use anytime::study::grid::Study;
use anytime::study::report::html;
use anytime::study::results::{RunResult, load};
use anytime::study::summary::{Cost, Summary};
use anytime_proto::settings::JobSettings;
use serde_json::{Value, json};
use support::{anytime, repository, write};

/// AR-uniform is better by 0.1 to 0.14 in every seed but no better at the largest budget; it costs twice the tokens.
fn run(method: &str, seed: u64) -> Value {
    let is_ar = method != "grpo";
    let gain = if is_ar { 0.1 + 0.01 * seed as f64 } else { 0.0 };
    let point = |step: u64| {
        let share = step as f64 / 10.0;
        let early = 0.3 + 0.1 * share + gain * share + 0.01 * seed as f64;
        let last = 0.8 + if is_ar && seed.is_multiple_of(2) { 0.01 } else { -0.01 };
        json!({
            "step": step, "generated_tokens": step * if is_ar { 200 } else { 100 }, "seconds": step as f64,
            "accuracy": [early, last], "ci95": [0.05, 0.05], "anytime": (early + last) / 2.0, "final": last,
            "mean_thinking_tokens": 12.0 - share,
        })
    };
    let end = point(10);
    let segment = |budget: u32, v1: Option<f64>| json!({ "budget": budget, "traces": 100, "correlation": [v1, 0.8, 0.9], "variance": [0.9, 0.5, 0.3] });
    let segments = if is_ar {
        vec![segment(6, None), segment(12, Some(0.5))]
    } else {
        vec![segment(12, None)]
    };
    json!({
        "preset": format!("demo/{method}"), "method": method, "seed": seed, "budgets": [6, 12],
        "accuracy": end["accuracy"], "anytime": end["anytime"], "final": end["final"],
        "mean_thinking_tokens": end["mean_thinking_tokens"], "steps": 10, "seconds": 20.0, "training_seconds": 10.0,
        "generated_tokens": end["generated_tokens"], "problems": 64, "samples": 4,
        "evaluations": [point(0), point(5), end], "segments": segments,
        "run": format!("seed-{seed}/{method}"), "job_id": format!("{method}-{seed}-x"), "settings": {},
    })
}

fn results() -> Vec<RunResult> {
    let mut runs = Vec::new();
    for seed in 1..=4 {
        for method in ["grpo", "ar-uniform"] {
            runs.push(serde_json::from_value(run(method, seed)).unwrap());
        }
    }
    runs
}

fn summary(results: &[RunResult]) -> Summary<'_> {
    Summary::try_new("Sums & \"more\" <tests>".to_owned(), results, &[], None).unwrap()
}

#[test]
fn a_report_has_every_method_figure_and_run_and_nothing_from_outside() {
    let results = results();
    let summary = summary(&results);
    let drawn = figures::all(&summary).unwrap();
    let names: Vec<&str> = drawn.iter().map(|figure| figure.name).collect();
    let expected = [
        "accuracy-by-budget",
        "differences-by-budget",
        "training-by-step",
        "training-by-cost",
        "baselines-by-segment",
    ];
    assert_eq!(names, expected);
    let html = html(&summary, &drawn);
    assert!(html.contains("Sums &amp; &quot;more&quot; &lt;tests&gt;"));
    assert_eq!(html.matches("<svg").count(), expected.len());
    for figure in &drawn {
        assert!(html.contains(&figure.svg), "{}", figure.name);
        let is_by_method = figure.name != "baselines-by-segment";
        let series = if is_by_method {
            ["grpo", "ar-uniform"]
        } else {
            ["V1 (previous", "ar-uniform: corr"]
        };
        assert!(series.iter().all(|name| figure.svg.contains(name)), "{}", figure.name);
    }
    for result in &results {
        let anchor = format!("run-{}-{}", result.method, result.seed);
        assert!(html.contains(&format!("id=\"{anchor}\" href=\"{}/report.json\"", result.run)));
        assert!(html.contains(&format!("href=\"#{anchor}\"")), "{anchor} is linked to");
    }
    // The one address is the name of the SVG language.
    let without_name = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!without_name.contains(outside), "{outside}");
    }
    for bad in ["NaN", "inf<", ">-inf", "null"] {
        assert!(!html.contains(bad), "{bad}");
    }
    for link in html.split("href=\"#").skip(1) {
        let anchor = link.split('"').next().unwrap();
        assert!(html.contains(&format!("id=\"{anchor}\"")), "{anchor} leads nowhere");
    }
}

#[test]
fn claims_follow_the_differences_within_seeds() {
    let results = results();
    let claims = claims(&summary(&results));
    let verdict = |text: &str, measure: &str| {
        let found = claims
            .iter()
            .find(|claim| claim.text.contains(text) && claim.measure.starts_with(measure));
        found.unwrap_or_else(|| panic!("{text} {measure}")).verdict
    };
    let better = "AR-uniform (BRPO) beats GRPO";
    assert_eq!(verdict(better, "anytime accuracy"), Verdict::Holds);
    assert_eq!(verdict(better, "final accuracy"), Verdict::Undecided);
    assert_eq!(
        verdict(better, "accuracy at every budget (weakest: 12)"),
        Verdict::Undecided
    );
    assert_eq!(verdict("less variance than V1", "Var"), Verdict::Holds);
    assert_eq!(verdict("less variance than V2", "Var"), Verdict::Holds);
    assert_eq!(claims.len(), 5);

    let mut reversed = results.clone();
    for run in &mut reversed {
        run.anytime = 1.0 - run.anytime;
    }
    let claims = anytime::study::claims::claims(&summary(&reversed));
    assert_eq!(claims[0].verdict, Verdict::DoesNotHold);
}

#[test]
fn equal_cost_is_the_most_that_all_runs_reached() {
    let results = results();
    let summary = summary(&results);
    assert_eq!(summary.common_total(Cost::Steps), Some(10.0));
    assert_eq!(summary.common_total(Cost::Tokens), Some(1000.0), "GRPO's");
    assert_eq!(summary.common_total(Cost::Seconds), Some(10.0));
    let html = html(&summary, &[]);
    assert!(html.contains("Every run after 1000 tokens"));
    // AR-uniform has spent 1,000 tokens after half of its steps: anytime at step 5, the mean over seeds 1 to 4.
    let of_seed = |seed: f64, last: f64| (0.3 + 0.05 + 0.5 * (0.1 + 0.01 * seed) + 0.01 * seed + last) / 2.0;
    let mean = (of_seed(1.0, 0.79) + of_seed(2.0, 0.81) + of_seed(3.0, 0.79) + of_seed(4.0, 0.81)) / 4.0;
    let table = html.split("At equal generated tokens").nth(1).unwrap();
    let row = table.split("<td>ar-uniform</td>").nth(1).unwrap();
    assert!(
        row.split("</tr>").next().unwrap().contains(&format!(">{mean:.3} ±")),
        "{mean} {row}"
    );
    assert!(row.contains("<td>50 %</td>"));
}

#[test]
fn nothing_is_read_off_a_line_through_the_ends_of_a_run() {
    let mut results = results();
    results[1].evaluations.remove(1);
    let summary = summary(&results);
    assert_eq!(summary.common_total(Cost::Steps), Some(10.0), "all end there");
    assert_eq!(summary.common_total(Cost::Tokens), None);
    let drawn = figures::all(&summary).unwrap();
    assert!(drawn.iter().all(|figure| figure.name != "training-by-cost"));
    let html = html(&summary, &drawn);
    assert!(html.contains("Every run after 10 steps") && html.contains("Not compared at equal generated tokens"));
    assert!(!html.contains("At equal generated tokens</h2>"));
}

#[test]
fn results_that_do_not_belong_together_are_refused() {
    assert!(Summary::try_new(String::new(), &[], &[], None).is_err());
    let mut twice = results();
    twice.push(twice[0].clone());
    assert!(
        Summary::try_new(String::new(), &twice, &[], None)
            .unwrap_err()
            .message
            .contains("once")
    );
    let mut other = results();
    other[3].budgets = vec![6, 13];
    let refused = Summary::try_new(String::new(), &other, &[], None).unwrap_err();
    assert!(refused.message.contains("[6, 13]"), "{refused}");
}

#[tokio::test]
async fn a_report_is_made_again_from_results_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let nothing = anytime(&["study", "report", path]).await;
    assert!(
        nothing.code == 64 && nothing.stderr.contains("results.json"),
        "{}",
        nothing.stderr
    );
    anytime::study::results::save(directory.path(), &results()).unwrap();
    let made = anytime(&["study", "report", path]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let first = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(directory.path().join("figures/accuracy-by-budget.svg").is_file());
    assert_eq!(load(directory.path()).unwrap().unwrap().len(), 8);
    anytime(&["study", "report", path]).await;
    let second = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert_eq!(first, second);
    write(&directory.path().join("results.json"), "[{}]");
    assert_eq!(anytime(&["study", "report", path]).await.code, 64);
}

#[test]
fn one_seed_gives_a_report_without_intervals() {
    let results: Vec<RunResult> = results().into_iter().filter(|run| run.seed == 2).collect();
    let summary = summary(&results);
    let html = html(&summary, &figures::all(&summary).unwrap());
    assert!(!html.contains("NaN") && html.contains("undecided") && !html.contains("<b>holds</b>"));
}

fn parse(text: &str) -> Result<Study, String> {
    Study::parse("x", text).map_err(|error| {
        assert_eq!(error.code, 64);
        error.message
    })
}

#[test]
fn studies_that_cannot_work_are_refused_by_name() {
    let valid = "title = \"x\"\nbase = \"demo\"\nmethods = [\"grpo\", \"ar-base\"]\nseeds = [1]\n";
    assert!(parse(valid).is_ok());
    for (text, name) in [
        (valid.replace("demo", "demos"), "demos"),
        (valid.replace("ar-base", "ar-bass"), "ar-bass"),
        (valid.replace("ar-base", "grpo"), "methods"),
        (valid.replace("[1]", "[]"), "seed"),
        (valid.replace("[1]", "[1, 1]"), "seed"),
        (valid.to_owned() + "reference = \"none\"", "reference"),
        (valid.to_owned() + "comparisons = [[\"grpo\", \"x\"]]", "comparisons"),
        (valid.to_owned() + "[set]\ntraining.step = 3", "training.step"),
        (valid.to_owned() + "[set]\ntraining.steps = 0", "training.steps"),
        (valid.to_owned() + "[set]\nevaluation.after = false", "evaluation.after"),
        (valid.to_owned() + "[warm_start]\ntraining.batch = 0", "training.batch"),
        (valid.to_owned() + "[data]\ntrains = 3", "trains"),
        (valid.replace("\"ar-base\"", "3"), "the name of a method"),
        (
            valid.to_owned() + "[set]\nname = \"y\"",
            "name is \"y\"; the study gives",
        ),
        (
            valid.to_owned() + "[set]\ncheckpoint.output = \"y\"",
            "checkpoint.output",
        ),
        (valid.to_owned() + "[set]\nrollout.seed = 3", "rollout.seed is 3"),
        (
            valid.to_owned() + "[set]\ntraining.seed = 3",
            "setting `training.seed`: there is no setting `seed` here any more",
        ),
        (
            valid.to_owned() + "[warm_start]\ncheckpoint.output = \"y\"",
            "checkpoint.output",
        ),
        (
            valid.to_owned() + "[set]\nobjective.kimi.length_weight = 1",
            "start from a preset",
        ),
        (valid.to_owned() + "[set]\nrollout.budgets = []", "rollout.budgets"),
        (valid.to_owned() + "lambda = 3", "lambda"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(error.contains(name), "{text}: {error}");
    }
}

#[test]
fn methods_of_one_seed_share_all_but_the_method() {
    let text = "title = \"x\"\nbase = \"demo\"\nseeds = [1, 7]\n\
                methods = [\"grpo\", { name = \"ar+eq10\", preset = \"ar-linear\", \
                set = { objective.summary_weight = 0.0625, training.steps = 9 } }]\n\
                [set]\nrollout.budgets = [5, 10]\ntraining.steps = 3\n[warm_start]\ntraining.steps = 2\n";
    let study = parse(text).unwrap();
    let out = Path::new("out");
    let plan = |method: usize, seed| study.plan(&study.methods[method], seed, out).unwrap();
    let settings = |method, seed| JobSettings::try_new(&plan(method, seed).spec).unwrap();
    let (grpo, changed) = (settings(0, 7), settings(1, 7));
    assert_eq!(
        (grpo.rollout.budgets.as_slice(), grpo.evaluation.budgets.as_slice()),
        (&[10][..], &[5, 10][..])
    );
    assert_eq!(changed.rollout.budgets, [5, 10]);
    assert_eq!(
        (
            changed.objective.summary_weight,
            changed.training.steps,
            grpo.training.steps
        ),
        (0.0625, 9, 3)
    );
    for job in [&grpo, &changed] {
        assert_eq!(job.model.path, "out/seed-7/sft");
        assert_eq!(job.data.path, ["out/seed-7/data/train.jsonl"]);
        assert_eq!((job.rollout.seed, job.data.shuffle_seed), (7, 7));
    }
    let name = plan(1, 7).name;
    assert_eq!(
        (name.preset.as_str(), name.method.as_str()),
        ("demo/ar-linear", "ar+eq10")
    );
    assert_eq!(name.run, "seed-7/ar-eq10");
    let warm_start = JobSettings::try_new(&study.warm_start(7, out).unwrap().unwrap()).unwrap();
    assert_eq!((warm_start.training.steps, warm_start.model.seed), (2, 7));
    assert_eq!(warm_start.checkpoint.output.as_deref(), Some("out/seed-7/sft"));
}

#[test]
fn the_repositorys_studies_are_valid() {
    let runs = [
        ("chains.toml", 35, 6),
        ("products.toml", 40, 4),
        ("chains-ablation.toml", 55, 17),
        ("related.toml", 21, 6),
        ("stability-chains.toml", 140, 6),
        ("stability-products.toml", 140, 6),
        ("adaptthink.toml", 24, 8),
        ("smollm2-sums.toml", 2, 1),
        ("smollm2-sums-short.toml", 2, 1),
    ];
    for (name, count, comparisons) in runs {
        let text = std::fs::read_to_string(repository().join("docs/study").join(name)).unwrap();
        let study = parse(&text).unwrap();
        assert_eq!(study.methods.len() * study.seeds.len(), count, "{name}");
        assert_eq!(study.comparisons.len(), comparisons, "{name}");
    }
}
