//! Settings that cannot work are refused by name; what is left out takes the paper's values.

use super::job::Job;
use super::*;
use crate::v1::objective_spec::Settings;

pub(super) const TRAIN: &str = r#"
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
    let Settings::Brpo(own) = &settings.objective.own else {
        panic!("the paper's objective is the default");
    };
    assert_eq!(own.summary_prior(), v1::Prior::Uniform);
    assert_eq!((settings.training.clip, settings.training.clip_high), (0.2, 0.2));
    assert_eq!(settings.evaluation.temperature, 0.6);
    assert_eq!(settings.markers.summary, "\n\n**Final Answer**\n");
}

#[test]
fn a_deterministic_job_has_no_staleness() {
    let staleness = |extra: &str| parse(extra).expect("valid").training.max_staleness;
    assert_eq!(staleness(""), 1);
    assert_eq!(staleness("max_staleness = 3"), 3);
    assert_eq!(staleness("[rollout]\ndeterministic = true"), 0);
    assert_eq!(staleness("max_staleness = 0\n[rollout]\ndeterministic = true"), 0);
    let refused = refused_field("max_staleness = 1\n[rollout]\ndeterministic = true");
    assert_eq!(refused, "training.max_staleness");
}

#[test]
fn conventions_of_grading_are_settings() {
    assert_eq!(parse("").expect("valid").grading.units, v1::Units::Optional);
    let exact = "[grading]\npercents = \"exact\"\nrounding = \"to_ground_truth\"\nunits = \"required\"";
    let grading = parse(exact).expect("valid").grading;
    assert_eq!(grading.percents, v1::Percents::Exact);
    assert_eq!(grading.rounding, v1::Rounding::ToGroundTruth);
    assert_eq!(grading.units, v1::Units::Required);
    assert_eq!(grading.lists, v1::Lists::Unordered);
    assert!(parse("[grading]\nunits = \"metric\"").is_err());
}

#[test]
fn settings_of_the_objective_and_the_clip() {
    let text =
        "[objective]\nmix = \"budget\"\nsummary_weighting = \"equation10\"\n[objective.brpo]\nsummary_prior = \"base\"";
    let settings = parse(text).expect("valid");
    assert_eq!(settings.objective.mix, v1::Mix::Budget);
    assert_eq!(settings.objective.summary_weighting, v1::SummaryWeighting::Equation10);
    assert!(matches!(&settings.objective.own, Settings::Brpo(own) if own.summary_prior() == v1::Prior::Base));
    let spec = parse_job_file(&TRAIN.replace("steps = 3", "steps = 3\nclip = 0.1")).expect("valid");
    let training = JobSettings::try_new(&spec).expect("valid").training;
    assert_eq!((training.clip, training.clip_high), (0.1, 0.1));
}

#[test]
fn filling_in_defaults_twice_changes_nothing() {
    for name in Settings::NAMES {
        let spec = parse_job_file(&format!("{TRAIN}\n[objective]\nname = {name:?}")).expect("valid");
        let filled = with_defaults(&spec);
        assert_eq!(with_defaults(&filled), filled);
        assert_eq!(JobSettings::try_new(&filled), JobSettings::try_new(&spec));
        assert_eq!(JobSettings::try_new(&spec).expect(name).objective.name, *name);
        let by_table = parse(&format!("[objective.{name}]")).expect("the table says the name");
        assert_eq!(by_table, JobSettings::try_new(&spec).expect(name));
    }
}

#[test]
fn objectives_of_the_related_work_have_their_papers_numbers() {
    let of = |name: &str| parse(&format!("[objective]\nname = {name:?}")).expect(name);
    let bonus_and_samples = v1::AdaptThinkSpec {
        no_thinking_bonus: Some(0.05),
        reference_samples: Some(16),
        sequence_ratio: Some(true),
    };
    assert_eq!(of("adaptthink").objective.own, Settings::Adaptthink(bonus_and_samples));
    let weight_and_cost = v1::DeGrpoSpec {
        control_weight: Some(0.001),
        thinking_cost: Some(0.5),
        leave_one_out: Some(false),
    };
    assert_eq!(of("degrpo").objective.own, Settings::Degrpo(weight_and_cost));
    // DeGRPO's weights are 1 over a length already.
    assert_eq!(of("degrpo").training.normaliser, 1.0);
    assert_eq!(of("kimi").training.normaliser, 10176.0);
    let tolerances = v1::ShortRlSpec {
        length_tolerance: Some(100),
        accuracy_tolerance: Some(0.05),
        length_weight: Some(1.0),
        leave_one_out: Some(false),
    };
    assert_eq!(of("short_rl").objective.own, Settings::ShortRl(tolerances));
}

#[test]
fn settings_that_have_moved_are_named_with_their_new_place() {
    let mut moved = 0;
    let objective = Job::field("objective").expect("a section");
    let prost_reflect::Kind::Message(objective) = objective.kind() else {
        panic!("a section is a message");
    };
    for name in objective.reserved_names() {
        let error = parse(&format!("[objective]\n{name} = 1")).expect_err(name).to_string();
        let says = format!("objective.{name} is now written as {name} under [objective.");
        assert!(error.contains(&says), "{error}");
        moved += 1;
    }
    assert_eq!(moved, 16);
    let error = parse("[objective]\nname = \"adaptthink\"\nno_thinking_bonus = 0.1").expect_err("refused");
    let says = "objective.no_thinking_bonus is now written as no_thinking_bonus under [objective.adaptthink]";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_table_has_every_setting_once() {
    let mut in_proto = Vec::new();
    settings_under(Job::descriptor(), "", &mut in_proto);
    let is_setting = |path: &&str| {
        let field = Job::field(path).unwrap_or_else(|| panic!("{path}: the proto files have no such setting"));
        field.is_map() || !matches!(field.kind(), prost_reflect::Kind::Message(_))
    };
    let mut in_table: Vec<&str> = TABLE.iter().map(|row| row.path).filter(is_setting).collect();
    in_table.sort_unstable();
    in_proto.sort_unstable();
    assert_eq!(in_table, in_proto);
}

fn settings_under(message: &prost_reflect::MessageDescriptor, prefix: &str, found: &mut Vec<String>) {
    for field in message.fields() {
        let path = format!("{prefix}{}", field.name());
        match field.kind() {
            prost_reflect::Kind::Message(inner) if !field.is_map() => {
                settings_under(&inner, &format!("{path}."), found)
            }
            _ => found.push(path),
        }
    }
}

#[test]
fn the_reference_is_written_from_the_proto_files_and_the_table() {
    let text = reference_text();
    let read = parse_job_file(&text).expect("a job file");
    assert_written("deploy/jobs/reference.toml", &text, "");
    let required = v1::JobSpec {
        name: read.name.clone(),
        kind: read.kind,
        model: Some(v1::ModelSpec {
            path: read.model.clone().unwrap_or_default().path,
            ..Default::default()
        }),
        data: Some(v1::DataSpec {
            path: read.data.clone().unwrap_or_default().path,
            ..Default::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: read.training.clone().unwrap_or_default().steps,
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(read, with_defaults(&required));
}

/// Checks that a file of the repository has the text that this test makes; with `UPDATE=1` it writes the file. The part
/// of the file from `kept` on belongs to another test.
pub(super) fn assert_written(path: &str, text: &str, kept: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    let end = if kept.is_empty() { None } else { current.find(kept) };
    let rest = end.map_or("", |end| &current[end..]);
    let expected = format!("{text}{rest}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).expect("writable");
        return;
    }
    let lags = "lags behind: UPDATE=1 cargo test -p anytime-proto";
    assert!(current == expected, "{} {lags}", path.display());
}

#[test]
fn files_are_one_text_or_a_list_and_are_written_as_they_were() {
    let job = |path: &str| TRAIN.replace("path = \"problems.jsonl\"", path);
    for (line, files) in [
        ("path = \"a.jsonl\"", vec!["a.jsonl"]),
        ("path = [\"a.jsonl\"]", vec!["a.jsonl"]),
        ("path = [\"a.jsonl\", \"b/*.parquet\"]", vec!["a.jsonl", "b/*.parquet"]),
    ] {
        let spec = parse_job_file(&job(line)).expect(line);
        assert_eq!(JobSettings::try_new(&spec).expect(line).data.path, files);
        let written = toml::to_string(&spec).expect("written");
        assert_eq!(parse_job_file(&written).expect(line), spec, "{written}");
        let json = serde_json::to_value(&spec).expect("JSON");
        let expected = match files.as_slice() {
            [file] => serde_json::json!(file),
            files => serde_json::json!(files),
        };
        assert_eq!(json["data"]["path"], expected, "scripts find one file as they did");
    }
    // A job that an older learner wrote to disk has one text there.
    let older = [10, 7, b'a', b'.', b'j', b's', b'o', b'n', b'l'];
    let data: v1::DataSpec = prost::Message::decode(older.as_slice()).expect("decoded");
    assert_eq!(data.path, ["a.jsonl"]);
}

#[test]
fn settings_of_another_objective_are_refused_by_name() {
    let cases = [
        ("brpo", "[objective.degrpo]\ncontrol_weight = 0.5", "objective.degrpo"),
        (
            "adaptthink",
            "[objective.adaptthink]\nreference_samples = 0",
            "objective.adaptthink.reference_samples",
        ),
        (
            "adaptthink",
            "[objective.adaptthink]\nno_thinking_bonus = -1.0",
            "objective.adaptthink.no_thinking_bonus",
        ),
        ("adaptthink", "[rollout]\ntraces = 7", "rollout.traces"),
        (
            "degrpo",
            "[objective.degrpo]\nthinking_cost = 2.5",
            "objective.degrpo.thinking_cost",
        ),
        (
            "short_rl",
            "[objective.short_rl]\naccuracy_tolerance = 2.0",
            "objective.short_rl.accuracy_tolerance",
        ),
        ("dapo", "", "objective.name"),
    ];
    for (name, lines, field) in cases {
        assert_eq!(refused_field(&format!("[objective]\nname = {name:?}\n{lines}")), field);
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
fn template_arguments_are_a_table_of_any_values() {
    let text = "[data.template_arguments]\nenable_thinking = false\nbudget = 3\nshare = 0.5\nname = 'a \"b\"'\n\
                tools = [{ strict = true, name = \"x\" }]";
    let spec = parse_job_file(&format!("{TRAIN}\n{text}")).expect("valid");
    let arguments = JobSettings::try_new(&spec).expect("valid").data.template_arguments;
    let expected = [
        ("budget", "3"),
        ("enable_thinking", "false"),
        ("name", r#""a \"b\"""#),
        ("share", "0.5"),
        // As it was written, which a template may show.
        ("tools", r#"[{"strict":true,"name":"x"}]"#),
    ];
    let arguments = arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(arguments.collect::<Vec<_>>(), expected);
    let filled = with_defaults(&spec);
    let written = toml::to_string(&filled).expect("serialisable");
    assert_eq!(parse_job_file(&written).expect("valid"), filled, "{written}");
    assert!(parse("").expect("valid").data.template_arguments.is_empty());

    for (lines, says) in [
        ("messages = []", "data.template_arguments.messages: the prompt itself"),
        ("\"a b\" = 1", "data.template_arguments is \"a b\"; its names must be"),
        ("x = inf", "x is inf; it must be a finite number"),
        ("x = 2025-01-01", "x is a date, 2025-01-01; it must be a text in quotes"),
    ] {
        let error = parse(&format!("[data.template_arguments]\n{lines}"))
            .expect_err(lines)
            .to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = parse_job_file(&TRAIN.replace("[data]", "[data]\ntemplate_arguments = false"))
        .expect_err("no table")
        .to_string();
    assert!(error.contains("it is false; it must be a table of settings"), "{error}");
    // The values travel as JSON, whoever wrote them.
    let mut spec = parse_job_file(TRAIN).expect("valid");
    let data = spec.data.as_mut().expect("written");
    data.template_arguments.insert("x".to_owned(), "not json".to_owned());
    let error = JobSettings::try_new(&spec).expect_err("no JSON");
    assert_eq!(error.field, "data.template_arguments.x");
}

#[test]
fn a_system_message_says_something() {
    assert_eq!(parse("").expect("valid").data.system, None);
    let with = |text: &str| TRAIN.replace("[data]", &format!("[data]\nsystem = {text:?}"));
    let spec = parse_job_file(&with("Be brief.")).expect("valid");
    let system = JobSettings::try_new(&spec).expect("valid").data.system;
    assert_eq!(system.as_deref(), Some("Be brief."));
    let error = parse_job_file(&with(" ")).expect_err("blank").to_string();
    assert_eq!(error, "data.system is \" \"; it must say something, or be left out");
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
            "[objective.brpo]\nsummary_prior = \"explicit\"\nsummary_prior_weights = [1.0]",
            "objective.brpo.summary_prior_weights",
        ),
        (
            "[objective.brpo]\nlength_coefficient = 1.5",
            "objective.brpo.length_coefficient",
        ),
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
