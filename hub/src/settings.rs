//! What the environment says, by the names that `huggingface_hub` reads, and how long is waited.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::error::HubError;

const OFFICIAL: &str = "https://huggingface.co";

/// A token of the hub. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token of visible characters; none where the text is blank.
    ///
    /// # Errors
    /// The variable, if the text can be no token.
    pub fn try_new(name: &'static str, text: &str) -> Result<Option<Self>, HubError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "must hold one line of visible characters".to_owned();
            return Err(HubError::Variable { name, reason });
        }
        Ok(Some(Self(text.to_owned())))
    }

    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

/// How long is waited for what.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the next bytes of an answer.
    pub silence: Duration,
    /// The longest pause that a hub may ask for by `Retry-After`.
    pub pause: Duration,
    /// The first pause before a request is tried again; each further one is twice as long.
    pub first_pause: Duration,
    /// How often in a row a request may fail, or a file stop without a new byte.
    pub tries: u32,
    /// For another process that fetches the same file.
    pub lock: Duration,
    /// How often progress is told.
    pub progress: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            pause: Duration::from_secs(120),
            first_pause: Duration::from_secs(1),
            tries: 5,
            lock: Duration::from_secs(3600),
            progress: Duration::from_secs(5),
        }
    }
}

/// Where the hub is, what it is shown, and where files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HF_ENDPOINT`.
    pub endpoint: Url,
    /// `HF_TOKEN`, or what the token's file holds.
    pub token: Option<Token>,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// How long is waited.
    pub patience: Patience,
}

impl Settings {
    /// What the environment says now; the token's file is read now, too.
    ///
    /// # Errors
    /// The variable that cannot work.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// As [`Settings::from_environment`], of any variables.
    ///
    /// # Errors
    /// The variable that cannot work.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let directory = |name: &str| get(name).map(|path| expand(&path, &get));
        let home = match (directory("HF_HOME"), directory("XDG_CACHE_HOME")) {
            (Some(home), _) => home,
            (None, Some(caches)) => caches.join("huggingface"),
            (None, None) => expand("~/.cache/huggingface", &get),
        };
        let cache = directory("HF_HUB_CACHE")
            .or_else(|| directory("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home.join("hub"));
        if !cache.is_absolute() {
            let reason = format!(
                "must be set, or HOME: the cache would be {}, which depends on where the process runs",
                cache.display()
            );
            return Err(HubError::Variable {
                name: "HF_HOME",
                reason,
            });
        }
        let token = if get("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
            None
        } else {
            let path = directory("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            token(&get, &path)?
        };
        let is_offline = |name: &str| get(name).is_some_and(|value| is_true(&value));
        Ok(Self {
            endpoint: endpoint(get("HF_ENDPOINT").as_deref().unwrap_or(OFFICIAL))?,
            token,
            cache,
            offline: is_offline("HF_HUB_OFFLINE") || is_offline("TRANSFORMERS_OFFLINE"),
            patience: Patience::default(),
        })
    }
}

fn token(get: &dyn Fn(&str) -> Option<String>, path: &std::path::Path) -> Result<Option<Token>, HubError> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(text) = get(name) {
            return Token::try_new(name, &text);
        }
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Token::try_new("HF_TOKEN_PATH", &text),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(HubError::Variable {
            name: "HF_TOKEN_PATH",
            reason: format!(
                "must be a file that can be read, and {} cannot ({error})",
                path.display()
            ),
        }),
    }
}

fn endpoint(text: &str) -> Result<Url, HubError> {
    let refuse = |reason: &str| HubError::Variable {
        name: "HF_ENDPOINT",
        reason: format!("must be the address of a hub, such as {OFFICIAL}: {reason}"),
    };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(refuse("it begins with neither https:// nor http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user or a password, which belong into HF_TOKEN"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it holds a query or a fragment"));
    }
    Ok(url)
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

fn expand(path: &str, get: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    match (path.strip_prefix("~/"), get("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::from_variables(&|name| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, cache) in [
            (&[("HOME", "/home/u")][..], "/home/u/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("HOME", "/h"), ("HF_HOME", "~/hf")], "/h/hf/hub"),
            (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/cache")], "/cache"),
            (&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
        ] {
            assert_eq!(
                of(variables).expect("valid").cache,
                PathBuf::from(cache),
                "{variables:?}"
            );
        }
        let nowhere = of(&[]).expect_err("no home").to_string();
        assert!(nowhere.starts_with("HF_HOME must be set"), "{nowhere}");
    }

    #[test]
    fn a_token_comes_from_its_variable_or_its_file_and_is_never_printed() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_str().expect("UTF-8");
        let token = |variables: &[(&str, &str)]| of(variables).expect("valid").token.map(|token| token.header());
        assert_eq!(token(&[("HF_HOME", path)]), None);
        std::fs::write(home.path().join("token"), "hf_file\n").expect("written");
        assert_eq!(token(&[("HF_HOME", path)]).as_deref(), Some("Bearer hf_file"));
        let both = [("HF_HOME", path), ("HF_TOKEN", " hf_variable ")];
        assert_eq!(token(&both).as_deref(), Some("Bearer hf_variable"));
        assert_eq!(
            token(&[("HF_HOME", path), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]),
            None
        );
        let settings = of(&both).expect("valid");
        assert!(!format!("{settings:?}").contains("hf_variable"), "{settings:?}");
        let refused = of(&[("HF_HOME", path), ("HF_TOKEN", "hf_a\nX-Evil: 1")]).expect_err("two lines");
        assert_eq!(refused.to_string(), "HF_TOKEN must hold one line of visible characters");
        std::fs::remove_file(home.path().join("token")).expect("removed");
        std::fs::create_dir(home.path().join("token")).expect("made");
        let unreadable = of(&[("HF_HOME", path)]).expect_err("a directory").to_string();
        assert!(unreadable.starts_with("HF_TOKEN_PATH must be a file"), "{unreadable}");
    }

    #[test]
    fn an_endpoint_that_cannot_work_is_refused() {
        for (text, says) in [
            ("huggingface.co", "HF_ENDPOINT must be the address of a hub"),
            ("ftp://huggingface.co", "neither https:// nor http://"),
            ("https://user:secret@huggingface.co", "a user or a password"),
            ("https://huggingface.co/?a=b", "a query"),
        ] {
            let refused = of(&[("HOME", "/h"), ("HF_ENDPOINT", text)])
                .expect_err(text)
                .to_string();
            assert!(refused.contains(says), "{text}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        let mirror = of(&[
            ("HOME", "/h"),
            ("HF_ENDPOINT", "https://mirror/api/hf/"),
            ("HF_HUB_OFFLINE", "yes"),
        ]);
        let mirror = mirror.expect("valid");
        assert_eq!(mirror.endpoint.as_str(), "https://mirror/api/hf/");
        assert!(mirror.offline);
    }
}
