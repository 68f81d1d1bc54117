//! The few lines of a model card's front matter that an export passes on. They are read line by line, and not as YAML,
//! because a README comes from anywhere: aliases of YAML can be made to fill the memory.

/// Lines of front matter that are looked at.
const MOST_LINES: usize = 2000;

/// The longest value that is passed on, in bytes.
const LONGEST: usize = 300;

/// The most licences.
const MOST_LICENSES: usize = 8;

/// The tag of this project's own cards.
const OUR_TAG: &str = "anytime";

/// What a card says that an export passes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FrontMatter {
    pub(super) licenses: Vec<String>,
    pub(super) license_name: Option<String>,
    pub(super) license_link: Option<String>,
    pub(super) base_model: Option<String>,
    /// Whether it is a card of this project.
    pub(super) is_ours: bool,
}

impl FrontMatter {
    /// That of a README; nothing where it has none, or none that ends.
    pub(super) fn of(readme: &str) -> Self {
        let readme = readme.trim_start_matches('\u{feff}');
        let mut lines = readme.lines().map(str::trim_end).take(MOST_LINES);
        if lines.next() != Some("---") {
            return Self::default();
        }
        let mut found = Self::default();
        let mut list = "";
        for line in lines {
            if line == "---" {
                return found;
            }
            if let Some(item) = line.trim_start().strip_prefix("- ") {
                found.take(list, item, true);
                continue;
            }
            list = "";
            if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t', '#'])) {
                if value.trim().is_empty() {
                    list = name;
                } else {
                    found.take(name, value, false);
                }
            }
        }
        Self::default()
    }

    fn take(&mut self, name: &str, value: &str, is_item: bool) {
        let Some(value) = plain(value) else {
            return;
        };
        match name {
            "license" if self.licenses.len() < MOST_LICENSES => self.licenses.push(value),
            "license_name" if !is_item => self.license_name = Some(value),
            "license_link" if !is_item => self.license_link = Some(value),
            "base_model" if self.base_model.is_none() => self.base_model = Some(value),
            "tags" => self.is_ours |= value == OUR_TAG,
            _ => {}
        }
    }
}

/// A scalar of one line; none of what YAML would read in another way.
fn plain(text: &str) -> Option<String> {
    let text = text.trim();
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let text = match quote {
        Some(quote) => text[1..].split(quote).next()?,
        None => text.split(" #").next()?.trim_end(),
    };
    let is_special = quote.is_none() && text.starts_with(['&', '*', '!', '|', '>', '[', '{', '%', '@', '`']);
    let is_plain =
        !text.is_empty() && text.len() <= LONGEST && !text.contains('\\') && !text.chars().any(char::is_control);
    (is_plain && !is_special).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_found_in_each_of_its_forms() {
        let read = |text: &str| FrontMatter::of(text);
        let one =
            read("---\nlicense: apache-2.0  # as the paper says\nlanguage:\n- en\n---\n# A model\nlicense: mit\n");
        assert_eq!(one.licenses, ["apache-2.0"]);
        let other =
            read("\u{feff}---\r\nlicense: other\r\nlicense_name: \"my licence\"\r\nlicense_link: 'LICENSE'\r\n---\r\n");
        assert_eq!(other.licenses, ["other"]);
        assert_eq!(other.license_name.as_deref(), Some("my licence"));
        assert_eq!(other.license_link.as_deref(), Some("LICENSE"));
        let two = read("---\nlicense:\n  - mit\n  - apache-2.0\ntags:\n- anytime\nbase_model:\n- a/b\n---\n");
        assert_eq!(two.licenses, ["mit", "apache-2.0"]);
        assert_eq!((two.is_ours, two.base_model.as_deref()), (true, Some("a/b")));
    }

    #[test]
    fn what_is_no_front_matter_says_nothing() {
        for text in [
            "",
            "# A model\nlicense: mit\n",
            "---\nlicense: mit\n",
            "---\nlicense:\nother: x\n- mit\n---\n",
            "---\n  license: mit\n---\n",
            "---\n#license: mit\n---\n",
            "---\nlicense: *alias\n---\n",
            "---\nlicense: [mit]\n---\n",
            "---\nlicense: |\n  mit\n---\n",
            "---\nlicense: \"a\\nb\"\n---\n",
            &format!("---\nlicense: {}\n---\n", "x".repeat(301)),
        ] {
            assert_eq!(FrontMatter::of(text), FrontMatter::default(), "{text:?}");
        }
        let endless = "---\n".to_owned() + &"a: b\n".repeat(MOST_LINES) + "license: mit\n---\n";
        assert_eq!(FrontMatter::of(&endless), FrontMatter::default());
    }
}
