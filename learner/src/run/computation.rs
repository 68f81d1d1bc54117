//! What the numbers of a training step depend on beside its inputs.

use anytime_policy::device;
use anytime_proto::v1;
use tch::Device;

use crate::train::UpdatePlan;

/// How this process computes updates with this plan, together with so many in all.
pub(super) fn computation(device: Device, plan: UpdatePlan, ranks: usize) -> v1::Computation {
    v1::Computation {
        device: device::name(device),
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(0),
        processor: device::processor(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        micro_batch_tokens: plan.micro_batch_tokens as u64,
        activation_checkpointing: plan.activation_checkpointing,
        ranks: u32::try_from(ranks).unwrap_or(u32::MAX),
    }
}

/// The plan of such a computation.
pub(super) fn plan_of(computation: &v1::Computation) -> UpdatePlan {
    UpdatePlan {
        micro_batch_tokens: usize::try_from(computation.micro_batch_tokens)
            .unwrap_or(usize::MAX)
            .max(1),
        activation_checkpointing: computation.activation_checkpointing,
    }
}

/// In what the two differ, a clause each, the first one's value first.
pub(super) fn differences(run: &v1::Computation, here: &v1::Computation) -> Vec<String> {
    let flag = |flag: bool| flag.to_string();
    let all = [
        ("device", run.device.clone(), here.device.clone()),
        ("ranks", run.ranks.max(1).to_string(), here.ranks.max(1).to_string()),
        ("threads", run.threads.to_string(), here.threads.to_string()),
        ("processor", run.processor.clone(), here.processor.clone()),
        ("program", run.program.clone(), here.program.clone()),
        (
            "micro_batch_tokens",
            run.micro_batch_tokens.to_string(),
            here.micro_batch_tokens.to_string(),
        ),
        (
            "activation_checkpointing",
            flag(run.activation_checkpointing),
            flag(here.activation_checkpointing),
        ),
    ];
    let different = all.into_iter().filter(|(_, run, here)| run != here);
    different
        .map(|(what, run, here)| format!("{what} {run} in the run, {here} here"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_is_alike_is_not() {
        let run = computation(
            Device::Cpu,
            UpdatePlan {
                micro_batch_tokens: 512,
                activation_checkpointing: false,
            },
            1,
        );
        assert_eq!(run.device, "cpu");
        assert!(run.threads > 0);
        assert_eq!(differences(&run, &run), Vec::<String>::new());
        let here = v1::Computation {
            device: "cuda:0".to_owned(),
            micro_batch_tokens: 256,
            ..run.clone()
        };
        assert_eq!(
            differences(&run, &here),
            [
                "device cpu in the run, cuda:0 here",
                "micro_batch_tokens 512 in the run, 256 here"
            ]
        );
        let of_before = v1::Computation {
            ranks: 0,
            ..run.clone()
        };
        assert_eq!(differences(&of_before, &run), Vec::<String>::new());
        let two = v1::Computation {
            ranks: 2,
            ..run.clone()
        };
        assert_eq!(differences(&two, &run), ["ranks 2 in the run, 1 here"]);
        assert_eq!(plan_of(&run).micro_batch_tokens, 512);
    }
}
