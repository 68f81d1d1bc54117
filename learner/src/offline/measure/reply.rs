//! What a server answers, as far as an evaluation needs it.

use serde::Deserialize;

/// No answer has more tokens; what a server says of them is held in memory one by one.
const MOST_TOKENS: usize = 1 << 24;

/// The answers of one sample: one for each budget, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) answers: Vec<Answer>,
}

/// The answer at one budget.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) content: String,
    /// Tokens of the thinking that it has seen.
    pub(super) thinking_tokens: usize,
    /// Tokens of the answer itself.
    pub(super) answer_tokens: usize,
    /// Whether the thinking ended by itself.
    pub(super) has_ended: bool,
}

/// The list of models.
#[derive(Debug, Deserialize)]
pub(super) struct Models {
    pub(super) data: Vec<Model>,
}

/// A model, with what a server of this project says of it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Model {
    pub(super) id: String,
    pub(super) anytime: Option<ModelAnytime>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ModelAnytime {
    pub(super) max_thinking: u32,
    pub(super) max_summaries: u32,
}

/// An answer that is no stream.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Usage,
    anytime: Option<Anytime>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<String>,
    reasoning: Option<String>,
    reasoning_content: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Usage {
    #[serde(default)]
    completion_tokens: usize,
    completion_tokens_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    reasoning_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Anytime {
    ended: Option<String>,
    #[serde(default)]
    budgets: Vec<AtBudget>,
}

#[derive(Debug, Deserialize)]
struct AtBudget {
    thinking_tokens: usize,
    content: String,
}

impl Completion {
    /// The answers at all budgets, of a server of this project.
    ///
    /// # Errors
    /// That there is another number of them.
    pub(super) fn into_sample(self, budgets: usize) -> Result<Sample, String> {
        let anytime = self.anytime.ok_or("the answer has no `anytime`")?;
        if anytime.budgets.len() != budgets {
            return Err(format!("{} answers came for {budgets} budgets", anytime.budgets.len()));
        }
        let has_ended = anytime.ended.as_deref() == Some("end_marker");
        let reasoning = self
            .usage
            .completion_tokens_details
            .and_then(|details| details.reasoning_tokens);
        let of_answers = self.usage.completion_tokens.saturating_sub(reasoning.unwrap_or(0));
        let answer = |at: AtBudget| {
            let answer = Answer {
                content: at.content,
                thinking_tokens: at.thinking_tokens,
                // The server counts them together.
                answer_tokens: of_answers / budgets,
                has_ended,
            };
            answer.checked()
        };
        let answers: Result<Vec<Answer>, String> = anytime.budgets.into_iter().map(answer).collect();
        Ok(Sample { answers: answers? })
    }

    /// The answer at one budget, of any server.
    ///
    /// # Errors
    /// That there is none.
    pub(super) fn into_answer(self, budget: u32) -> Result<Answer, String> {
        let choice = self.choices.into_iter().next().ok_or("the answer has no choice")?;
        let message = choice.message;
        let told = self
            .usage
            .completion_tokens_details
            .and_then(|details| details.reasoning_tokens);
        let thinks = message
            .reasoning
            .or(message.reasoning_content)
            .is_some_and(|text| !text.is_empty());
        let all = self.usage.completion_tokens;
        // A server that counts no reasoning by itself counts everything.
        let thinking_tokens = told.unwrap_or(if thinks { all } else { 0 });
        let answer = Answer {
            // Where the longest answer ends inside the thinking there is no content.
            content: message.content.unwrap_or_default(),
            thinking_tokens,
            answer_tokens: all.saturating_sub(thinking_tokens),
            has_ended: choice.finish_reason.as_deref() == Some("stop") && thinking_tokens < budget as usize,
        };
        answer.checked()
    }
}

impl Answer {
    fn checked(self) -> Result<Self, String> {
        let tokens = self.thinking_tokens.max(self.answer_tokens);
        if tokens > MOST_TOKENS {
            return Err(format!("an answer of {tokens} tokens, more than {MOST_TOKENS}"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completion(value: Value) -> Completion {
        serde_json::from_value(value).expect("a completion")
    }

    #[test]
    fn one_answer_of_this_project_has_all_budgets() {
        let value = json!({
            "choices": [{ "message": { "content": "4", "reasoning": "1+3" }, "finish_reason": "stop" }],
            "usage": { "completion_tokens": 16, "completion_tokens_details": { "reasoning_tokens": 6 } },
            "anytime": { "ended": "end_marker", "budgets": [
                { "budget": 4, "thinking_tokens": 4, "content": "3", "answer": null, "agreement": 1.0 },
                { "budget": 8, "thinking_tokens": 6, "content": "4", "answer": "4", "agreement": 1.0 },
            ] },
        });
        let sample = completion(value.clone()).into_sample(2).expect("a sample");
        let seen: Vec<_> = sample
            .answers
            .iter()
            .map(|answer| (answer.content.as_str(), answer.thinking_tokens))
            .collect();
        assert_eq!(seen, [("3", 4), ("4", 6)]);
        assert!(
            sample
                .answers
                .iter()
                .all(|answer| answer.answer_tokens == 5 && answer.has_ended)
        );
        let error = completion(value).into_sample(3).expect_err("two of three");
        assert_eq!(error, "2 answers came for 3 budgets");
    }

    #[test]
    fn what_other_servers_leave_out_is_counted_as_they_say() {
        let of = |message: Value, usage: Value, finish: &str| {
            let value = json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage });
            completion(value).into_answer(8).expect("an answer")
        };
        let counted = of(
            json!({ "content": "4" }),
            json!({ "completion_tokens": 9, "completion_tokens_details": { "reasoning_tokens": 7 } }),
            "stop",
        );
        assert_eq!(
            (counted.thinking_tokens, counted.answer_tokens, counted.has_ended),
            (7, 2, true)
        );
        let uncounted = of(
            json!({ "content": "4", "reasoning_content": "so" }),
            json!({ "completion_tokens": 9, "completion_tokens_details": null }),
            "stop",
        );
        assert_eq!(
            (uncounted.thinking_tokens, uncounted.answer_tokens, uncounted.has_ended),
            (9, 0, false)
        );
        let empty = of(json!({ "content": null }), json!({ "completion_tokens": 8 }), "length");
        assert_eq!(
            (empty.content.as_str(), empty.answer_tokens, empty.has_ended),
            ("", 8, false)
        );
    }

    #[test]
    fn a_server_that_counts_without_end_is_not_believed() {
        let of = |tokens: Value| {
            json!({
                "choices": [{ "message": { "content": "4" }, "finish_reason": "stop" }],
                "usage": { "completion_tokens": tokens, "completion_tokens_details": { "reasoning_tokens": tokens } },
                "anytime": { "budgets": [{ "budget": 4, "thinking_tokens": tokens, "content": "4" }] },
            })
        };
        for tokens in [1_u64 << 40, u64::MAX] {
            assert!(completion(of(tokens.into())).into_answer(8).is_err());
            assert!(completion(of(tokens.into())).into_sample(1).is_err());
        }
        for wrong in [json!(-1), json!(1.5), json!("7")] {
            assert!(serde_json::from_value::<Completion>(of(wrong)).is_err());
        }
        let empty = json!({ "choices": [] });
        assert!(completion(empty.clone()).into_answer(8).is_err() && completion(empty).into_sample(1).is_err());
    }
}
