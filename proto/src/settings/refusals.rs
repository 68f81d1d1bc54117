//! Every way in which a job file can be refused before any other file is read, with what a user is told: provoked here,
//! and compared with docs/refusals.md, which `UPDATE=1 cargo test -p anytime-proto` writes.

use super::file::parse_job_file;
use super::row::alternatives;
use crate::v1::objective_spec::Settings;

/// The smallest job that passes.
const TRAIN: &str = "name = \"job\"\nkind = \"train\"\n[model]\npath = \"model\"\n[data]\npath = \"problems.jsonl\"\n\
                     [training]\nsteps = 3\n";

const EVALUATE: &str = "name = \"job\"\nkind = \"evaluate\"\n[model]\npath = \"model\"\n";

/// (what replaces what in the smallest job, what is added to it).
const CASES: &[(&str, &str, &str)] = &[
    ("name = \"job\"\n", "", ""),
    ("\"job\"", "\"my job\"", ""),
    ("kind = \"train\"\n", "", ""),
    ("\"train\"", "\"trian\"", ""),
    ("path = \"model\"\n", "", ""),
    ("path = \"problems.jsonl\"\n", "", ""),
    ("steps = 3\n", "", ""),
    ("steps = 3", "steps = 0", ""),
    ("steps = 3", "step = 3", ""),
    ("steps = 3", "steps = \"often\"", ""),
    ("steps = 3", "steps = 3\nbatch = 6\nminibatches = 4", ""),
    ("steps = 3", "steps = 3\nbatch = 8\nqueue_groups = 7", ""),
    ("steps = 3", "steps = 3\nbatch = 0", ""),
    ("steps = 3", "steps = 3\nlearning_rate = 0.0", ""),
    ("steps = 3", "steps = 3\nbeta2 = 1.0", ""),
    ("steps = 3", "steps = 3\nepsilon = 0.0", ""),
    ("steps = 3", "steps = 3\nweight_decay = -0.1", ""),
    ("steps = 3", "steps = 3\ngradient_clip = -1.0", ""),
    ("steps = 3", "steps = 3\ngradient_clip_history = 0.5", ""),
    ("steps = 3", "steps = 3\nclip = 1.0", ""),
    ("steps = 3", "steps = 3\nclip_high = 0.0", ""),
    ("steps = 3", "steps = 3\nimportance_cap = 0.5", ""),
    ("steps = 3", "steps = 3\nmicro_batch_tokens = 0", ""),
    ("steps = 3", "steps = 3\nnormaliser = 0.0", ""),
    ("steps = 3", "steps = 3\nlora = { rank = 0 }", ""),
    (
        "steps = 3",
        "steps = 3\nlora = { rank = 8 }\nsharding = \"gradients\"",
        "",
    ),
    (
        "steps = 3",
        "steps = 3\nsharding = \"full\"\nactivation_checkpointing = false",
        "",
    ),
    ("steps = 3", "steps = 3\nlora = { alpha = 0.0 }", ""),
    ("steps = 3", "steps = 3\nlora = { dropout = 1.0 }", ""),
    (
        "steps = 3",
        "steps = 3\nlora = { targets = [\"q_proj\", \"lm_head\"] }",
        "",
    ),
    ("[model]", "[model]\ninitialise = true", "[training.lora]\nrank = 8\n"),
    ("", "", "[modle]\n"),
    ("[model]", "[model]\ndtype = \"f16\"", ""),
    ("[data]", "[data]\nmax_prompt_tokens = 0", ""),
    ("[data]", "[data]\nsystem = \" \"", ""),
    ("", "", "[data.template_arguments]\nmessages = []\n"),
    ("", "", "[data.template_arguments]\n\"enable thinking\" = false\n"),
    ("", "", "[data.template_arguments]\nuntil = 2025-01-01\n"),
    ("[data]", "[data]\ntemplate_arguments = \"enable_thinking\"", ""),
    ("path = \"problems.jsonl\"", "path = []", ""),
    ("path = \"problems.jsonl\"", "path = [\"problems.jsonl\", \"\"]", ""),
    ("path = \"problems.jsonl\"", "path = 3", ""),
    ("path = \"problems.jsonl\"", "path = \"problems\\u0000.jsonl\"", ""),
    ("path = \"problems.jsonl\"", "path = \"hf://datasets/openai/gsm8k\"", ""),
    (
        "path = \"problems.jsonl\"",
        "path = \"hf://openai/gsm8k/main/x.parquet\"",
        "",
    ),
    ("path = \"problems.jsonl\"", "path = \"hf://datasets/gsm8k\"", ""),
    (
        "path = \"problems.jsonl\"",
        "path = \"hf://datasets/openai/gsm8k/../../x.json\"",
        "",
    ),
    ("kind = \"train\"", "kind = \"train\"\npriority = 0.5", ""),
    ("kind = \"train\"", "kind = \"train\"\nlabels = { team = 3 }", ""),
    (
        "kind = \"train\"",
        "kind = \"train\"\nlabels = { \"the team\" = \"math\" }",
        "",
    ),
    (
        "kind = \"train\"",
        "kind = \"train\"\nlabels = { team = \"two\\nlines\" }",
        "",
    ),
    ("path = \"model\"", "path = \"\"", ""),
    ("path = \"model\"", "path = \"model\"\nfrom_job = \"other\"", ""),
    ("path = \"model\"", "path = \"model\"\nfrom_step = 20", ""),
    ("path = \"model\"", "from_job = \"../other\"", ""),
    ("path = \"model\"", "from_job = \"other\"\ninitialise = true", ""),
    ("path = \"model\"", "path = \"hf://gpt2\"", ""),
    ("path = \"model\"", "path = \"hf://datasets/openai/gsm8k\"", ""),
    ("path = \"model\"", "path = \"hf://owner/name/onnx\"", ""),
    ("path = \"model\"", "path = \"hf://owner/name@\"", ""),
    ("path = \"model\"", "path = \"hf://owner/name@../main\"", ""),
    (
        "path = \"problems.jsonl\"",
        "path = \"https://example.com/problems.jsonl\"",
        "",
    ),
    ("[data]", "[data]\nproblem_field = \"extra_info..question\"", ""),
    ("[data]", "[data]\nanswer_field = \"\"", ""),
    ("", "", "[markers]\nend = \"\"\n"),
    ("", "", "[markers]\nsummary = \"\"\n"),
    ("", "", "[markers]\ncut = \"cut here </think>\"\n"),
    ("", "", "[rollout]\nbudgets = [12, 6]\n"),
    ("", "", "[rollout]\nbudgets = [0, 6]\n"),
    ("", "", "[rollout]\ntraces = 0\n"),
    ("", "", "[rollout]\nsummaries = 5000\n"),
    ("", "", "[rollout]\nmax_summary_tokens = 0\n"),
    ("", "", "[rollout]\ntraces = 512\nsummaries = 32\n"),
    ("", "", "[rollout]\ntemperature = 0.0\n"),
    ("", "", "[rollout]\ntop_p = 1.5\n"),
    ("", "", "[rollout]\nlease_seconds = 0\n"),
    ("", "", "[rollout]\ncache_policy = \"drop\"\n"),
    (
        "steps = 3",
        "steps = 3\nmax_staleness = 1",
        "[rollout]\ndeterministic = true\n",
    ),
    ("", "", "[evaluation]\nbudgets = [6, 6]\n"),
    ("", "", "[evaluation]\nsamples = 0\n"),
    ("", "", "[evaluation]\nsummaries = 0\n"),
    ("", "", "[evaluation]\nsamples = 4096\n"),
    ("", "", "[evaluation]\ntemperature = 200.0\n"),
    ("", "", "[evaluation]\ntop_p = 0.0\n"),
    ("", "", "[grading]\nunits = \"metric\"\n"),
    ("[model]\npath = \"model\"", "model = [\"model\"]", ""),
    ("[model]\npath = \"model\"", "model = 3", ""),
    ("steps = 3", "steps = 3\nsteps = 4", ""),
    ("steps = 3", "steps = -3", ""),
    ("steps = 3", "steps = 9223372036854775808", ""),
    ("steps = 3", "steps = 3\nseed = 7", ""),
    ("", "", "[rollout]\nseed = 18446744073709551615\n"),
    ("steps = 3", "steps = 3\nbatch = 4294967296", ""),
    ("steps = 3", "steps = 3\nlearning_rate = nan", ""),
    ("", "", "[rollout]\nbudgets = []\n"),
    ("", "", "[evaluation]\nbudgets = []\n"),
    ("", "", "[rollout]\nbudgets = [8.5]\n"),
    ("", "", "[objective]\nname = \"ppo\"\n"),
    ("", "", "[objective]\nkimi = []\n"),
    ("", "", "[objective]\nprior = \"explicit\"\n"),
    (
        "",
        "",
        "[objective]\nname = \"brpo\"\n[objective.degrpo]\ncontrol_weight = 0.5\n",
    ),
    (
        "",
        "",
        "[objective.grpo]\nleave_one_out = true\n[objective.kimi]\nlength_weight = 0.5\n",
    ),
    ("", "", "[objective]\nname = \"adaptthink\"\nno_thinking_bonus = 0.05\n"),
    ("", "", "[objective]\nname = \"kimi\"\nlength_weight = 0.5\n"),
    ("", "", "[objective.adaptthink]\nleave_one_out = true\n"),
    ("", "", "[objective]\nlambda = 0.0\n"),
    ("", "", "[objective]\nsummary_weight = -1.0\n"),
    (
        "",
        "",
        "[objective]\nprior = \"explicit\"\nprior_weights = [0.5, 0.4, 0.0, 0.0]\n",
    ),
    ("", "", "[objective]\nprior_weights = [1.0, 0.0, 0.0, 0.0]\n"),
    (
        "",
        "",
        "[objective.brpo]\nsummary_prior = \"explicit\"\nsummary_prior_weights = [1.0]\n",
    ),
    (
        "",
        "",
        "[objective.brpo]\nlength_penalty = \"linear\"\nlength_coefficient = 1.5\n",
    ),
    ("", "", "[rollout]\ntraces = 7\n[objective.adaptthink]\n"),
    ("", "", "[objective.adaptthink]\nno_thinking_bonus = -1.0\n"),
    ("", "", "[objective.adaptthink]\nreference_samples = 0\n"),
    ("", "", "[objective.adaptthink]\nreference_samples = 1024\n"),
    ("", "", "[objective.degrpo]\ncontrol_weight = -1.0\n"),
    ("", "", "[objective.degrpo]\nthinking_cost = 2.5\n"),
    ("", "", "[objective.short_rl]\naccuracy_tolerance = 2.0\n"),
    ("", "", "[objective.kimi]\nlength_weight = -1.0\n"),
    ("", "", "[objective.kimi]\nlength_weight = \"1\"\n"),
    ("", "", "[objective.gfpo]\nkeep = 0\n"),
    ("", "", "[objective.gfpo]\nkeep = 9\n"),
];

const HEAD: &str = "\
# What is refused, and what is said

Whoever writes a job file that cannot work is told the setting and the reason, in one sentence, before anything starts
(exit code 64; over gRPC INVALID_ARGUMENT with the setting's name in the metadata `anytime-setting`). This page is written
by the test that provokes each of them:

    UPDATE=1 cargo test -p anytime-proto

## Settings

What is wrong with the smallest job (`name`, `kind`, `model.path`, `data.path`, `training.steps`), and what is said.
";

/// The page as the cases make it.
fn page() -> String {
    let mut text = HEAD.to_owned();
    for (replaced, by, added) in CASES {
        let job = TRAIN.replacen(replaced, by, usize::from(!replaced.is_empty())) + added;
        text.push_str(&entry(&wrong(replaced, by, added), &job));
    }
    text.push_str(&entry("an evaluate job without `evaluation.path`", EVALUATE));
    text
}

fn wrong(replaced: &str, by: &str, added: &str) -> String {
    let line = |text: &str| text.trim().replace('\n', ", ");
    match (replaced.is_empty(), by.is_empty()) {
        (true, _) => format!("`{}`", line(added)),
        (false, true) => format!("without `{}`", line(replaced)),
        (false, false) => format!("`{}` instead of `{}`", line(by), line(replaced)),
    }
}

fn entry(wrong: &str, job: &str) -> String {
    let error = match parse_job_file(job) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{wrong} is not refused"),
    };
    // A new objective changes nothing on this page.
    let error = error.replace(&alternatives(Settings::NAMES), "brpo, grpo, …");
    format!("\n- {wrong}\n\n      {}\n", error.trim_end().replace('\n', "\n      "))
}

#[test]
fn every_refusal_of_a_job_file_stands_on_its_page() {
    super::tests::assert_written("docs/refusals.md", &page(), "\n## Models");
}
