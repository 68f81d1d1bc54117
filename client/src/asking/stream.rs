//! What a server tells while it answers: its stream of server-sent events, piece by piece.

use anytime_service::exit::ExitError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::refusal::{of_break, of_document, of_stranger};

/// Longest line that is read, in bytes: an answer of some megabytes. Whatever sends more is no server of answers.
const LONGEST_LINE: usize = 16 << 20;

/// What every event begins with.
const DATA: &[u8] = b"data:";

/// One piece of news.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    /// More of the thinking.
    Thinking(String),
    /// The answer at a budget.
    Budget(AtBudget),
    /// More of the answer.
    Content(String),
    /// The end.
    End(Box<End>),
}

/// The answer at one budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AtBudget {
    /// The budget, in thinking tokens.
    pub(crate) budget: u64,
    /// How many the answer has seen.
    pub(crate) thinking_tokens: u64,
    /// None where the content has no answer.
    pub(crate) answer: Option<String>,
    /// The share of the summaries that give it.
    pub(crate) agreement: f64,
    /// The text of the chosen summary.
    pub(crate) content: String,
}

/// What is known at the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct End {
    /// `stop`, or `length` where the longest summary cut the answer off.
    pub(crate) finish_reason: String,
    /// Why the thinking ended, its tokens, and its trace.
    pub(crate) anytime: Map<String, Value>,
    /// The tokens that it took.
    pub(crate) usage: Value,
}

/// Reads a stream.
#[derive(Debug)]
pub(super) struct Reader {
    address: String,
    buffer: Vec<u8>,
    /// So much of the buffer has no end of a line.
    searched: usize,
    end: End,
    is_over: bool,
}

impl Reader {
    /// `address` is that of the server, for errors.
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            buffer: Vec::new(),
            searched: 0,
            end: End::default(),
            is_over: false,
        }
    }

    /// Takes a piece of the stream, and adds what it tells to `news`, also where an error follows in it.
    ///
    /// # Errors
    /// What the server says went wrong, or that this is no such stream.
    pub(super) fn push(&mut self, piece: &[u8], news: &mut Vec<News>) -> Result<(), ExitError> {
        self.buffer.extend_from_slice(piece);
        let mut start = 0;
        while let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + length;
            let line = self.buffer[start..end].to_vec();
            start = end + 1;
            self.searched = start;
            self.take(&line, news)?;
        }
        self.buffer.drain(..start);
        self.searched = self.buffer.len();
        if self.buffer.len() > LONGEST_LINE {
            return Err(of_stranger(&self.address, "it sends a line without an end"));
        }
        Ok(())
    }

    /// Whether the end was told.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn take(&mut self, line: &[u8], news: &mut Vec<News>) -> Result<(), ExitError> {
        // Comments and other fields of events tell nothing here.
        let Some(data) = line.strip_prefix(DATA) else {
            return Ok(());
        };
        let data = data.trim_ascii();
        if self.is_over {
            return Ok(());
        }
        if data == b"[DONE]" {
            if self.end.anytime.is_empty() {
                return Err(of_stranger(&self.address, "it ends without saying why"));
            }
            self.is_over = true;
            news.push(News::End(Box::new(std::mem::take(&mut self.end))));
            return Ok(());
        }
        let chunk: Value = serde_json::from_slice(data)
            .map_err(|_| of_stranger(&self.address, "it sends an event that is no JSON"))?;
        if let Some(error) = of_document(&self.address, &chunk) {
            return Err(error);
        }
        if chunk.get("error").is_some() {
            return Err(of_break(&self.address, "the server does not say why"));
        }
        // Only looked at: to change what is not of the expected shape would panic.
        if !chunk["usage"].is_null() {
            self.end.usage = chunk["usage"].clone();
        }
        if let Value::Object(anytime) = &chunk["anytime"] {
            self.end.anytime = anytime.clone();
        }
        let choice = &chunk["choices"][0];
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.end.finish_reason = reason.to_owned();
        }
        let delta = &choice["delta"];
        let named = ["reasoning", "reasoning_content"];
        // A server may send the same under both names.
        let thinking = named.iter().find_map(|name| delta[*name].as_str());
        if let Some(text) = thinking.filter(|text| !text.is_empty()) {
            news.push(News::Thinking(text.to_owned()));
        }
        if delta["anytime"].is_object() {
            let at_budget = AtBudget::deserialize(&delta["anytime"]);
            let at_budget = at_budget.map_err(|_| of_stranger(&self.address, "it sends a budget that is none"))?;
            news.push(News::Budget(at_budget));
        }
        if let Some(text) = delta["content"].as_str().filter(|text| !text.is_empty()) {
            news.push(News::Content(text.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STREAM: &str = concat!(
        ": a comment\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"3 é \",\"reasoning_content\":\"3 é \"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"anytime\":{\"budget\":4,\"thinking_tokens\":4,\"answer\":null,",
        "\"content\":\"c\",\"agreement\":0.5}}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"anytime\":{\"ended\":\"budget\"}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let at_budget = AtBudget {
            budget: 4,
            thinking_tokens: 4,
            answer: None,
            agreement: 0.5,
            content: "c".to_owned(),
        };
        let end = End {
            finish_reason: "length".to_owned(),
            anytime: json!({ "ended": "budget" }).as_object().cloned().expect("an object"),
            usage: json!({ "total_tokens": 9 }),
        };
        let told = [
            News::Thinking("3 é ".to_owned()),
            News::Budget(at_budget),
            News::Content("c".to_owned()),
            News::End(Box::new(end)),
        ];
        for size in 1..=STREAM.len() {
            let mut reader = Reader::new("h");
            let mut news = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                assert!(!reader.is_over() || news.len() == told.len(), "{size}");
                reader.push(piece, &mut news).expect("a good stream");
            }
            assert_eq!(news, told, "{size}");
            assert!(reader.is_over());
        }
    }

    #[test]
    fn what_is_no_such_stream_is_said_and_an_error_in_it_counts() {
        let read = |text: &str| {
            let refused = Reader::new("h").push(text.as_bytes(), &mut Vec::new());
            refused.expect_err("no stream").to_string()
        };
        assert!(
            read("data: hello\n").contains("an event that is no JSON"),
            "{}",
            read("data: hello\n")
        );
        assert!(read("data: [DONE]\n").contains("without saying why"));
        assert!(
            read("data: {\"choices\":[{\"delta\":{\"anytime\":{\"budget\":\"x\"}}}]}\n")
                .contains("a budget that is none")
        );
        assert_eq!(
            read("data: {\"error\":{\"message\":\"the engine has ended\",\"type\":\"server_error\"}}\n"),
            "h: the engine has ended"
        );
        // Nothing of any shape makes it panic.
        for text in [
            "1",
            "null",
            "[]",
            "\"a\"",
            "{\"choices\":3}",
            "{\"choices\":[[]]}",
            "{\"choices\":{}}",
        ] {
            let _ = Reader::new("h").push(format!("data: {text}\n").as_bytes(), &mut Vec::new());
        }
        let mut endless = Reader::new("h");
        let piece = vec![b'x'; LONGEST_LINE];
        assert!(endless.push(&piece, &mut Vec::new()).is_ok());
        assert!(endless.push(b"xx", &mut Vec::new()).is_err());
        // What came before an error is told.
        let mut news = Vec::new();
        let broken =
            b"data: {\"choices\":[{\"delta\":{\"reasoning\":\"3\"}}]}\n\ndata: {\"error\":{\"message\":\"no\"}}\n";
        assert!(Reader::new("h").push(broken, &mut news).is_err());
        assert_eq!(news, [News::Thinking("3".to_owned())]);
    }
}
