//! Random expressions: enclosures at different precisions overlap, and nothing differs from itself.

use anytime_verifier::ball::context::{Context, Trouble};
use anytime_verifier::ball::decide;
use anytime_verifier::ball::evaluate::Evaluator;
use anytime_verifier::equality::Decision;
use anytime_verifier::expression::{Constant, Expression, Function};
use anytime_verifier::steps::Steps;
use proptest::prelude::*;

use crate::build::*;

fn constant_expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        (-30_i64..30).prop_map(n),
        (-30_i64..30, 1_u64..30).prop_map(|(above, below)| q(above, below)),
        Just(pi()),
        Just(i()),
        Just(Expression::Constant(Constant::Euler)),
        Just(x("x")),
        Just(x("y")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let function = prop::sample::select(vec![
            Function::Sin,
            Function::Cos,
            Function::Tan,
            Function::Cot,
            Function::Sec,
            Function::Csc,
            Function::Arcsin,
            Function::Arccos,
            Function::Arctan,
            Function::Arccot,
            Function::Sinh,
            Function::Cosh,
            Function::Tanh,
            Function::Ln,
            Function::Abs,
            Function::Floor,
            Function::Ceiling,
            Function::Factorial,
            Function::Re,
            Function::Im,
            Function::Conjugate,
            Function::Named("f".into()),
        ]);
        let pair = prop::sample::select(vec![
            Function::Log,
            Function::Binomial,
            Function::Gcd,
            Function::Lcm,
            Function::Max,
            Function::Min,
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(sum),
            prop::collection::vec(inner.clone(), 1..4).prop_map(product),
            (inner.clone(), inner.clone()).prop_map(|(base, exponent)| power(base, exponent)),
            (inner.clone(), -5_i64..6, 1_u64..6).prop_map(|(base, above, below)| power(base, q(above, below))),
            (function, inner.clone()).prop_map(|(function, argument)| call(function, argument)),
            (pair, inner.clone(), inner)
                .prop_map(|(function, left, right)| { Expression::Call(function, vec![left, right]) }),
        ]
    })
}

fn evaluate(expression: &Expression, precision: usize) -> Result<anytime_verifier::ball::value::Value, Trouble> {
    use anytime_verifier::ball::point::{Point, Signs};
    let mut steps = Steps::new(u64::MAX);
    let point = Point {
        seed: 7,
        signs: Signs::Mixed,
        scale: 0,
        complex: false,
    };
    Evaluator::new(Some(point), Context::new(precision, &mut steps)).evaluate(expression)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn enclosures_overlap_at_every_precision(expression in constant_expression()) {
        let values: Vec<_> = [90, 192, 700].into_iter().map(|bits| evaluate(&expression, bits)).collect();
        let mut steps = Steps::new(u64::MAX);
        let mut context = Context::new(2_000, &mut steps);
        for pair in values.windows(2) {
            match (&pair[0], &pair[1]) {
                (Ok(rough), Ok(fine)) => {
                    // Unknown functions tell their arguments apart at a part of the precision.
                    if format!("{expression:?}").contains("Named") {
                        continue;
                    }
                    let rough = rough.to_complex(&mut context).unwrap();
                    let fine = fine.to_complex(&mut context).unwrap();
                    prop_assert!(rough.minus(&fine, &mut context).unwrap().contains_zero());
                }
                (Err(Trouble::Stop(rough)), Ok(_)) => prop_assert!(false, "{rough} and then a value"),
                _ => {}
            }
        }
    }

    #[test]
    fn nothing_differs_from_itself(left in constant_expression(), right in constant_expression()) {
        let same = decide(&left, &left, &mut Steps::default());
        prop_assert!(same != Ok(Decision::Different), "{same:?}");
        let both = [left.clone(), right.clone()];
        let swapped = [right.clone(), left.clone()];
        let swap = decide(&sum(both.clone()), &sum(swapped.clone()), &mut Steps::default());
        prop_assert!(swap != Ok(Decision::Different), "{swap:?}");
        let shifted = decide(&sum([left.clone(), big("1/1000000000000000000000")]), &left, &mut Steps::default());
        prop_assert!(shifted != Ok(Decision::Equal), "{shifted:?}");
    }
}
