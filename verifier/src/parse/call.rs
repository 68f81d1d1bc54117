//! Functions of their arguments, and the functions that are written with others.

use compact_str::CompactString;

use super::grammar::{NoExpression, Parsed, power};
use crate::expression::{Constant, Expression, Function};

/// A function of arguments, perhaps with the base of a logarithm.
pub(super) fn call(function: Function, base: Option<Expression>, mut arguments: Vec<Expression>) -> Parsed {
    // `\ln_2` is nothing known. What is largest over something, `\max_x f(x)`, is not f(x), and a letter may be a set.
    let is_extreme = matches!(function, Function::Max | Function::Min | Function::Gcd | Function::Lcm);
    if base.is_some() && !is_extreme && function != Function::Log {
        return Err(NoExpression::NotMathematics);
    }
    if is_extreme
        && (base.is_some() || matches!(arguments.as_slice(), [only] if !only.is_constant()))
        && let Some(name) = name_of_extreme(&function)
    {
        let name = Function::Named(CompactString::const_new(name));
        return Ok(Expression::Call(name, base.into_iter().chain(arguments).collect()));
    }
    let arity = match &function {
        Function::Named(name) if name == "exp" => {
            let argument = arguments.pop().ok_or(NoExpression::NotMathematics)?;
            return Ok(power(Expression::Constant(Constant::Euler), argument));
        }
        // cos θ + i sin θ
        Function::Named(name) if name == "cis" => {
            let angle = arguments.pop().ok_or(NoExpression::NotMathematics)?;
            let turned = Expression::Product(vec![Expression::Constant(Constant::Imaginary), angle]);
            return Ok(power(Expression::Constant(Constant::Euler), turned));
        }
        Function::Named(name) => {
            let argument = arguments.pop().filter(|_| arguments.is_empty());
            let written = argument.and_then(|argument| written_with_others(name, argument));
            return written.ok_or(NoExpression::NotMathematics);
        }
        Function::Log => {
            // Without a base the logarithm is the common one.
            arguments.push(base.unwrap_or_else(|| Expression::integer(10)));
            2
        }
        Function::Gcd | Function::Lcm | Function::Max | Function::Min => arguments.len(),
        Function::Binomial => 2,
        _ => 1,
    };
    if arguments.len() != arity {
        return Err(NoExpression::NotMathematics);
    }
    Ok(Expression::Call(function, arguments))
}

/// What the function is called where nothing is known of its arguments.
fn name_of_extreme(function: &Function) -> Option<&'static str> {
    Some(match function {
        Function::Max => "max",
        Function::Min => "min",
        Function::Gcd => "gcd",
        Function::Lcm => "lcm",
        _ => return None,
    })
}

/// The functions that need no form of their own.
fn written_with_others(name: &str, argument: Expression) -> Option<Expression> {
    let call = |function, argument| Expression::Call(function, vec![argument]);
    Some(match name {
        "coth" => call(Function::Tanh, argument).inverse(),
        "sech" => call(Function::Cosh, argument).inverse(),
        "csch" => call(Function::Sinh, argument).inverse(),
        "arcoth" => call(Function::Artanh, argument.inverse()),
        "arsech" => call(Function::Arcosh, argument.inverse()),
        "arcsch" => call(Function::Arsinh, argument.inverse()),
        "arcsec" => call(Function::Arccos, argument.inverse()),
        "arccsc" => call(Function::Arcsin, argument.inverse()),
        _ => return None,
    })
}

/// The function that `^{-1}` makes of one.
pub(super) fn inverse_of(function: &Function) -> Option<Function> {
    let named = |name| Function::Named(CompactString::const_new(name));
    Some(match function {
        Function::Sin => Function::Arcsin,
        Function::Cos => Function::Arccos,
        Function::Tan => Function::Arctan,
        Function::Cot => Function::Arccot,
        Function::Sec => named("arcsec"),
        Function::Csc => named("arccsc"),
        Function::Sinh => Function::Arsinh,
        Function::Cosh => Function::Arcosh,
        Function::Tanh => Function::Artanh,
        Function::Named(name) => named(match name.as_str() {
            "coth" => "arcoth",
            "sech" => "arsech",
            "csch" => "arcsch",
            _ => return None,
        }),
        _ => return None,
    })
}
