//! What a job found in its model's files and did to its data, in sentences for its user. They become events of the job
//! and are shown in its report.

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;

/// How many ground truths a sentence shows.
const SHOWN: usize = 3;

/// A notice says that prompts have instructions of their own if at least one in this many seems to.
const MOST_PER_INSTRUCTION: u64 = 20;

/// What opens the block in which an answer counts: `Extraction::Anytime` in the proto.
const ANSWER_BLOCK: &str = "**Final Answer**\n";

/// The notices in the order of the settings: those about the model's files, which come as `notes`, those about settings
/// that are allowed and seldom meant, and those about the data.
pub(super) fn notices(settings: &JobSettings, checks: &[v1::DataCheck], notes: &[String]) -> Vec<v1::Notice> {
    let of_model = notes.iter().map(|text| v1::Notice {
        topic: "model".to_owned(),
        text: text.clone(),
        step: 0,
    });
    of_model
        .chain(of_markers(settings))
        .chain(of_sampling(settings))
        .chain(checks.iter().flat_map(|check| of_setting(settings, check)))
        .collect()
}

/// Without the block no answer is found, and every reward is 0.
fn of_markers(settings: &JobSettings) -> Option<v1::Notice> {
    let marker = &settings.markers.summary;
    // At a cut the end of thinking is inserted before it, and is graded with it.
    let inserted = format!("{}{marker}", settings.markers.end);
    let block = inserted.rsplit("\n\n").next().unwrap_or_default();
    let opens_block = block.starts_with(ANSWER_BLOCK);
    if settings.kind == v1::JobKind::Sft || opens_block {
        return None;
    }
    Some(v1::Notice {
        topic: "summary_marker".to_owned(),
        text: format!(
            "markers.summary = {marker:?} does not begin a block of {ANSWER_BLOCK:?} behind an empty line; only the last \
             \\boxed{{…}} in such a block is an answer, so that a summary counts as wrong unless the model writes both itself"
        ),
        step: 0,
    })
}

/// Actors tell the log-probabilities of the distribution that they draw from, the trainer computes those of the policy.
fn of_sampling(settings: &JobSettings) -> Option<v1::Notice> {
    let rollout = &settings.rollout;
    if settings.kind != v1::JobKind::Train || rollout.top_p >= 1.0 && rollout.top_k == 0 {
        return None;
    }
    Some(v1::Notice {
        topic: "truncated_sampling".to_owned(),
        text: format!(
            "rollout.top_p = {} and rollout.top_k = {} cut off a part of the policy's distribution; the importance weights of \
             training then hold the probability that was cut off, and the gap between the log-probabilities of actors and \
             learner is not measured",
            rollout.top_p, rollout.top_k
        ),
        step: 0,
    })
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
    // A problem here and there speaks of a final answer; a data set does with an instruction.
    if check.second_instructions * MOST_PER_INSTRUCTION >= check.kept.max(1) {
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

#[cfg(test)]
mod tests {
    use anytime_proto::settings::parse_job_file;

    use super::*;

    const JOB: &str =
        "name = \"job\"\nkind = \"train\"\n[model]\npath = \"m\"\n[data]\npath = \"d\"\n[training]\nsteps = 1\n";

    fn topics(check: v1::DataCheck) -> Vec<(String, String)> {
        let spec = parse_job_file(JOB).expect("a job file");
        let settings = JobSettings::try_new(&spec).expect("valid");
        let notices = notices(&settings, &[check], &[]);
        notices.into_iter().map(|notice| (notice.topic, notice.text)).collect()
    }

    fn clean() -> v1::DataCheck {
        v1::DataCheck {
            setting: "data.path".to_owned(),
            rows: 100,
            kept: 100,
            readable: 100,
            complete: true,
            ..Default::default()
        }
    }

    #[test]
    fn a_clean_data_set_says_nothing_and_every_change_is_said_once() {
        assert_eq!(topics(clean()), []);
        let noted = topics(v1::DataCheck {
            repeats: 50,
            kept: 49,
            long_prompts: 1,
            longest_prompt: 2000,
            system_messages: 3,
            second_instructions: 40,
            contradicting: 2,
            first_contradicting: "line 7".to_owned(),
            readable: 48,
            word_for_word: 2,
            first_word_for_word: vec![v1::CheckedTruth {
                place: "line 3".to_owned(),
                text: "east \"or\" west".to_owned(),
                reason: String::new(),
            }],
            complete: false,
            ..clean()
        });
        let names: Vec<&str> = noted.iter().map(|(topic, _)| topic.as_str()).collect();
        let expected = [
            "repeated_rows",
            "long_prompts",
            "system_messages",
            "second_instruction",
            "contradicting_rows",
            "ground_truths",
            "unread_rows",
        ];
        assert_eq!(names, expected);
        assert!(
            noted
                .iter()
                .all(|(_, text)| text.starts_with("data.path: ") && !text.contains('\n'))
        );
        for (index, says) in [
            (0, "100 rows hold 50 different problems"),
            (1, "1 of 50 problems are left out"),
            (1, "the longest has 2000"),
            (4, "first at line 7"),
            (
                5,
                "of 50 ground truths 2 can only be matched word for word (line 3: \"east \\\"or\\\" west\")",
            ),
        ] {
            assert!(noted[index].1.contains(says), "{says}: {}", noted[index].1);
        }
    }

    #[test]
    fn settings_that_are_allowed_and_seldom_meant_are_said() {
        let topics = |more: &str| {
            let spec = parse_job_file(&format!("{JOB}{more}")).expect("a job file");
            let settings = JobSettings::try_new(&spec).expect("valid");
            let notices = notices(&settings, &[clean()], &[]);
            notices.into_iter().map(|notice| notice.topic).collect::<Vec<_>>()
        };
        for (marker, is_said) in [
            (r"\n\n**Final Answer**\n", false),
            (r"\n\nSo.\n\n**Final Answer**\nIt is \\boxed{", false),
            // Behind `</think>` it is within a block.
            (r"**Final Answer**\n", true),
            (r"\nAnswer: \\boxed{", true),
            // A single line break does not begin a block.
            (r"\n**Final Answer**\n", true),
            (r"\n\n**Final Answer**", true),
            // The block ends with the next empty line.
            (r"\n\n**Final Answer**\n\nIt is", true),
        ] {
            let said = topics(&format!("[markers]\nsummary = \"{marker}\"\n"));
            assert_eq!(said == ["summary_marker"], is_said, "{marker}: {said:?}");
        }
        assert_eq!(topics("[rollout]\ntop_p = 0.9\n"), ["truncated_sampling"]);
        assert_eq!(topics("[rollout]\ntop_k = 20\n"), ["truncated_sampling"]);
        assert_eq!(
            topics("[evaluation]\npath = \"e\"\ntop_p = 0.9\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_few_problems_that_speak_of_a_final_answer_are_no_second_instruction() {
        let with = |second_instructions| v1::DataCheck {
            second_instructions,
            ..clean()
        };
        assert_eq!(topics(with(4)), []);
        assert_eq!(topics(with(5))[0].0, "second_instruction");
    }
}
