#!/usr/bin/env python3
"""The table of docs/sizing.md: how a job with the defaults fits on GPUs, as `anytime check --gpus` predicts it.

usage: docs/sizing/table.py PROGRAMS     (the directory of anytime and anytime-learner, such as target/release)

No weights are read: a model is the numbers of its published config.json with the demo's tokenizer, and the job has the
longest prompt that its data may have.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).parents[2] / "deploy" / "demo" / "model"
# hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size, tied head
MODELS = {
    "Qwen2.5-0.5B": (896, 4864, 24, 14, 2, 151936, True),
    "R1-Distill-Qwen-1.5B": (1536, 8960, 28, 12, 2, 151936, False),
    "R1-Distill-Qwen-7B": (3584, 18944, 28, 28, 4, 152064, False),
    "R1-Distill-Qwen-14B": (5120, 13824, 48, 40, 8, 152064, False),
    "R1-Distill-Qwen-32B": (5120, 27648, 64, 40, 8, 152064, False),
}
GPUS = ["1x24", "2x24", "4x24", "1x48", "4x48", "8x48", "1x80", "2x80", "4x80", "8x80", "4x141", "8x141", "16x141", "8x192"]


def job(root: Path, name: str) -> Path:
    hidden, intermediate, layers, heads, key_heads, vocabulary, is_tied = MODELS[name]
    model = root / name
    shutil.copytree(DEMO, model)
    config = json.loads((model / "config.json").read_text())
    config.update(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=key_heads, vocab_size=vocabulary, tie_word_embeddings=is_tied, max_window_layers=layers,
        max_position_embeddings=131072,
    )
    (model / "config.json").write_text(json.dumps(config))
    # A letter is a token of the demo's tokenizer.
    problem = "1+" * 511 + "1="
    (root / "problems.jsonl").write_text(json.dumps({"problem": problem, "answer": 512}) + "\n")
    path = root / f"{name}.toml"
    path.write_text(
        f'name = "sizes"\nkind = "train"\nmodel = {{ path = "{model}", initialise = true }}\n'
        f'data = {{ path = "{root}/problems.jsonl", instruction = "" }}\n'
        'markers = { cut = "...", summary = "=" }\ntraining = { steps = 1 }\n'
    )
    return path


def cell(programs: Path, path: Path, gpus: str) -> str:
    command = [programs / "anytime", "--json", "check", path, "--gpus", gpus]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 64 and "cannot hold" in done.stderr:
        return "no actor" if "cannot hold an actor" in done.stderr else "no learner"
    if done.returncode != 0:
        sys.exit(f"{gpus}: {done.stderr}")
    fit = json.loads(done.stdout)[0]["fit"]
    chosen = fit["chosen"]
    gibibytes = chosen["bytes"] / 2**30
    return f"{chosen['sharding']}, {chosen['ranks']}: {gibibytes:.1f}"


def main() -> None:
    programs = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as directory:
        jobs = {name: job(Path(directory), name) for name in MODELS}
        print("| GPUs | " + " | ".join(MODELS) + " |")
        print("|---" * (len(MODELS) + 1) + "|")
        for gpus in GPUS:
            cells = [cell(programs, path, gpus) for path in jobs.values()]
            print(f"| {gpus} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
