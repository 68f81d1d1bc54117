//! What a check of a job found, as lines for people.

use anytime_proto::v1;

use crate::gpus::size;

/// Ids of the first prompt that are shown from each end.
const SHOWN_IDS: usize = 24;

/// Characters of the first prompt that are shown from each end.
const SHOWN_LETTERS: usize = 1500;

/// What was found; with `truths` also the ground truths that are no mathematics.
pub(crate) fn describe(found: &v1::JobCheck, truths: bool) -> String {
    let mut lines = vec![format!("model       {} parameters", found.parameters)];
    let ends: Vec<String> = found
        .ends
        .iter()
        .map(|end| format!("{} {:?}", end.id, end.text))
        .collect();
    lines.push(format!("ends        {}", ends.join(", ")));
    lines.push(match found.template.as_str() {
        "" => "template    none: the problem itself is the prompt".to_owned(),
        template => format!("template    {template}"),
    });
    for check in &found.data {
        lines.push(data(check));
        if truths {
            push_truths(
                &mut lines,
                "can only be matched word for word",
                check.word_for_word,
                &check.first_word_for_word,
            );
            push_truths(
                &mut lines,
                "can equal no answer",
                check.never_equal,
                &check.first_never_equal,
            );
        }
    }
    for process in &found.memory {
        let parts: Vec<String> = process
            .parts
            .iter()
            .map(|part| format!("{} {}", part.what, size(part.bytes)))
            .collect();
        lines.push(format!(
            "memory      {} {} ({})",
            process.process,
            size(process.bytes),
            parts.join(", ")
        ));
    }
    if !found.prompt_ids.is_empty() {
        lines.push(format!("first prompt ({} tokens)", found.prompt_ids.len()));
        lines.extend(
            middle_left_out(&found.prompt_text)
                .lines()
                .map(|line| format!("  | {line}")),
        );
        lines.push(format!("  ids {}", ids(&found.prompt_ids)));
    }
    lines.extend(found.notices.iter().map(|notice| format!("note: {}", notice.text)));
    lines.join("\n")
}

fn data(check: &v1::DataCheck) -> String {
    let mut parts = vec![format!("{} rows in {} files", check.rows, check.files)];
    if check.files == 1 {
        parts = vec![format!("{} rows", check.rows)];
    }
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    add(check.repeats, "repeat an earlier row");
    add(check.long_prompts, "left out as too long");
    add(check.kept, "kept");
    add(check.word_for_word, "matched word for word only");
    add(check.never_equal, "never equal");
    add(check.longest_prompt, "tokens in the longest prompt");
    format!("{:<12}{}", check.setting.trim_end_matches(".path"), parts.join(", "))
}

fn push_truths(lines: &mut Vec<String>, what: &str, count: u64, first: &[v1::CheckedTruth]) {
    if count == 0 {
        return;
    }
    lines.push(format!("  {count} ground truths {what}:"));
    for truth in first {
        let reason = if truth.reason.is_empty() {
            String::new()
        } else {
            format!("  ({})", truth.reason)
        };
        lines.push(format!("    {}: {:?}{reason}", truth.place, truth.text));
    }
    if (first.len() as u64) < count {
        lines.push(format!("    and {} more", count - first.len() as u64));
    }
}

fn ids(ids: &[u32]) -> String {
    let text = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    if ids.len() <= 2 * SHOWN_IDS {
        return text(ids);
    }
    format!("{} … {}", text(&ids[..SHOWN_IDS]), text(&ids[ids.len() - SHOWN_IDS..]))
}

fn middle_left_out(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= 2 * SHOWN_LETTERS {
        return text.to_owned();
    }
    let start: String = letters[..SHOWN_LETTERS].iter().collect();
    let end: String = letters[letters.len() - SHOWN_LETTERS..].iter().collect();
    format!("{start} … {end}")
}
