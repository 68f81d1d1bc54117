#!/usr/bin/env python3
"""Decodes one sequence with llama.cpp in f32 and in f16 and prints one JSON object each.

usage: llamacpp.py --name NAME --checkpoint DIR --scratch DIR [--threads 2] [--repetitions 1]

The weights are the checkpoint's, written to a GGUF file without a vocabulary. Prompt and lengths are those of the other
sides; tokens are drawn by llama.cpp's own sampler at temperature 1, called from its C interface, so that Python does next
to nothing between two tokens.
"""
import argparse
import ctypes
import json
import os
import struct
import time

import gguf
import llama_cpp
import numpy as np
from gguf_names import PLAIN_NAMES
from prompts import prompt_ids


def read_safetensors(path):
    """Name and f32 values of every tensor of a bf16 or f32 file."""
    with open(path, "rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + header_bytes)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        raw = data[start:end]
        if entry["dtype"] == "BF16":
            values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F32":
            values = raw.view("<f4")
        else:
            raise SystemExit(f"{path}: {name} is {entry['dtype']}; allowed: BF16, F32")
        yield name, values.reshape(entry["shape"])


def interleave_halves(weight, heads):
    """llama.cpp rotates neighbouring rows of a head where the checkpoint rotates its first half with its second."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def gguf_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{PLAIN_NAMES[rest.removesuffix('.weight')]}.weight"


def write_gguf(checkpoint, path, dtype):
    with open(os.path.join(checkpoint, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    for name, values in read_safetensors(os.path.join(checkpoint, "model.safetensors")):
        if "q_proj" in name or "k_proj" in name:
            values = interleave_halves(values, heads if "q_proj" in name else kv_heads)
        # Normalisations are f32 in every file.
        values = values.astype(np.float32 if values.ndim == 1 else dtype)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return config["vocab_size"]


class Sequence:
    """A model with one sequence and a sampler of the whole distribution at temperature 1."""

    def __init__(self, path, threads, length):
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = length
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self.sampler, llama_cpp.llama_sampler_init_dist(1))

    def feed(self, ids):
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(tokens, len(ids))) != 0:
            raise SystemExit("llama.cpp did not decode")

    def generate(self, prompt, new_tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        self.feed(prompt)
        drawn = []
        for place in range(new_tokens):
            drawn.append(llama_cpp.llama_sampler_sample(self.sampler, self.context, -1))
            # The last token is drawn and not fed, as on the other sides.
            if place + 1 < new_tokens:
                self.feed(drawn[-1:])
        return drawn


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    arguments = parser.parse_args()

    silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silence, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    for label, dtype in (("f32", np.float32), ("f16", np.float16)):
        path = os.path.join(arguments.scratch, f"model-{label}.gguf")
        with open(os.path.join(arguments.checkpoint, "config.json"), encoding="utf-8") as file:
            vocabulary = json.load(file)["vocab_size"]
        if not os.path.exists(path):
            write_gguf(arguments.checkpoint, path + ".part", dtype)
            os.replace(path + ".part", path)
        prompt = prompt_ids(0, arguments.prompt_tokens, vocabulary)
        sequence = Sequence(path, arguments.threads, arguments.prompt_tokens + arguments.new_tokens)
        sequence.generate(prompt, arguments.new_tokens)
        seconds = []
        for _ in range(arguments.repetitions):
            started = time.perf_counter()
            sequence.generate(prompt, arguments.new_tokens)
            seconds.append(time.perf_counter() - started)
        figures = {
            "case": arguments.name,
            "side": f"llama.cpp {label}",
            "dtype": label,
            "threads": arguments.threads,
            "seconds": seconds,
            "tokens": arguments.new_tokens,
            "versions": {"llama-cpp-python": llama_cpp.__version__},
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
