//! docs/refusals.md is whole: what the servers refuse at their start is provoked here, and every text of a refusal that
//! the sources have stands on the page, or below with the reason why not.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

use anytime_tests::ports::free_address;
use anytime_tests::programs::{binary, repository};
use anytime_tests::refusal_texts::{RefusalText, fixed_parts, texts_of};
use anytime_tests::rooms::sources::Sources;
use anytime_tests::rooms::workspace_members;

const PAGE: &str = "docs/refusals.md";

const HEADING: &str = "## Servers";

/// The heading behind it.
const NEXT: &str = "## Command line";

const UPDATE: &str = "UPDATE=1 cargo test --workspace --test system refusals_page::";

/// An address of another host (RFC 5737 keeps it for documentation).
const FOREIGN: &str = "192.0.2.1:7100";

/// The processes' command lines, each refused, with their exit code.
const CASES: &[(&[&str], i32)] = &[
    (&["anytime-learner", "--root", "nowhere"], 64),
    (&["anytime-learner", "--device", "tpu"], 64),
    (&["anytime-learner", "--listen", FOREIGN], 64),
    (&["anytime-learner", "--listen", FOREIGN, "--insecure"], 64),
    (&["anytime-learner", "--metrics-address", FOREIGN], 64),
    (&["anytime-learner", "--metrics-address", FOREIGN, "--insecure"], 64),
    (
        &["anytime-learner", "--tls-cert", "nowhere", "--tls-key", "nowhere"],
        64,
    ),
    (
        &["anytime-learner", "--tls-cert", "two.lines", "--tls-key", "two.lines"],
        64,
    ),
    (&["anytime-learner", "--access", "lines.jsonl"], 64),
    (&["anytime-learner", "--access", "two.lines"], 64),
    (&["anytime-learner", "--redis-password-file", "two.lines"], 64),
    (&["anytime-actor", "--token-file", "two.lines"], 64),
    (&["anytime-learner", "--redis", "localhost"], 64),
    (&["anytime-actor", "--slots", "0"], 64),
    (&["anytime-actor", "--threads", "0"], 64),
    (&["anytime-actor", "--device", "tpu"], 64),
    (&["anytime-actor", "--cache-gib", "0"], 64),
    (&["anytime-actor", "--memory-share", "1.5"], 64),
    (&["anytime-actor", "--actor-id", ""], 64),
    (&["anytime-actor", "--learner", "not an address"], 64),
    (&["anytime-actor", "--verifier", "not an address"], 64),
    (
        &[
            "anytime-actor",
            "serve",
            "--model",
            "nowhere",
            "--listen",
            "127.0.0.1:0",
        ],
        64,
    ),
    (&["anytime-verifier", "serve", "--listen", FOREIGN], 64),
    (&["anytime-verifier", "serve", "--port-file", "nowhere/port"], 64),
    (&["anytime-verifier", "serve", "--otlp-endpoint", "localhost:4317"], 64),
];

/// Lines that `anytime-verifier grade` refuses (exit code 65), each as the second of two: what is wrong with it, and
/// the line.
fn bad_lines() -> [(&'static str, String); 6] {
    let pair = |ground_truth: &str| format!("{{\"id\": \"2\", \"response\": \"\", \"ground_truth\": {ground_truth}}}");
    [
        ("a line that is no pair", "not a pair".to_owned()),
        (
            "a pair without response",
            "{\"id\": \"2\", \"ground_truth\": \"1\"}".to_owned(),
        ),
        ("a pair without any ground truth", pair("[]")),
        (
            "more ground truths than are compared",
            pair(&format!("[{}\"1\"]", "\"1\",".repeat(64))),
        ),
        (
            "a ground truth that is too long",
            pair(&format!("\"{}\"", "1".repeat(4_097))),
        ),
        (
            "a line that is too long",
            pair(&format!("\"{}\"", "1".repeat(16 << 20))),
        ),
    ]
}

/// Texts of the sources that are not on the page, and why. Each is the beginning of the text.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "standard input has more than",
        "its case would be longer than the page; ask.rs tests it",
    ),
    ("standard input is no UTF-8", "the cases are texts; ask.rs tests it"),
    (
        "it is a data set as save_to_disk or the cache",
        "it takes a directory of Arrow; data/tests/forms.rs tests it",
    ),
    ("libtorch: ", "a fault of the library, whatever the input"),
    (
        "--follow {job_id}: how it is asked",
        "what only a learner of another version says",
    ),
    (
        "--follow {job}: the job is {state}",
        "it takes a job that is over; serve_follow.rs tests it",
    ),
    (
        "it must be that of the adapters in {}",
        "it takes adapters that were trained; lora.rs tests it",
    ),
    (
        "it must be false for adapters",
        "it takes adapters that were trained; lora.rs tests it",
    ),
    (
        "with training.lora the base is kept",
        "it takes a job that has trained adapters; lora.rs tests it",
    ),
    ("--output {}: it is not empty", "an argument of merge; lora.rs tests it"),
    (
        "--reward-key-file",
        "an argument of a server; actor/tests/serve/arguments.rs tests it",
    ),
    (
        "--world {own}: rank 0 has --world {world}",
        "it takes a learner of several processes; meetings.rs tests it",
    ),
    (
        "--endpoint {}: {reason}",
        "it takes a server that refuses; endpoint.rs tests each",
    ),
    (
        "{} answered none of {places} problems",
        "it takes a server that fails; endpoint.rs tests it",
    ),
    (
        "there must be at most {MOST_LABELS} of them",
        "its case would be longer than the page; proto/src/settings/start_rules.rs tests it",
    ),
    (
        "it must be a job whose files can be read",
        "a damaged job.pb, said by anytime check without a learner",
    ),
    (
        "the learner at {} is of an earlier version, which does not say",
        "no learner of an earlier version is here to say it",
    ),
    (
        "steps that are trained again keep it",
        "said of a replay, not of a job file; proto/src/settings/replay.rs tests it",
    ),
    (
        "{place}: {error}; --model names the model",
        "of a file of groups; tests/tests/replay.rs provokes it",
    ),
    (
        "--problem {wanted} is not in {file}",
        "of a file of groups; tests/tests/replay.rs provokes it",
    ),
    (
        "it must be train or evaluate: fine-tuning",
        "said by anytime generate; tests/tests/replay.rs provokes it",
    ),
    (
        "--out {}: it must be a file",
        "said by anytime generate; tests/tests/replay.rs provokes it",
    ),
    (
        "a job that has begun keeps it",
        "said when a job is resumed, not of a job file; proto/src/settings/resume.rs tests it",
    ),
    (
        "its configuration or tokenizer is not the one",
        "of files that change under a job; learner/src/run/fingerprint.rs tests it",
    ),
    (
        "its rows are not those that the job began with",
        "of files that change under a job; learner/src/run/fingerprint.rs tests it",
    ),
    (
        "RUST_LOG is {wanted:?}",
        "of the environment, not of an argument; service/src/telemetry.rs tests it",
    ),
    (
        "{name} is `{protocol}`; traces are sent by grpc",
        "of the environment, not of an argument; service/src/traces/settings.rs tests it",
    ),
    (
        "traces cannot be sent to {}: ",
        "of headers and compression in the environment, which the exporter reads by itself",
    ),
    (
        "cannot write {}",
        "a full disk or a missing permission, found while a checkpoint is written",
    ),
    (
        "it must not be, hold or lie in the place where another job writes its model",
        "takes two jobs: learner/tests/suite/submissions.rs",
    ),
    (
        "it must be a model that can be trained on",
        "depends on the machine: learner/tests/suite/real_jobs.rs",
    ),
    ("it must be false on", "takes a GPU: learner/src/run/start.rs"),
    (
        "--service {}: there is no such service",
        "said by a server that runs; client/src/commands/health.rs tests it",
    ),
    (
        "{address} answers no health checks",
        "takes a server that is none of this project's",
    ),
    (
        "{address} refuses this",
        "takes a proxy: servers of this project answer health checks to everybody",
    ),
    ("training row: ", "a row that the learner itself has made wrong"),
    ("signal handlers: ", "an operating system that refuses them"),
    (
        "it must be JSON, as which template arguments travel",
        "takes a request over gRPC: proto/src/settings/tests.rs",
    ),
    (
        "{origin}: tensor {name}",
        "takes a file of weights: policy/tests/suite/checkpoint.rs",
    ),
    (
        "it must be a readable JSON, JSONL or Parquet file",
        "a file that the learner may not read",
    ),
    (
        "it must be a directory that can be read",
        "a directory that the learner may not read",
    ),
    (
        "the tokenizer cannot decode its own ids",
        "a fault of the tokenizers crate, whatever the input",
    ),
    (
        "standard input is no job",
        "takes another program than `anytime check` before the learner's",
    ),
    (
        "--cache-gib {cache_gib}: the device has",
        "has the memory of this machine: actor/src/config.rs",
    ),
    ("there is no job to take", "the parser of arguments asks for one before"),
    (
        "{name} is empty; it must be a text",
        "takes a model: actor/tests/serve/arguments.rs",
    ),
    ("--budgets {", "takes a model: actor/tests/serve/arguments.rs"),
    ("--max-thinking {", "takes a model: actor/tests/serve/arguments.rs"),
    ("--temperature {", "takes a model: actor/tests/serve/arguments.rs"),
    ("--top-p {", "takes a model: actor/tests/serve/arguments.rs"),
    (
        "{name} {text:?}: the model cannot spell it",
        "takes a model: actor/tests/serve/arguments.rs",
    ),
    (
        "--chat-template true: it must be false",
        "takes a model without a chat template",
    ),
    (
        "it must be the name of an objective",
        "a job file without a name has the default",
    ),
    ("{} cannot be read: {error}", "a directory that the user may not read"),
    (
        "--out {}: another {user}",
        "takes a second process: client/tests/local/main.rs",
    ),
    (
        "--redis {url} is no address",
        "takes programs beside the command: tests/tests/refusals.rs",
    ),
    (
        "--trace {trace} is not there",
        "takes kept generations: client/tests/show.rs",
    ),
    (
        "{}: a warm start of other settings",
        "takes a study that has run: client/tests/study.rs",
    ),
    (
        "{}: {} has a run {} of other settings",
        "takes a study that has run: client/tests/study.rs",
    ),
    (
        "the result of {} with seed",
        "takes results of several runs: client/tests/study.rs",
    ),
    (
        "learner at {} refuses this",
        "takes a learner that asks for a token: tests/tests/security/cluster.rs",
    ),
    (
        "--ca-key {hidden}: it cannot sign here",
        "takes a key that only other programs write: client/src/certs/authority.rs",
    ),
    (
        "--ca: its name has parts",
        "takes a CA that only other programs make: client/src/certs/authority.rs",
    ),
    ("this machine trusts no CA", "depends on the machine"),
    (
        "--redis-ca and --redis-cert are for TLS",
        "takes a certificate: tests/tests/security/cluster.rs",
    ),
    (
        "a request must have at most",
        "takes a request over gRPC: verifier/tests/grpc.rs",
    ),
];

/// What a process is told, as one line.
fn refused(directory: &Path, command: &[&str], input: &str, code: i32) -> String {
    let mut arguments: Vec<String> = command[1..].iter().map(|argument| (*argument).to_owned()).collect();
    if command[0] != "anytime-actor" && !command.contains(&"--listen") && !command.contains(&"grade") {
        // Another process of this machine may have the default.
        arguments.extend(["--listen".to_owned(), free_address()]);
    }
    std::fs::write(directory.join("lines.jsonl"), input).unwrap();
    std::fs::write(directory.join("two.lines"), "one\ntwo\n").unwrap();
    let mut process = Command::new(binary(command[0]));
    for name in ["ANYTIME_LEARNER", "ANYTIME_VERIFIER", "ANYTIME_REDIS", "RUST_LOG"] {
        process.env_remove(name);
    }
    let output = process
        .args(&arguments)
        .current_dir(directory)
        .stdin(std::fs::File::open(directory.join("lines.jsonl")).unwrap())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{command:?}: one line says what is wrong: {said}");
    errors[0].to_owned()
}

#[test]
fn the_page_of_refusals_has_those_of_the_servers() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = format!(
        "{HEADING}\n\nWhat the processes refuse before they serve, and what `anytime-verifier grade` says of the second of \
         two lines that it reads (exit code 65). An argument of the wrong form, such as `--slots many`, is answered by the parser of \
         arguments, which also names the allowed values; the exit code is 64 there too. Written by\n\n    {UPDATE}\n"
    );
    for (command, code) in CASES {
        let said = refused(directory.path(), command, "", *code);
        let quoted = |argument: &&str| match argument.is_empty() || argument.contains(' ') {
            true => format!("'{argument}'"),
            false => (*argument).to_owned(),
        };
        let written: Vec<String> = command.iter().map(quoted).collect();
        text.push_str(&format!("\n- `{}`\n\n      {said}\n", written.join(" ")));
    }
    for (wrong, line) in bad_lines() {
        let good = "{\"id\": \"1\", \"response\": \"\\\\boxed{1}\", \"ground_truth\": \"1\"}";
        let input = format!("{good}\n{line}\n");
        let said = refused(directory.path(), &["anytime-verifier", "grade"], &input, 65);
        text.push_str(&format!("\n- {wrong}\n\n      {said}\n"));
    }
    let page = repository().join(PAGE);
    let current = std::fs::read_to_string(&page).unwrap();
    let place = |heading: &str| current.find(&format!("\n{heading}\n"));
    let end = place(NEXT).expect("the section behind it");
    let start = place(HEADING).unwrap_or(end);
    let expected = format!("{}\n{text}{}", &current[..start], &current[end..]);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, expected).unwrap();
        return;
    }
    assert!(current == expected, "{PAGE} lags behind: {UPDATE}");
}

/// Whether a line of the page may come of the text.
fn is_said(text: &str, lines: &[&str]) -> bool {
    let parts = fixed_parts(text);
    lines.iter().any(|line| {
        let mut rest = *line;
        parts.iter().all(|part| match rest.find(part.trim()) {
            Some(place) => {
                rest = &rest[place + part.trim().len()..];
                true
            }
            None => false,
        })
    })
}

#[test]
fn every_refusal_of_the_sources_stands_on_the_page() {
    let root = repository();
    let page = std::fs::read_to_string(root.join(PAGE)).unwrap();
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("      ")).collect();
    let mut missing = Vec::new();
    let mut unused: Vec<&str> = LEFT_OUT.iter().map(|(text, _)| *text).collect();
    let mut count = 0;
    for folder in workspace_members(&root) {
        if matches!(folder.as_str(), "bench" | "tests") {
            continue;
        }
        for RefusalText { file, text } in texts_of(&Sources::read(&root, &folder)) {
            count += 1;
            if let Some(place) = unused.iter().position(|left| text.starts_with(left)) {
                unused.remove(place);
                continue;
            }
            let is_left_out = LEFT_OUT.iter().any(|(left, _)| text.starts_with(left));
            if !is_left_out && !is_said(&text, &lines) {
                missing.push(format!("{file}: {text}"));
            }
        }
    }
    assert!(
        count > 80,
        "only {count} texts were found: does the reader still find them?"
    );
    assert!(
        missing.is_empty(),
        "not on {PAGE}; provoke it where its section is written, or say in LEFT_OUT why not:\n{}",
        missing.join("\n")
    );
    assert_eq!(unused, Vec::<&str>::new(), "LEFT_OUT names what is not there");
}

#[test]
fn a_text_is_found_through_its_let_and_held_against_the_page() {
    let house = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = house.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("room/Cargo.toml", "[package]\nname = \"room\"\n");
    write(
        "room/src/lib.rs",
        "fn look(path: &str) -> Result<(), ExitError> {
             let message = format!(\"--out {path}: somebody else is at work {}\", 3);
             if path.is_empty() { return Err(ExitError::configuration(\"the path must not be empty\")); }
             read().map_err(|error| ExitError::data(format!(\"{path}: {error}\")))?;
             check().expect(\"not a refusal of anything\");
             Err(ExitError::configuration(message))
         }
         fn row() -> InvalidSetting { InvalidSetting::new(\"data.path\", \"a value that is shown\", \"it must be a file\") }
         #[cfg(test)]
         mod tests { fn of_tests() { ExitError::configuration(\"what only tests say\"); } }",
    );
    let texts = texts_of(&Sources::read(house.path(), "room"));
    let found: Vec<&str> = texts.iter().map(|found| found.text.as_str()).collect();
    assert_eq!(
        found,
        [
            "--out {path}: somebody else is at work {}",
            "it must be a file",
            "the path must not be empty"
        ]
    );
    let lines = ["      error: --out runs/x: somebody else is at work 3"];
    assert!(is_said(found[0], &lines));
    assert!(!is_said(found[1], &lines));
}
