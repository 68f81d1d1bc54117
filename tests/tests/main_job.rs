//! The main job, small: warm start and BRPO through `anytime local` with every process real, watched by a real
//! Prometheus with the repository's configuration, every query of the dashboards included, and by a collector of traces.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use anytime_service::metric_names;
use anytime_tests::collector::{Collector, Received, Trace};
use anytime_tests::dashboard::{self, PanelQuery, metric_names as names_in, prometheus_file};
use anytime_tests::process::Process;
use anytime_tests::programs::repository;
use anytime_tests::prometheus::{Prometheus, RedisExporter};
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use serde_json::Value;

use crate::serve::Answering;

const STEPS: u64 = 40;
const BATCH: u32 = 8;

/// Steps of the job that is drawn, and of the warm start before it: enough to see it learn.
const DRAWN_STEPS: u64 = 150;
const DRAWN_WARM_UP: u64 = 400;

const BUDGETS: [u64; 4] = [6, 12, 18, 24];

#[test]
fn every_panel_says_what_a_bad_value_means() {
    let dashboards = dashboard::dashboards();
    let names: Vec<&str> = dashboards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["infrastructure", "pipeline", "serving", "training", "verifier"]);
    for (name, dashboard) in &dashboards {
        assert_eq!(dashboard["uid"], format!("anytime-{name}"));
        for panel in dashboard::panels(dashboard) {
            let description = panel["description"].as_str().unwrap_or_default();
            let is_sentence = description.len() > 30 && description.ends_with('.');
            assert!(is_sentence, "{name}: {}: {description:?}", panel["title"]);
            assert!(panel["targets"].is_array(), "{name}: {} asks nothing", panel["title"]);
        }
    }
}

#[test]
fn dashboards_and_alerts_use_metrics_that_exist() {
    let queries = dashboard::queries();
    assert!(queries.len() > 100, "the dashboards were found: {}", queries.len());
    let mut used: Vec<(String, String)> = Vec::new();
    for query in &queries {
        let names = names_in(&query.expression);
        let is_known = !names.is_empty() || dashboard::asks_others(&query.expression);
        assert!(is_known, "{query:?} asks for nothing that is known");
        let place = format!("{}: {}", query.dashboard, query.panel);
        used.extend(names.into_iter().map(|name| (place.clone(), name)));
    }
    let alerts = std::fs::read_to_string(prometheus_file("alerts.yml")).unwrap();
    used.extend(
        names_in(&alerts)
            .into_iter()
            .map(|name| ("alerts.yml".to_owned(), name)),
    );
    let unknown: Vec<_> = used
        .iter()
        .filter(|(_, name)| !metric_names::ALL.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_trains_and_every_panel_of_the_dashboards_has_data() {
    within(200, async {
        let workplace = Workplace::new();
        let collector = Collector::start();
        let (mut local, exporter, prometheus, answering) = start(&workplace, 150, STEPS, Some(&collector)).await;
        watch_dashboards(&prometheus, &mut local).await;
        assert_eq!(local.exit_code(60).await, 0);
        assert_all_metrics_scraped(&prometheus).await;
        let alerts = prometheus.alerts().await;
        assert!(
            !alerts.is_empty() && alerts.iter().all(|(_, health)| health == "ok"),
            "{alerts:?}"
        );
        drop(prometheus);
        drop(exporter);
        drop(answering);
        workplace.assert_nothing_runs();

        assert_report(&workplace.path("out"));
        assert_timeline(&workplace.path("out"));
        assert_traces(&collector);
        assert_checkpoint(&workplace.path("final"));
        for name in ["verifier", "learner", "actor-1", "actor-2"] {
            assert_structured_log(&workplace.path(&format!("out/logs/{name}.log")), name);
        }
    })
    .await;
}

/// What docs/dashboards shows: the dashboards over a job, drawn from the data of a real Prometheus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes docs/dashboards, and fetches matplotlib: make dashboards"]
async fn the_dashboards_are_drawn() {
    within(400, async {
        let workplace = Workplace::new();
        let begun = unix_seconds();
        let (mut local, _exporter, prometheus, _answering) = start(&workplace, DRAWN_WARM_UP, DRAWN_STEPS, None).await;
        let mut ended = begun;
        while local.exit_status().is_none() {
            ended = unix_seconds();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(local.exit_code(60).await, 0, "{}", local.log());
        // While all processes still answered.
        let ended = ended - 2.0;
        let mut command = std::process::Command::new(repository().join("deploy/grafana/render.sh"));
        command.args([prometheus.url(), format!("{begun:.0}"), format!("{ended:.0}")]);
        let drawn = workplace.run(command, 240).await.expect(0);
        println!("{}", drawn.stdout);
        assert_pictures();
    })
    .await;
}

fn unix_seconds() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

#[test]
fn every_panel_is_in_the_picture_of_its_dashboard() {
    assert_pictures();
}

/// A panel that was added or renamed is not in the picture until it is drawn again: `make dashboards`.
fn assert_pictures() {
    for (name, dashboard) in dashboard::dashboards() {
        let picture = repository().join(format!("docs/dashboards/{name}.svg"));
        let svg = std::fs::read_to_string(&picture).unwrap_or_else(|error| panic!("{}: {error}", picture.display()));
        assert!(svg.len() < 300_000, "{name}: {} bytes", svg.len());
        for panel in dashboard::panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                svg.contains(&format!(">{title}</text>")),
                "{name}: no panel {title}; make dashboards draws the pictures again"
            );
        }
    }
}

/// Runs this many steps of a warm start and of BRPO through `anytime local`, which a Prometheus watches. Its processes send
/// their traces to the collector.
async fn start(
    workplace: &Workplace,
    warm_up: u64,
    steps: u64,
    collector: Option<&Collector>,
) -> (Process, RedisExporter, Prometheus, Answering) {
    let sft_file = workplace.write_job(&workplace.sft(warm_up));
    let mut train = workplace.demo_train();
    let training = train.training.get_or_insert_default();
    training.steps = Some(steps);
    training.batch = Some(BATCH);
    // So short a warm start leaves a fragile model: at the demo's rate it would forget how to answer at all.
    training.learning_rate = Some(1e-4);
    let train_file = workplace.write_job(&train);
    let jobs = [sft_file.to_str().unwrap(), train_file.to_str().unwrap()];
    let options = ["--out", "out", "--actors", "2", "--device", "cpu", "--json"];
    let mut command = workplace.command(&[&["local"], &jobs[..], &options].concat());
    if let Some(collector) = collector {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    }
    let mut local = Process::start("local", command, workplace.mark(), &workplace.path("local"));

    let state_file = workplace.path("out/local.json");
    let state: Value = eventually("all processes", 60, async || {
        local.assert_runs();
        serde_json::from_str(&std::fs::read_to_string(&state_file).ok()?).ok()
    })
    .await;
    let exporter = RedisExporter::start(workplace, state["redis"].as_str().unwrap()).await;
    let mut scraped = targets(&state);
    scraped.push(("redis", vec![exporter.address.clone()]));
    let answering = Answering::start().await;
    scraped.push(("serve", vec![answering.address.clone()]));
    let prometheus = Prometheus::start(workplace, &scraped).await;
    (local, exporter, prometheus, answering)
}

/// What a cluster without TLS does not have.
const OF_TLS: [&str; 1] = [metric_names::CERTIFICATE_EXPIRES];

/// The scrape targets by the names of deploy/prometheus/prometheus.yml.
fn targets(state: &Value) -> Vec<(&'static str, Vec<String>)> {
    let of = |kind: &'static str| {
        let processes = state["processes"].as_array().unwrap().iter();
        let wanted = processes.filter(|process| process["name"].as_str().unwrap().starts_with(kind));
        let addresses: Vec<String> = wanted
            .map(|process| process["metrics_address"].as_str().unwrap().to_owned())
            .collect();
        (kind, addresses)
    };
    let targets = vec![of("learner"), of("actor"), of("verifier")];
    let counts: Vec<usize> = targets.iter().map(|(_, addresses)| addresses.len()).collect();
    assert_eq!(counts, [1, 2, 1]);
    targets
}

/// Asks every query of the dashboards again and again until it has had data; all must have had some when the job ends.
async fn watch_dashboards(prometheus: &Prometheus, local: &mut Process) {
    // First the test of the test: a query without data is noticed, and so is one with data.
    assert!(prometheus.query("anytime_no_such_metric").await.is_empty());
    assert_eq!(prometheus.query("vector(1)").await, [1.0]);
    let mut open: Vec<PanelQuery> = dashboard::queries();
    open.retain(|query| {
        let names = names_in(&query.expression);
        !dashboard::asks_gpus(&query.expression) && !names.iter().any(|name| OF_TLS.contains(&name.as_str()))
    });
    while !open.is_empty() && local.exit_status().is_none() {
        let mut still_open = Vec::new();
        for query in open {
            if prometheus.query(&query.expression).await.is_empty() {
                still_open.push(query);
            }
        }
        open = still_open;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(
        open.is_empty(),
        "without data over the whole job: {open:#?}\n{}",
        local.log()
    );
}

async fn assert_all_metrics_scraped(prometheus: &Prometheus) {
    let series = prometheus.series_names().await;
    let scraped: BTreeSet<String> = names_in(&series.join(" ")).into_iter().collect();
    let missing: Vec<_> = metric_names::ALL
        .iter()
        .filter(|name| !scraped.contains(**name))
        .filter(|name| !metric_names::OF_GPUS.contains(name) && !OF_TLS.contains(name))
        .collect();
    assert!(missing.is_empty(), "never scraped: {missing:?}");
    // And the reverse: no metric is served that is not in the list.
    let strangers: Vec<_> = scraped
        .iter()
        .filter(|name| !metric_names::ALL.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "not in metric_names::ALL: {strangers:?}");
}

fn assert_report(out: &Path) {
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    for moment in ["before", "after"] {
        let measured = &report[moment];
        let list = |key: &str| -> Vec<f64> {
            let values = measured[key]
                .as_array()
                .unwrap_or_else(|| panic!("{moment}.{key}: {measured}"));
            values.iter().map(|value| value.as_f64().unwrap()).collect()
        };
        assert_eq!(list("budgets"), BUDGETS.map(|budget| budget as f64));
        let accuracy = list("accuracy");
        assert_eq!((accuracy.len(), list("ci95").len()), (4, 4));
        let shares = accuracy.iter().chain(&list("ci95")).copied().collect::<Vec<f64>>();
        assert!(
            shares.iter().all(|value| (0.0..=1.0).contains(value)),
            "{moment}: {measured}"
        );
        let anytime = accuracy.iter().sum::<f64>() / 4.0;
        assert!(
            (measured["anytime"].as_f64().unwrap() - anytime).abs() < 1e-9,
            "{measured}"
        );
        assert_eq!(measured["final"].as_f64().unwrap(), accuracy[3], "{measured}");
        let thinking = measured["mean_thinking_tokens"].as_f64().unwrap();
        assert!(thinking > 0.0 && thinking <= 24.0, "{thinking}");
    }
    assert_eq!(report["steps"], STEPS);
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    let svg = std::fs::read_to_string(out.join("curves.svg")).unwrap();
    assert!(svg.contains("<svg") && svg.contains("</svg>"));

    let series = report["series"].as_array().unwrap();
    let steps: Vec<u64> = series.iter().map(|step| step["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<u64>>());
    let gaps: Vec<f64> = series
        .iter()
        .map(|step| step["fresh_log_prob_gap"].as_f64().unwrap())
        .collect();
    // The first step trains nothing but tokens of its own version; a gap is zero where a step had none.
    assert!(gaps[0] > 0.0, "fresh tokens: {gaps:?}");
    let agree = gaps.iter().all(|gap| *gap < 1e-4);
    assert!(agree, "actor and learner compute the same: {gaps:?}");
    for step in series {
        assert!(step["loss"].as_f64().unwrap().is_finite());
        assert!(step["mean_staleness"].as_f64().unwrap() <= 1.0, "max_staleness: {step}");
        assert_eq!(step["reward_per_budget"].as_array().unwrap().len(), 4);
        assert_eq!(step["segments"].as_array().unwrap().len(), 4);
        assert!(step["generated_tokens"].as_u64().unwrap() > 0);
    }
}

/// The picture of the last steps is well-formed, and shows who was there.
fn assert_timeline(out: &Path) {
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["timeline"], "timeline.svg");
    let svg = std::fs::read_to_string(out.join("timeline.svg")).unwrap();
    let elements = xml_elements(&svg);
    assert!(
        elements.iter().any(|name| name == "svg") && elements.len() > 100,
        "{svg}"
    );
    let title = format!("Timeline of steps {} to {STEPS}: demo", STEPS - 19);
    for text in [&title, "waits for groups", "computes", "actor-1", "actor-2"] {
        assert!(svg.lines().any(|line| line.trim() == text), "{text}\n{svg}");
    }
}

/// The names of the elements of an XML document. Panics where one is not closed, or a text holds what it must escape.
fn xml_elements(document: &str) -> Vec<String> {
    let (mut names, mut open) = (Vec::new(), Vec::new());
    for piece in document.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        let is_escaped = |part: &str| {
            part.split_once(';')
                .is_some_and(|(name, _)| name.chars().all(char::is_alphanumeric))
        };
        assert!(
            !text.contains('>') && text.split('&').skip(1).all(is_escaped),
            "{text:?}"
        );
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap().to_owned();
        if !tag.ends_with('/') {
            open.push(name.clone());
        }
        names.push(name);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    names
}

/// The spans of a group from its lease to the weights that it made, each with its parent and with who sends it.
const CHAIN: [(&str, &str, &str); 10] = [
    ("lease", "", "anytime-actor"),
    ("think", "lease", "anytime-actor"),
    ("summarise", "lease", "anytime-actor"),
    ("grade", "lease", "anytime-actor"),
    ("verify", "grade", "anytime-actor"),
    ("push", "lease", "anytime-actor"),
    ("take", "push", "anytime-learner"),
    ("train", "take", "anytime-learner"),
    ("publish", "train", "anytime-learner"),
    ("swap", "publish", "anytime-actor"),
];

fn assert_traces(collector: &Collector) {
    let traces = collector.traces();
    let groups: Vec<&Trace> = traces
        .values()
        .filter(|trace| !trace.named("train").is_empty())
        .collect();
    assert_eq!(
        groups.len() as u64,
        STEPS * u64::from(BATCH),
        "a trace for each group that was trained"
    );
    let mut steps = BTreeSet::new();
    for trace in &groups {
        for received in &trace.0 {
            assert_span(trace, received);
        }
        for name in ["lease", "think", "summarise", "grade", "push", "take", "train"] {
            assert_eq!(trace.named(name).len(), 1, "{name}: {trace:?}");
        }
        let (take, train) = (trace.named("take")[0], trace.named("train")[0]);
        assert!(take.attribute("sequence").is_some(), "{take:?}");
        match train.attribute("step") {
            // The first group of a step goes on with its update, and points to all of its groups.
            Some(step) => {
                assert_eq!(train.span.links.len(), BATCH as usize, "{train:?}");
                assert_eq!(trace.named("publish").len(), 1, "{trace:?}");
                steps.insert(step.parse::<u64>().unwrap());
            }
            None => assert_eq!(train.span.links.len(), 1, "to the update of the step: {train:?}"),
        }
    }
    assert_eq!(steps, (1..=STEPS).collect());
    // An actor passes over a version where the next one is there already.
    let is_whole = |trace: &&&Trace| CHAIN.iter().all(|(name, _, _)| !trace.named(name).is_empty());
    assert!(groups.iter().filter(is_whole).count() > 0, "one group has all of them");
    // The verifier's spans are in the traces of those who called it.
    let judged: Vec<(&Trace, &Received)> = traces
        .values()
        .flat_map(|trace| trace.named("judge").into_iter().map(move |judge| (trace, judge)))
        .collect();
    assert!(!judged.is_empty());
    for (trace, judge) in judged {
        assert_eq!(judge.service, "anytime-verifier");
        assert_eq!(
            trace.parent(judge).map(|parent| parent.span.name.as_str()),
            Some("verify"),
            "{judge:?}"
        );
    }
}

fn assert_span(trace: &Trace, received: &Received) {
    let Received { service, span } = received;
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
    let Some((_, parent, sender)) = CHAIN.iter().find(|(name, _, _)| *name == span.name) else {
        assert_eq!(span.name, "judge");
        return;
    };
    assert_eq!(service, sender, "{span:?}");
    let found = trace.parent(received).map_or("", |parent| parent.span.name.as_str());
    assert_eq!(found, *parent, "{span:?}");
    if span.name != "verify" {
        assert_eq!(received.attribute("job_id").as_deref(), Some("demo"), "{span:?}");
    }
    let says = |key: &str| received.attribute(key).is_some();
    match span.name.as_str() {
        "lease" | "think" => assert!(says("group_id") && says("version"), "{span:?}"),
        "summarise" | "grade" | "push" | "take" => assert!(says("group_id"), "{span:?}"),
        "publish" | "swap" => assert!(says("version"), "{span:?}"),
        _ => {}
    }
}

fn assert_checkpoint(directory: &Path) {
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        assert!(
            directory.join(name).is_file(),
            "{name} is missing in {}",
            directory.display()
        );
    }
    let config: Value = serde_json::from_str(&std::fs::read_to_string(directory.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["model_type"], "qwen2");
    // Eight bytes of length, then a JSON table of tensors.
    let bytes = std::fs::read(directory.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert!(header.get("model.embed_tokens.weight").is_some(), "{header}");
}

/// Every line is a JSON object, and what belongs to a job says to which.
fn assert_structured_log(path: &Path, process: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut jobs: BTreeSet<String> = BTreeSet::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{process}: {error}: {line}"));
        for key in ["timestamp", "level", "message", "target"] {
            assert!(event[key].is_string(), "{process}: no {key}: {line}");
        }
        let level = event["level"].as_str().unwrap();
        assert!(level != "ERROR", "{process}: an error in a healthy run: {line}");
        // A field has one type, whoever logs it.
        let version = &event["version"];
        assert!(version.is_null() || version.is_number(), "{process}: {line}");
        jobs.extend(event["job_id"].as_str().map(str::to_owned));
        let of_a_job = [
            "step",
            "evaluated",
            "exported",
            "model loaded",
            "weights installed",
            "weights fetched",
        ];
        if of_a_job.contains(&event["message"].as_str().unwrap()) {
            assert!(event["job_id"].is_string(), "{process}: {line}");
        }
    }
    let expected: &[&str] = match process {
        "learner" => &["demo", "demo-sft"],
        "verifier" => &[],
        _ => &["demo"],
    };
    assert_eq!(jobs.iter().collect::<Vec<_>>(), expected, "{process}: job ids");
}
