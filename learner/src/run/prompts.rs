//! From the problems of a data set to prompts as ids: each different problem once, on a few threads, with counts of
//! what is left out and changed on the way.

use std::time::Instant;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use super::parallel::in_parallel;
use crate::data::{CompletionRow, Completions, DataFiles, Form, ProblemRow, ProblemSet, Tally, judge};
use crate::data::{read_completions, read_problems};

/// How many problems are made between two looks at the clock.
const BLOCK: usize = 4096;

/// How many ground truths of a kind a check shows.
const SHOWN_TRUTHS: usize = 20;

/// Longest text of a data set that is shown whole, in characters.
const SHOWN_LETTERS: usize = 120;

/// Phrases, in lower case, of prompts that ask for the answer in a form of their own.
const INSTRUCTIONS: [&str; 6] = [
    "\\boxed",
    "####",
    "step by step",
    "final answer",
    "answer: $answer",
    "put your answer",
];

/// The ids of a supervised row: the prompt, and the completion with the end of sequence behind it.
pub type PromptAndCompletion = (Vec<u32>, Vec<u32>);

/// Makes the ids of a prompt; the first argument is the setting whose file holds it.
pub(super) type PromptIds<'a> = &'a (dyn Fn(&str, &str) -> Result<Vec<u32>, InvalidSetting> + Sync);

/// Problems with prompts that fit.
pub(super) struct Prompted {
    pub(super) problems: Vec<v1::Problem>,
    /// Their rows, one each.
    pub(super) rows: Vec<ProblemRow>,
    pub(super) check: v1::DataCheck,
}

/// Reads the problems of a setting and makes prompts of them. Those with long prompts are left out, and counted.
///
/// # Errors
/// What cannot be read, a prompt that cannot be made, and prompts that are all too long.
pub(super) fn problems(
    source: &DataFiles<'_>,
    settings: &JobSettings,
    prompt_ids: PromptIds<'_>,
) -> Result<Prompted, InvalidSetting> {
    let ProblemSet { mut rows, tally } = read_problems(source)?;
    let most = settings.data.max_prompt_tokens as usize;
    let mut check = start(source.setting, &tally);
    let made = until(source.until, &rows, |row| {
        let ids = prompt_ids(source.setting, &row.problem)?;
        Ok((ids, judge_all(row)))
    })?;
    if made.len() < rows.len() {
        check.complete = false;
        rows.truncate(made.len());
    }
    let mut problems = Vec::with_capacity(rows.len());
    let mut kept = Vec::with_capacity(rows.len());
    let mut shortest = usize::MAX;
    for (row, (ids, (form, reason))) in rows.into_iter().zip(made) {
        shortest = shortest.min(ids.len());
        check.longest_prompt = check.longest_prompt.max(ids.len() as u64);
        note_truth(&mut check, &row, form, reason);
        if ids.len() > most {
            check.long_prompts += 1;
            continue;
        }
        check.second_instructions += u64::from(has_second_instruction(&row, &settings.data.instruction));
        problems.push(v1::Problem {
            id: row.id.clone(),
            prompt_ids: ids,
            ground_truths: row.answers.clone(),
        });
        kept.push(row);
    }
    if problems.is_empty() {
        let setting = source.setting;
        let reason = format!("it must be {shortest} or more, the length of the shortest prompt in {setting}");
        return Err(InvalidSetting::new("data.max_prompt_tokens", most, reason));
    }
    check.kept = problems.len() as u64;
    Ok(Prompted {
        problems,
        rows: kept,
        check,
    })
}

/// Rows of supervised training: `encode` makes ids of a prompt and its completion. Those with long prompts are left out,
/// and counted.
///
/// # Errors
/// What cannot be read, a row that cannot be encoded, and prompts that are all too long.
pub(super) fn completions(
    source: &DataFiles<'_>,
    settings: &JobSettings,
    encode: impl Fn(&CompletionRow) -> Result<PromptAndCompletion, InvalidSetting> + Sync,
) -> Result<(Vec<PromptAndCompletion>, v1::DataCheck), InvalidSetting> {
    let Completions { rows, tally } = read_completions(source)?;
    let mut check = start(source.setting, &tally);
    let mut made = until(source.until, &rows, encode)?;
    check.complete &= made.len() == rows.len();
    let most = settings.data.max_prompt_tokens as usize;
    let shortest = made.iter().map(|(prompt, _)| prompt.len()).min().unwrap_or(0);
    let longest = made.iter().map(|(prompt, _)| prompt.len()).max().unwrap_or(0);
    check.longest_prompt = longest as u64;
    let before = made.len();
    made.retain(|(prompt, _)| prompt.len() <= most);
    check.long_prompts = (before - made.len()) as u64;
    if made.is_empty() {
        let setting = source.setting;
        let reason = format!("it must be {shortest} or more, the length of the shortest prompt in {setting}");
        return Err(InvalidSetting::new("data.max_prompt_tokens", most, reason));
    }
    check.kept = made.len() as u64;
    Ok((made, check))
}

fn start(setting: &str, tally: &Tally) -> v1::DataCheck {
    v1::DataCheck {
        setting: setting.to_owned(),
        files: tally.files,
        rows: tally.rows,
        repeats: tally.repeats,
        system_messages: tally.system_messages,
        contradicting: tally.contradicting,
        first_contradicting: tally.first_contradicting.clone(),
        complete: tally.is_complete,
        ..v1::DataCheck::default()
    }
}

/// Applies `of` to the items, up to the first fault or until the time is over. The first block is done in any case.
fn until<T: Sync, R: Send>(
    until: Option<Instant>,
    items: &[T],
    of: impl Fn(&T) -> Result<R, InvalidSetting> + Sync,
) -> Result<Vec<R>, InvalidSetting> {
    let mut made = Vec::with_capacity(items.len());
    for block in items.chunks(BLOCK) {
        for outcome in in_parallel(block, &of) {
            made.push(outcome?);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }
    Ok(made)
}

/// The best form of the problem's ground truths, because any of them counts as right.
fn judge_all(row: &ProblemRow) -> (Form, String) {
    let judged = row.answers.iter().map(|answer| judge(answer));
    judged
        .min_by_key(|(form, _)| *form)
        .unwrap_or((Form::Never, String::new()))
}

fn note_truth(check: &mut v1::DataCheck, row: &ProblemRow, form: Form, reason: String) {
    let (count, first) = match form {
        Form::Readable => {
            check.readable += 1;
            return;
        }
        Form::WordForWord => (&mut check.word_for_word, &mut check.first_word_for_word),
        Form::Never => (&mut check.never_equal, &mut check.first_never_equal),
    };
    *count += 1;
    if first.len() < SHOWN_TRUTHS {
        first.push(v1::CheckedTruth {
            place: row.place.clone(),
            text: shortened(&row.answers.join(" | ")),
            reason,
        });
    }
}

/// The text, or its beginning where it is long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The problem with the instruction behind it, unless it ends in it already, as in verl's files. Blanks around the
/// instruction do not count.
pub fn with_instruction(problem: &str, instruction: &str) -> String {
    if has_instruction(problem, instruction) {
        return problem.to_owned();
    }
    format!("{problem}{instruction}")
}

fn has_instruction(problem: &str, instruction: &str) -> bool {
    let asked = instruction.trim();
    !asked.is_empty() && problem.trim_end().ends_with(asked)
}

/// Whether the instruction comes behind a prompt that seems to have one of its own.
fn has_second_instruction(row: &ProblemRow, instruction: &str) -> bool {
    if instruction.trim().is_empty() || has_instruction(&row.problem, instruction) {
        return false;
    }
    let problem = row.problem.to_lowercase();
    row.is_message || INSTRUCTIONS.iter().any(|phrase| problem.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_stands_behind_a_problem_once() {
        let instruction = " Let's think step by step and output the final answer within \\boxed{}.";
        let whole = format!("What is 2+2?{instruction}");
        assert_eq!(with_instruction("What is 2+2?", instruction), whole);
        assert_eq!(with_instruction(&whole, instruction), whole);
        let broken_line = "What is 2+2?\nLet's think step by step and output the final answer within \\boxed{}.\n";
        assert_eq!(with_instruction(broken_line, instruction), broken_line);
        assert_eq!(with_instruction("2+2=", ""), "2+2=");
        assert_eq!(with_instruction("2+2= ", " "), "2+2=  ");
    }

    #[test]
    fn a_second_instruction_is_seen() {
        let instruction = " Let's think step by step and output the final answer within \\boxed{}.";
        let row = |problem: &str, is_message: bool| ProblemRow {
            id: "0".to_owned(),
            row: 0,
            place: "line 1".to_owned(),
            problem: problem.to_owned(),
            answers: vec!["1".to_owned()],
            repeats: 1,
            is_message,
        };
        let seen = |problem: &str, is_message: bool| has_second_instruction(&row(problem, is_message), instruction);
        let gsm8k = "How many? Let's think step by step and output the final answer after \"####\".";
        assert!(seen(gsm8k, true) && seen(gsm8k, false));
        assert!(seen("The last line must be of the form Answer: $Answer", false));
        assert!(seen("How many?", true), "messages mostly hold one");
        assert!(!seen("How many?", false));
        assert!(!seen(&format!("How many?{instruction}"), true), "it is the same");
        assert!(!has_second_instruction(&row(gsm8k, true), ""), "there is no other");
    }
}
