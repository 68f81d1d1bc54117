//! Shows an answer as it comes: text for people, a JSON object in each line for programs. Nothing that the model writes
//! steers the terminal.

use std::io::Write;

use serde_json::{Value, json};

use super::stream::{AtBudget, End, News};
use crate::show::{one_line, plain, steers};

/// Longest answer in a line about a budget, in characters.
const LONGEST_ANSWER: usize = 60;

const DIM: &str = "\u{1b}[2m";
const BRIGHT: &str = "\u{1b}[22m";

/// Shows answers one after another.
#[derive(Debug)]
pub(crate) struct View<W: Write> {
    out: W,
    is_json: bool,
    /// Whether the thinking is told apart by its brightness.
    has_style: bool,
    /// Whether the line has begun and not ended.
    is_inside_line: bool,
    /// The answer so far.
    content: String,
}

impl<W: Write> View<W> {
    /// `has_style` where `out` is a terminal.
    pub(crate) fn new(out: W, is_json: bool, has_style: bool) -> Self {
        Self {
            out,
            is_json,
            has_style,
            is_inside_line: false,
            content: String::new(),
        }
    }

    /// Shows a piece of news.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn show(&mut self, news: &News) -> anyhow::Result<()> {
        if let News::Content(text) = news {
            self.content.push_str(text);
        }
        if self.is_json {
            writeln!(self.out, "{}", harmless(&event(news)))?;
        } else {
            match news {
                News::Thinking(text) => self.thinking(text)?,
                News::Budget(at_budget) => self.line(&budget_line(at_budget))?,
                News::Content(text) => self.content(text)?,
                News::End(end) => self.line(&end_line(end))?,
            }
        }
        Ok(self.out.flush()?)
    }

    /// The answer that was shown, which is then forgotten.
    pub(crate) fn take_content(&mut self) -> String {
        std::mem::take(&mut self.content)
    }

    /// Ends a line that has begun, so that what follows has one of its own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn end_line(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.is_inside_line) {
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn thinking(&mut self, text: &str) -> anyhow::Result<()> {
        let text = plain(text);
        // Each piece switches back, so that the terminal is as it was wherever the command ends.
        if self.has_style {
            write!(self.out, "{DIM}{text}{BRIGHT}")?;
        } else {
            write!(self.out, "{text}")?;
        }
        self.is_inside_line = !text.ends_with('\n');
        Ok(())
    }

    fn content(&mut self, text: &str) -> anyhow::Result<()> {
        if self.content.len() == text.len() {
            // The first piece: a blank line stands between thinking and answer.
            self.end_line()?;
            writeln!(self.out)?;
        }
        let text = plain(text);
        write!(self.out, "{text}")?;
        self.is_inside_line = !text.ends_with('\n');
        Ok(())
    }

    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.end_line()?;
        writeln!(self.out, "{text}")?;
        Ok(())
    }
}

fn budget_line(at_budget: &AtBudget) -> String {
    let answer = match &at_budget.answer {
        Some(answer) => one_line(answer, LONGEST_ANSWER),
        None => "no answer".to_owned(),
    };
    let (budget, seen, agreement) = (at_budget.budget, at_budget.thinking_tokens, at_budget.agreement);
    format!("-- budget {budget}: {answer} (agreement {agreement:.2}, {seen} thinking tokens)")
}

fn end_line(end: &End) -> String {
    let text = |name: &str| end.anytime.get(name).and_then(Value::as_str);
    let ended = match text("ended") {
        Some("end_marker" | "end_of_sequence") => "ended by itself",
        Some("agreement") => "ended by agreement",
        Some("budget") => "ended by its budget",
        _ => "ended",
    };
    let thinking = end.anytime.get("thinking_tokens").and_then(Value::as_u64).unwrap_or(0);
    let drawn = end.usage["completion_tokens"].as_u64().unwrap_or(0);
    let cut = if end.finish_reason == "length" {
        "; the answer is cut off"
    } else {
        ""
    };
    format!("-- the thinking {ended} after {thinking} tokens; {drawn} tokens were drawn{cut}")
}

/// A piece of news as an object.
fn event(news: &News) -> Value {
    match news {
        News::Thinking(text) => json!({ "event": "thinking", "text": text }),
        News::Content(text) => json!({ "event": "content", "text": text }),
        News::Budget(at_budget) => {
            let mut event = json!(at_budget);
            event["event"] = "budget".into();
            event
        }
        News::End(end) => {
            let mut event = Value::from(end.anytime.clone());
            event["event"] = "end".into();
            event["finish_reason"] = end.finish_reason.as_str().into();
            event["usage"] = end.usage.clone();
            event
        }
    }
}

/// JSON without characters that steer a terminal: those that JSON itself leaves as they are stand in its texts alone, where
/// they can be escaped.
fn harmless(value: &Value) -> String {
    let mut line = String::new();
    for character in value.to_string().chars() {
        if steers(character) {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}b";

    fn news() -> [News; 4] {
        let end = End {
            finish_reason: "length".to_owned(),
            anytime: json!({ "ended": HOSTILE, "thinking_tokens": 8 })
                .as_object()
                .cloned()
                .expect("an object"),
            usage: json!({ "completion_tokens": 12 }),
        };
        [
            News::Thinking(HOSTILE.to_owned()),
            News::Budget(AtBudget {
                budget: 8,
                thinking_tokens: 7,
                answer: Some(HOSTILE.to_owned()),
                agreement: 2.0 / 3.0,
                content: HOSTILE.to_owned(),
            }),
            News::Content(HOSTILE.to_owned()),
            News::End(Box::new(end)),
        ]
    }

    fn shown(is_json: bool, has_style: bool) -> String {
        let mut written = Vec::new();
        let mut view = View::new(&mut written, is_json, has_style);
        for news in news() {
            view.show(&news).expect("written");
        }
        assert_eq!(view.take_content(), HOSTILE, "what is kept is what came");
        String::from_utf8(written).expect("text")
    }

    #[test]
    fn nothing_of_the_model_steers_the_terminal() {
        for is_json in [false, true] {
            let text = shown(is_json, false).replace('\n', "");
            assert!(!text.contains(steers), "{text:?}");
        }
        // Those of our own are closed in each piece.
        let styled = shown(false, true);
        assert_eq!(styled.matches(DIM).count(), styled.matches(BRIGHT).count());
        assert_eq!(styled.matches('\u{1b}').count(), 2, "{styled:?}");
    }

    #[test]
    fn people_see_thinking_budgets_answer_and_end() {
        let text = shown(false, false);
        let harmless = "a␛]0;x␇\u{fffd}2J␡\u{fffd}b";
        let expected = format!(
            "{harmless}\n-- budget 8: {harmless} (agreement 0.67, 7 thinking tokens)\n\n{harmless}\n-- the thinking ended \
             after 8 tokens; 12 tokens were drawn; the answer is cut off\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_read_the_same_texts_that_came() {
        let text = shown(true, false);
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
        assert_eq!(names, ["thinking", "budget", "content", "end"]);
        assert_eq!(events[0]["text"], HOSTILE);
        assert_eq!(
            (&events[1]["answer"], &events[1]["budget"]),
            (&json!(HOSTILE), &json!(8))
        );
        assert_eq!(
            (&events[3]["ended"], &events[3]["thinking_tokens"]),
            (&json!(HOSTILE), &json!(8))
        );
    }
}
