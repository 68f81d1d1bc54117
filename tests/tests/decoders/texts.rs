//! Valid texts, and what texts of each kind are made of.

pub(crate) const TOML: &[&[u8]] = &[
    b"[[",
    b"]]",
    b"{a=",
    b"}",
    b"\"\"\"",
    b"=\n",
    b"inf",
    b"nan",
    b"1979-05-27",
    b"[training]",
    b"a.a.a.a.a.a.a.a.",
];
pub(crate) const JSON: &[&[u8]] = &[
    b"[",
    b"{\"a\":",
    b"null",
    b"\"\\ud800\"",
    b"[[[[[[[[",
    b"1e400",
    b"\\u0000",
    b"true",
];
pub(crate) const JINJA: &[&[u8]] = &[
    b"{% for a in range(1000000) %}",
    b"{% endfor %}",
    b"{{ messages * 99999999 }}",
    b"{{ 'a' * 999999999 }}",
    b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    b"{% set a = [1] %}",
    b"{{ a | tojson }}",
    b"((((((((",
    b"[[[[[[[[",
    b"{{ range(10**12) | list }}",
];

pub(crate) const SETTINGS: &[&str] = &[
    "training.steps=10",
    "rollout.budgets=[1, 2, 3]",
    "data.template_arguments={a = 1}",
    "model.path=\"x\"",
    "objective.brpo.prior=\"uniform\"",
];

pub(crate) const JSON_ROWS: &[u8] =
    br#"[{"problem": "What is 6 times 7?", "answer": "42", "extra": {"a": [1, 2.5e3, null]}},
{"messages": [{"role": "user", "content": "Halve it."}], "answer": "1/2"}, {"prompt": "a", "completion": "b"}]"#;
pub(crate) const JSON_LINES: &[u8] =
    br#"{"problem": "What is 6 times 7?", "answer": "42", "extra": {"a": [1, 2.5e3, null]}}
{"messages": [{"role": "user", "content": "Halve it."}], "answer": "['1/2']"}
{"question": "What is 1 + 1?", "answer": "so it is #### 2"}
"#;

pub(crate) const RECOVERY: &[u8] =
    br#"{"step": 3, "updates": 3, "consumed_below": 2, "consumed": [4], "left_out_below": 0,
"left_out": [3], "weights_checksum": "c", "compute": "f32", "references": {"a": 0.5}, "skipped_in_a_row": 0}"#;
pub(crate) const GENERATIONS: &[u8] = br#"{"row": 0, "id": "a", "problem": "x", "ground_truths": ["1"], "budgets": [1, 2],
"summaries_per_budget": 1, "accuracy": [0.5, 1.0], "traces": []}
{"row": 1, "id": "b", "problem": "y", "ground_truths": ["2"], "budgets": [1, 2], "summaries_per_budget": 1, "accuracy": [0.5, 1.0], "traces": []}
"#;
