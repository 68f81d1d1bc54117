//! What the command line refuses before it contacts anybody, with the text: provoked here, and the last section of
//! docs/refusals.md, which `UPDATE=1 cargo test -p anytime --test refusals` writes.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Stdio;

use anytime_proto::v1::objective_spec::Settings;
use support::{LIMIT, anytime, command, repository, train_job, write};
use tokio::io::AsyncWriteExt as _;

const HEADING: &str = "## Command line";

const UPDATE: &str = "UPDATE=1 cargo test -p anytime --test refusals";

/// Files beside `job.toml`, which is a job that works.
const FILES: &[(&str, &str)] = &[
    (
        "named.toml",
        "title = \"x\"\nbase = \"demo\"\nmethods = [\"grpo\"]\nseeds = [1]\n[set]\nname = \"mine\"\n",
    ),
    (
        "seeded.toml",
        "title = \"x\"\nbase = \"demo\"\nmethods = [\"grpo\"]\nseeds = [1]\n[set]\nrollout.seed = 3\n",
    ),
    (
        "twice.toml",
        "title = \"x\"\nbase = \"demo\"\nmethods = [\"grpo\", \"grpo\"]\nseeds = [1]\n",
    ),
    (
        "mixed.toml",
        "title = \"x\"\nbase = \"demo\"\nmethods = [\"ar-linear\"]\nseeds = [1]\n[set.objective.kimi]\nlength_weight = 0.5\n",
    ),
    ("kimi.toml", "[objective.kimi]\nlength_weight = 0.5\n"),
    (
        "fork.toml",
        "name = \"fork\"\nkind = \"train\"\nmodel = { from_job = \"nobody\" }\ndata = { path = \"other.txt\" }\ntraining = { \
         steps = 3 }\n",
    ),
    ("other.txt", "nothing to see\n"),
    ("a.token", "0123456789abcdef0123456789abcdef\n"),
    ("ready/config.json", "{}\n"),
    (
        "none.toml",
        "title = \"x\"\nbase = \"demo\"\nmethods = []\nseeds = [1]\n",
    ),
    ("runs/broken/results.json", "{"),
    ("runs/none/results.json", "[]"),
    ("runs/several/chains/job.pb", ""),
    ("runs/several/products/job.pb", ""),
];

/// The commands, each refused.
const CASES: &[&[&str]] = &[
    &["check", "nowhere.toml"],
    &["certs", "ready"],
    &["compose", "--gpus", "0"],
    &["compose", "--gpus", "8", "--learner-gpus", "0"],
    &["compose", "--gpus", "8", "--learner-gpus", "8"],
    &["compose", "--gpus", "8", "--host-role", "learner"],
    &["compose", "--gpus", "8", "--host-role", "actors", "--learner-gpus", "1"],
    &["certs", "new", "--server", "a name\u{fc}"],
    &["certs", "new", "--ca", "other.txt", "--ca-key", "a.token"],
    &["list", "--token-file", "other.txt"],
    &["list", "--learner", "http://192.0.2.1:7100", "--token-file", "a.token"],
    &["check", "latin1.toml"],
    &["check", "job.toml", "--set", "training.steps"],
    &["check", "job.toml", "--set", "=3"],
    &["check", "job.toml", "--set", "rollout.budgets=[6, 12"],
    &["check", "job.toml", "--set", "rollout.budgets=[]"],
    &["check", "job.toml", "--set", "rollout.budget=[6]"],
    &["check", "job.toml", "--set", "training.steps=many"],
    &["check", "job.toml", "--set", "training.seed=3"],
    &["check", "job.toml", "--set", "rollout.seed=9223372036854775808"],
    &["check", "job.toml", "--set", "training={steps=1.5}"],
    &["check", "job.toml", "--set", "training=[3]"],
    &["check", "job.toml", "--set", "objective.kimi=[]"],
    &["check", "job.toml", "--set", "objective.length_weight=1"],
    &["check", "job.toml", "--set", "objective.kimi.length_weight=-1"],
    &[
        "check",
        "job.toml",
        "--set",
        "objective.kimi.length_weight=1",
        "--set",
        "objective.grpo.leave_one_out=true",
    ],
    &["check", "--preset", "demo"],
    &["check", "--preset", "nowhere/grpo"],
    &["check", "--preset", "demo/ppo"],
    &["check", "--preset", "demo/ar-linear", "--set", "objective.name=grpo"],
    &[
        "check",
        "--preset",
        "demo/kimi",
        "--set",
        "objective.grpo.leave_one_out=true",
    ],
    &["check", "kimi.toml", "--preset", "demo/ar-linear"],
    &["evaluate", "job.toml"],
    &["evaluate", "--model", "m", "--problems", "p.jsonl", "--samples", "0"],
    &["evaluate", "--model", "m", "--problems", "p.jsonl", "--budgets", "9,6"],
    &[
        "evaluate",
        "--model",
        "m",
        "--problems",
        "p.jsonl",
        "--set",
        "evaluation.sample=3",
    ],
    &["evaluate", "--preset", "demo/ppo"],
    &["submit", "job.toml", "--set", "kind=trian"],
    &["list", "--learner", "not an address"],
    &["local", "job.toml"],
    &["local", "fork.toml"],
    &["local", "job.toml", "--set", "model.path=ready"],
    &["local", "other.txt"],
    &["local", "job.toml", "--set", "training.steps=0"],
    &["demo", "--task", "sums"],
    &["demo", "--preset", "r1-distill-1.5b-8k/grpo"],
    &["demo", "--set", "training.steps=0"],
    &["demo", "--set", "objective.kimi.length_weight=0.1"],
    &["presets", "demo"],
    &["presets", "demo/ppo"],
    &["data", "sums", "--out", "out", "--train", "100000000"],
    &["show", "runs/nowhere"],
    &["show", "runs/none"],
    &["show", "runs/several"],
    &["show", "runs/several", "--job", "sums"],
    &["show", "runs/several/chains", "--job", "sums"],
    &["show", "job-1", "--job", "sums"],
    &["ask", " ", "--server", "127.0.0.1:7103"],
    &["ask", "2+2?", "--server", "127.0.0.1:7103", "--temperature", "nan"],
    &["ask", "2+2?", "--server", "127.0.0.1:7103", "--timeout", "0s"],
    &["study", "nowhere.toml"],
    &["study", "other.txt"],
    &["study", "none.toml"],
    &["study", "report", "runs/nowhere"],
    &["study", "report", "runs/broken"],
    &["study", "report", "runs/none"],
    &["local", "job.toml", "--devices", "0"],
    &["local", "job.toml", "--devices", "0,1", "--actors", "2"],
    &["local", "job.toml", "--devices", "0,gpu"],
    &["study", "named.toml"],
    &["study", "seeded.toml"],
    &["study", "twice.toml"],
    &["study", "mixed.toml"],
    &["advantages"],
    &["advantages", "--prior", "0.3,0.8"],
    &["advantages", "--prior", "uniform", "--objective", "ppo"],
    &["advantages", "--prior", "uniform", "--objective", "adaptthink"],
    &["advantages", "--prior", "uniform", "--objective", "gfpo"],
    &["advantages", "--prior", "uniform", "--set", "keep=3"],
    &[
        "advantages",
        "--prior",
        "uniform",
        "--objective",
        "kimi",
        "--set",
        "length_weight=much",
    ],
    &[
        "advantages",
        "--prior",
        "uniform",
        "--leave-one-out",
        "--set",
        "leave_one_out=false",
    ],
    &["advantages", "--prior", "uniform", "--budgets", "12,6"],
];

const GROUP: &str = "{\"rewards\": [[[0], [1]], [[0], [0]]]}";

/// What a command is told, with what it read from standard input.
async fn refused(directory: &Path, arguments: &[&str]) -> String {
    let mut child = command(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that is refused before it reads its input closes the pipe.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(GROUP.as_bytes()).await.ok();
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    said.trim_end().to_owned()
}

#[tokio::test]
async fn the_page_of_refusals_has_those_of_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("job.toml"), &train_job("x"));
    std::fs::write(directory.path().join("latin1.toml"), b"name = \"\xfcbung\"\n").unwrap();
    for (name, text) in FILES {
        write(&directory.path().join(name), text);
    }
    let mut text = format!(
        "{HEADING}\n\nWhat `anytime` refuses, and what it says. `job.toml` is a job that works, `kimi.toml` holds \
         `[objective.kimi]` alone, `fork.toml` starts from the job `nobody`, `latin1.toml` is no UTF-8, `ready` is a directory with config.json, the study \
         files set a name, set a seed, name a method twice, name none and set the table of another objective, and `advantages` reads the scores of two traces at two \
         budgets. Written by\n\n    {UPDATE}\n"
    );
    for arguments in CASES {
        let said = refused(directory.path(), arguments).await;
        // The reader of TOML shows the line that it could not read.
        assert!(
            !said.contains('\n') || said.contains("TOML parse error"),
            "{arguments:?}: a refusal is one sentence: {said}"
        );
        let said = said.replace('\n', "\n      ");
        let quoted = |argument: &&str| match argument.contains(' ') {
            true => format!("'{argument}'"),
            false => (*argument).to_owned(),
        };
        let written: Vec<String> = arguments.iter().map(quoted).collect();
        // A new objective changes nothing on this page.
        let said = said.replace(&objectives(), "brpo, grpo, …");
        text.push_str(&format!("\n- `anytime {}`\n\n      {said}\n", written.join(" ")));
    }
    let page = repository().join("docs/refusals.md");
    let current = std::fs::read_to_string(&page).unwrap();
    let start = current.find(&format!("\n{HEADING}\n")).unwrap_or(current.len());
    let expected = format!("{}\n{text}", &current[..start]);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, expected).unwrap();
        return;
    }
    assert!(current == expected, "docs/refusals.md lags behind: {UPDATE}");
}

/// `brpo, grpo or elastic`, of all objectives.
fn objectives() -> String {
    let (last, others) = Settings::NAMES.split_last().unwrap();
    format!("{} or {last}", others.join(", "))
}

#[tokio::test]
async fn presets_take_other_settings_of_their_own_objective() {
    let directory = tempfile::tempdir().unwrap();
    for set in [
        "objective.name=brpo",
        "objective.brpo.leave_one_out=true",
        "objective.lambda=0.25",
    ] {
        let ended = anytime(&["check", "--settings-only", "--preset", "demo/ar-linear", "--set", set]).await;
        assert_eq!(ended.code, 0, "{set}: {}", ended.stderr);
    }
    // Where no objective's table is written, the name of the objective may be changed.
    let file = directory.path().join("job.toml");
    write(&file, &train_job("x"));
    let ended = anytime(&[
        "check",
        "--settings-only",
        file.to_str().unwrap(),
        "--set",
        "objective.kimi={length_weight=0.5}",
        "--json",
    ])
    .await;
    assert_eq!(
        ended.json()[0]["spec"]["objective"]["kimi"]["length_weight"],
        0.5,
        "{}",
        ended.stderr
    );
}
