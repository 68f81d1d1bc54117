//! Chat templates render as transformers renders them: `fixtures/templates.py` says how. And what a hostile one costs.

use std::path::Path;

use anytime_policy::{Chat, TemplateArguments, Tokenizer};
use serde_json::json;

use crate::common::fixture;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    template: String,
    system: Option<String>,
    user: String,
    arguments: TemplateArguments,
    rendered: Option<String>,
}

/// A model directory with this template.
fn tokenizer(template: &str) -> Result<Tokenizer, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("tokenizer-chatml").join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("config.json", &json!({"eos_token_id": 2}).to_string());
    write(
        "tokenizer_config.json",
        &json!({"bos_token": "<s>", "eos_token": "</s>"}).to_string(),
    );
    write("chat_template.jinja", template);
    Tokenizer::load(dir.path()).map_err(|error| error.to_string())
}

pub(crate) fn render(template: &str, user: &str) -> Result<String, String> {
    let chat = Chat {
        system: None,
        user,
        arguments: &TemplateArguments::default(),
    };
    tokenizer(template)?
        .render_chat(&chat)
        .map_err(|error| error.to_string())
}

/// Templates that are known to render differently. No published template has them: for Python 1 and true are one key.
const DIFFERENT: [&str; 1] = ["{{ {1: 2, true: 3, none: 4} | tojson }}"];

#[test]
fn templates_and_constructs_render_as_in_transformers() {
    let expected = std::fs::read(fixture("templates").join("expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&expected).unwrap();
    let mut different = Vec::new();
    let mut said = Vec::new();
    for case in &cases {
        let chat = Chat {
            system: case.system.as_deref(),
            user: &case.user,
            arguments: &case.arguments,
        };
        let rendered = tokenizer(&case.template)
            .and_then(|tokenizer| tokenizer.render_chat(&chat).map_err(|error| error.to_string()));
        if rendered.as_ref().ok() != case.rendered.as_ref() {
            different.push(case.name.as_str());
            said.push(format!(
                "{}\n  here: {rendered:?}\n  there: {:?}",
                case.name, case.rendered
            ));
        }
    }
    assert!(cases.len() > 110, "{}", cases.len());
    assert_eq!(different, DIFFERENT, "{}", said.join("\n"));
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    for template in [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'chat_template' %}",
        "{% for i in range(1000000000) %}{{ i }}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 1000000 }}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ 'aaa'.count('') }}{{ raise_exception('counted') }}",
        "{{ 'x'.ljust(1000000000000) }}",
        "{{ '%1000000000000s' % 'x' }}",
        &"{{ '%s' % (".repeat(20_000),
        &format!("{{{{ {}{} }}}}", "'%s' % (".repeat(20_000), ")".repeat(20_000)),
    ] {
        let error = render(template, "hi").expect_err(template);
        assert!(error.contains("chat_template.jinja: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = render(
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "",
    )
    .unwrap_err();
    assert!(error.contains("it takes more than 2000000 steps"), "{error}");
}

#[test]
fn arguments_that_python_and_jinja_have_by_place_and_by_name() {
    for (template, text) in [
        (
            "{{ 'abc'.startswith('b', 1) }}{{ 'abc'.startswith('a', 1) }}",
            "TrueFalse",
        ),
        (
            "{{ 'abc'.endswith('b', 0, 2) }}{{ 'abc'.endswith(('b', 'c')) }}",
            "TrueTrue",
        ),
        (
            "{{ 'äbcb'.find('b', 2) }}{{ 'abc'.find('a', 1) }}{{ 'abcb'.rfind('b', 0, 3) }}",
            "3-11",
        ),
        (
            "{{ 'aaa'.count('a', 1) }}{{ 'aaa'.count('a', -1) }}{{ 'a'.count('', 2) }}",
            "210",
        ),
        (
            "{{ 'aaa'.replace('a', 'b', 2) }}{{ 'aaa'|replace('a', 'b', 1) }}",
            "bbabaa",
        ),
        ("{{ 'aaa'|replace('a', 'b', count=2) }}", "bba"),
        (
            "{{ 'x'|int(default=5) }}{{ 'x'|int(5) }}{{ 'x'|float(default=1.5) }}",
            "551.5",
        ),
        (
            "{{ 'ff'|int(base=16) }} {{ '0x1F'|int(0, 16) }} {{ '101'|int(base=2) }}",
            "255 31 5",
        ),
        ("{{ [{'a': 1}, {'a': 2}]|join('-', attribute='a') }}", "1-2"),
    ] {
        assert_eq!(render(template, "hi").as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn a_refusal_says_file_line_and_reason_in_one_line() {
    let cases = [
        ("a\n{% if %}", "syntax error: unexpected end of block (line 2)"),
        (
            "{{ raise_exception('no\nsystem role') }}",
            "it refuses the messages: no system role (line 1)",
        ),
        ("{{ messages.x.y }}", "undefined value (line 1)"),
        (
            "{{ messages[0].content % 2 }}",
            "tried to use % operator on unsupported types string and number (line 1)",
        ),
        (
            &format!("{{{{ '%s' % '{}' }}}}", "é".repeat(2_000)),
            "tried to use % operator on unsupported types string and string (line 1)",
        ),
        ("\n{{ '%s %s' % 'a' }}", "% format: more fields than values (line 2)"),
        (
            "\n{{ 'a'.unknown() }}",
            "a value that is string has no method unknown (line 2)",
        ),
        (
            "{{ 'a'.removeprefix() }}",
            "method removeprefix: missing argument (line 1)",
        ),
        ("{{ ''.join() }}", "method join: missing argument (line 1)"),
        (
            "{{ 'a'|unknown }}",
            "unknown filter: filter unknown is unknown (line 1)",
        ),
        ("{{ unknown() }}", "unknown function: unknown is unknown (line 1)"),
        ("{% unknown %}", "syntax error: unknown statement unknown (line 1)"),
        ("\n\n{{ strftime_now('%Q') }}", "strftime_now does not know %Q (line 3)"),
    ];
    for (template, says) in cases {
        let error = render(template, "hi").expect_err(template);
        assert!(error.ends_with(&format!("/chat_template.jinja: {says}")), "{error}");
    }
}

fn write(dir: &Path, name: &str, text: &[u8]) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn a_template_is_found_or_what_is_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(
        fixture("tokenizer-chatml").join("tokenizer.json"),
        dir.join("tokenizer.json"),
    )
    .unwrap();
    write(dir, "config.json", br#"{"eos_token_id": 2}"#);
    let load = || Tokenizer::load(dir).map_err(|error| error.to_string());
    let origin = || {
        load()
            .unwrap()
            .chat_template_origin()
            .map(anytime_policy::Origin::short)
    };
    assert_eq!(origin(), None);
    write(dir, "tokenizer_config.json", br#"{"chat_template": "inside"}"#);
    assert_eq!(origin().as_deref(), Some("chat_template in tokenizer_config.json"));

    // The file goes first, and a byte order mark is no part of it.
    let path = dir.join("chat_template.jinja");
    std::fs::write(&path, "\u{feff}{{ messages[0].content }}!").unwrap();
    assert_eq!(origin().as_deref(), Some("chat_template.jinja"));
    let chat = Chat {
        system: None,
        user: "hi",
        arguments: &TemplateArguments::default(),
    };
    assert_eq!(load().unwrap().render_chat(&chat).unwrap(), "hi!");
    assert!(load().unwrap().chat_template_names("messages"));
    assert!(!load().unwrap().chat_template_names("message"));

    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    assert!(load().err().unwrap().contains("is a pointer of git-lfs"));
    std::fs::write(&path, b"caf\xe9").unwrap();
    assert!(
        load()
            .err()
            .unwrap()
            .ends_with("the file is not in UTF-8; save it in UTF-8")
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(
        load()
            .err()
            .unwrap()
            .starts_with(&format!("cannot read {}", path.display()))
    );
    std::fs::remove_dir(&path).unwrap();
    // A link to a file that is gone, and one to itself, are no missing files.
    for target in ["gone", "chat_template.jinja"] {
        std::os::unix::fs::symlink(target, &path).unwrap();
        assert!(
            load()
                .err()
                .unwrap()
                .starts_with(&format!("cannot read {}", path.display()))
        );
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn values_that_are_joined_are_written_as_python_writes_them() {
    for (template, text) in [
        ("{{ 1e20 ~ 0.5 ~ 1.0 }}", "1e+200.51.0"),
        ("{{ [1, 'a', none, true] ~ '' }}", "[1, 'a', None, True]"),
        ("{{ '' ~ {'a': [1.0], 'b': \"it's\"} }}", "{'a': [1.0], 'b': \"it's\"}"),
        ("{{ none ~ true ~ 3 ~ nothing ~ 'x' }}", "NoneTrue3x"),
        (
            "{% set x = messages ~ '' %}{{ x }}",
            "[{'role': 'user', 'content': 'hi'}]",
        ),
        ("{{ ([1.0, 2] ~ '')|length }}", "8"),
    ] {
        assert_eq!(render(template, "hi").as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn the_default_of_a_parameter_may_name_an_earlier_one() {
    for (template, text) in [
        (
            "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(b=3, a=4) }}",
            "11 12 43",
        ),
        (
            "{% macro m(a, b=a+1, c=b*2) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=7) }}",
            "124 127",
        ),
        (
            "{% set a = 9 %}{% macro m(b=a, c='x') %}{{ b }}{{ c }}{% endmacro %}{{ m() }} {{ m(none) }}",
            "9x Nonex",
        ),
        (
            "{% macro m(a, b=[a]) %}{{ b }}{{ caller() }}{% endmacro %}{% call m('q') %}!{% endcall %}",
            "['q']!",
        ),
    ] {
        assert_eq!(render(template, "hi").as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn the_line_behind_raw_stays() {
    for (template, text) in [
        ("a{% raw %}\n{{ x }}{% endraw %}\nb", "a\n{{ x }}b"),
        ("a\n  {% raw %}\n\n{% endraw %}b", "a\n\n\nb"),
        ("a{% raw -%}\n x{% endraw %}b", "axb"),
        ("{%- raw %}\n{%- endraw %}b", "b"),
        (
            "{% raw %}x{% endraw %}{% raw %}\n{% generation %}{% endraw %}",
            "x\n{% generation %}",
        ),
    ] {
        assert_eq!(render(template, "hi").as_deref(), Ok(text), "{template}");
    }
}
