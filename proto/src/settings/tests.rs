//! Settings that cannot work are refused by name; what is left out takes the paper's values.

use super::*;

const TRAIN: &str = r#"
    name = "job"
    kind = "train"
    [model]
    path = "model"
    [data]
    path = "problems.jsonl"
    [training]
    steps = 3
"#;

fn parse(extra: &str) -> Result<JobSettings, JobFileError> {
    let spec = parse_job_file(&format!("{TRAIN}\n{extra}"))?;
    Ok(JobSettings::try_new(&spec)?)
}

fn refused_field(extra: &str) -> String {
    match parse(extra) {
        Err(JobFileError::Setting(error)) => error.field,
        Err(JobFileError::Syntax(error)) => panic!("{extra}: {error}"),
        Ok(_) => panic!("{extra} was accepted"),
    }
}

#[test]
fn defaults_are_the_papers() {
    let settings = parse("").expect("valid");
    assert_eq!(settings.rollout.budgets, [2000, 4000, 6000, 8000]);
    assert_eq!((settings.rollout.traces, settings.rollout.summaries), (8, 4));
    assert_eq!((settings.training.batch, settings.training.minibatches), (64, 2));
    assert_eq!(settings.training.learning_rate, 1e-6);
    // 8000 + 16·128 + 128, the response width of the reference code at 8k.
    assert_eq!(settings.training.normaliser, 10176.0);
    assert_eq!(settings.objective.prior, [0.1, 0.2, 0.3, 0.4]);
    assert_eq!(settings.objective.summary_prior, [0.25; 4]);
    assert_eq!((settings.training.clip, settings.training.clip_high), (0.2, 0.2));
    assert_eq!(settings.evaluation.sampling.temperature, 0.6);
    assert_eq!(settings.markers.summary, "\n\n**Final Answer**\n");
}

#[test]
fn conventions_of_grading_are_settings() {
    assert_eq!(parse("").expect("valid").grading.units(), v1::Units::Optional);
    let exact = "[grading]\npercents = \"exact\"\nrounding = \"to_ground_truth\"\nunits = \"required\"";
    let grading = parse(exact).expect("valid").grading;
    assert_eq!(grading.percents(), v1::Percents::Exact);
    assert_eq!(grading.rounding(), v1::Rounding::ToGroundTruth);
    assert_eq!(grading.units(), v1::Units::Required);
    assert_eq!(grading.lists(), v1::Lists::Unordered);
    assert!(parse("[grading]\nunits = \"metric\"").is_err());
}

#[test]
fn settings_of_the_objective_and_the_clip() {
    let settings = parse("[objective]\nmix = \"budget\"\nsummary_weighting = \"equation10\"\nsummary_prior = \"base\"")
        .expect("valid");
    assert_eq!(settings.objective.mix, v1::Mix::Budget);
    assert_eq!(settings.objective.summary_weighting, v1::SummaryWeighting::Equation10);
    assert_eq!(settings.objective.summary_prior, [0.0, 0.0, 0.0, 1.0]);
    let spec = parse_job_file(&TRAIN.replace("steps = 3", "steps = 3\nclip = 0.1")).expect("valid");
    let training = JobSettings::try_new(&spec).expect("valid").training;
    assert_eq!((training.clip, training.clip_high), (0.1, 0.1));
}

#[test]
fn filling_in_defaults_twice_changes_nothing() {
    for name in ["brpo", "grpo", "elastic", "adaptthink", "degrpo", "short_rl", "kimi"] {
        let spec = parse_job_file(&format!("{TRAIN}\n[objective]\nname = {name:?}")).expect("valid");
        let filled = with_defaults(&spec);
        assert_eq!(with_defaults(&filled), filled);
        assert_eq!(JobSettings::try_new(&filled), JobSettings::try_new(&spec));
        assert_eq!(JobSettings::try_new(&spec).expect(name).objective.name, name);
    }
}

#[test]
fn objectives_of_the_related_work_have_their_papers_numbers() {
    let of = |name: &str| parse(&format!("[objective]\nname = {name:?}")).expect(name);
    let bonus_and_samples = Method::AdaptThink {
        no_thinking_bonus: 0.05,
        reference_samples: 16,
        sequence_ratio: true,
    };
    assert_eq!(of("adaptthink").objective.method, bonus_and_samples);
    let weight_and_cost = Method::DeGrpo {
        control_weight: 0.001,
        thinking_cost: 0.5,
    };
    assert_eq!(of("degrpo").objective.method, weight_and_cost);
    // DeGRPO's weights are 1 over a length already.
    assert_eq!(of("degrpo").training.normaliser, 1.0);
    assert_eq!(of("kimi").training.normaliser, 10176.0);
    let tolerances = Method::ShortRl {
        length_tolerance: 100,
        accuracy_tolerance: 0.05,
        length_weight: 1.0,
    };
    assert_eq!(of("short_rl").objective.method, tolerances);
}

#[test]
fn settings_of_another_objective_are_refused_by_name() {
    let cases = [
        ("brpo", "control_weight = 0.5", "objective.control_weight"),
        ("grpo", "divide_by_deviation = false", "objective.divide_by_deviation"),
        ("degrpo", "no_thinking_bonus = 0.1", "objective.no_thinking_bonus"),
        ("kimi", "length_tolerance = 10", "objective.length_tolerance"),
        ("elastic", "length_weight = 1.0", "objective.length_weight"),
        ("short_rl", "length_penalty = \"linear\"", "objective.length_penalty"),
        ("adaptthink", "leave_one_out = true", "objective.leave_one_out"),
        ("adaptthink", "reference_samples = 0", "objective.reference_samples"),
        ("adaptthink", "no_thinking_bonus = -1.0", "objective.no_thinking_bonus"),
        ("adaptthink", "[rollout]\ntraces = 7", "rollout.traces"),
        ("degrpo", "thinking_cost = 2.5", "objective.thinking_cost"),
        ("short_rl", "accuracy_tolerance = 2.0", "objective.accuracy_tolerance"),
        ("dapo", "", "objective.name"),
    ];
    for (name, line, field) in cases {
        assert_eq!(refused_field(&format!("[objective]\nname = {name:?}\n{line}")), field);
    }
}

#[test]
fn toml_and_message_are_two_forms_of_one_thing() {
    let filled = with_defaults(&parse_job_file(TRAIN).expect("valid"));
    let text = toml::to_string(&filled).expect("serialisable");
    assert!(text.contains("prior = \"linear\""), "{text}");
    assert_eq!(parse_job_file(&text).expect("valid"), filled);
}

#[test]
fn values_that_cannot_work_are_named() {
    let table = [
        ("[rollout]\nbudgets = [4, 4]", "rollout.budgets"),
        ("[rollout]\nbudgets = [4, 2]", "rollout.budgets"),
        ("[rollout]\nbudgets = [0, 2]", "rollout.budgets"),
        ("[rollout]\ntraces = 0", "rollout.traces"),
        ("[rollout]\ntemperature = 0.0", "rollout.temperature"),
        ("[rollout]\ntop_p = 1.5", "rollout.top_p"),
        ("[objective]\nname = \"ppo\"", "objective.name"),
        ("[objective]\nlambda = 0.0", "objective.lambda"),
        (
            "[objective]\nprior = \"explicit\"\nprior_weights = [0.5, 0.4, 0.0, 0.0]",
            "objective.prior_weights",
        ),
        (
            "[objective]\nprior = \"explicit\"\nprior_weights = [1.0]",
            "objective.prior_weights",
        ),
        (
            "[objective]\nprior = \"explicit\"\nprior_weights = [1.5, -0.5, 0.0, 0.0]",
            "objective.prior_weights",
        ),
        (
            "[objective]\nprior_weights = [1.0, 0.0, 0.0, 0.0]",
            "objective.prior_weights",
        ),
        (
            "[objective]\nsummary_prior = \"explicit\"\nsummary_prior_weights = [1.0]",
            "objective.summary_prior_weights",
        ),
        ("[objective]\nlength_coefficient = 1.5", "objective.length_coefficient"),
        ("[markers]\nend = \"\"", "markers.end"),
        ("[markers]\nsummary = \"so </think> it is\"", "markers.summary"),
        ("[markers]\ncut = \"cut here </think>\"", "markers.cut"),
        ("[evaluation]\nbudgets = [3, 1]", "evaluation.budgets"),
        ("[evaluation]\nsamples = 0", "evaluation.samples"),
    ];
    for (extra, field) in table {
        assert_eq!(refused_field(extra), field, "{extra}");
    }
}

#[test]
fn training_values_that_cannot_work_are_named() {
    let table = [
        ("steps = 0", "training.steps"),
        ("steps = 1\nbatch = 0", "training.batch"),
        ("steps = 1\nbatch = 6\nminibatches = 4", "training.minibatches"),
        ("steps = 1\nlearning_rate = 0.0", "training.learning_rate"),
        ("steps = 1\nlearning_rate = inf", "training.learning_rate"),
        ("steps = 1\nclip = 1.0", "training.clip"),
        ("steps = 1\nclip_high = 0.0", "training.clip_high"),
        ("steps = 1\nbatch = 8\nqueue_groups = 7", "training.queue_groups"),
        ("steps = 1\nbeta2 = 1.0", "training.beta2"),
    ];
    for (training, field) in table {
        let text = TRAIN.replace("steps = 3", training);
        match parse_job_file(&text) {
            Err(JobFileError::Setting(error)) => assert_eq!(error.field, field, "{training}"),
            other => panic!("{training}: {other:?}"),
        }
    }
}

#[test]
fn what_is_required_is_asked_for() {
    for (removed, field) in [
        ("name = \"job\"", "name"),
        ("kind = \"train\"", "kind"),
        ("path = \"model\"", "model.path"),
        ("path = \"problems.jsonl\"", "data.path"),
        ("steps = 3", "training.steps"),
    ] {
        match parse_job_file(&TRAIN.replace(removed, "")) {
            Err(JobFileError::Setting(error)) => assert_eq!(error.field, field),
            other => panic!("without {removed}: {other:?}"),
        }
    }
}

#[test]
fn settings_that_do_not_exist_are_named() {
    for (extra, name) in [
        ("budget = 3", "budget"),
        ("[rollout]\nbugdets = [1]", "bugdets"),
        ("[trainning]", "trainning"),
    ] {
        let text = if extra.starts_with('[') {
            format!("{TRAIN}\n{extra}")
        } else {
            format!("{extra}\n{TRAIN}")
        };
        let error = parse_job_file(&text).expect_err("refused").to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = parse_job_file(&TRAIN.replace("train\"", "trian\""))
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("trian") && error.contains("train, sft, evaluate"),
        "{error}"
    );
}
