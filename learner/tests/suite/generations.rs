//! What an evaluation generated, as it is kept for reading, over real tokenizers.

use std::path::{Path, PathBuf};

use anytime_learner::data::ProblemRow;
use anytime_learner::evaluation::generations::{Asked, Generations, Reading};
use anytime_learner::evaluation::tally::Tally;
use anytime_policy::Tokenizer;
use anytime_proto::generations::{DIRECTORY, Kept, KeptProblem};
use anytime_proto::{check_group, v1};

/// A byte-level tokenizer of the R1 family with 300 tokens: letters with accents are several tokens.
fn r1() -> Tokenizer {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/fixtures");
    Tokenizer::load(&fixtures.join("tokenizer-r1")).unwrap()
}

/// A tokenizer of words whose texts have blanks between tokens and none before the first.
fn words(directory: &Path) -> Tokenizer {
    let tokenizer = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"one": 0, "two": 1, "three": 2, "end": 3}, "unk_token": "end"}}"#;
    std::fs::write(directory.join("tokenizer.json"), tokenizer).unwrap();
    std::fs::write(directory.join("generation_config.json"), r#"{"eos_token_id": 3}"#).unwrap();
    Tokenizer::load(directory).unwrap()
}

fn generated(ids: Vec<u32>, finish: v1::FinishReason) -> Option<v1::Generated> {
    Some(v1::Generated {
        log_probs: vec![-0.5; ids.len()],
        versions: vec![0; ids.len()],
        finish: finish.into(),
        ids,
    })
}

/// One trace with a budget at every token, and two budgets beyond its end.
fn group(thinking: Vec<u32>, inserted: &[u32], answer: &[u32], eos: u32) -> v1::ScoredGroup {
    let length = thinking.len() as u32;
    let node = |cut: u32, multiplicity: u32| {
        let mut ids = answer.to_vec();
        ids.push(eos);
        let summary = v1::Summary {
            generated: generated(ids, v1::FinishReason::Eos),
            verdict: v1::VerdictKind::Correct.into(),
            formatted: true,
            score: 1.0,
        };
        v1::Node {
            cut,
            first_budget: cut - 1,
            multiplicity,
            inserted_ids: inserted.to_vec(),
            summaries: vec![summary; multiplicity as usize],
        }
    };
    let mut nodes: Vec<v1::Node> = (1..length).map(|cut| node(cut, 1)).collect();
    nodes.push(node(length, 3));
    v1::ScoredGroup {
        budgets: (1..=length + 2).collect(),
        summaries_per_budget: 1,
        traces: vec![v1::Trace {
            thinking: generated(thinking, v1::FinishReason::EndMarker),
            nodes,
        }],
        ..Default::default()
    }
}

fn row() -> ProblemRow {
    ProblemRow {
        id: "sum".to_owned(),
        row: 5,
        place: "line 6".to_owned(),
        problem: "4+7=".to_owned(),
        answers: vec!["11".to_owned()],
        repeats: 1,
        is_message: false,
    }
}

/// Writes groups that are of one problem each.
fn write(
    directory: &Path,
    tokenizer: &Tokenizer,
    groups: &[v1::ScoredGroup],
    check: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let reading = Reading {
        tokenizer,
        extraction: v1::Extraction::Anytime,
    };
    let mut generations = Generations::begin(directory, reading, groups.len())?;
    let places = (0..groups.len()).map(|place| place..place + 1);
    let mut tally = Tally::new(places.collect(), groups[0].budgets.len());
    for (place, group) in groups.iter().enumerate() {
        check_group(group)?;
        tally.add(place, group);
        generations.add(place, group)?;
    }
    let rows = vec![row(); groups.len()];
    let asked = Asked {
        rows: &rows,
        budgets: &groups[0].budgets,
        summaries_per_budget: groups[0].summaries_per_budget,
    };
    generations.finish(12, &tally, &asked, check)
}

fn written(directory: &Path, tokenizer: &Tokenizer, group: v1::ScoredGroup) -> (PathBuf, KeptProblem) {
    let path = write(directory, tokenizer, &[group], &|| Ok(())).unwrap();
    let kept = Kept::find(directory, Some(12)).unwrap();
    assert_eq!(kept.path, path);
    let problem = serde_json::from_str(&kept.line("sum").unwrap()).unwrap();
    (path, problem)
}

#[test]
fn texts_cuts_and_answers_are_read_off_the_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = r1();
    let text = "4+7 – genügt: 11 ∎</think>";
    let thinking = tokenizer.encode(text).unwrap();
    assert!(
        thinking.len() > text.chars().count() / 2,
        "some characters are several tokens"
    );
    let inserted = tokenizer.encode("\n\n**Final Answer**\n\\boxed{").unwrap();
    let answer = tokenizer.encode("11}").unwrap();
    let group = group(thinking.clone(), &inserted, &answer, tokenizer.eos_ids()[0]);
    let (path, problem) = written(directory.path(), &tokenizer, group);

    assert_eq!(problem.head.row, 5);
    assert_eq!(problem.head.ground_truths, ["11"]);
    assert_eq!(problem.head.accuracy, vec![1.0; thinking.len() + 2]);
    let trace = &problem.traces[0];
    assert_eq!((trace.thinking.as_str(), trace.finish.as_str()), (text, "end_marker"));
    assert_eq!(trace.tokens as usize, thinking.len());
    for node in &trace.nodes {
        // Brute force: how much of the text the tokens up to the cut spell out.
        let spelled = tokenizer.decode(&thinking[..node.cut as usize]).unwrap();
        let common = text.chars().zip(spelled.chars()).take_while(|(one, two)| one == two);
        assert_eq!(node.cut_at, common.count(), "cut at {}: {spelled}", node.cut);
        assert_eq!(node.inserted, "\n\n**Final Answer**\n\\boxed{");
    }
    let last = trace.nodes.last().unwrap();
    let length = thinking.len() as u32;
    assert_eq!(last.budgets, [length, length + 1, length + 2]);
    assert_eq!((last.cut_at, last.summaries.len()), (text.chars().count(), 3));
    let summary = &last.summaries[0];
    assert_eq!((summary.text.as_str(), summary.finish.as_str()), ("11}", "eos"));
    assert_eq!(summary.tokens as usize, answer.len() + 1);
    assert_eq!(summary.extracted.as_deref(), Some("11"));
    assert_eq!(
        (summary.verdict.as_str(), summary.formatted, summary.score),
        ("correct", true, 1.0)
    );
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing is left aside");
}

#[test]
fn cuts_are_found_where_pieces_do_not_add_up_to_the_text() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = words(directory.path());
    let (_, problem) = written(directory.path(), &tokenizer, group(vec![0, 1, 2], &[2], &[1], 3));
    let trace = &problem.traces[0];
    assert_eq!(trace.thinking, "one two three");
    let cuts: Vec<usize> = trace.nodes.iter().map(|node| node.cut_at).collect();
    assert_eq!(cuts, [3, 7, 13]);
    let summary = &trace.nodes[0].summaries[0];
    assert_eq!((summary.text.trim_start(), summary.extracted.as_deref()), ("two", None));
}

#[test]
fn an_interrupted_writing_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = words(directory.path());
    let groups = [group(vec![0, 1], &[2], &[1], 3), group(vec![0, 1], &[2], &[1], 3)];
    let asked = std::cell::Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        anyhow::ensure!(asked.get() < 2, "stop");
        Ok(())
    };
    let error = write(directory.path(), &tokenizer, &groups, &check).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "stop");
    let left = std::fs::read_dir(directory.path().join(DIRECTORY)).unwrap().count();
    assert_eq!(left, 0);
}
