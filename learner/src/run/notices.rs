//! What a job did to its data, in sentences for its user: they become events of the job and stand in its report.

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;

/// How many ground truths a sentence shows.
const SHOWN: usize = 3;

/// What the user should know, in the order of the settings.
pub(super) fn notices(settings: &JobSettings, checks: &[v1::DataCheck]) -> Vec<v1::Notice> {
    checks.iter().flat_map(|check| of_setting(settings, check)).collect()
}

fn of_setting(settings: &JobSettings, check: &v1::DataCheck) -> Vec<v1::Notice> {
    let setting = &check.setting;
    let mut notices = Vec::new();
    let mut add = |topic: &str, text: String| {
        notices.push(v1::Notice {
            topic: topic.to_owned(),
            text: format!("{setting}: {text}"),
            step: 0,
        });
    };
    if check.repeats > 0 {
        let different = check.rows - check.repeats;
        let meaning = if setting == "evaluation.path" {
            "a problem on several rows counts once and gets as many times evaluation.samples traces"
        } else {
            "a problem on several rows is trained as one"
        };
        add(
            "repeated_rows",
            format!("{} rows hold {different} different problems; {meaning}", check.rows),
        );
    }
    if check.long_prompts > 0 {
        let text = format!(
            "{} of {} problems are left out, because their prompts have more than data.max_prompt_tokens = {} tokens; the \
             longest has {}",
            check.long_prompts,
            check.long_prompts + check.kept,
            settings.data.max_prompt_tokens,
            check.longest_prompt
        );
        add("long_prompts", text);
    }
    if check.system_messages > 0 {
        let text = format!(
            "{} system messages are left out of prompts, which are the user's message alone",
            check.system_messages
        );
        add("system_messages", text);
    }
    if check.second_instructions > 0 {
        let text = format!(
            "data.instruction stands behind {} of {} prompts that seem to have an instruction of their own; \
             data.instruction = \"\" leaves them as they are",
            check.second_instructions, check.kept
        );
        add("second_instruction", text);
    }
    if check.contradicting > 0 {
        let text = format!(
            "{} prompts come with different ground truths in different rows, first at {}; each pair is a problem of its own",
            check.contradicting, check.first_contradicting
        );
        add("contradicting_rows", text);
    }
    if check.word_for_word + check.never_equal > 0 {
        add("ground_truths", truths(check));
    }
    if !check.complete {
        let text = format!(
            "{} rows were read when the job was submitted; the rest is read when it starts",
            check.rows
        );
        add("unread_rows", text);
    }
    notices
}

fn truths(check: &v1::DataCheck) -> String {
    let judged = check.readable + check.word_for_word + check.never_equal;
    let mut parts = Vec::new();
    if check.word_for_word > 0 {
        let shown = shown(&check.first_word_for_word);
        parts.push(format!(
            "{} can only be matched word for word ({shown})",
            check.word_for_word
        ));
    }
    if check.never_equal > 0 {
        parts.push(format!(
            "{} can equal no answer ({})",
            check.never_equal,
            shown(&check.first_never_equal)
        ));
    }
    format!("of {judged} ground truths {}", parts.join(", and "))
}

fn shown(truths: &[v1::CheckedTruth]) -> String {
    let shown: Vec<String> = truths
        .iter()
        .take(SHOWN)
        .map(|truth| format!("{}: {:?}", truth.place, truth.text))
        .collect();
    let more = if truths.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
