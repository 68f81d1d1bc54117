#!/usr/bin/env python3
"""Runs one case with transformers and prints one JSON object, as `anytime-bench` does for the other side.

usage: peers.py decode|rollout|training --name NAME --checkpoint DIR [--dtype f32|bf16] [--device cpu|cuda]
                [--threads 2] [--repetitions 1]

All lengths are forced: nothing is an end of sequence. One run before the measured ones warms everything up. A directory
with a config.json and no weights gives a model with random ones.
"""
import argparse
import json
import time
from pathlib import Path

import torch
import transformers
from prompts import END_MARKER, SUMMARY_MARKER, prompt_ids


def load(arguments, dtype):
    with torch.device(arguments.device):
        if any(Path(arguments.checkpoint).glob("*.safetensors")):
            model = transformers.AutoModelForCausalLM.from_pretrained(arguments.checkpoint, dtype=dtype)
        else:
            config = transformers.AutoConfig.from_pretrained(arguments.checkpoint)
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = model.to(arguments.device)
    model.generation_config = transformers.GenerationConfig(pad_token_id=0, bos_token_id=1)
    return model.eval()


def generate(model, prompts, sequences, new_tokens):
    """[prompts * sequences, prompt + new_tokens], drawn from the whole distribution at temperature 1."""
    with torch.inference_mode():
        output = model.generate(
            input_ids=prompts,
            attention_mask=torch.ones_like(prompts),
            num_return_sequences=sequences,
            max_new_tokens=new_tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
        )
    expected = (prompts.shape[0] * sequences, prompts.shape[1] + new_tokens)
    assert tuple(output.shape) == expected, f"{tuple(output.shape)} instead of {expected}"
    return output


def prompts_of(model, count, length):
    prompts = [prompt_ids(number, length, model.config.vocab_size) for number in range(count)]
    return torch.tensor(prompts, device=model.device)


def decode(arguments):
    model = load(arguments, DTYPES[arguments.dtype])
    prompts = prompts_of(model, arguments.prompts, arguments.prompt_tokens)
    # Warmed up with fewer tokens, which touch the same code.
    generate(model, prompts, arguments.traces, 2)
    seconds = timed(arguments, lambda: generate(model, prompts, arguments.traces, arguments.new_tokens))
    return {"seconds": seconds, "tokens": arguments.prompts * arguments.traces * arguments.new_tokens}


def rollout(arguments):
    """Thinks, then summarises every thinking at every budget. The prefix of a summary is computed again for each of
    the A sequences of a cut, since `generate` starts from tokens."""
    model = load(arguments, DTYPES[arguments.dtype])
    prompts = prompts_of(model, arguments.groups, arguments.prompt_tokens)
    budgets = [int(budget) for budget in arguments.budgets.split(",")]
    template = torch.tensor(END_MARKER + SUMMARY_MARKER, device=model.device)

    def run():
        thinking = generate(model, prompts, arguments.traces, budgets[-1])
        for budget in budgets:
            cut = thinking[:, : arguments.prompt_tokens + budget]
            prefixes = torch.cat([cut, template.expand(len(cut), -1)], dim=1)
            generate(model, prefixes, arguments.summaries, arguments.summary_tokens)

    generate(model, prompts, arguments.traces, 2)
    traces = arguments.groups * arguments.traces
    return {
        "seconds": timed(arguments, run),
        "thinking_tokens": traces * budgets[-1],
        "summary_tokens": traces * len(budgets) * arguments.summaries * arguments.summary_tokens,
    }


def training(arguments):
    """One update over one trace whose prefixes are duplicated: a row for the thinking and a row for every summary.

    The masters are f32; bf16 computes under autocast. Logits exist for the trained tokens alone, and AdamW is the fused
    one: the fastest that the library offers.
    """
    model = load(arguments, torch.float32).train()
    vocabulary = model.config.vocab_size
    budgets = [int(budget) for budget in arguments.budgets.split(",")]
    prefix = prompt_ids(0, arguments.prompt_tokens + budgets[-1], vocabulary)
    rows = [(prefix, arguments.prompt_tokens)]
    for node, budget in enumerate(budgets):
        for index in range(arguments.summaries):
            number = 1 + node * arguments.summaries + index
            generated = prompt_ids(number, arguments.summary_tokens, vocabulary)
            row = prefix[: arguments.prompt_tokens + budget] + END_MARKER + SUMMARY_MARKER
            rows.append((row + generated, len(row)))
    longest = max(len(row) for row, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    predictors, targets = [], []
    for number, (row, untrained) in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
        for place in range(untrained, len(row)):
            predictors.append(number * longest + place - 1)
            targets.append(row[place])
    ids, mask = ids.to(model.device), mask.to(model.device)
    predictors = torch.tensor(predictors, device=model.device)
    targets = torch.tensor(targets, device=model.device)
    advantages = torch.linspace(-0.5, 0.5, len(targets), device=model.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def update():
        with torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=arguments.dtype == "bf16"):
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden.flatten(0, 1)[predictors])
        log_probs = logits.float().log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
        ratio = (log_probs - log_probs.detach()).exp()
        loss = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).sum() / len(targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    update()
    return {"seconds": timed(arguments, update), "trained_tokens": len(targets), "computed_tokens": ids.numel()}


def timed(arguments, run):
    seconds = []
    for _ in range(arguments.repetitions):
        started = time.perf_counter()
        run()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds


CASES = {"decode": decode, "rollout": rollout, "training": training}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--name", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--traces", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--budgets", default="64,128,192,256")
    parser.add_argument("--summaries", type=int, default=4)
    parser.add_argument("--summary-tokens", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    figures = CASES[arguments.case](arguments)
    common = {
        "case": arguments.name,
        "side": "transformers",
        "dtype": arguments.dtype,
        "threads": arguments.threads,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    print(json.dumps(common | figures))


if __name__ == "__main__":
    main()
