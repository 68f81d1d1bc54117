//! Names of fields, layouts of rows, ground truths.

use super::{Files, answers_of, content, fault_of, problems_of};
use crate::data::fields::Fields;

#[test]
fn arrays_and_lines_with_every_kind_of_answer() {
    let lines = "{\"problem\": \"a\", \"answer\": \"1\"}\n\n{\"problem\": \"b\", \"answer\": [2, \"3\"], \"id\": 7}\n";
    let rows = problems_of(lines).expect("valid");
    assert_eq!(content(&rows), [("0", "a", vec!["1"]), ("7", "b", vec!["2", "3"])]);
    let places: Vec<(u64, &str)> = rows.iter().map(|row| (row.row, row.place.as_str())).collect();
    assert_eq!(places, [(0, "line 1"), (1, "line 3")]);
    let rows = problems_of("[{\"problem\": \"a\", \"answer\": 1.5}]").expect("valid");
    assert_eq!(
        (rows[0].answers.as_slice(), rows[0].place.as_str()),
        (&["1.5".to_owned()][..], "row 0")
    );
}

#[test]
fn numbers_keep_their_digits() {
    for (number, digits) in [
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-98765432109876543210", "-98765432109876543210"),
        ("0.1", "0.1"),
        ("34.0", "34.0"),
        (
            "3.14159265358979323846264338327950288",
            "3.14159265358979323846264338327950288",
        ),
        ("1e3", "1000"),
        ("2.5e-3", "0.0025"),
        ("18446744073709551616", "18446744073709551616"),
    ] {
        assert_eq!(
            answers_of(&format!("{{\"problem\": \"a\", \"answer\": {number}}}")),
            [digits]
        );
        let in_a_list = format!("[{{\"problem\": \"a\", \"answer\": [{number}]}}]");
        assert_eq!(answers_of(&in_a_list), [digits]);
    }
}

#[test]
fn messages_may_be_written_as_a_text() {
    let chat = r#"[{\"role\": \"system\", \"content\": \"s\"}, {\"content\": \"a\", \"role\": \"user\"}]"#;
    for name in ["prompt", "messages", "problem"] {
        let rows = problems_of(format!("{{\"{name}\": \"{chat}\", \"answer\": 1}}")).expect("valid");
        assert_eq!((rows[0].problem.as_str(), rows[0].is_message), ("a", true));
    }
    // Other texts in brackets are problems, which may be about lists.
    for text in [
        "[1, 2] has how many items?",
        "[{}]",
        "[]",
        "[1]",
        "[{'a': 1}] in Python?",
    ] {
        let rows = problems_of(format!("{{\"prompt\": \"{text}\", \"answer\": 1}}")).expect("valid");
        assert_eq!((rows[0].problem.as_str(), rows[0].is_message), (text, false));
    }
    let fault = fault_of("{\"prompt\": \"[{'role': 'user', 'content': 'a'}]\", \"answer\": 1}");
    assert!(fault.contains("is a list of messages as Python prints it"), "{fault}");
}

#[test]
fn common_names_are_known() {
    for row in [
        r#"{"question": "a", "answer": "1"}"#,
        r#"{"Problem": "a", "Answer": 1}"#,
        r#"{"Question": "a", "Answer": 1}"#,
        r#"{"prompt": "a", "solution": "$\\boxed{1}$"}"#,
        r#"{"prompt": "a", "label": "1"}"#,
        r#"{"messages": [{"role": "user", "content": "a"}], "answer": "1"}"#,
        r#"{"prompt": [{"role": "user", "content": "a"}], "label": "1"}"#,
        r#"{"problem": "a", "solution": "So \\boxed{2}, no, \\boxed{1}."}"#,
        r#"{"problem": "a", "answer": null, "solution": "\\boxed{1}"}"#,
        r#"{"problem": "a", "answer": " ", "solution": "\\boxed{1}"}"#,
        r#"{"problem": "a", "ground_truth": "[\"1\"]"}"#,
        r#"{"question": "a", "answer": "1 = <<1=1>>1\n#### 1"}"#,
        r#"{"question": "b", "prompt": [{"role": "user", "content": "a"}], "reward_model": {"ground_truth": "1"}}"#,
        r#"{"question": "b", "prompt": [{"role": "user", "content": "a"}], "reward_model": "{\"ground_truth\": \"1\"}"}"#,
        r#"{"prompt": "a", "reward_model": " {\"ground_truth\": 1, \"style\": \"rule\"}", "extra_info": "{not json"}"#,
        r#"{"problem": "a", "prompt": "b", "answer": "1", "solution": "\\boxed{2}"}"#,
    ] {
        let rows = problems_of(row).unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(content(&rows), [("0", "a", vec!["1"])], "{row}");
    }
}

#[test]
fn ground_truths_of_published_sets() {
    for (answer, truths) in [
        (r#""[\"7\"]""#, vec!["7"]),
        (r#""[\"7\", \"8\"]""#, vec!["7", "8"]),
        (r#""['70']""#, vec!["70"]),
        (r#"["[\"7\"]"]"#, vec!["7"]),
        (r#""3+4 = <<3+4=7>>7\n#### 7""#, vec!["7"]),
        ("\"#### 72\"", vec!["72"]),
        (r#""[1, 2]""#, vec!["[1, 2]"]),
        (r#""\\boxed{34}""#, vec!["\\boxed{34}"]),
    ] {
        assert_eq!(
            answers_of(&format!("{{\"problem\": \"a\", \"answer\": {answer}}}")),
            truths,
            "{answer}"
        );
        let prompt = r#"[{"role": "user", "content": "a"}]"#;
        let verl = format!("{{\"prompt\": {prompt}, \"reward_model\": {{\"ground_truth\": {answer}}}}}");
        assert_eq!(answers_of(&verl), truths, "{answer}");
    }
}

#[test]
fn the_settings_name_fields_also_nested_ones() {
    let files = Files::new();
    files.write(
        "data.jsonl",
        r#"{"q": "a", "problem": "no", "extra": {"truth": {"value": "1"}}, "a.b": "2", "answer": "3"}"#,
    );
    let read = |problem, answer| {
        let fields = Fields {
            problem,
            answer,
            or_common: false,
        };
        files.read(&["data.jsonl"], fields).map(|set| set.rows)
    };
    let rows = read(Some("q"), Some("extra.truth.value")).expect("valid");
    assert_eq!(content(&rows), [("0", "a", vec!["1"])]);
    assert_eq!(read(Some("q"), Some("a.b")).expect("valid")[0].answers, ["2"]);
    assert_eq!(read(None, Some("a.b")).expect("valid")[0].problem, "no");
    let missing = read(Some("quest"), None).expect_err("refused").reason;
    for part in [
        "line 1",
        "\"quest\" (data.problem_field) is missing",
        "the row has a.b, answer, extra, problem, q",
    ] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    let nested = read(Some("q"), Some("extra.truth.text")).expect_err("refused").reason;
    assert!(nested.contains("its extra.truth has value"), "{nested}");
    let nested = read(Some("q"), Some("extra.truth")).expect_err("refused").reason;
    assert!(nested.contains("an object"), "{nested}");
}

#[test]
fn names_that_were_made_for_another_file_give_way() {
    let files = Files::new();
    files.write("data.jsonl", r#"{"problem": "a", "answer": "1"}"#);
    let fields = |or_common| Fields {
        problem: Some("q"),
        answer: Some("a"),
        or_common,
    };
    assert!(files.read(&["data.jsonl"], fields(false)).is_err());
    let rows = files.read(&["data.jsonl"], fields(true)).expect("valid").rows;
    assert_eq!(content(&rows), [("0", "a", vec!["1"])]);
    files.write("null.jsonl", r#"{"q": "a", "a": null, "answer": "1"}"#);
    let fault = files
        .read(&["null.jsonl"], fields(true))
        .expect_err("the field is there")
        .reason;
    assert!(fault.contains("is null"), "{fault}");
}

#[test]
fn completions_under_their_names_or_others() {
    let files = Files::new();
    files.write(
        "data.jsonl",
        r#"{"prompt": "a", "completion": "b", "q": "c", "r": {"text": "d"}}"#,
    );
    let row = |fields| files.completions("data.jsonl", fields).expect("valid").remove(0);
    let plain = row(Fields::default());
    assert_eq!((plain.prompt.as_str(), plain.completion.as_str()), ("a", "b"));
    let named = row(Fields {
        problem: Some("q"),
        answer: Some("r.text"),
        or_common: false,
    });
    assert_eq!((named.prompt.as_str(), named.completion.as_str()), ("c", "d"));
    files.write("twice.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n".repeat(3));
    let rows = files.completions("twice.jsonl", Fields::default()).expect("valid");
    assert_eq!(rows.len(), 3, "rows that are imitated count as often as they are there");
    files.write("empty.jsonl", r#"{"prompt": "a", "completion": ""}"#);
    let fault = files
        .completions("empty.jsonl", Fields::default())
        .expect_err("refused")
        .reason;
    assert!(fault.contains("\"completion\" is an empty string"), "{fault}");
}

#[test]
fn a_row_without_answer_is_named_with_what_it_has() {
    let fault = fault_of("{\"problem\": \"a\", \"answer\": \"1\"}\n{\"problem\": \"b\", \"level\": 3}");
    for part in [
        "line 2",
        "\"answer\"",
        "the row has level, problem",
        "data.answer_field",
    ] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    for empty in [
        "\"\"",
        "\" \"",
        "null",
        "[]",
        "[\"1\", \"\"]",
        "{}",
        "true",
        "[null]",
        "[[]]",
        "\"[]\"",
    ] {
        let row = format!("{{\"problem\": \"a\", \"answer\": {empty}}}");
        assert!(problems_of(&row).is_err(), "{empty}");
    }
    for empty in ["\"\"", "null", "[]", "{}", "3", "true", "[\"a\"]"] {
        let row = format!("{{\"problem\": {empty}, \"answer\": \"1\"}}");
        assert!(problems_of(&row).is_err(), "{empty}");
    }
    let nothing = fault_of("{}");
    assert!(nothing.contains("has no fields"), "{nothing}");
}

#[test]
fn rows_that_are_no_objects_are_named() {
    for (text, says) in [
        ("3", "a number"),
        ("null", "null"),
        ("\"text\"", "a string"),
        ("true", "true or false"),
        ("{\"problem\": \"a\", \"answer\": 1}\n[]", "a list"),
        ("[[1]]", "a list"),
        ("[{\"problem\": \"a\", \"answer\": 1}, null]", "null"),
        ("problem,answer\n1+1,2", "looks like CSV, which is not read"),
        ("problem;answer\n1+1;2", "looks like CSV, which is not read"),
        (
            "{\"problem\": \"a\", \"answer\": 1} {\"problem\": \"b\", \"answer\": 1}",
            "something follows the row's object in column 31; a row is one line",
        ),
        ("{\"problem\": \"a\",\n \"answer\": 1}", "a row is one line"),
        (
            "{\"problem\": \"a\", \"answer\": null}",
            "field \"answer\" is null; the row has answer, problem; data.answer_field says which field is meant",
        ),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}]}], \"answer\": 1}",
            "a list of parts as its \"content\"",
        ),
        (
            "{\"messages\": [{\"from\": \"human\", \"value\": \"a\"}], \"answer\": 1}",
            "has \"from\" and \"value\"; it must have \"role\"",
        ),
        ("{\"problem\": \"a\", \"answer\": NaN}", "no JSON, which has no NaN"),
        ("{\"problem\": \"a\", \"answer\": 1,}", "no JSON"),
        ("{\n  \"problem\": \"a\"\n}", "a row is one line"),
        ("[{\"problem\": \"a\", \"answer\": 1}", "row 1"),
        ("[{\"problem\": \"a\", \"answer\": 1}] x", "trailing"),
        ("{\"data\": [{\"problem\": \"a\", \"answer\": 1}]}", "the row has data"),
    ] {
        let fault = fault_of(text);
        assert!(fault.contains(says), "{text}: {fault}");
    }
}

#[test]
fn verls_layout_in_json() {
    let lines = r#"{"prompt": [{"role": "user", "content": "1+1? Think."}], "reward_model": {"ground_truth": "2"}}
{"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
 "reward_model": {"style": "rule", "ground_truth": ["4", 4]}, "extra_info": {"index": 9}, "data_source": "sums"}"#;
    let array = format!("[{}]", lines.replacen('\n', ",", 1));
    let files = Files::new();
    files.write("data", array);
    let set = files.read(&["data"], Fields::default()).expect("valid");
    assert_eq!(
        content(&set.rows),
        [("0", "1+1? Think.", vec!["2"]), ("9", "2+2?", vec!["4", "4"])]
    );
    assert_eq!(set.tally.system_messages, 1);
    assert!(set.rows.iter().all(|row| row.is_message));
    let one_line: String = lines.lines().skip(1).collect();
    assert_eq!(problems_of(&one_line).expect("valid")[0].id, "9");
}

#[test]
fn faults_of_verls_layout_are_named() {
    let user = r#"{"role": "user", "content": "2+2?"}"#;
    let table = [
        (format!("[{user}]"), "{}", "reward_model.ground_truth"),
        (
            format!("[{user}]"),
            r#"{"ground_truth": ""}"#,
            "reward_model.ground_truth",
        ),
        (
            format!("[{user}, {user}]"),
            r#"{"ground_truth": "4"}"#,
            "2 user messages",
        ),
        ("[]".to_owned(), r#"{"ground_truth": "4"}"#, "0 user messages"),
        (
            r#"[{"role": "user"}]"#.to_owned(),
            r#"{"ground_truth": "4"}"#,
            "\"content\"",
        ),
        (
            r#"[{"role": "user", "content": [{"type": "text", "text": "a"}]}]"#.to_owned(),
            r#"{"ground_truth": "4"}"#,
            "\"content\"",
        ),
        (
            r#"[{"role": "assistant", "content": "4"}]"#.to_owned(),
            r#"{"ground_truth": "4"}"#,
            "assistant",
        ),
        (r#"["2+2?"]"#.to_owned(), r#"{"ground_truth": "4"}"#, "the role none"),
    ];
    for (prompt, reward_model, says) in table {
        let fault = fault_of(format!("{{\"prompt\": {prompt}, \"reward_model\": {reward_model}}}"));
        assert!(fault.contains("line 1") && fault.contains(says), "{fault}");
    }
}

#[test]
fn an_id_that_repeats_is_told_apart_by_its_source_or_its_file() {
    let line = |source: &str, index: u32| {
        format!(
            r#"{{"prompt": [{{"role": "user", "content": "{source} {index}?"}}], "reward_model": {{"ground_truth": "1"}},
            "extra_info": {{"index": {index}}}, "data_source": "{source}"}}"#
        )
        .replace('\n', " ")
    };
    let text = [line("aime", 0), line("aime", 1), line("amc", 0)].join("\n");
    let rows = problems_of(&text).expect("valid");
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["aime/0", "1", "amc/0"]);

    let files = Files::new();
    files
        .write("a.jsonl", "{\"problem\": \"a\", \"answer\": 1, \"id\": 0}")
        .write("b.jsonl", "{\"problem\": \"b\", \"answer\": 1, \"id\": 0}");
    let set = files.read(&["a.jsonl", "b.jsonl"], Fields::default()).expect("valid");
    assert_eq!(
        content(&set.rows),
        [("a.jsonl/0", "a", vec!["1"]), ("b.jsonl/0", "b", vec!["1"])]
    );
}
