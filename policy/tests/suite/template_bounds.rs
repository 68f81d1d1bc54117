//! What a hostile chat template may take: whatever its values would need, it is refused at once.

use std::time::{Duration, Instant};

use crate::templates::render;

/// Long enough for a build without optimization on a machine that does other things.
const AT_ONCE: Duration = Duration::from_secs(20);

#[track_caller]
fn refused(template: &str, reason: &str) {
    let began = Instant::now();
    let shown: String = template.chars().take(120).collect();
    let error = render(template, "hi").expect_err(&shown);
    assert!(error.contains(reason), "{shown}: {error}");
    assert!(!error.contains('\n'), "{shown}: {error}");
    assert!(began.elapsed() < AT_ONCE, "{shown}: {:?}", began.elapsed());
}

fn sixty_times(step: &str, first: &str) -> String {
    format!("{{% set ns = namespace(x={first}) %}}{{% for i in range(60) %}}{{% set ns.x = {step} %}}{{% endfor %}}")
}

#[test]
fn values_that_double_are_refused() {
    const LONG: &str = "it makes a text of more than 16777216 bytes";
    const MUCH: &str = "it makes values of more than 268435456 bytes in all";
    for step in [
        "ns.x ~ ns.x",
        "ns.x + ns.x",
        "ns.x * 2",
        "ns.x|replace('a', 'aa')",
        "ns.x.replace('a', 'aa')",
        "[ns.x, ns.x]|join",
        "''.join([ns.x, ns.x])",
        "'%s%s' % (ns.x, ns.x)",
        "'%s%s'|format(ns.x, ns.x)",
        "'{0}{0}'.format(ns.x)",
    ] {
        refused(&sixty_times(step, "'a'"), LONG);
    }
    refused("{% set a = 'a' * 100000 %}{{ a|replace('a', a) }}", LONG);
    refused("{% set a = 'a' * 100000 %}{{ a|join(a) }}", LONG);
    refused("{{ 'a' * 10**9 }}", LONG);
    refused(&format!("{{{{ {}'' }}}}", "'a' * 90000000 ~ ".repeat(100)), LONG);
    for step in [
        "ns.x + ns.x",
        "ns.x * 2",
        "[ns.x, ns.x]",
        "{'a': ns.x, 'b': ns.x}",
        "ns.x|chain(ns.x)",
    ] {
        refused(&sixty_times(step, "[1]"), MUCH);
    }
    let captured = "{% set ns = namespace(x='a') %}{% for i in range(60) %}\
                    {% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}";
    refused(captured, "it renders more than 67108864 bytes");
    let raw = format!(
        "{{% set x %}}{{% for i in range(100000) %}}{}{{% endfor %}}{{% endset %}}",
        "raw ".repeat(10_000)
    );
    refused(&raw, "it renders more than 67108864 bytes");
}

#[test]
fn what_nests_too_deep_is_refused() {
    for (step, first) in [("[ns.x]", "1"), ("{'a': ns.x}", "1"), ("dict(a=ns.x)", "1")] {
        let template = sixty_times(step, first).replace("range(60)", "range(30000)");
        refused(&template, "it nests lists or dictionaries more than 160 deep");
    }
    for template in [
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = namespace(y=ns) %}{{ ns }}",
        "{% set ns = namespace(x=1) %}{% for i in range(9) %}{% set ns.x = loop %}{% endfor %}{{ ns }}",
        "{% macro m() %}{% endmacro %}{% set l = [m] %}",
        "{% set c = cycler(1) %}{% set c = cycler(c) %}",
        "{% set c = joiner('a') %}{% set c = joiner(c) %}",
    ] {
        refused(template, "can hold no namespace, loop, macro or function");
    }
    // Lists that are computed when they are read hold each other and not their items; they are written out instead.
    for step in ["ns.x[0:]", "ns.x|reverse", "ns.x|map('reverse')|list"] {
        let template = sixty_times(step, "[[1], [2]]").replace("range(60)", "range(20000)");
        let rendered = render(&format!("{template}{{{{ ns.x }}}}"), "hi");
        assert!(
            rendered.is_ok() || rendered.is_err_and(|error| error.contains("in all")),
            "{step}"
        );
    }
    refused(
        &format!("{{{{ 1{} }}}}", "+1".repeat(100_000)),
        "has more than 10000 words and signs",
    );
    refused(
        &format!("{{{{ x{} }}}}", ".x".repeat(100_000)),
        "has more than 10000 words and signs",
    );
    refused(&"a".repeat((1 << 20) + 1), "it has more than 1048576 bytes");
    assert_eq!(
        render(&format!("{{{{ 1{} }}}}", "+1".repeat(4_000)), "hi").as_deref(),
        Ok("4001")
    );
}

#[test]
fn widths_are_bounded() {
    for template in [
        "{{ '%2000000000d'|format(1) }}",
        "{{ '%9999999d' % 1 }}",
        "{{ '{:>200000000}'.format(1) }}",
        "{{ '{:.200000000f}'.format(1.5) }}",
        "{{ 'a\nb'|indent(2000000000) }}",
        "{{ 'a\nb'|indent(width=2000000000) }}",
        "{{ 'a'.center(2000000000) }}",
        "{{ [1]|batch(2000000000, 'x')|list }}",
        "{{ [1]|slice(2000000000)|list }}",
        "{{ [1]|tojson(separators=['a' * 16000000, 'b' * 16000000]) ~ [1, 2, 3]|tojson(separators=['a' * 16000000, '']) }}",
        "{{ range(2000000000)|list }}",
    ] {
        let began = Instant::now();
        assert!(render(template, "hi").is_err(), "{template}");
        assert!(began.elapsed() < AT_ONCE, "{template}");
    }
    for (template, text) in [
        ("{{ '%5d|%-5s|'|format(1, 'a') }}", "    1|a    |"),
        ("{{ '{:>5}'.format(1) }}", "    1"),
        ("{{ 'a\nb'|indent(2) }}", "a\n  b"),
        ("{{ 'a\nb'|indent(width=2, first=true) }}", "  a\n  b"),
        ("{{ [1, 2, 3]|batch(2, 0)|list }}", "[[1, 2], [3, 0]]"),
        ("{{ [1, 2, 3]|sum }}", "6"),
    ] {
        assert_eq!(render(template, "hi").as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn slices_are_those_of_python() {
    for (slice, list) in [
        (":0:-1", "[4, 3, 2]"),
        ("::-1", "[4, 3, 2, 1]"),
        (":1:-1", "[4, 3]"),
        ("2:0:-1", "[3, 2]"),
        ("-1:-3:-1", "[4, 3]"),
        (":-9:-1", "[4, 3, 2, 1]"),
        ("0:9:-1", "[]"),
        ("9::-2", "[4, 2]"),
        ("1:", "[2, 3, 4]"),
        (":-1", "[1, 2, 3]"),
        ("::2", "[1, 3]"),
        ("5:", "[]"),
        ("-9:2", "[1, 2]"),
    ] {
        let template = format!("{{{{ [1, 2, 3, 4][{slice}] }}}}");
        assert_eq!(render(&template, "hi").as_deref(), Ok(list), "{slice}");
    }
    assert_eq!(
        render("{{ 'abcd'[:0:-1] }}{{ ''[::-1] }}{{ [][::-1] }}", "").as_deref(),
        Ok("dcb[]")
    );
}
