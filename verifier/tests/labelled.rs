//! The public labelled cases: none may be judged wrongly, in either direction.

mod support;

use anytime_proto::v1::VerdictKind;
use support::{labelled, verdict_of};

#[test]

fn every_label_is_met() {
    let mut wrong = Vec::new();
    for case in labelled() {
        let verdict = verdict_of(&case.response, &case.ground_truth);
        if (verdict == VerdictKind::Correct) != case.expected {
            let error = if case.expected { "false reject" } else { "false accept" };
            let response: String = case.response.chars().rev().take(160).collect();
            let response: String = response.chars().rev().collect();
            wrong.push(format!(
                "{error}: {} {} ({}): {:?} against {response:?}, {verdict:?}",
                case.id, case.problem_kind, case.why, case.ground_truth
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
