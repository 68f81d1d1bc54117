//! Translates a template from what Jinja2 with transformers' extensions accepts to what minijinja accepts.

use std::borrow::Cow;
use std::ops::Range;

use super::percent;

/// The template with `\n` at the end of every line, as Jinja2 reads it. `{% generation %}` blocks, which mark what a
/// model is trained on and do not change the text, become `{% with %}` blocks; `'…' % x` becomes a filter.
pub(super) fn translate(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut translated = String::with_capacity(source.len());
    let mut copied = 0;
    for (place, by) in edits(&source) {
        translated.push_str(&source[copied..place.start]);
        translated.push_str(&by);
        copied = place.end;
    }
    translated.push_str(&source[copied..]);
    translated
}

/// The places in tags that are replaced, and what each is replaced by.
fn edits(source: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = source[at..].find('{').map(|offset| at + offset) {
        let inner = start + 2;
        match source.as_bytes().get(start + 1) {
            Some(b'#') => at = after(source, inner, "#}"),
            Some(b'{') => {
                at = end_of_tag(source, inner, "}}");
                found.extend(percent::edits(source, inner..content_end(source, at, "}}")));
            }
            Some(b'%') => {
                let name = name_of_tag(source, inner);
                at = end_of_tag(source, inner, "%}");
                match &source[name.clone()] {
                    "raw" => {
                        // Jinja2 drops the newline behind other tags, and keeps it behind this one.
                        let is_told = ["-%}", "+%}"].iter().any(|end| source[..at].ends_with(end));
                        if source[at..].starts_with('\n') && !is_told {
                            let end = at - "%}".len();
                            found.push((end..end, "+".to_owned()));
                        }
                        at = end_of_raw(source, at);
                    }
                    "generation" => found.push((name, "with".to_owned())),
                    "endgeneration" => found.push((name, "endwith".to_owned())),
                    _ => found.extend(percent::edits(source, inner..content_end(source, at, "%}"))),
                }
            }
            _ => at = start + 1,
        }
    }
    found
}

/// Where the word behind `{%`, `{%-` or `{%+` stands.
fn name_of_tag(source: &str, inner: usize) -> Range<usize> {
    let rest = &source[inner..];
    let name = rest.trim_start_matches(['-', '+']).trim_start();
    let start = source.len() - name.len();
    let length = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    start..start + length.unwrap_or(name.len())
}

/// The place behind the next `end`; behind the text where there is none.
fn after(source: &str, from: usize, end: &str) -> usize {
    source[from..]
        .find(end)
        .map_or(source.len(), |offset| from + offset + end.len())
}

/// The place behind a tag. The tag's strings may contain `end`, which does not end it there.
fn end_of_tag(source: &str, from: usize, end: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (offset, letter) in source[from..].char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(opened) if letter == opened => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if source[from + offset..].starts_with(end) => return from + offset + end.len(),
            None => {}
        }
    }
    source.len()
}

/// Where the content of a tag that ends at a place ends itself. A tag that is not closed has none of its end.
fn content_end(source: &str, end: usize, close: &str) -> usize {
    end - if source[..end].ends_with(close) { close.len() } else { 0 }
}

/// The place behind `{% endraw %}`.
fn end_of_raw(source: &str, from: usize) -> usize {
    let mut at = from;
    while at < source.len() {
        let tag = after(source, at, "{%");
        if tag < source.len() && &source[name_of_tag(source, tag)] == "endraw" {
            return end_of_tag(source, tag, "%}");
        }
        at = tag;
    }
    source.len()
}

/// Whether a name stands in the template as a word of its own.
pub(super) fn has_word(source: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    source.match_indices(name).any(|(start, _)| {
        let before = source[..start].chars().next_back();
        let behind = source[start + name.len()..].chars().next();
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

/// A message of several lines in one.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        return Cow::Owned(text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_is_a_scope() {
        let cases = [
            ("a{% generation %}b{% endgeneration %}c", "a{% with %}b{% endwith %}c"),
            ("{%- generation -%}\n{%+endgeneration+%}", "{%- with -%}\n{%+endwith+%}"),
            // Not where it is text, a comment, raw, a string, or a part of a name.
            ("generation {# {% generation %} #}", "generation {# {% generation %} #}"),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            ("{{ '}}' }}{% generation %}", "{{ '}}' }}{% with %}"),
            ("{{ 'it\\'s }}' }}{% generation %}", "{{ 'it\\'s }}' }}{% with %}"),
            (
                "{% raw %}{% generation %}{{ x {%- endraw %}{% generation %}",
                "{% raw %}{% generation %}{{ x {%- endraw %}{% with %}",
            ),
            (
                "{% set generation = 1 %}{% generations %}",
                "{% set generation = 1 %}{% generations %}",
            ),
            ("{% if x == '%}' %}{% generation %}", "{% if x == '%}' %}{% with %}"),
            // What is not closed is left for the parser to refuse.
            ("{% generation", "{% with"),
            ("{% raw %}{% generation %}", "{% raw %}{% generation %}"),
            ("{# {% generation %}", "{# {% generation %}"),
            ("{{ 'x", "{{ 'x"),
            ("{", "{"),
            ("é{%generation%}é", "é{%with%}é"),
            // Nor is what follows a text at the end of a tag an operand.
            ("{% if x == 'a'%}", "{% if x == 'a'%}"),
            ("{% if x == 'a' -%}", "{% if x == 'a' -%}"),
            ("{{ 'x' %", "{{ 'x' %"),
            ("{{ 'x' % (", "{{ 'x' % ("),
        ];
        for (source, expected) in cases {
            assert_eq!(translate(source), expected, "{source}");
        }
    }

    #[test]
    fn every_line_ends_in_a_newline() {
        assert_eq!(translate("a\r\nb\rc\n\r\nd"), "a\nb\nc\n\nd");
    }

    #[test]
    fn words_of_their_own() {
        assert!(has_word("{% if enable_thinking is false %}", "enable_thinking"));
        assert!(!has_word(
            "{% if enable_thinkings %}{{ no_enable_thinking }}",
            "enable_thinking"
        ));
        assert!(!has_word("", "x"));
    }
}
