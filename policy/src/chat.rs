//! Chat templates: the Jinja text of a model directory, rendered as transformers renders it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

use crate::error::PolicyError;

/// A compiled chat template with the special tokens that it may name.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: Vec<(&'static str, String)>,
}

const TEMPLATE: &str = "chat_template";
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

impl ChatTemplate {
    /// The template of a model directory: `chat_template.jinja` or, failing that, `chat_template` of
    /// `tokenizer_config.json` (given as `settings`), a text or a list of named texts with one called `default`.
    pub(crate) fn load(dir: &Path, settings: &serde_json::Value) -> Result<Option<Self>, PolicyError> {
        let path = dir.join("chat_template.jinja");
        let source = if path.exists() {
            Some(std::fs::read_to_string(&path).map_err(|source| PolicyError::read(&path, source))?)
        } else {
            source_in_settings(&settings["chat_template"])?
        };
        let Some(source) = source else {
            return Ok(None);
        };
        let mut special_tokens = Vec::new();
        for name in SPECIAL_TOKENS {
            special_tokens.extend(special_token(settings, name).map(|token| (name, token)));
        }
        Self::compile(source, special_tokens).map(Some)
    }

    fn compile(source: String, special_tokens: Vec<(&'static str, String)>) -> Result<Self, PolicyError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        // Templates are written for Python and call its string and dictionary methods.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(TEMPLATE, source).map_err(refuse)?;
        Ok(ChatTemplate {
            environment,
            special_tokens,
        })
    }

    /// One user message, followed by what opens the assistant's turn.
    pub(crate) fn render(&self, user: &str) -> Result<String, PolicyError> {
        let message = Value::from_iter([("role", Value::from("user")), ("content", Value::from(user))]);
        let mut variables = vec![
            ("messages", Value::from(vec![message])),
            ("add_generation_prompt", Value::from(true)),
            // transformers passes these as None where a caller gives none, and templates test for it.
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        for (name, token) in &self.special_tokens {
            variables.push((name, Value::from(token.as_str())));
        }
        let template = self.environment.get_template(TEMPLATE).map_err(refuse)?;
        template.render(Value::from_iter(variables)).map_err(refuse)
    }
}

/// A special token of `tokenizer_config.json`: a text, or an object with its text in `content`.
pub(crate) fn special_token(settings: &serde_json::Value, name: &str) -> Option<String> {
    let token = &settings[name];
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

fn source_in_settings(field: &serde_json::Value) -> Result<Option<String>, PolicyError> {
    match field {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source.clone())),
        serde_json::Value::Array(templates) => {
            let default = templates.iter().find(|template| template["name"] == "default");
            match default.and_then(|template| template["template"].as_str()) {
                Some(source) => Ok(Some(source.to_owned())),
                None => Err(problem("the list in tokenizer_config.json has none called default")),
            }
        }
        _ => Err(problem(
            "chat_template in tokenizer_config.json is neither a text nor a list",
        )),
    }
}

fn problem(text: &str) -> PolicyError {
    PolicyError::ChatTemplate {
        problem: text.to_owned(),
    }
}

fn refuse(error: Error) -> PolicyError {
    PolicyError::ChatTemplate {
        problem: error.to_string(),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Today's date in UTC in Python's format letters, as far as templates use them.
#[expect(clippy::disallowed_methods, reason = "a template asks for today's date itself")]
fn strftime_now(format: String) -> Result<String, Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    strftime(&format, now)
}

fn strftime(format: &str, unix_seconds: u64) -> Result<String, Error> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    // 1 January 1970 was a Thursday.
    const WEEKDAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let days = unix_seconds / 86_400;
    let (year, month, day) = civil_date(days);
    let month_name = MONTHS[month as usize - 1];
    let weekday = WEEKDAYS[(days % 7) as usize];
    let (hour, minute, second) = (unix_seconds / 3600 % 24, unix_seconds / 60 % 60, unix_seconds % 60);
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let piece = match letters.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('%') => "%".to_owned(),
            other => {
                let letter = other.map(String::from).unwrap_or_default();
                let message = format!("strftime_now does not know %{letter}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
        text.push_str(&piece);
    }
    Ok(text)
}

/// Year, month and day of the Gregorian calendar, `days` after 1 January 1970.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is the last of its year; 719,468 days lie between
    // 1 March of year 0 and 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(
            strftime("%d %B %Y, %A %H:%M:%S", 0).unwrap(),
            "01 January 1970, Thursday 00:00:00"
        );
        assert_eq!(strftime("%a %d %b %y %%", 951_782_400).unwrap(), "Tue 29 Feb 00 %");
        assert_eq!(strftime("%Y-%m-%d %A", 1_735_689_599).unwrap(), "2024-12-31 Tuesday");
        assert!(strftime("%Q", 0).is_err());
    }

    fn render(source: &str) -> Result<String, PolicyError> {
        let special_tokens = vec![("bos_token", "<s>".to_owned())];
        ChatTemplate::compile(source.to_owned(), special_tokens)?.render("hi")
    }

    #[test]
    fn python_methods_and_blocks_as_in_transformers() {
        let source = "{{ bos_token }}\n{% for m in messages %}\n  {% if m['role'].startswith('us') %}\n{{ m.content.upper() }}\n  {% endif %}\n{% endfor %}\n";
        assert_eq!(render(source).unwrap(), "<s>\nHI\n");
    }

    #[test]
    fn a_template_can_refuse() {
        let error = render("{{ raise_exception('no system role') }}")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no system role"), "{error}");
        assert!(render("{% for %}").is_err());
    }
}
