//! Formulas whose equals and near misses take a person to write.

use serde::Deserialize;

use crate::sink::Sink;
use crate::support::read_rows;

/// A ground truth, what equals it, and what does not.
#[derive(Deserialize)]
struct Formula {
    truth: String,
    equal: Vec<String>,
    different: Vec<String>,
}

/// Every formula against its equals and its near misses.
pub(crate) fn formulas(sink: &mut Sink) {
    for formula in read_rows::<Formula>("formulas.jsonl") {
        let mut target = sink.about("expression", formula.truth);
        target.same_wrapped();
        for answer in formula.equal {
            target.same("equal formula", answer);
        }
        for answer in formula.different {
            target.differs("unequal formula", answer);
        }
    }
}

/// Pairs that are equal at the points a careless test would try, or to all the digits it would look at; in both
/// directions.
pub(crate) fn treacherous(sink: &mut Sink) {
    for (left, right) in read_rows::<(String, String)>("treacherous.jsonl") {
        for (truth, answer) in [(&left, &right), (&right, &left)] {
            let mut target = sink.about("expression", truth);
            target.same("identical", truth);
            target.differs("treacherous", answer);
        }
    }
}
