//! The equations of the paper written down a second time, token by token and straight from the group, and held against
//! the objectives on random groups.

use anytime_objectives::{TraceTargets, objective};
use anytime_proto::settings::{ObjectiveSettings, spell_out_prior};
use anytime_proto::v1;
use proptest::prelude::*;

use crate::support::{brpo, brpo_settings, group, settings};

/// What the oracle knows of a group: x is fixed, z_i are the traces.
struct Oracle<'a> {
    group: &'a v1::ScoredGroup,
    settings: &'a ObjectiveSettings,
}

impl Oracle<'_> {
    /// m
    fn m(&self) -> usize {
        self.group.budgets.len()
    }

    /// b_j, j from 1; b_0 = 0.
    fn b(&self, j: usize) -> f64 {
        if j == 0 {
            0.0
        } else {
            f64::from(self.group.budgets[j - 1])
        }
    }

    /// P_j, j from 1.
    fn p(&self, j: usize) -> f64 {
        self.settings.prior[j - 1]
    }

    /// P'_1 … P'_m.
    fn summary_prior(&self) -> Vec<f64> {
        let own = brpo_settings(self.settings);
        spell_out_prior(own.summary_prior(), &own.summary_prior_weights, &self.group.budgets)
    }

    /// The node that summarises trace i at budget j: the one whose range of budgets holds it.
    fn node(&self, i: usize, j: usize) -> &v1::Node {
        let holds = |node: &&v1::Node| {
            let first = node.first_budget as usize + 1;
            (first..first + node.multiplicity as usize).contains(&j)
        };
        self.group.traces[i]
            .nodes
            .iter()
            .find(holds)
            .expect("every budget has a node")
    }

    /// The A scores of trace i at budget j: of the node's, those that fall to this budget.
    fn scores(&self, i: usize, j: usize) -> Vec<f64> {
        let node = self.node(i, j);
        let a = self.group.summaries_per_budget as usize;
        let within = j - 1 - node.first_budget as usize;
        (0..a)
            .map(|k| f64::from(node.summaries[within * a + k].score))
            .collect()
    }

    /// r(x, z_i up to b_j)
    fn r(&self, i: usize, j: usize) -> f64 {
        let scores = self.scores(i, j);
        scores.iter().sum::<f64>() / scores.len() as f64
    }

    /// j_t = argmin_j {b_j ≥ t}, t from 1.
    fn j_of_token(&self, t: usize) -> usize {
        (1..=self.m())
            .find(|j| self.b(*j) >= t as f64)
            .expect("t is within the largest budget")
    }

    /// Equation 6.
    fn reward_to_go(&self, i: usize, jt: usize) -> f64 {
        (jt..=self.m()).map(|j| self.p(j) * self.r(i, j)).sum()
    }

    /// Equation 7, with λ^{j_t − j}.
    fn v1(&self, i: usize, jt: usize) -> f64 {
        if jt == 1 {
            return 0.0;
        }
        let weight = |j: usize| self.settings.lambda.powf((jt - j) as f64);
        let average = (1..jt).map(|j| weight(j) * self.r(i, j)).sum::<f64>() / (1..jt).map(weight).sum::<f64>();
        average * (jt..=self.m()).map(|j| self.p(j)).sum::<f64>()
    }

    /// Equation 8, or without trace i.
    fn v2(&self, i: usize, jt: usize) -> f64 {
        let all: Vec<usize> = (0..self.group.traces.len()).collect();
        if all.len() == 1 {
            return 0.0;
        }
        let counted = all
            .iter()
            .filter(|other| !(brpo_settings(self.settings).leave_one_out() && **other == i));
        let rewards: Vec<f64> = counted.map(|other| self.reward_to_go(*other, jt)).collect();
        rewards.iter().sum::<f64>() / rewards.len() as f64
    }

    /// Equation 9 or Figure 1, or an ablation.
    fn v(&self, i: usize, jt: usize) -> f64 {
        let (v1, v2, m) = (self.v1(i, jt), self.v2(i, jt), self.m() as f64);
        match brpo_settings(self.settings).variance_reduction() {
            v1::VarianceReduction::None => 0.0,
            v1::VarianceReduction::V1 => v1,
            v1::VarianceReduction::V2 => v2,
            _ => match self.settings.mix {
                v1::Mix::Budget => {
                    let (before, all) = (self.b(jt - 1), self.b(self.m()));
                    before / all * v1 + (all - before) / all * v2
                }
                _ => (jt as f64 - 1.0) / m * v1 + (m - jt as f64 + 1.0) / m * v2,
            },
        }
    }

    /// Paper 2: the advantage of summary k of trace i at budget j.
    fn summary_advantage(&self, i: usize, j: usize, k: usize) -> f64 {
        let a = self.group.summaries_per_budget as usize;
        if brpo_settings(self.settings).summary_method() == v1::SummaryMethod::Grpo && (j, k) != (self.m(), a - 1) {
            return 0.0;
        }
        let compared: Vec<f64> = if a > 1 {
            self.node(i, j)
                .summaries
                .iter()
                .map(|summary| f64::from(summary.score))
                .collect()
        } else {
            (0..self.group.traces.len())
                .map(|other| self.scores(other, j)[0])
                .collect()
        };
        self.scores(i, j)[k] - compared.iter().sum::<f64>() / compared.len() as f64
    }

    /// Relative to a thinking token.
    fn summary_weight(&self, j: usize) -> f64 {
        let a = f64::from(self.group.summaries_per_budget);
        let equation10 = self.settings.summary_weight * self.summary_prior()[j - 1] / a;
        match self.settings.summary_weighting {
            v1::SummaryWeighting::Equation10 => equation10,
            _ => equation10 * a * self.m() as f64,
        }
    }

    /// (advantage, weight) of every token of trace i; summaries have one token.
    fn tokens(&self, i: usize) -> Vec<(f64, f64)> {
        let length = self.group.traces[i].thinking.as_ref().expect("there is one").ids.len();
        let mut tokens = Vec::new();
        for t in 1..=length {
            let jt = self.j_of_token(t);
            tokens.push((self.reward_to_go(i, jt) - self.v(i, jt), 1.0));
        }
        for j in 1..=self.m() {
            for k in 0..self.group.summaries_per_budget as usize {
                tokens.push((self.summary_advantage(i, j, k), self.summary_weight(j)));
            }
        }
        tokens
    }
}

fn assert_agrees(targets: &TraceTargets, expected: &[(f64, f64)]) {
    assert_eq!(targets.advantages.len(), expected.len());
    let actual = targets.advantages.iter().zip(&targets.weights);
    for (token, ((advantage, weight), expected)) in actual.zip(expected).enumerate() {
        let (advantage, weight) = (f64::from(*advantage), f64::from(*weight));
        assert!(
            (advantage - expected.0).abs() < 1e-6,
            "token {token}: {advantage}, {expected:?}"
        );
        assert!(
            (weight - expected.1).abs() < 1e-6 * expected.1.max(1.0),
            "token {token}: {weight}, {expected:?}"
        );
    }
}

/// S ascending budgets, uneven.
fn budgets() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::btree_set(1_u32..40, 1..=8).prop_map(|set| set.into_iter().collect())
}

/// A group with 1 to 7 traces of any length up to the largest budget, and 1 to 5 summaries per budget.
fn groups() -> impl Strategy<Value = v1::ScoredGroup> {
    (budgets(), 1_usize..=7, 1_u32..=5).prop_flat_map(|(budgets, traces, summaries)| {
        let columns = budgets.len() * summaries as usize;
        let score = prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..=1.0];
        let row = proptest::collection::vec(score, columns);
        let largest = budgets[budgets.len() - 1];
        (
            proptest::collection::vec(row, traces),
            proptest::collection::vec(1..=largest, traces),
        )
            .prop_map(move |(scores, lengths)| group(&scores, &lengths, &budgets, summaries))
    })
}

/// A prior with its weights; a named prior comes without.
fn prior(budgets: usize) -> impl Strategy<Value = (v1::Prior, Vec<f64>)> {
    let explicit = proptest::collection::vec(0.0..1.0_f64, budgets)
        .prop_filter("some weight", |weights| weights.iter().sum::<f64>() > 1e-3)
        .prop_map(|weights| {
            let sum: f64 = weights.iter().sum();
            (v1::Prior::Explicit, weights.iter().map(|weight| weight / sum).collect())
        });
    let named = prop_oneof![Just(v1::Prior::Base), Just(v1::Prior::Linear), Just(v1::Prior::Uniform)];
    prop_oneof![explicit, named.prop_map(|prior| (prior, Vec::new()))]
}

fn cases() -> impl Strategy<Value = (v1::ScoredGroup, ObjectiveSettings)> {
    groups().prop_flat_map(|group| {
        let budgets = group.budgets.clone();
        (
            Just(group),
            (prior(budgets.len()), prior(budgets.len())),
            0.01..=1.0_f64,
            (1..=4_i32, 1..=2_i32, 1..=2_i32, 1..=2_i32),
            any::<bool>(),
            0.0..4.0_f64,
        )
            .prop_map(move |(group, priors, lambda, choices, leave_one_out, weight)| {
                let ((prior, weights), (summary_prior, summary_weights)) = priors;
                let (variance_reduction, mix, method, weighting) = choices;
                let settings = settings(&budgets, |spec| {
                    spec.prior = Some(prior.into());
                    spec.prior_weights = weights;
                    brpo(spec).summary_prior = Some(summary_prior.into());
                    brpo(spec).summary_prior_weights = summary_weights;
                    spec.lambda = Some(lambda);
                    brpo(spec).variance_reduction = Some(variance_reduction);
                    spec.mix = Some(mix);
                    brpo(spec).summary_method = Some(method);
                    spec.summary_weighting = Some(weighting);
                    brpo(spec).leave_one_out = Some(leave_one_out);
                    spec.summary_weight = Some(weight);
                });
                (group, settings)
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn brpo_is_the_papers((group, settings) in cases()) {
        let oracle = Oracle { group: &group, settings: &settings };
        let targets = objective(&settings).targets(&group);
        prop_assert_eq!(targets.len(), group.traces.len());
        for (i, targets) in targets.iter().enumerate() {
            assert_agrees(targets, &oracle.tokens(i));
        }
    }

    /// The two ways to GRPO: its own file, and BRPO with the settings of the paper's scripts.
    #[test]
    fn grpo_is_brpo_without_what_is_new(
        scores in proptest::collection::vec(prop_oneof![Just(0.0_f32), Just(1.0)], 2..9),
        budgets in budgets(),
        length in 1_u32..40,
    ) {
        let largest = budgets[budgets.len() - 1];
        let lengths: Vec<u32> = (0..scores.len() as u32).map(|i| (length + i) % largest + 1).collect();
        let rows: Vec<Vec<f32>> = scores.iter().map(|score| vec![*score; budgets.len()]).collect();
        let group = group(&rows, &lengths, &budgets, 1);
        let grpo = settings(&budgets, |spec| spec.name = Some("grpo".to_owned()));
        let brpo = settings(&budgets, |spec| {
            spec.set_prior(v1::Prior::Base);
            brpo(spec).set_variance_reduction(v1::VarianceReduction::V2);
            brpo(spec).set_summary_method(v1::SummaryMethod::Grpo);
        });
        let pairs = objective(&grpo).targets(&group).into_iter().zip(objective(&brpo).targets(&group));
        for (grpo, brpo) in pairs {
            for (one, other) in grpo.advantages.iter().zip(&brpo.advantages) {
                prop_assert!((one - other).abs() < 1e-6);
            }
        }
    }
}
